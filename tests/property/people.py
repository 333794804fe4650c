"""What people do to their calendars: also to events that are ours, and to events that are gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hypothesis import strategies as st

from sync.domain import Interval, RemoteEvent
from tests.property.calendars import WatchedCalendar
from tests.property.world import GRID_MINUTES, TITLES, UNSAFE_REMOVALS, at

STARTS = st.integers(0, 15)
LENGTHS = st.integers(1, 4)
PICKS = st.integers(0, 7)
NUMBERS = st.integers(0, 11)  # of calendars, modulo how many there are
CREATIONS = ("create", "create", "create", "create_free")
CHANGES = ("move", "move", "move", "stretch", "shorten", "retitle")
ENDINGS = ("delete", "delete", "free", "busy", "copy", "undelete")


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that a person does to the calendar of this number, to the event of this number where it needs one."""

    what: str
    calendar: int
    pick: int
    start: int
    length: int
    title: int

    def do(self, calendar: WatchedCalendar) -> None:
        """Do it, if there is something to do it to."""
        if self.what in {"create", "create_free"}:
            calendar.put(at(self.start, self.length), TITLES[self.title], blocks=self.what == "create")
        elif self.what == "undelete":
            self._undelete(calendar)
        elif events := sorted(calendar.events(), key=lambda event: event.remote_id):
            self._change(calendar, events[self.pick % len(events)])

    def _undelete(self, calendar: WatchedCalendar) -> None:
        gone = [remote_id for remote_id in sorted(calendar.lost) if calendar.live(remote_id) is None]
        if gone:
            calendar.revive(gone[self.pick % len(gone)])

    def _change(self, calendar: WatchedCalendar, event: RemoteEvent) -> None:
        match self.what:
            case "delete":
                if len(calendar.unread_removals) < UNSAFE_REMOVALS:
                    calendar.remove(event.remote_id)
            case "copy":
                calendar.put(at(self.start, self.length), event.title, blocks=event.blocks, key=event.key)
            case "free" | "busy":
                self._put(calendar, event, blocks=self.what == "busy")
            case "retitle":
                self._put(calendar, event, title=TITLES[self.title])
            case _:
                self._put(calendar, event, interval=self._elsewhere(event.interval))

    def _elsewhere(self, interval: Interval) -> Interval:
        step = timedelta(minutes=GRID_MINUTES)
        match self.what:
            case "stretch":
                return Interval(interval.start, interval.end + step)
            case "shorten":
                return Interval(interval.start, max(interval.end - step, interval.start + step))
            case _:
                start = at(self.start).start
                return Interval(start, start + (interval.end - interval.start))

    def _put(
        self,
        calendar: WatchedCalendar,
        event: RemoteEvent,
        *,
        interval: Interval | None = None,
        title: str | None = None,
        blocks: bool | None = None,
    ) -> None:
        calendar.put(
            interval or event.interval,
            event.title if title is None else title,
            remote_id=event.remote_id,
            blocks=event.blocks if blocks is None else blocks,
        )


def deeds(*what: str) -> st.SearchStrategy[Deed]:
    return st.builds(
        Deed,
        what=st.sampled_from(what),
        calendar=NUMBERS,
        pick=PICKS,
        start=STARTS,
        length=LENGTHS,
        title=st.integers(0, len(TITLES) - 1),
    )


anything = deeds(*CREATIONS, *CHANGES, *ENDINGS)
