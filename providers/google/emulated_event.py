"""What the emulator knows of one event: the JSON that Google would show, and what it would refuse.

Source: ``calendar.v3.json`` revision 20261030 and the error guide. Reads times by itself, not through ``payloads``: the
client must not be judged by its own reading.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_ID = re.compile(r"[a-v0-9]{5,1024}")
_FIRST = datetime(1, 1, 2, tzinfo=UTC)

_WRITABLE = (
    "summary", "description", "location", "start", "end", "transparency", "visibility", "attendees",
    "extendedProperties", "reminders", "recurrence", "recurringEventId", "originalStartTime", "colorId", "status",
    "eventType", "guestsCanInviteOthers", "guestsCanModify", "guestsCanSeeOtherGuests", "anyoneCanAddSelf", "source",
    "focusTimeProperties", "outOfOfficeProperties", "workingLocationProperties", "birthdayProperties",
)  # fmt: skip


class Refusal(Exception):
    """An answer in Google's error envelope."""

    def __init__(self, status: int, reason: str, message: str, *, domain: str = "global", location: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.domain = domain
        self.location = location

    def body(self) -> dict[str, Any]:
        error = {"domain": self.domain, "reason": self.reason, "message": self.message}
        if self.location:
            error |= {"locationType": "parameter", "location": self.location}
        return {"error": {"errors": [error], "code": self.status, "message": self.message}}


class Stamps:
    """``updated`` in milliseconds, strictly growing, and the etag that goes with it."""

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        # Goes on after the newest event of an earlier run, even if the clock of the machine was set back.
        moments = (
            datetime.fromisoformat(event["updated"]) for event in events if isinstance(event.get("updated"), str)
        )
        self._last_ms = max((int(moment.timestamp() * 1000) for moment in moments), default=0)

    def next(self) -> dict[str, str]:
        self._last_ms = max(self._last_ms + 1, int(datetime.now(UTC).timestamp() * 1000))
        moment = datetime.fromtimestamp(self._last_ms / 1000, tz=UTC)
        updated = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"updated": updated, "etag": f'"{self._last_ms * 2000}"'}


def new_id() -> str:
    """An id as Google makes them."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(26))


def new_event(calendar: str, body: dict[str, Any], *, event_id: str, stamp: dict[str, str]) -> dict[str, Any]:
    """A fresh event with Google's own fields around ``body``."""
    person = {"email": calendar, "self": True}
    return {
        "kind": "calendar#event",
        "id": event_id,
        "status": "confirmed",
        "htmlLink": f"https://www.google.com/calendar/event?eid={event_id}",
        "created": stamp["updated"],
        "creator": person,
        "organizer": person,
        "iCalUID": f"{event_id}@google.com",
        "sequence": 0,
        "reminders": {"useDefault": True},
        "eventType": "default",
        **_shown(calendar, body),
        **stamp,
    }


def changed(calendar: str, old: dict[str, Any], body: dict[str, Any], *, stamp: dict[str, str]) -> dict[str, Any]:
    """``old`` with ``body`` merged in: objects merge, null clears, arrays are replaced (events.patch)."""
    new = {**_merged(old, {name: body[name] for name in _WRITABLE if name in body}), **stamp}
    if (new.get("start"), new.get("end")) != (old.get("start"), old.get("end")):
        new["sequence"] = old.get("sequence", 0) + 1
    return _shown(calendar, new, keep=True)


def replaced(calendar: str, old: dict[str, Any], body: dict[str, Any], *, stamp: dict[str, str]) -> dict[str, Any]:
    """``body`` in place of everything a caller may set (events.update)."""
    kept = {name: value for name, value in old.items() if name not in _WRITABLE or name == "eventType"}
    return changed(calendar, {**kept, "status": "confirmed"}, body, stamp=stamp)


def cancelled(old: dict[str, Any], *, stamp: dict[str, str]) -> dict[str, Any]:
    return {**old, "status": "cancelled", **stamp}


def minimal(data: dict[str, Any]) -> dict[str, Any]:
    """A cancelled row of a list: Google guarantees no more than this."""
    names = ("kind", "etag", "id", "status", "recurringEventId", "originalStartTime")
    return {name: data[name] for name in names if name in data}


def must_be_valid(body: dict[str, Any]) -> None:
    """Refuse what Google refuses on insert, update and patch.

    Raises:
        Refusal: 400 with the reason.
    """
    for end in ("start", "end"):
        if not isinstance(body.get(end), dict):
            raise Refusal(400, "required", f"Missing {end} time.")
    if ("date" in body["start"]) != ("date" in body["end"]):
        raise Refusal(400, "invalid", "Start and end times must either both be date or both be dateTime.")
    both = span(body)
    if both is None:
        raise Refusal(400, "invalid", "Invalid start or end time.")
    if both[1] < both[0]:
        raise Refusal(400, "timeRangeEmpty", "The specified time range is empty.", domain="calendar")


def must_be_valid_id(event_id: object) -> None:
    """Refuse ids outside base32hex, 5 to 1024 characters.

    Raises:
        Refusal: 400 invalid.
    """
    if not isinstance(event_id, str) or not _ID.fullmatch(event_id):
        raise Refusal(400, "invalid", "Invalid resource id value.")


def span(data: dict[str, Any]) -> tuple[datetime, datetime] | None:
    """Start and end as instants (the emulated calendars live in UTC); None if they cannot be read."""
    try:
        return _instant(data["start"]), _instant(data["end"])
    except (AttributeError, KeyError, TypeError, ValueError, OSError, OverflowError):
        return None


def _instant(end: dict[str, Any]) -> datetime:
    if end.get("date"):
        return datetime.combine(datetime.fromisoformat(end["date"]).date(), time.min, tzinfo=UTC)
    moment = datetime.fromisoformat(end["dateTime"])
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(end["timeZone"]))
    return max(moment, _FIRST).astimezone(UTC)


def _merged(old: Any, new: Any) -> Any:  # noqa: ANN401 - any JSON
    if not isinstance(new, dict) or not isinstance(old, dict):
        return {name: value for name, value in new.items() if value is not None} if isinstance(new, dict) else new
    both = {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}
    return {name: value for name, value in both.items() if value is not None}


def _shown(calendar: str, body: dict[str, Any], *, keep: bool = False) -> dict[str, Any]:
    shown: dict[str, Any] = _merged({}, body if keep else {name: body[name] for name in _WRITABLE if name in body})
    for end in ("start", "end"):
        if "dateTime" in shown.get(end, {}):
            shown[end].setdefault("timeZone", "UTC")
    if "attendees" in shown:
        shown["attendees"] = [_guest(calendar, guest) for guest in shown["attendees"]]
    return shown


def _guest(calendar: str, guest: dict[str, Any]) -> dict[str, Any]:
    own = {"self": True, "organizer": True} if guest.get("email", "").lower() == calendar else {}
    return {"responseStatus": "needsAction", **guest, **own}
