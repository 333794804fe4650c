"""The steps that talk to the master calendar: check, write, verify, undo (design §5.2, steps 2 to 4). No transaction in here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sync.commit.order import Order, evidence_of
from sync.conflicts import Own, find_blockers
from sync.domain import EventDraft, Interval, Kind, Reason, RemoteEvent, RemoteId
from sync.errors import StaleVersion
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
            StaleVersion: the event changed since the check; check again.
            WriteOutcomeUnknown: no answer; check again, with the same key.
        """
        order, event = self._order, clear.event
        if order.kind is Kind.BOOK:
            return event or self._writer.create(order.draft(), key=order.key)
        if event is None:
            return None  # a cancellation of what is gone already
        if order.kind is Kind.CANCEL:
            self._writer.delete(event.remote_id, version=event.version)
            return None
        draft = order.draft()
        return event if draft.is_shown_by(event) else self._writer.update(event.remote_id, draft, version=event.version)

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
        event = self._reader.find_event(remote_id)
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
        if event is not None:
            same = EventDraft(event.interval, event.title, blocks=event.blocks)
            self._writer.update(event.remote_id, same, version=event.version)

    def _check_time(self) -> Clear | Blocked:
        order = self._order
        if order.interval is None:
            message = f"proposal {order.proposal_id} names no time to check"
            raise ValueError(message)
        events, evidence = self._read_around(order.interval, step="check", own=order.own)
        existing = self._existing(events)
        if isinstance(existing, Reason):
            return Blocked(existing, evidence)
        if evidence["events"] and order.takes_time:
            return Blocked(Reason.MASTER_BUSY, evidence, existing if self._must_undo(existing) else None)
        return Clear(existing, evidence)

    def _existing(self, events: list[RemoteEvent]) -> RemoteEvent | Reason | None:
        """Our event, if this order has one already."""
        if self._order.kind is Kind.MOVE:
            return self._find_carried()
        return self._find_made(events) if self._order.kind is Kind.BOOK else None

    def _find_made(self, events: list[RemoteEvent]) -> RemoteEvent | None:
        """The event of an earlier attempt whose outcome nobody recorded."""
        own = next((event for event in events if self._order.own.is_it(event)), None)
        if own is None and self._order.attempt > 1:
            return self._reader.find_by_key(self._order.key)
        return own

    def _find_carried(self) -> RemoteEvent | Reason:
        """The event that carries the appointment, if it is still as agreed or already as wanted."""
        order = self._order
        event = self._reader.find_event(order.remote_id) if order.remote_id is not None else None
        if event is None:
            return Reason.GONE
        as_expected = event.version == order.remote_version or event.interval in {order.before, order.interval}
        return event if as_expected else Reason.MASTER_CHANGED

    def _must_undo(self, existing: RemoteEvent | None) -> bool:
        return existing is not None and (self._order.kind is Kind.BOOK or existing.interval != self._order.before)

    def _check_cancel(self) -> Clear | Blocked:
        order = self._order
        event = self._reader.find_event(order.remote_id) if order.remote_id is not None else None
        evidence = {
            "step": "check",
            "read_at": datetime.now(UTC).isoformat(),
            "events": [event.remote_id] if event else [],
        }
        if event is not None and event.version != order.remote_version and event.interval != order.before:
            return Blocked(Reason.MASTER_CHANGED, evidence)
        return Clear(event, evidence)

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
