"""HubSpot meetings at the edge: JSON in, domain values out, and the other way round.

Source: developers.hubspot.com/docs/api-reference/crm-meetings-v3/guide and the published OpenAPI description. Every property
value is a string or null; a property that was not asked for is absent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from providers.moments import parse_epoch_ms, parse_instant
from sync.domain import (
    CANCELLED_PREFIX,
    REFUSED_PREFIX,
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

TITLE = "hs_meeting_title"
START = "hs_meeting_start_time"
END = "hs_meeting_end_time"
TIMESTAMP = "hs_timestamp"
OUTCOME = "hs_meeting_outcome"
BODY = "hs_meeting_body"
NOTES = "hs_internal_meeting_notes"
TAG = "hs_meeting_external_url"
OWNER = "hubspot_owner_id"
ASSIGNED = "hubspot_owner_assigneddate"
CREATED = "hs_createdate"
MODIFIED = "hs_lastmodifieddate"
ID = "hs_object_id"

PROPERTIES = (TITLE, START, END, TIMESTAMP, OUTCOME, NOTES, TAG, OWNER, ASSIGNED, CREATED, MODIFIED, ID)

CANCELED = "CANCELED"
SCHEDULED = "SCHEDULED"

# Meetings have no field for somebody else's id, so our key is an address that leads nowhere (RFC 2606).
TAG_PREFIX = "https://watertight.invalid/writes/"

_MARKS = (REFUSED_PREFIX.rstrip(), CANCELLED_PREFIX.rstrip())


def tag_of(key: WriteKey) -> str:
    """What a meeting that a write with ``key`` created carries."""
    return TAG_PREFIX + quote(key, safe="")


def parse_change(raw: object) -> Change:
    """One row of a search; what cannot be understood comes back as Unparsed, never as an exception."""
    if not isinstance(raw, dict):
        return Unparsed(None, "results", "is not an object", str(raw))
    try:
        return parse_removal(raw) if is_cancelled(raw) else parse_event(raw)
    except Malformed as error:
        remote_id = raw.get("id")
        return Unparsed(remote_id if isinstance(remote_id, str) else None, error.field, error.reason, raw)


def is_cancelled(raw: dict[str, Any]) -> bool:
    """Whether the meeting is archived, or its owner has cancelled it.

    One that carries a mark of ours was cancelled by us: it stays a live record that takes no time, so that setting it
    back to scheduled is noticed as the owner's wish.
    """
    if raw.get("archived") is True:
        return True
    shown = raw.get("properties")
    if not isinstance(shown, dict) or shown.get(OUTCOME) != CANCELED:
        return False
    title = shown.get(TITLE)
    return not (isinstance(title, str) and title.startswith(_MARKS))


def owner_of(raw: object) -> str | None:
    """The owner id, empty for a meeting of nobody; None if the row does not say.

    Asked before anything else is read, so that a stranger's odd record is not ours to quarantine.
    """
    shown = raw.get("properties") if isinstance(raw, dict) else None
    owner = shown.get(OWNER, 0) if isinstance(shown, dict) else 0
    return owner if isinstance(owner, str) else "" if owner is None else None


def id_of(raw: object) -> int | None:
    """The record's number, by which a search is sorted; None if it has none."""
    remote_id = raw.get("id") if isinstance(raw, dict) else None
    return int(remote_id) if isinstance(remote_id, str) and remote_id.isascii() and remote_id.isdecimal() else None


def modified_of(raw: object) -> datetime | None:
    """When HubSpot last changed the record, None where that cannot be read."""
    return find_moment(raw, MODIFIED)


def find_moment(raw: object, name: str) -> datetime | None:
    """The time in a property; None where it cannot be read."""
    if not isinstance(raw, dict):
        return None
    try:
        return parse_moment(_property(raw, name), field=name)
    except Malformed:
        return None


def parse_removal(raw: dict[str, Any]) -> Removal:
    """A meeting that is archived or cancelled.

    Raises:
        Malformed: it has no id, or does not say whose it is.
    """
    _must_name_owner(raw)
    archived_at = raw.get("archivedAt")
    try:
        archived = None if archived_at is None else parse_moment(archived_at, field="archivedAt")
    except Malformed:
        archived = None  # that it is archived is certain, only not since when
    return Removal(_id(raw), archived or modified_of(raw))


def parse_event(raw: dict[str, Any]) -> RemoteEvent:
    """A live meeting.

    Raises:
        Malformed: with the vendor's field path (``properties.hs_meeting_end_time``). A meeting without an end is refused:
            nobody can say for how long it takes its owner's time.
    """
    remote_id = _id(raw)
    _must_name_owner(raw)
    modified = _moment(raw, MODIFIED)
    updated = parse_moment(raw.get("updatedAt"), field="updatedAt")
    return RemoteEvent(
        remote_id=remote_id,
        version=f"{_ms(modified)}.{_ms(updated)}",
        updated=modified,
        interval=_interval(raw),
        blocks=_blocks(_text(raw, OUTCOME)),
        title=_text(raw, TITLE),
        key=_key(_text(raw, TAG)),
    )


