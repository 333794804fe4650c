"""Is the time free? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sync.domain import Interval, RemoteEvent, RemoteId, WriteKey


@dataclass(frozen=True, slots=True)
class Buffers:
    """Time kept free before and after every appointment of an agent."""

    before: timedelta
    after: timedelta

    def around(self, interval: Interval) -> Interval:
        """Where somebody else's event would be too close."""
        return interval.widened(before=self.before, after=self.after)

    def apart(self, interval: Interval) -> Interval:
        """Where another appointment would be too close: it has the same buffers, so the longer one counts on both sides."""
        gap = max(self.before, self.after)
        return interval.widened(before=gap, after=gap)


@dataclass(frozen=True, slots=True)
class Own:
    """How we recognise the event that the write in hand concerns: by its id once known, before that by the key."""

    key: WriteKey
    remote_id: RemoteId | None = None

    def is_it(self, event: RemoteEvent) -> bool:
        return event.remote_id == self.remote_id if self.remote_id is not None else event.key == self.key


def find_blockers(events: Iterable[RemoteEvent], *, wanted: Interval, own: Own) -> list[RemoteEvent]:
    """The events that take any of ``wanted`` from somebody else's appointment, earliest first."""
    blockers = (event for event in events if event.blocks and not own.is_it(event) and event.interval.overlaps(wanted))
    return sorted(blockers, key=lambda event: event.interval)
