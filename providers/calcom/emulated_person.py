"""What a guest chooses on the booking page, as a body of the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

DEFAULT_GUEST = "guest@example.com"


class Typed(Protocol):
    """``providers.emulation.HumanEvent``, as far as it is read here."""

    start: datetime | None
    end: datetime | None
    title: str | None
    busy: bool | None
    zone: str | None
    attendees: list[str]


def typed_body(event: Typed) -> dict[str, Any]:
    """A booking needs a start; without an end it lasts as long as the event type."""
    if event.start is None:
        raise KeyError("start")
    address, *others = event.attendees or [DEFAULT_GUEST]
    guest = {"name": address.partition("@")[0].title(), "email": address, "timeZone": event.zone or "UTC"}
    body: dict[str, Any] = {"start": event.start.isoformat(), "attendee": guest, "guests": others}
    if event.title is not None:
        body["title"] = event.title
    if event.busy is False:
        body["status"] = "pending"
    if event.end is not None:
        body["lengthInMinutes"] = (event.end - event.start) // timedelta(minutes=1)
    return body
