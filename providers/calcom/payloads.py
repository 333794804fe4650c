"""Cal.com bookings at the edge: JSON in, domain values out, and the other way round.

Source: calcom/cal.com, ``packages/platform/types/bookings/2024-08-13`` (inputs and outputs) and
``apps/api/v2/…/2024-08-13/services/output.service.ts``.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from providers.moments import parse_instant
from sync.domain import (
    Attendee,
    BusyPolicy,
    CalendarRef,
    Change,
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

KEY_FIELD = "watertightKey"
LONGEST_KEY = 500  # characters of a metadata value (create-booking.input.ts)

_GONE = ("cancelled", "rejected")  # compared, not hashed: anything may stand in a status


def _lower(value: object) -> object:
    # The API writes ``accepted``, its webhooks ``ACCEPTED``.
    return value.lower() if isinstance(value, str) else value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Host(_Model):
    """``unknown`` stands in every field of a booking that nobody hosts yet."""

    email: str | None = None
    display_email: str | None = Field(default=None, alias="displayEmail")
    username: str | None = None

    def names(self) -> set[str]:
        return {name.casefold() for name in (self.email, self.display_email, self.username) if name}


class _Hosted(_Model):
    hosts: Annotated[tuple[_Host, ...], Field(min_length=1, strict=False)]


class _Guest(_Model):
    name: str = ""
    email: str | None = None  # hidden at seated bookings, absent where the guest gave only a telephone number


class _Booking(_Hosted):
    """The fields we read. The numeric ``id`` is not one: some payloads lack it (cal.diy#12093), the uid is the key."""

    uid: str = Field(min_length=1)
    status: Annotated[Literal["accepted", "pending", "awaiting_host", "cancelled", "rejected"], BeforeValidator(_lower)]
    title: str = ""
    start: str
    end: str
    created: str = Field(alias="createdAt")
    updated: str | None = Field(default=None, alias="updatedAt")
    origin: str | None = Field(default=None, alias="rescheduledFromUid")
    recurring: str | None = Field(default=None, alias="recurringBookingUid")
    metadata: dict[str, Any] | None = None
    attendees: tuple[_Guest, ...] = Field(default=(), strict=False)


def is_gone(raw: dict[str, Any]) -> bool:
    """Asked before anything else is read: of a cancelled or rejected booking we need no more than its uid."""
    return _lower(raw.get("status")) in _GONE


def uid_of(raw: dict[str, Any]) -> RemoteId | None:
    return _uid(raw, "uid")


def successor_of(raw: dict[str, Any]) -> RemoteId | None:
    """The booking that took over, if the vendor says so; it does not always (cal.diy#28543)."""
    return _uid(raw, "rescheduledToUid")


def origin_of(raw: dict[str, Any]) -> RemoteId | None:
    """The booking that this one took over from, if the vendor says so; for seats it may not (cal.diy#29986)."""
    return _uid(raw, "rescheduledFromUid")


def key_of(raw: dict[str, Any]) -> WriteKey | None:
    """The key of our write. Occurrences inherit the metadata of their series, so none of them is our one booking."""
    match raw:
        case {"metadata": {"watertightKey": str(key)}} if key and not raw.get("recurringBookingUid"):
            return WriteKey(key)
        case _:
            return None


def is_hosted_by(raw: dict[str, Any], remote: str) -> bool:
    """Whether ``remote``, a username or an e-mail address, is a host.

    Raises:
        Malformed: nobody can say who hosts it.
    """
    try:
        hosted = _Hosted.model_validate(raw)
    except ValidationError as error:
        raise _malformed(error.errors(include_url=False)[0]) from None
    return any(remote.casefold() in host.names() for host in hosted.hosts)


def is_of_another_version(raw: object) -> bool:
    """Whether a record has the shape of an endpoint older than the one we asked for (``startTime`` for ``start``)."""
    return isinstance(raw, dict) and "startTime" in raw and "start" not in raw


def stamp_of(raw: dict[str, Any]) -> datetime:
    """The vendor's clock at the last change; a booking that was never changed has only its creation.

    Raises:
        Malformed: there is no time that can be read.
    """
    if raw.get("updatedAt") is not None:
        return parse_instant(raw["updatedAt"], field="updatedAt")
    return parse_instant(raw.get("createdAt"), field="createdAt")


def parse_change(raw: object, *, ref: CalendarRef) -> Change | None:
    """One row of the list: None if others host it, Unparsed if it cannot be understood; never an exception."""
    if not isinstance(raw, dict):
        return Unparsed(None, "data", "is not an object", str(raw))
    try:
        if not is_hosted_by(raw, ref.remote):
            return None
        return parse_removal(raw) if is_gone(raw) else parse_event(raw, ref=ref)
    except Malformed as error:
        return Unparsed(uid_of(raw), error.field, error.reason, raw)


def parse_removal(raw: dict[str, Any]) -> Removal:
    """A cancelled or rejected booking.

    Raises:
        Malformed: it has no uid, or no time that can be read.
    """
    uid = uid_of(raw)
    if uid is None:
        raise Malformed("uid", "is missing")
    return Removal(uid, stamp_of(raw), replaces=origin_of(raw))


def parse_event(raw: dict[str, Any], *, ref: CalendarRef) -> RemoteEvent:
    """A booking as an event; a cancelled one does not block.

    Raises:
        Malformed: with the vendor's field path.
    """
    try:
        booking = _Booking.model_validate(raw)
    except ValidationError as error:
        raise _malformed(error.errors(include_url=False)[0]) from None
    interval = Interval(parse_instant(booking.start, field="start"), parse_instant(booking.end, field="end"))
    updated = stamp_of(raw)
    return RemoteEvent(
        remote_id=RemoteId(booking.uid),
        version=_version(booking, interval=interval, updated=updated),
        updated=updated,
        interval=interval,
        blocks=_blocks(booking.status, policy=ref.busy),
        title=booking.title,
        attendees=tuple(_attendees(booking)),
        key=key_of(raw),
        series_id=booking.recurring,
        replaces=RemoteId(booking.origin) if booking.origin else None,
    )


def email_of_host(raw: dict[str, Any], remote: str) -> str | None:
    """The address under which ``remote`` hosts this booking."""
    hosts = _Hosted.model_validate(raw).hosts
    return next((host.email for host in hosts if remote.casefold() in host.names() and host.email), None)


def dump_draft(draft: EventDraft, *, key: WriteKey, event_type: int, zone: str) -> dict[str, Any]:
    """The body of ``POST /v2/bookings``. The vendor makes the title itself.

    Raises:
        Malformed: Cal.com cannot book this.
    """
    if not draft.blocks:
        raise Malformed("blocks", "is false, and a booking always takes time")
    if not draft.attendees:
        raise Malformed("attendees", "is empty, and a booking is always somebody's")
    if len(key) > LONGEST_KEY:
        raise Malformed("key", f"is longer than {LONGEST_KEY} characters")
    guest, *others = draft.attendees
    return {
        "start": _rfc3339(draft.interval.start),
        "lengthInMinutes": minutes_of(draft.interval),
        "eventTypeId": event_type,
        "attendee": {"name": guest.name or guest.email, "email": guest.email, "timeZone": zone},
        "guests": [other.email for other in others],
        "metadata": {KEY_FIELD: key},
    }


def dump_reschedule(draft: EventDraft, *, host: str | None) -> dict[str, Any]:
    """The body of ``…/reschedule``. Named as the one who moves it, the host need not confirm it again."""
    body = {"start": _rfc3339(draft.interval.start)}
    if host:
        body["rescheduledBy"] = host
    if draft.note:
        body["reschedulingReason"] = draft.note
    return body


def minutes_of(interval: Interval) -> int:
    """The length in minutes.

    Raises:
        Malformed: it is not a whole number of them.
    """
    minutes, rest = divmod((interval.end - interval.start).total_seconds(), 60)
    if rest:
        raise Malformed("interval", "is not a whole number of minutes long")
    return int(minutes)


def _blocks(status: str, *, policy: BusyPolicy) -> bool:
    """Whether the booking takes the host's time.

    ===========================================  ==============================
    accepted                                     yes
    pending (the host has not confirmed it yet)  as ``policy.tentative`` says
    awaiting_host (an instant meeting)           as ``policy.tentative`` says
    cancelled, rejected                          no; told as a removal
    any other status                             not understood, so quarantined
    ===========================================  ==============================
    """
    if status in _GONE:
        return False
    return status == "accepted" or policy.tentative


def _version(booking: _Booking, *, interval: Interval, updated: datetime) -> str:
    """Differs whenever time, status, title or the vendor's clock does.

    Attendees are left out: a seated booking shows them in some answers and hides them in others.
    """
    told = f"{booking.status} {interval.start.isoformat()} {interval.end.isoformat()} {booking.title}"
    return f"{updated.isoformat()} {hashlib.sha256(told.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _attendees(booking: _Booking) -> list[Attendee]:
    """The other people: not hosts, whom team bookings list among the guests, nor guests whose address is hidden."""
    hosts = {name for host in booking.hosts for name in host.names()}
    people = ((guest.name, guest.email) for guest in booking.attendees)
    return [Attendee(name, email) for name, email in people if email and email.casefold() not in hosts]


def _uid(raw: dict[str, Any], name: str) -> RemoteId | None:
    value = raw.get(name)
    return RemoteId(value) if isinstance(value, str) and is_name(value) else None


def _rfc3339(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _malformed(problem: ErrorDetails) -> Malformed:
    # The message of pydantic would quote the value, which may be personal.
    path = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "missing":
        return Malformed(path, "is missing")
    return Malformed(path, "is null" if problem["input"] is None else f"is not valid ({problem['type']})")
