"""A calendar system in memory, held to the same contract as the vendors' clients, for tests that need thousands of runs.

Faults are armed by name for the next calls of a method, and happen before or after the work was done.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sync.domain import (
    CalendarRef,
    Change,
    ChangeSet,
    EventDraft,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    Removal,
    Subscription,
    Unparsed,
    WriteKey,
)
from sync.errors import CursorExpired, NotFound, Rejected, StaleVersion


@dataclass(slots=True)
class _Row:
    seq: int
    state: RemoteEvent | Removal
    created_by: str


@dataclass(frozen=True, slots=True)
class _Armed:
    method: str
    when: str
    act: Callable[[], object]


@dataclass(slots=True)
class MemoryCalendar:
    """One calendar: reader, writer and subscriber at once, and the hands of its human (``put``, ``remove``, ``replace``).

    With ``replaces`` a new time is a new event, as booking tools have it.
    """

    name: str
    replaces: bool = False
    rows: dict[RemoteId, _Row] = field(default_factory=dict)
    burnt: set[WriteKey] = field(default_factory=set)
    unparsed: list[Unparsed] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    expired_before: int = 0
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    bodies: dict[RemoteId, str] = field(default_factory=dict)
    heirs: dict[RemoteId, RemoteId] = field(default_factory=dict)
    _armed: deque[_Armed] = field(default_factory=deque)
    _seq: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _last: int = 0

    def fail(self, method: str, error: BaseException, *, after: str = "before") -> None:
        """Let the next call of ``method`` raise, ``before`` or ``after`` the work."""

        def act() -> None:
            raise error

        self.on(method, act, after=after)

    def on(self, method: str, act: Callable[[], object], *, after: str = "before") -> None:
        """Let something happen in the middle of the next call of ``method``, ``before`` or ``after`` the work."""
        self._armed.append(_Armed(method, after, act))

    def heal(self) -> None:
        """Forget every fault that has not struck yet."""
        self._armed.clear()

    def put(
        self,
        interval: Interval,
        title: str = "",
        *,
        remote_id: str | None = None,
        blocks: bool = True,
        key: WriteKey | None = None,
        created_by: str = "human",
    ) -> RemoteEvent:
        """Create an event, or change the one with this id, as a person would."""
        row_id = RemoteId(remote_id or f"{self.name}-{next(self._seq)}")
        known = self.rows.get(row_id)
        seq = next(self._seq)
        before = known.state if known and isinstance(known.state, RemoteEvent) else None
        kept_key = before.key if before else key
        event = RemoteEvent(row_id, f'"{seq}"', self._at(seq), interval, blocks=blocks, title=title, key=kept_key)
        event = replace(event, replaces=before.replaces if before else None)
        self._store(seq, event, created_by=known.created_by if known else created_by)
        return event

    def remove(self, remote_id: RemoteId) -> None:
        """Delete as a person would."""
        seq = next(self._seq)
        state = self.rows[remote_id].state
        if isinstance(state, RemoteEvent) and state.key:
            self.burnt.add(state.key)
        self._store(seq, Removal(remote_id, self._at(seq), state.replaces), created_by=self.rows[remote_id].created_by)

    def replace(self, remote_id: RemoteId, interval: Interval, *, created_by: str = "human") -> RemoteEvent:
        """Put an event with another id in the place of this one."""
        before = self.rows[remote_id].state
        title, blocks = (before.title, before.blocks) if isinstance(before, RemoteEvent) else ("", True)
        event = replace(self.put(interval, title, blocks=blocks, created_by=created_by), replaces=remote_id)
        self._store(self.rows[event.remote_id].seq, event, created_by=created_by)
        self.heirs[remote_id] = event.remote_id
        self.remove(remote_id)
        return event

    def expire(self) -> None:
        """Make every cursor handed out so far worthless."""
        self.expired_before = self._last + 1

    def may_answer(self, cursor: str) -> bool:
        """Whether a read from this cursor on would find anything, or meet a fault."""
        since = int(cursor)
        return since != self._last or since < self.expired_before or bool(self.unparsed or self._armed)

    def events(self) -> list[RemoteEvent]:
        """What a person looking at the calendar sees."""
        return [row.state for row in list(self.rows.values()) if isinstance(row.state, RemoteEvent)]

    def read_changes(
        self,
        cursor: str | None,
        *,
        window: Interval,
        job: Job | None = None,  # noqa: ARG002 - the feed cannot be filtered by kind
    ) -> ChangeSet:
        self._called("read_changes")
        since = int(cursor) if cursor is not None else 0
        if cursor is not None and since < self.expired_before:
            raise CursorExpired(self.name)
        rows = sorted((row for row in list(self.rows.values()) if row.seq > since), key=lambda row: row.seq)
        states: list[Change] = [row.state for row in rows if cursor is not None or _shown(row.state, window)]
        return ChangeSet((*states, *self.unparsed), str(self._last), full=cursor is None)

    def read_window(self, window: Interval) -> list[RemoteEvent]:
        self._called("read_window")
        return [event for event in self.events() if event.interval.overlaps(window)]

    def find_event(self, remote_id: RemoteId) -> RemoteEvent | None:
        self._called("find_event")
        row = self.rows.get(remote_id)
        if row is not None and isinstance(row.state, RemoteEvent):
            return row.state
        heir = self.heirs.get(remote_id)
        return self.find_event(heir) if heir is not None else None

    def find_by_key(self, key: WriteKey) -> RemoteEvent | None:
        self._called("find_by_key")
        return self._find_made(key)

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        self._called("create")
        if key in self.burnt:
            message = f"{self.name}: the key belonged to an event that was deleted"
            raise Rejected(message)
        existing = self._find_made(key)
        event = existing or self.put(draft.interval, draft.title, blocks=draft.blocks, key=key, created_by="api")
        self.bodies.setdefault(event.remote_id, draft.body or "")
        self._done("create")
        return event

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        self._called("update")
        now = self._expect(remote_id, version)
        if self.replaces and now.interval != draft.interval:
            event = self.replace(remote_id, draft.interval, created_by="api")
        else:
            event = self.put(draft.interval, draft.title, remote_id=remote_id, blocks=draft.blocks)
        said = self.bodies.get(remote_id, "")
        body = draft.noted(said)
        self.bodies[remote_id] = said if body is None else body
        self._done("update")
        return event

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        self._called("delete")
        row = self.rows.get(remote_id)
        if row is not None and isinstance(row.state, RemoteEvent):
            self._expect(remote_id, version)
            self.remove(remote_id)
        self._done("delete")

    def subscribe(self, *, url: str, secret: str, expires: datetime) -> Subscription:  # noqa: ARG002 - the port's shape
        self._called("subscribe")
        subscription = Subscription(f"{self.name}-sub-{next(self._seq)}", expires)
        self.subscriptions[subscription.id] = subscription
        return subscription

    def renew(self, subscription: Subscription, *, url: str, secret: str, expires: datetime) -> Subscription:  # noqa: ARG002
        self._called("renew")
        if subscription.id not in self.subscriptions:
            raise NotFound(subscription.id)
        renewed = replace(subscription, expires=expires)
        self.subscriptions[subscription.id] = renewed
        return renewed

    def unsubscribe(self, subscription: Subscription) -> None:
        self._called("unsubscribe")
        self.subscriptions.pop(subscription.id, None)

    def _find_made(self, key: WriteKey) -> RemoteEvent | None:
        """Not a person's copy of it, which has the key as well."""
        made = (row.state for row in list(self.rows.values()) if row.created_by == "api")
        return next((event for event in made if isinstance(event, RemoteEvent) and event.key == key), None)

    def _expect(self, remote_id: RemoteId, version: str) -> RemoteEvent:
        row = self.rows.get(remote_id)
        if row is None or isinstance(row.state, Removal):
            raise NotFound(remote_id)
        if row.state.version != version:
            raise StaleVersion(remote_id)
        return row.state

    def _store(self, seq: int, state: RemoteEvent | Removal, *, created_by: str) -> None:
        self.rows[state.remote_id] = _Row(seq, state, created_by)
        self._last = seq

    def _called(self, method: str) -> None:
        self.calls.append(method)
        self._act(method, "before")

    def _done(self, method: str) -> None:
        self._act(method, "after")

    def _act(self, method: str, when: str) -> None:
        armed = next((armed for armed in self._armed if (armed.method, armed.when) == (method, when)), None)
        if armed is not None:
            self._armed.remove(armed)
            armed.act()

    def _at(self, seq: int) -> datetime:
        return datetime(2027, 1, 1, tzinfo=UTC) + timedelta(milliseconds=seq)


def _shown(state: RemoteEvent | Removal, window: Interval) -> bool:
    """A full read shows no tombstones."""
    return isinstance(state, RemoteEvent) and state.interval.overlaps(window)


class MemoryCalendars:
    """All calendars of a test, by the vendor's reference; implements ``sync.ports.Calendars`` and ``Subscribers``."""

    def __init__(self) -> None:
        self._calendars: dict[str, MemoryCalendar] = {}

    def of(self, remote: str) -> MemoryCalendar:
        return self._calendars.setdefault(remote, MemoryCalendar(remote))

    def use(self, calendar: MemoryCalendar) -> None:
        """Let a special one stand in for the calendar of its name."""
        self._calendars[calendar.name] = calendar

    def reader(self, calendar: CalendarRef) -> MemoryCalendar:
        return self.of(calendar.remote)

    def writer(self, calendar: CalendarRef) -> MemoryCalendar:
        return self.of(calendar.remote)

    def subscriber(self, calendar: CalendarRef) -> MemoryCalendar:
        return self.of(calendar.remote)
