"""What the engine asks of a calendar system. Adapters implement these; the engine never names a product."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sync.domain import (
    CalendarRef,
    ChangeSet,
    EventDraft,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    Subscription,
    WriteKey,
)


class CalendarReader(Protocol):
    """Reads one calendar.

    Every method raises the branches of ``sync.errors``: Transient (no answer, limits, nonsense), CredentialRevoked,
    Forbidden. A partial answer is an error, never a shorter result (P6).
    """

    def read_changes(self, cursor: str | None, *, window: Interval, job: Job | None = None) -> ChangeSet:
        """Everything since ``cursor``; without one, everything in ``window``. Series come as their occurrences.

        ``window`` must be the one the cursor was opened with. A vendor that can filter may leave out, of what came since
        the cursor, what does not concern ``job``. An event that another one replaces comes with that one.

        Raises:
            CursorExpired: the cursor cannot be continued; read again without one.
        """
        ...

    def read_window(self, window: Interval) -> Sequence[RemoteEvent]:
        """Every live event that overlaps ``window``, read now from the vendor, series expanded.

        Raises:
            Malformed: one record could not be understood, so nobody can say that the time is free.
        """
        ...

    def find_event(self, remote_id: RemoteId) -> RemoteEvent | None:
        """The event as it is now, or None if it does not exist or is cancelled.

        Where another event has replaced it, that one.

        Raises:
            Malformed: it exists and cannot be understood.
        """
        ...

    def find_by_key(self, key: WriteKey) -> RemoteEvent | None:
        """The live event that a write of ours with this key created, if there is one."""
        ...


class CalendarWriter(Protocol):
    """Writes one calendar; held by the commit task alone (P3). Nobody is notified by any of these."""

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        """Create once per key: called again with the same key it returns the event that is already there.

        Raises:
            WriteOutcomeUnknown: no answer; call again with the same key.
            Rejected: the vendor refuses, or the key belonged to an event that has since been deleted.
        """
        ...

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        """Replace interval, title, body and busy state if ``version`` is still the newest.

        Raises:
            StaleVersion: it is not.
            NotFound: the event is gone.
            WriteOutcomeUnknown: no answer; read before deciding again.
        """
        ...

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        """Delete if ``version`` is still the newest. An event that is already gone is success.

        Raises:
            StaleVersion: it is not.
            WriteOutcomeUnknown: no answer; read before deciding again.
        """
        ...


class CalendarSubscriber(Protocol):
    """Asks the vendor to push hints. A hint only says "read again" (design §5.1)."""

    def subscribe(self, *, url: str, secret: str, expires: datetime) -> Subscription: ...

    def renew(self, subscription: Subscription, *, url: str, secret: str, expires: datetime) -> Subscription:
        """Extend, or replace where the vendor cannot extend. The old channel may overlap with the new one.

        Raises:
            NotFound: the vendor has lost the subscription; subscribe again.
        """
        ...

    def unsubscribe(self, subscription: Subscription) -> None:
        """End it. A subscription that is already gone is success."""
        ...


class CalendarAdapter(CalendarReader, CalendarWriter, CalendarSubscriber, Protocol):
    """All three, as adapters implement them. Only wiring sees this; everybody else is handed one of the parts."""


class Calendars(Protocol):
    """Hands out the parts for a calendar. In every process but the commit worker ``writer`` hands out a refusing one."""

    def reader(self, calendar: CalendarRef) -> CalendarReader: ...

    def writer(self, calendar: CalendarRef) -> CalendarWriter: ...


class Subscribers(Protocol):
    """Hands out what asks a vendor to push. That needs no more than reading rights, so every process may have it."""

    def subscriber(self, calendar: CalendarRef) -> CalendarSubscriber: ...
