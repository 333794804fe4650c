"""Graph's event JSON at the edge: read once into domain values, or refused with the vendor's own field path."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from providers.moments import SKIPPED_DAY, parse_instant
from providers.outlook.busy import blocks
from providers.outlook.moments import Moment, dump_moment
from sync.domain import (
    Attendee,
    BusyPolicy,
    EventDraft,
    Interval,
    RemoteEvent,
    RemoteId,
    Removal,
    Unparsed,
    WriteKey,
    is_name,
)
from sync.errors import Malformed

# A private property set of this project; searchable with $filter, which transactionId is not.
KEY_PROPERTY: Final = "String {8f2b6a51-3c0e-4d7a-9b1f-5e6d7c8a9b01} Name WatertightKey"

DEFAULT_POLICY: Final = BusyPolicy()


class _Edge(BaseModel):
    """Strict, so that "false" is no boolean and 7 is no title; unknown fields are ignored, since Graph adds some."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)


class _Address(_Edge):
    name: str | None = None
    address: str | None = None


class _Attendee(_Edge):
    email_address: _Address | None = None


class _Response(_Edge):
    """Its ``time`` is not read: it is 0001-01-01 where nobody answered."""

    response: str | None = None


class _Property(_Edge):
    id: str
    value: str


class _Event(_Edge):
    id: str = Field(min_length=1)
    etag: str = Field(alias="@odata.etag", min_length=1)
    last_modified_date_time: str
    created_date_time: str = ""
    start: Moment
    end: Moment
    is_all_day: bool = False
    is_cancelled: bool = False
    is_organizer: bool = False
    show_as: str = "unknown"
    type: str = "singleInstance"
    subject: str | None = None
    attendees: list[_Attendee] | None = None
    response_status: _Response | None = None
    transaction_id: str | None = None
    series_master_id: str | None = None
    single_value_extended_properties: list[_Property] | None = None


def parse_event(raw: object, *, zone: str, busy: BusyPolicy = DEFAULT_POLICY) -> RemoteEvent:
    """A live event. ``zone`` is the agent's and is used for all-day dates only; the policy of what is ``busy`` is too.

    Raises:
        Malformed: with the path of the first field that cannot be understood.
    """
    event = _read(raw)
    return RemoteEvent(
        remote_id=RemoteId(event.id),
        version=event.etag,
        updated=parse_instant(event.last_modified_date_time, field="lastModifiedDateTime"),
        interval=_interval(event, zone),
        blocks=blocks(
            busy,
            show_as=event.show_as,
            response=event.response_status.response if event.response_status else None,
            is_organizer=event.is_organizer,
            is_cancelled=event.is_cancelled,
        ),
        title=event.subject or "",
        attendees=_attendees(event),
        key=_key(event),
        series_id=event.series_master_id,
    )


def parse_busy_row(raw: object, *, zone: str, busy: BusyPolicy = DEFAULT_POLICY) -> RemoteEvent | None:
    """A row of a window; None if it takes no time at all: cancelled, the pattern of a series, or zero minutes long.

    Raises:
        Malformed: it cannot be understood.
    """
    if is_cancelled(raw) or is_series_master(raw):
        return None
    start, end = _bounds(_read(raw), zone)
    return None if start == end else parse_event(raw, zone=zone, busy=busy)


def parse_change(raw: object, *, zone: str, busy: BusyPolicy = DEFAULT_POLICY) -> RemoteEvent | Removal | Unparsed:
    """A row of the change feed, or what is kept of it when it cannot be understood (P7)."""
    if is_cancelled(raw) and (removed := id_of(raw)):
        return Removal(RemoteId(removed), updated=_updated_or_none(raw))
    try:
        return parse_event(raw, zone=zone, busy=busy)
    except Malformed as error:
        return unparsed(raw, error)


def unparsed(raw: object, error: Malformed) -> Unparsed:
    return Unparsed(id_of(raw), error.field, error.reason, raw if isinstance(raw, dict) else json.dumps(raw))


def description_of(raw: object) -> str:
    """What the body says, as text: we ask for text bodies with ``Prefer: outlook.body-content-type``."""
    body = raw.get("body") if isinstance(raw, dict) else None
    content = body.get("content") if isinstance(body, dict) else None
    return content if isinstance(content, str) else ""


def id_of(raw: object) -> str | None:
    """The id, if the record has one that can be asked for and stored."""
    found = raw.get("id") if isinstance(raw, dict) else None
    return found if isinstance(found, str) and is_name(found) else None


