"""The steps that talk to the master calendar: check, write, verify, undo (design §5.2, steps 2 to 4). No transaction in here."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sync.commit.order import Order, evidence_of
from sync.conflicts import Own, find_blockers
from sync.domain import EventDraft, Interval, Kind, Reason, RemoteEvent, RemoteId
from sync.errors import KeySpent, NotFound, Permanent, StaleVersion
from sync.ports import Calendars

INVISIBLE_ATTEMPTS = 4  # how often a fresh event may be missing (vendors show new events late) before it counts as gone


@dataclass(frozen=True, slots=True)
class Clear:
    """The master is free, read in this attempt. ``event`` is our own event where it exists already.

    Only whoever holds one of these may write (P3).
    """

    event: RemoteEvent | None
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Blocked:
    """The proposal must be refused. ``event`` is what has to be undone first."""

    reason: Reason
    evidence: dict[str, Any]
    event: RemoteEvent | None = None


class Master:
    """The master calendar of one order."""

    def __init__(self, calendars: Calendars, order: Order) -> None:
        self._order = order
        self._reader = calendars.reader(order.master)
        self._writer = calendars.writer(order.master)

    def check(self) -> Clear | Blocked:
        """Read the master now.

        Raises:
            WatertightError: it could not be read completely and understood, which is never "free" (P6).
        """
        return self._check_cancel() if self._order.kind is Kind.CANCEL else self._check_time()

    def write(self, clear: Clear) -> RemoteEvent | None:
        """Make the change. The same order always makes the same one.

        Raises:
            StaleVersion: the event changed or went since the check; check again.
            WriteOutcomeUnknown: no answer; check again, with the same key.
        """
        order, event = self._order, clear.event
        if order.kind is Kind.BOOK:
            return event or self._create()
        if event is None:
            return None  # a cancellation of what is gone already
        if order.kind is Kind.CANCEL:
            self._writer.delete(event.remote_id, version=event.version)
            return None
        draft = order.draft()
        if draft.is_shown_by(event):
            return event
        try:
            return self._writer.update(event.remote_id, draft, version=event.version)
        except NotFound as error:  # the check has just seen it: gone since then, or only not found by id yet
            message = "the event went between check and write"
            raise StaleVersion(message) from error

    def _create(self) -> RemoteEvent:
        """Vendors may name the event of a used key before they show it, which looks as if it had been deleted."""
        try:
            return self._writer.create(self._order.draft(), key=self._order.key)
        except KeySpent as error:
            if self._order.attempt >= INVISIBLE_ATTEMPTS:
                raise
            message = "the event of our key does not show yet"
            raise StaleVersion(message) from error

    def verify(self, remote_id: RemoteId | None) -> Clear | Blocked:
        """Read again. A foreign event that slipped in wins, since nobody has been told yes yet.

        Raises:
            StaleVersion: our own event does not show yet.
        """
        if self._order.kind is Kind.CANCEL or self._order.interval is None or remote_id is None:
            return self._verify_cancel(remote_id)
        events, evidence = self._read_around(self._order.interval, step="verify", own=Own(self._order.key, remote_id))
        own = next((event for event in events if event.remote_id == remote_id), None) or self._reader.find_event(
            remote_id
        )
        if own is None:
            return self._invisible(evidence)
        if evidence["events"] and self._order.takes_time:
            return Blocked(Reason.MASTER_BUSY, evidence, own)
        return Clear(own, evidence)

    def undo(self, remote_id: RemoteId) -> None:
        """Take our change back, unless it is gone or a person has put the event elsewhere. May be repeated.

        Raises:
            StaleVersion: the event changed meanwhile; read again.
        """
        event = self._find(remote_id, within=self._order.interval)
        if event is None:
            return
        if self._order.kind is not Kind.MOVE:
            self._writer.delete(remote_id, version=event.version)
        elif event.interval == self._order.interval:
            self._writer.update(remote_id, self._order.draft_before(), version=event.version)

    def outdate(self) -> None:
        """Give the event that was to be moved a new version, unchanged.

        Whoever had this order before, and may still be about to write, is then refused by the vendor.

        Raises:
            StaleVersion: somebody changed it this moment; read again.
        """
        order = self._order
        event = self._reader.find_event(order.remote_id) if order.kind is Kind.MOVE and order.remote_id else None
        if event is None:
            return
        same = EventDraft(event.interval, event.title, blocks=event.blocks)
        with contextlib.suppress(Permanent):  # a vendor that refuses this refuses the late one too
            self._writer.update(event.remote_id, same, version=event.version)

    def _check_time(self) -> Clear | Blocked:
        order = self._order
        if order.interval is None:
            message = f"proposal {order.proposal_id} names no time to check"
            raise ValueError(message)
        _, evidence = self._read_around(order.interval, step="check", own=order.own)
        existing = self._existing()
        if isinstance(existing, Reason):
            return Blocked(existing, evidence)
        if evidence["events"] and order.takes_time:
            return Blocked(Reason.MASTER_BUSY, evidence, existing if self._must_undo(existing) else None)
        return Clear(existing, evidence)

    def _existing(self) -> RemoteEvent | Reason | None:
        """Our event, if this order has one already."""
        if self._order.kind is Kind.MOVE:
            return self._find_carried()
        return self._find_made() if self._order.kind is Kind.BOOK else None

    def _find_made(self) -> RemoteEvent | None:
        """The event of an earlier attempt whose outcome nobody recorded.

        Asked of the vendor, not picked from the window: a person who copied our event copied its key, and the copy is theirs.
        """
        return self._reader.find_by_key(self._order.key) if self._order.attempt > 1 else None

    def _find_carried(self) -> RemoteEvent | Reason:
        """The event that carries the appointment, if it is still as agreed or already as wanted."""
        order = self._order
        event = self._find(order.remote_id, within=order.before)
        if event is None:
            return Reason.GONE
        as_expected = event.version == order.remote_version or event.interval in {order.before, order.interval}
        return event if as_expected else Reason.MASTER_CHANGED

    def _must_undo(self, existing: RemoteEvent | None) -> bool:
        return existing is not None and (self._order.kind is Kind.BOOK or existing.interval != self._order.before)

    def _check_cancel(self) -> Clear | Blocked:
        order = self._order
        event = self._find(order.remote_id, within=order.before)
        evidence = {
            "step": "check",
            "read_at": datetime.now(UTC).isoformat(),
            "events": [event.remote_id] if event else [],
        }
        if event is not None and event.version != order.remote_version and event.interval != order.before:
            return Blocked(Reason.MASTER_CHANGED, evidence)
        return Clear(event, evidence)

    def _find(self, remote_id: RemoteId | None, *, within: Interval | None) -> RemoteEvent | None:
        """The event, or None if it is gone. Vendors answer "not found" for fresh ids: what a list shows is there (P6)."""
        if remote_id is None:
            return None
        event = self._reader.find_event(remote_id)
        if event is not None or within is None:
            return event
        return next((each for each in self._reader.read_window(within) if each.remote_id == remote_id), None)

    def _verify_cancel(self, remote_id: RemoteId | None) -> Clear:
        if remote_id is not None and self._reader.find_event(remote_id) is not None:
            message = "the deleted event still shows"
            raise StaleVersion(message)
        return Clear(None, {"step": "verify", "read_at": datetime.now(UTC).isoformat(), "events": []})

    def _invisible(self, evidence: dict[str, Any]) -> Blocked:
        if self._order.attempt < INVISIBLE_ATTEMPTS:
            message = "our own event does not show yet"
            raise StaleVersion(message)
        return Blocked(Reason.GONE, evidence)

    def _read_around(self, interval: Interval, *, step: str, own: Own) -> tuple[list[RemoteEvent], dict[str, Any]]:
        window = self._order.buffers.around(interval)
        read_at = datetime.now(UTC)
        events = list(self._reader.read_window(window))
        blockers = find_blockers(events, wanted=window, own=own)
        return events, evidence_of(blockers, window=window, read_at=read_at, step=step)
