"""The bookings of all hosts: booked, moved and ended, with the lies that go with a write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from providers.calcom.emulated_booking import (
    GONE,
    TAKEN,
    Booking,
    Refusal,
    Stamps,
    ended,
    new_booking,
    overlaps,
    successor,
)
from providers.calcom.emulated_list import touched_first
from providers.emulated_store import Entry, Store


class Tell(Protocol):
    """Hears how a booking stands now; ``before`` is the one that it replaces."""

    def __call__(self, host: str, booking: Booking, *, before: Booking | None = None) -> None: ...


class Diary:
    """What is booked. ``lies(kind, calendar)`` tells whether such a fault is armed, and uses it up."""

    def __init__(self, store: Store, *, lies: Callable[[str, str], bool], tell: Tell) -> None:
        self._store = store
        self._lies = lies
        self._tell = tell
        self._stamps = Stamps(entry.data for entry in self._entries())

    def bookings(self, host: str | None) -> list[Booking]:
        """Those of a host, in whatever state; of everybody for None."""
        return [entry.data for entry in (self._entries() if host is None else self._store.entries(host))]

    def series(self, uid: str) -> list[Booking]:
        return [row for row in self.bookings(None) if row.get("recurringBookingUid") == uid]

    def owner(self, uid: str) -> str | None:
        return next((calendar for calendar in self._store.calendars() if self._store.get(calendar, uid)), None)

    def find(self, uid: str) -> tuple[str, Booking]:
        """The host and the booking.

        Raises:
            Refusal: 404.
        """
        for calendar in self._store.calendars():
            if entry := self._store.get(calendar, uid):
                return calendar, entry.data
        raise Refusal(404, "NotFoundException", f"Booking with uid={uid} was not found in the database")

    def must_be_free(self, calendar: str, *, start: datetime, end: datetime, but: str = "") -> None:
        """Refuse a time at which the host has another booking.

        Raises:
            Refusal: 400, as this vendor does.
        """
        others = [row for row in self.bookings(calendar) if row.get("uid") != but and row.get("status") not in GONE]
        taken = any(overlaps(row, start=start, end=end) for row in others)
        if taken and not self._lies("double_booking", calendar):
            raise Refusal(400, "BadRequestException", TAKEN)

    def draft(self, calendar: str, body: Booking) -> Booking:
        """A booking that is not in the diary yet.

        Raises:
            Refusal: 400, the body is not one.
        """
        booking = new_booking(calendar, body, number=self._number(), stamp=self._stamps.next())
        return booking | self._nulls(calendar)

    def book(self, calendar: str, booking: Booking, *, name: str | None = None, created_by: str = "app") -> Booking:
        """Enter a new one."""
        return self._told(calendar, self._put(calendar, booking, name=name, created_by=created_by))

    def change(self, calendar: str, name: str, old: Booking, **fields: object) -> Booking:
        """In place, of which nobody is told, unless it is confirmed by that."""
        new = self._put(calendar, {**old, "updatedAt": self._stamps.next(), **fields}, name=name)
        return self._told(calendar, new) if new.get("status") != old.get("status") else new

    def end(self, calendar: str, name: str, old: Booking, *, reason: str | None, status: str = "cancelled") -> Booking:
        new = ended(old, stamp=self._stamps.next(), reason=reason, status=status)
        return self._told(calendar, self._put(calendar, new, name=name))

    def move(
        self, calendar: str, name: str, old: Booking, *, start: datetime, end: datetime, raw: Booking | None = None
    ) -> Booking:
        """Book the new time and cancel the old one; each names the other, unless it lies."""
        new = successor(old, start=start, end=end, number=self._number(), stamp=self._stamps.next())
        new |= self._nulls(calendar)
        to = None if self._lies("reschedule_without_successor", calendar) else new["uid"]
        if self._lies("successor_without_origin", calendar):
            del new["rescheduledFromUid"]
        entry = self._store.get(calendar, name)
        creator = entry.created_by if entry else "app"
        self._put(calendar, ended(old, stamp=self._stamps.next(), reason=None, to=to), name=name)
        shown = self._put(calendar, {**new, **(raw or {})}, name=new["uid"], created_by=creator)
        return self._told(calendar, shown, before=old)

    def _put(self, calendar: str, booking: Booking, *, name: str | None = None, created_by: str = "app") -> Booking:
        gone = booking.get("status") in GONE
        return self._store.put(calendar, name or booking["uid"], booking, created_by=created_by, deleted=gone).data

    def _told(self, calendar: str, booking: Booking, *, before: Booking | None = None) -> Booking:
        if not self._lies("lost_push", calendar):
            self._tell(calendar, booking, before=before)
        return booking

    def disturb(self, query: Mapping[str, str], host: str | None, *, now: datetime, cancelling: bool) -> None:
        """Somebody changes the first booking of a list, or cancels it, while another reads on."""
        row = touched_first(query, self.bookings(host), now=now)
        if row is None:
            return
        calendar, _ = self.find(row["uid"])
        if cancelling:
            self.end(calendar, row["uid"], row, reason=None)
        else:
            self.change(calendar, row["uid"], row)

    def _entries(self) -> list[Entry]:
        return [entry for calendar in self._store.calendars() for entry in self._store.entries(calendar)]

    def _number(self) -> int:
        return len(self._entries()) + 1

    def _nulls(self, calendar: str) -> Booking:
        return {"updatedAt": None} if self._lies("null_updated", calendar) else {}
