"""What the emulator knows of one booking: the JSON that Cal.com would show, and what it would refuse.

Source: calcom/cal.com, ``…/2024-08-13/outputs/booking.output.ts``, ``create-booking.input.ts`` and ``bookings.service.ts``.
Reads times by itself, not through ``payloads``: the client must not be judged by its own reading.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

Booking = dict[str, Any]

DEFAULT_MINUTES = 60
TAKEN = "User either already has booking at this time or is not available"
GONE = ("cancelled", "rejected")

_ALPHABET = string.ascii_letters + string.digits
_METADATA_KEYS, _METADATA_KEY, _METADATA_VALUE = 50, 40, 500


class Refusal(Exception):
    """An answer in Cal.com's error envelope."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = {}

    def body(self, path: str) -> dict[str, Any]:
        return {
            "status": "error",
            "timestamp": shown_time(datetime.now(UTC)),
            "path": path,
            "error": {"code": self.code, "message": self.message},
        }


class Stamps:
    """The vendor's clock in milliseconds, strictly growing."""

    def __init__(self, bookings: Iterable[Booking] = ()) -> None:
        # Goes on after the newest booking of an earlier run, even if the clock of the machine was set back.
        texts = (booking.get(name) for booking in bookings for name in ("createdAt", "updatedAt"))
        self._last = max(
            (read_time(text) for text in texts if isinstance(text, str)), default=datetime(2000, 1, 1, tzinfo=UTC)
        )

    def next(self) -> str:
        self._last = max(self._last + timedelta(milliseconds=1), datetime.now(UTC))
        self._last = self._last.replace(microsecond=self._last.microsecond // 1000 * 1000)
        return shown_time(self._last)


def shown_time(moment: datetime) -> str:
    """As JavaScript writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: object) -> datetime:
    """The instant.

    Raises:
        Refusal: 400, it is not one.
    """
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refusal(400, "BadRequestException", "start must be a valid ISO 8601 date string")
    return moment.astimezone(UTC)


def new_uid() -> str:
    """A uid as Cal.com makes them."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(22))


def host_of(remote: str) -> dict[str, Any]:
    """The host that a username or an address names."""
    name, _, domain = remote.partition("@")
    address = remote if domain else f"{name}@example.com"
    number = sum(ord(character) * 31**place for place, character in enumerate(name)) % 100_000
    return {
        "id": number,
        "name": name.title(),
        "email": address,
        "displayEmail": address,
        "username": name,
        "timeZone": "America/Chicago",
    }


def new_booking(remote: str, body: Booking, *, number: int, stamp: str) -> Booking:
    """A fresh booking of ``remote`` from the body of ``POST /v2/bookings``.

    Raises:
        Refusal: 400, the body is not one.
    """
    start = read_time(body.get("start"))
    minutes = body.get("lengthInMinutes", DEFAULT_MINUTES)
    guest = _guest(body)
    uid, event_type = new_uid(), body.get("eventTypeId", 1)
    return {
        "id": number,
        "uid": uid,
        "title": body.get("title") or f"Viewing between {host_of(remote)['name']} and {guest['name']}",
        "description": "",
        "hosts": [host_of(remote)],
        "status": body.get("status", "accepted"),
        "start": shown_time(start),
        "end": shown_time(start + timedelta(minutes=minutes)),
        "duration": minutes,
        "eventTypeId": event_type,
        "eventType": {"id": event_type, "slug": "viewing"},
        "meetingUrl": "integrations:daily",
        "location": "integrations:daily",
        "absentHost": False,
        "createdAt": stamp,
        "updatedAt": stamp,
        "metadata": must_be_metadata(body.get("metadata", {})),
        "rating": None,
        "icsUid": f"{uid}@Cal.com",
        "attendees": [guest],
        "guests": body.get("guests", []),
        "bookingFieldsResponses": {"name": guest["name"], "email": guest["email"]},
    }


def _guest(body: Booking) -> dict[str, Any]:
    guest = body.get("attendee")
    if not isinstance(guest, dict) or not guest.get("email") or not guest.get("name") or not guest.get("timeZone"):
        raise Refusal(400, "BadRequestException", "attendee needs name, timeZone and email or phoneNumber")
    return {
        "name": guest["name"],
        "email": guest["email"],
        "displayEmail": guest["email"],
        "timeZone": guest["timeZone"],
        "language": guest.get("language", "en"),
        "absent": False,
    }


def must_be_metadata(value: object) -> dict[str, Any]:
    """The metadata as it came.

    Raises:
        Refusal: 400, it is larger than the vendor allows.
    """
    if not isinstance(value, dict) or len(value) > _METADATA_KEYS or not all(_fits(*pair) for pair in value.items()):
        message = f"Metadata must have at most {_METADATA_KEYS} keys, each up to {_METADATA_KEY} characters"
        raise Refusal(400, "BadRequestException", message)
    return value


def _fits(key: str, text: object) -> bool:
    return len(key) <= _METADATA_KEY and len(str(text)) <= _METADATA_VALUE


def successor(old: Booking, *, start: datetime, end: datetime, number: int, stamp: str) -> Booking:
    """The booking that takes over from ``old`` at another time: another uid, the same guests and metadata."""
    new = {name: value for name, value in old.items() if name not in ("rescheduledToUid", "cancellationReason")}
    uid = new_uid()
    times = {"start": shown_time(start), "end": shown_time(end), "duration": int((end - start).total_seconds() // 60)}
    stamps = {"createdAt": stamp, "updatedAt": stamp}
    return {
        **new,
        **times,
        **stamps,
        "id": number,
        "uid": uid,
        "icsUid": f"{uid}@Cal.com",
        "rescheduledFromUid": old["uid"],
    }


def told_about(body: Booking) -> Booking:
    """Who moves a booking and why, as the new one shows it."""
    told = {"reschedulingReason": body.get("reschedulingReason"), "rescheduledByEmail": body.get("rescheduledBy")}
    return {name: text for name, text in told.items() if text}


def ended(old: Booking, *, stamp: str, reason: str | None, status: str = "cancelled", to: str | None = None) -> Booking:
    """``old`` cancelled or rejected; ``to`` is the uid that took over."""
    new = {**old, "status": status, "updatedAt": stamp}
    if reason:
        new["cancellationReason"] = reason
    return {**new, "rescheduledToUid": to} if to else new


def length_of(booking: Booking) -> timedelta:
    return read_time(booking["end"]) - read_time(booking["start"])


def must_be_movable(booking: Booking) -> None:
    """Refuse to move what is cancelled.

    Raises:
        Refusal: 400.
    """
    if booking["status"] != "cancelled":
        return
    to = booking.get("rescheduledToUid")
    why = f"it has been cancelled and rescheduled already to booking with uid={to}" if to else "it has been cancelled"
    raise Refusal(400, "BadRequestException", f"Can't reschedule booking with uid={booking['uid']} because {why}.")


def must_be_cancellable(booking: Booking, *, reason: object) -> None:
    """Refuse to cancel twice, or as a host without a reason.

    Raises:
        Refusal: 400.
    """
    if booking["status"] == "cancelled":
        message = f"Can't cancel booking with uid={booking['uid']} because it has been cancelled already."
        raise Refusal(400, "BadRequestException", message)
    if not reason:
        raise Refusal(400, "BadRequestException", "Cancellation reason is required when you are the host")


def must_be_pending(booking: Booking) -> None:
    """Refuse to confirm or decline what waits for nobody.

    Raises:
        Refusal: 400.
    """
    if booking["status"] != "pending":
        raise Refusal(400, "BadRequestException", f"Booking with uid={booking['uid']} is not pending")


def overlaps(booking: Booking, *, start: datetime, end: datetime) -> bool:
    try:
        return read_time(booking.get("start")) < end and start < read_time(booking.get("end"))
    except Refusal:
        return False  # a planted oddity


def older_shape(booking: Booking) -> Booking:
    """What an endpoint of an earlier version shows."""
    host = (booking.get("hosts") or [{}])[0]
    return {
        "id": booking.get("id"),
        "uid": booking.get("uid"),
        "title": booking.get("title"),
        "startTime": booking.get("start"),
        "endTime": booking.get("end"),
        "status": str(booking.get("status")).upper(),
        "eventTypeId": booking.get("eventTypeId"),
        "attendees": booking.get("attendees"),
        "user": {"email": host.get("email"), "name": host.get("name"), "timeZone": host.get("timeZone")},
    }
