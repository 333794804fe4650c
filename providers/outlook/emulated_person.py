"""What a person types into Outlook, as the body of a Graph request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from providers.outlook import emulated_events as events


class Typed(Protocol):
    """``providers.emulation.HumanEvent``, which only an emulator proper may import."""

    start: datetime | None
    end: datetime | None
    title: str | None
    busy: bool | None
    all_day: bool
    zone: str | None

    @property
    def attendees(self) -> Sequence[str]: ...


def body_of(event: Typed) -> dict[str, Any]:
    """Only what was typed; empty if nothing was."""
    body: dict[str, Any] = {}
    if event.title is not None:
        body["subject"] = event.title
    if event.busy is not None:
        body["showAs"] = "busy" if event.busy else "free"
    if event.attendees:
        body["attendees"] = [{"emailAddress": {"address": each, "name": each}} for each in event.attendees]
    for side, at in (("start", event.start), ("end", event.end)):
        if at is not None:
            body |= {"isAllDay": event.all_day, side: _moment(at, event)}
    return body


def _moment(at: datetime, event: Typed) -> dict[str, str]:
    """All-day events are dates: the wall clock as typed, whatever its offset."""
    zone = event.zone or "UTC"
    local = at if event.all_day else at.astimezone(events.zone_info(zone))
    return {"dateTime": events.wall(local), "timeZone": zone}
