"""What a person types in Google's own window, as a body of the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo


class Typed(Protocol):
    """``providers.emulation.HumanEvent``, as far as it is read here."""

    start: datetime | None
    end: datetime | None
    title: str | None
    busy: bool | None
    all_day: bool
    zone: str | None
    attendees: list[str]


def typed_body(event: Typed) -> dict[str, Any]:
    """Only what was given; the rest of an event that is changed stays."""
    body: dict[str, Any] = {}
    for name, moment in (("start", event.start), ("end", event.end)):
        if moment is not None:
            body[name] = _end(moment, event=event)
    if event.title is not None:
        body["summary"] = event.title
    if event.busy is not None:
        body["transparency"] = "opaque" if event.busy else "transparent"
    if event.attendees:
        body["attendees"] = [{"email": address} for address in event.attendees]
    return body


def _end(moment: datetime, *, event: Typed) -> dict[str, Any]:
    # The nulls matter when a timed event becomes an all-day one, or the other way round.
    if event.all_day:
        return {"date": moment.date().isoformat(), "dateTime": None, "timeZone": None}
    zone = event.zone or "UTC"
    shown = moment.astimezone(ZoneInfo(zone)).isoformat().replace("+00:00", "Z")
    return {"dateTime": shown, "timeZone": zone, "date": None}
