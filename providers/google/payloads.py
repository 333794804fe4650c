"""Google Calendar v3 events at the edge: JSON in, domain values out, and the other way round.

Field meanings are those of the published discovery document, ``calendar.v3.json`` revision 20261030.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from providers.google.busy import blocks
from providers.google.moments import Moment
from providers.moments import SKIPPED_DAY, dump_instant, parse_instant
from sync.domain import (
    Attendee,
    BusyPolicy,
    Change,
    EventDraft,
    Interval,
    RemoteEvent,
    RemoteId,
    Removal,
    Unparsed,
    WriteKey,
)
from sync.errors import Malformed

KEY_PROPERTY = "watertightKey"
DEFAULT_POLICY = BusyPolicy()

# Client-chosen ids: base32hex, 5 to 1024 characters (Event.id). A UUID in hex is one.
_EVENT_ID = re.compile(r"[a-v0-9]{5,1024}")
_UUID_HEX = re.compile(r"[0-9a-f]{32}")


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Guest(_Model):
    email: str = ""
    display_name: str = Field(default="", alias="displayName")
    response_status: str = Field(default="", alias="responseStatus")
    is_self: bool = Field(default=False, alias="self")
    organizer: bool = False
    resource: bool = False


class _Properties(_Model):
    private: dict[str, str] = Field(default_factory=dict)


class _Event(_Model):
    """The fields we read. Absent is allowed where Google documents a default; null never is."""

    id: str = Field(min_length=1)
    etag: str = Field(min_length=1)
    updated: str
    start: Moment
    end: Moment
    status: Literal["confirmed", "tentative", "cancelled"] = "confirmed"
    summary: str = ""
    transparency: str = "opaque"
    event_type: str = Field(default="default", alias="eventType")
    recurring_event_id: str | None = Field(default=None, alias="recurringEventId")
    attendees: tuple[_Guest, ...] = Field(default=(), strict=False)
    extended: _Properties = Field(default_factory=_Properties, alias="extendedProperties")


def event_id(key: WriteKey) -> RemoteId:
    """The event id that a write with ``key`` asks for: the key itself where Google's alphabet allows it."""
    if _EVENT_ID.fullmatch(key):
        return RemoteId(key)
    return RemoteId(hashlib.sha256(key.encode()).hexdigest())


def parse_change(raw: object, *, zone: str, busy: BusyPolicy = DEFAULT_POLICY) -> Change:
    """One row of events.list; what cannot be understood comes back as Unparsed, never as an exception."""
    if not isinstance(raw, dict):
        return Unparsed(None, "items", "is not an object", str(raw))
    remote_id = raw.get("id")
    try:
        return parse_removal(raw) if is_cancelled(raw) else parse_occurrence(raw, zone=zone, busy=busy)
    except Malformed as error:
        return Unparsed(remote_id if isinstance(remote_id, str) else None, error.field, error.reason, raw)


def is_cancelled(raw: dict[str, Any]) -> bool:
    """Asked before anything else is read: a cancelled row guarantees nothing but its id (Event.status)."""
    return raw.get("status") == "cancelled"


def is_series(raw: dict[str, Any]) -> bool:
    """Whether it is the rule of a recurring event, and not one of its instances (Event.recurrence)."""
    return bool(raw.get("recurrence"))


def parse_removal(raw: dict[str, Any]) -> Removal:
    """A cancelled row.

    Raises:
        Malformed: it has no id, or a clock that cannot be read.
    """
    remote_id = raw.get("id")
    if not isinstance(remote_id, str) or not remote_id:
        raise Malformed("id", "is missing")
    updated = raw.get("updated")
    return Removal(RemoteId(remote_id), None if updated is None else parse_instant(updated, field="updated"))