def parse_moment(value: object, *, field: str) -> datetime:
    """A time as HubSpot writes it: RFC 3339, or milliseconds since 1970; both as strings.

    Raises:
        Malformed: it is neither.
    """
    if isinstance(value, str) and not value:
        raise Malformed(field, "is empty")
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        return parse_epoch_ms(value, field=field)
    return parse_instant(value, field=field)


def notes_of(raw: dict[str, Any]) -> str:
    """The internal notes of a record.

    Raises:
        Malformed: they are not a text, or not shown: writing without having seen them would lose what stands there.
    """
    _property(raw, NOTES)
    return _text(raw, NOTES)


def dump_new(draft: EventDraft, *, key: WriteKey, owner: str) -> dict[str, Any]:
    """The body that creates a meeting: the inverse of ``parse_event`` for what a draft holds."""
    properties = {
        **_times(draft.interval),
        TITLE: draft.title,
        BODY: draft.body or "",
        OUTCOME: SCHEDULED if draft.blocks else CANCELED,
        OWNER: owner,
        TAG: tag_of(key),
    }
    notes = _noted(draft, "")
    return {"properties": properties if notes is None else {**properties, NOTES: notes}}


def dump_patch(draft: EventDraft, *, event: RemoteEvent, notes: str) -> dict[str, Any]:
    """The body that brings ``event``, whose internal notes are ``notes``, to the draft: what differs and no more.

    No properties if nothing differs. A ``body`` is a description and is written as such; a ``note`` is for the team.
    """
    properties: dict[str, str] = {}
    if draft.interval != event.interval:
        properties |= _times(draft.interval)
    if draft.title != event.title:
        properties[TITLE] = draft.title
    if draft.blocks != event.blocks:
        properties[OUTCOME] = SCHEDULED if draft.blocks else CANCELED
    if draft.body is not None:
        properties[BODY] = draft.body
    noted = _noted(draft, notes)
    if noted is not None:
        properties[NOTES] = noted
    return {"properties": properties}


def dump_ms(instant: datetime) -> str:
    """As search filters want it."""
    return str(_ms(instant))


def _times(interval: Interval) -> dict[str, str]:
    # hs_timestamp places the meeting on the record's timeline and must equal the start (meetings guide).
    start, end = (at.isoformat(timespec="milliseconds").replace("+00:00", "Z") for at in (interval.start, interval.end))
    return {START: start, END: end, TIMESTAMP: start}


def _noted(draft: EventDraft, notes: str) -> str | None:
    """The internal notes to write; None if they stay. A rich-text field may have wrapped the note in tags."""
    if draft.note is None or draft.note in notes:
        return None
    return f"{draft.note}\n\n{notes}".rstrip()


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _blocks(outcome: str) -> bool:
    """Whether the meeting takes its owner's time.

    ============================  ===
    CANCELED                      no
    SCHEDULED, null, empty        yes
    COMPLETED, NO_SHOW            yes
    RESCHEDULED                   yes
    anything else                 yes
    ============================  ===

    Completed and missed meetings took the time, and their appointments must not be cancelled after the fact. Booking tools
    say RESCHEDULED of the record that they move to its new time (cal.com/help, HubSpot); where a new one is made instead,
    the old time stays taken until its owner cancels it. What is new to us (outcomes can be added in an account) takes time.
    """
    return outcome != CANCELED


def _key(tag: str) -> WriteKey | None:
    return WriteKey(unquote(tag.removeprefix(TAG_PREFIX))) if tag.startswith(TAG_PREFIX) else None


def _interval(raw: dict[str, Any]) -> Interval:
    start, end = _moment(raw, START), _moment(raw, END)
    try:
        return Interval(start, end)
    except Malformed as error:
        raise Malformed(f"properties.{END}", error.reason) from None


def _id(raw: dict[str, Any]) -> RemoteId:
    remote_id = raw.get("id")
    if not isinstance(remote_id, str) or not remote_id:
        raise Malformed("id", "is missing")
    return RemoteId(remote_id)


def _must_name_owner(raw: dict[str, Any]) -> None:
    _shown(raw)
    if owner_of(raw) is None:
        raise Malformed(f"properties.{OWNER}", "is missing or not a string")


def _moment(raw: dict[str, Any], name: str) -> datetime:
    return parse_moment(_property(raw, name), field=f"properties.{name}")


def _text(raw: dict[str, Any], name: str) -> str:
    """A property that may be empty; absent, null and "" are the same to HubSpot."""
    value = _shown(raw).get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"properties.{name}", "is not a string")
    return value


def _property(raw: dict[str, Any], name: str) -> object:
    shown = _shown(raw)
    if name not in shown:
        raise Malformed(f"properties.{name}", "is missing")  # asked for, so it must be there, if only as null
    return shown[name]


def _shown(raw: dict[str, Any]) -> dict[str, Any]:
    shown = raw.get("properties")
    if not isinstance(shown, dict):
        raise Malformed("properties", "is missing")
    return shown