def is_removed(raw: object) -> bool:
    return isinstance(raw, dict) and "@removed" in raw


def is_cancelled(raw: object) -> bool:
    return isinstance(raw, dict) and raw.get("isCancelled") is True


def is_series_master(raw: object) -> bool:
    return isinstance(raw, dict) and raw.get("type") == "seriesMaster"


def is_stub(raw: object) -> bool:
    """Delta rows of occurrences carry only times and ids (microsoft-graph-docs-contrib#34, #5602)."""
    return isinstance(raw, dict) and "subject" not in raw and "lastModifiedDateTime" not in raw


def is_copy(raw: object, *, key: WriteKey) -> bool:
    """Whether a person duplicated our event: Outlook copies the marker, and sets a ``transactionId`` of its own."""
    return isinstance(raw, dict) and raw.get("transactionId") not in (None, key)


def age_order(raw: object, *, key: WriteKey) -> tuple[bool, str]:
    """Sorts events with one key: first the one that our POST made, then by age. Outlook's "duplicate" copies the marker."""
    if not isinstance(raw, dict):
        return True, ""
    return raw.get("transactionId") != key, str(raw.get("createdDateTime", ""))


def key_filter(key: WriteKey) -> str:
    """Finds our events by their key, as a query says it."""
    value = key.replace("'", "''")
    return f"singleValueExtendedProperties/Any(ep: ep/id eq '{KEY_PROPERTY}' and ep/value eq '{value}')"


def dump_draft(draft: EventDraft, *, key: WriteKey) -> dict[str, Any]:
    """The body of a POST that creates ``draft`` once per ``key``. Graph invites whoever it names as an attendee."""
    body: dict[str, Any] = {
        **dump_change(draft),
        "responseRequested": False,
        "transactionId": key,
        "singleValueExtendedProperties": [{"id": KEY_PROPERTY, "value": key}],
    }
    if draft.attendees:
        body["attendees"] = [
            {"type": "required", "emailAddress": {"name": guest.name, "address": guest.email}}
            for guest in draft.attendees
        ]
    return body


def dump_change(draft: EventDraft) -> dict[str, Any]:
    """The body of a PATCH. Attendees are left as they are, since naming them would mail them."""
    body = {} if draft.body is None else {"body": {"contentType": "text", "content": draft.body}}
    return {
        "subject": draft.title,
        **body,
        "start": dump_moment(draft.interval.start),
        "end": dump_moment(draft.interval.end),
        "isAllDay": False,
        "showAs": "busy" if draft.blocks else "free",
    }


def _read(raw: object) -> _Event:
    try:
        return _Event.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(step) for step in first["loc"])
        raise Malformed(path or "event", _reason(first["type"], first["input"], first["msg"])) from None


def _reason(kind: str, value: object, message: str) -> str:
    if kind == "missing":
        return "is missing"
    return "is null" if value is None else message


def _bounds(event: _Event, zone: str) -> tuple[datetime, datetime]:
    """Start and end in UTC.

    Raises:
        Malformed: a time that is none, or an end before the start.
    """
    if event.is_all_day:
        start, end = (each.day(field=name, zone=zone) for name, each in (("start", event.start), ("end", event.end)))
    else:
        start, end = event.start.instant(field="start"), event.end.instant(field="end")
    if end < start:
        raise Malformed("end.dateTime", "is before start.dateTime")
    return start, end


def _interval(event: _Event, zone: str) -> Interval:
    start, end = _bounds(event, zone)
    if start == end and event.is_all_day and event.start.date_time != event.end.date_time:
        raise Malformed("start.dateTime", SKIPPED_DAY)
    return Interval(start, end)


def _updated_or_none(raw: object) -> datetime | None:
    value = raw.get("lastModifiedDateTime") if isinstance(raw, dict) else None
    try:
        return parse_instant(value, field="lastModifiedDateTime")
    except Malformed:
        return None


def _attendees(event: _Event) -> tuple[Attendee, ...]:
    addresses = [guest.email_address for guest in event.attendees or () if guest.email_address]
    return tuple(Attendee(name=each.name or "", email=each.address) for each in addresses if each.address)


def _key(event: _Event) -> WriteKey | None:
    """The key of our write. Occurrences inherit the marks of their series, and none of them is the event we wrote."""
    if event.series_master_id is not None:
        return None
    for each in event.single_value_extended_properties or ():
        if each.id.lower() == KEY_PROPERTY.lower():
            return WriteKey(each.value)
    return WriteKey(event.transaction_id) if event.transaction_id else None
