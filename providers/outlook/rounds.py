"""A first round of the change feed, made whole: rows that cannot stand by themselves, and what the feed left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from providers.moments import dump_instant
from providers.outlook import payloads
from sync.domain import Change, Interval, RemoteEvent

ZONE_SPREAD: Final = timedelta(hours=14)

Understand = Callable[[object], Change | None]


class Round:
    """Takes the pages of the feed, then those of the calendar; keeps each event as a change, not as the vendor sent it.

    ``change`` understands a row, and asks the vendor again about one that cannot stand by itself.
    """

    def __init__(self) -> None:
        self._told: dict[str, Change | None] = {}
        self._nameless: list[Change | None] = []
        self._open: dict[str, object] = {}  # rows that cannot stand by themselves
        self._shown: dict[str | None, Change | None] = {}

    def tell(self, page: Sequence[object], *, change: Understand) -> None:
        """Rows of the feed: the last one of each event counts (docs#3121), and all that have no id."""
        for row in page:
            name = payloads.id_of(row)
            if name is None:
                self._nameless.append(change(row))
                continue
            self._told.pop(name, None)
            self._open.pop(name, None)
            if payloads.is_removed(row) or payloads.is_stub(row):
                self._open[name] = row
            else:
                self._told[name] = change(row)

    def complete(self, page: Sequence[object], *, change: Understand) -> None:
        """Rows of the calendar, in the place of those that cannot stand by themselves, and of those that were not told."""
        for row in page:
            name = payloads.id_of(row)
            if name not in self._told and (name is not None or not self._nameless):
                self._shown[name] = change(row)

    def changes(self, *, change: Understand) -> Iterator[Change]:
        """All of it; what the calendar does not show either is asked for."""
        asked = (change(row) for name, row in self._open.items() if name not in self._shown)
        for found in (*self._told.values(), *self._nameless, *self._shown.values(), *asked):
            if found is not None:
                yield found


def asked(window: Interval) -> dict[str, str]:
    """The window to ask for: wider, because Graph places all-day dates by its own zone and we by the agent's."""
    wide = window.widened(before=ZONE_SPREAD, after=ZONE_SPREAD)
    return {"startDateTime": dump_instant(wide.start), "endDateTime": dump_instant(wide.end)}


def concerns(change: Change, window: Interval) -> bool:
    """Whether it is an event of the window, or none that can be placed."""
    return not isinstance(change, RemoteEvent) or change.interval.overlaps(window)


def newest(rows: Sequence[object]) -> list[object]:
    """One row per id, the last one (docs#3121); rows without an id are all kept."""
    return list({payloads.id_of(row) or position: row for position, row in enumerate(rows)}.values())