def parse_event(raw: dict[str, Any], *, zone: str, busy: BusyPolicy = DEFAULT_POLICY) -> RemoteEvent:
    """A live event. ``zone`` is the agent's, for all-day dates, and so is the policy of what is ``busy``.

    Raises:
        Malformed: with the vendor's field path (``start.dateTime``).
    """
    try:
        event = _Event.model_validate(raw)
    except ValidationError as error:
        raise _malformed(error.errors(include_url=False)[0]) from None
    return RemoteEvent(
        remote_id=RemoteId(event.id),
        version=event.etag,
        updated=parse_instant(event.updated, field="updated"),
        interval=_interval(event, zone=zone),
        blocks=blocks(
            busy,
            event_type=event.event_type,
            status=event.status,
            transparency=event.transparency,
            answer=_own_answer(event),
        ),
        title=event.summary,
        attendees=tuple(_attendees(event)),
        key=_key(event),
        series_id=event.recurring_event_id,
    )


def parse_occurrence(raw: dict[str, Any], *, zone: str, busy: BusyPolicy = DEFAULT_POLICY) -> RemoteEvent:
    """A live row of a list of single events.

    Raises:
        Malformed: as ``parse_event``, or it is a series: read as its first instance, the others would pass for free time.
    """
    if is_series(raw):
        raise Malformed("recurrence", "is a series, though its instances were asked for")
    return parse_event(raw, zone=zone, busy=busy)


def dump_draft(draft: EventDraft, *, key: WriteKey) -> dict[str, Any]:
    """The body of events.insert: the inverse of ``parse_event`` for what a draft holds."""
    return {
        "id": event_id(key),
        **_content(draft),
        "start": {"dateTime": dump_instant(draft.interval.start)},
        "end": {"dateTime": dump_instant(draft.interval.end)},
        "extendedProperties": {"private": {KEY_PROPERTY: key}},
    }


def dump_patch(draft: EventDraft) -> dict[str, Any]:
    """The body of events.patch: the draft's fields and no other.

    Patch merges into what is there, so ``date`` is cleared: an all-day event would otherwise end up with both kinds.
    """
    return {
        **_content(draft),
        "start": {"dateTime": dump_instant(draft.interval.start), "date": None},
        "end": {"dateTime": dump_instant(draft.interval.end), "date": None},
    }


def _content(draft: EventDraft) -> dict[str, Any]:
    content: dict[str, Any] = {
        "summary": draft.title,
        "transparency": "opaque" if draft.blocks else "transparent",
    }
    if draft.body is not None:
        content["description"] = draft.body
    if draft.attendees:
        content["attendees"] = [{"email": guest.email, "displayName": guest.name} for guest in draft.attendees]
    return content


def _malformed(problem: ErrorDetails) -> Malformed:
    # The message of pydantic would quote the value, which may be personal.
    path = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "missing":
        return Malformed(path, "is missing")
    return Malformed(path, "is null" if problem["input"] is None else f"is not valid ({problem['type']})")


def _own_answer(event: _Event) -> str | None:
    """What the person answered; None where nobody asked."""
    return next((guest.response_status for guest in event.attendees if guest.is_self and not guest.organizer), None)


def _attendees(event: _Event) -> list[Attendee]:
    """The other people: not the calendar's own person, not rooms, not guests whose address Google hides."""
    people = (guest for guest in event.attendees if guest.email and not guest.is_self and not guest.resource)
    return [Attendee(guest.display_name, guest.email) for guest in people]


def _key(event: _Event) -> WriteKey | None:
    """The key of our write.

    Occurrences inherit the private properties of their series, so when a person makes our event repeat, every occurrence
    would claim to be the one event we wrote, and the others would not count as foreign. None of them does.
    """
    if event.recurring_event_id is not None:
        return None
    key = event.extended.private.get(KEY_PROPERTY)
    if key is None and _UUID_HEX.fullmatch(event.id):
        key = event.id
    return WriteKey(key) if key else None


def _interval(event: _Event, *, zone: str) -> Interval:
    if event.start.kind(field="start") != event.end.kind(field="end"):
        raise Malformed("end", "is of another kind than start (date and dateTime)")
    suffix = event.start.kind(field="start")
    start = event.start.instant(field="start", zone=zone)
    end = event.end.instant(field="end", zone=zone)
    if start == end and event.start.date < event.end.date:
        raise Malformed("start.date", SKIPPED_DAY)
    try:
        return Interval(start, end)
    except Malformed as error:
        raise Malformed(f"{error.field}.{suffix}", error.reason) from None
