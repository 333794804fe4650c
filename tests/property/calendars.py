"""Calendars in memory that keep a watch on whoever writes to them, and know what a person may do to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from providers.memory import MemoryCalendar, MemoryCalendars
from sync.domain import EventDraft, Interval, RemoteEvent, RemoteId, WriteKey


@dataclass(frozen=True, slots=True)
class Act:
    """A write of the engine that took time on a master, and the people's events that stood there when it returned."""

    calendar: str
    remote_id: RemoteId
    key: WriteKey | None
    blockers: tuple[RemoteEvent, ...]


@dataclass(frozen=True, slots=True)
class Trespass:
    """The engine deleted or moved an event that a person had made; the ledger must say why."""

    calendar: str
    remote_id: RemoteId
    what: str


@dataclass
class Watch:
    """What the calendars saw. ``reads`` has one set of names for each run of the commit task that is under way."""

    reads: list[set[str]] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    trespasses: list[Trespass] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class WatchedCalendar(MemoryCalendar):
    """``master`` is the name of its agent's master; ``is_due`` asks the ledger whether a write is still undecided."""

    def __init__(
        self,
        name: str,
        *,
        master: str,
        buffers: tuple[int, int],
        watch: Watch,
        is_due: Callable[[str, RemoteId | None, WriteKey | None], bool],
    ) -> None:
        super().__init__(name)
        self.master = master
        self.before, self.after = (timedelta(minutes=minutes) for minutes in buffers)
        self.watch = watch
        self.is_due = is_due
        self.lost: dict[RemoteId, RemoteEvent] = {}
        self.unread_removals: set[RemoteId] = set()

    def revive(self, remote_id: RemoteId) -> None:
        """A person takes an event out of the bin again; one of ours is from then on theirs as much as ours."""
        last = self.lost[remote_id]
        self.put(last.interval, last.title, remote_id=remote_id, blocks=last.blocks, key=last.key)
        if self.made_by_us(remote_id):
            self.rows[remote_id].created_by = "both"

    def remove(self, remote_id: RemoteId) -> None:
        state = self.rows[remote_id].state
        if isinstance(state, RemoteEvent):
            self.lost[remote_id] = state
        self.unread_removals.add(remote_id)
        super().remove(remote_id)

    def has_news_for(self, cursor: str | None) -> bool:
        """Whether a job that stands there would read anything."""
        return cursor is None or int(cursor) < max(self._last, self.expired_before - 1)

    def live(self, remote_id: RemoteId) -> RemoteEvent | None:
        row = self.rows.get(remote_id)
        return row.state if row is not None and isinstance(row.state, RemoteEvent) else None

    def made_by_people(self, remote_id: RemoteId) -> bool:
        return self.rows[remote_id].created_by == "human"

    def made_by_us(self, remote_id: RemoteId) -> bool:
        return self.rows[remote_id].created_by == "api"

    def read_window(self, window: Interval) -> list[RemoteEvent]:
        found = super().read_window(window)
        self._was_read()
        return found

    def find_event(self, remote_id: RemoteId) -> RemoteEvent | None:
        found = super().find_event(remote_id)
        self._was_read()
        return found

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        self._check_allowed("create")
        event = super().create(draft, key=key)
        self._took_time(event, key=key)
        return event

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        self._check_allowed("update")
        before = self.live(remote_id)
        event = super().update(remote_id, draft, version=version)
        if before is not None and before.interval != event.interval:
            self._took_time(event, key=None)
            if self.made_by_people(remote_id):
                self.watch.trespasses.append(Trespass(self.name, remote_id, "moved"))
        return event

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        self._check_allowed("delete")
        if self.live(remote_id) is not None and self.made_by_people(remote_id):
            self.watch.trespasses.append(Trespass(self.name, remote_id, "deleted"))
        super().delete(remote_id, version=version)

    def _was_read(self) -> None:
        if self.watch.reads:
            self.watch.reads[-1].add(self.name)

    def _check_allowed(self, method: str) -> None:
        """P3: only the commit task, after a live read of the master in the same attempt."""
        if not self.watch.reads:
            self.watch.broken.append(f"P3: {method} on {self.name} outside the commit task")
        elif not any(name.endswith("-master") for name in self.watch.reads[-1]):  # that of whoever has it by now
            self.watch.broken.append(f"P3: {method} on {self.name} without a live read of a master")

    def _took_time(self, event: RemoteEvent, *, key: WriteKey | None) -> None:
        if self.name != self.master or not self.is_due(self.name, event.remote_id, key):
            return
        around = event.interval.widened(before=self.before, after=self.after)
        blockers = tuple(
            other
            for other in self.events()
            if other.blocks and other.remote_id != event.remote_id and other.interval.overlaps(around)
        )
        self.watch.acts.append(Act(self.name, event.remote_id, key, blockers))


class WatchedCalendars(MemoryCalendars):
    """All of them; there are no others."""

    def of(self, remote: str) -> WatchedCalendar:
        found = self._calendars[remote]
        assert isinstance(found, WatchedCalendar)
        return found

    def all(self) -> list[WatchedCalendar]:
        return [self.of(name) for name in self._calendars]
