"""When can an agent be booked? Pure. What comes out is an offer: only the commit task decides (design §5.2)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sync.conflicts import Buffers
from sync.domain import Interval

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ONE_DAY = timedelta(days=1)
END_OF_DAY = "24:00"


@dataclass(frozen=True, slots=True)
class OfficeHours:
    """When an agent wants to be booked: local hours of a weekday (``{"mon": ["09:00-12:30", "13:30-17:00"]}``), IANA zone.

    ``notice`` is how far ahead the first offer lies, ``ahead`` how far the last.
    """

    zone: str
    weekly: Mapping[str, Sequence[str]]
    notice: timedelta
    ahead: timedelta

    def within(self, window: Interval) -> Iterator[Interval]:
        """The open intervals that begin in ``window``, earliest first, whatever the clocks do.

        A local time that a clock change skips means the first instant after it; of one that comes twice an opening means
        the first, and a closing the second.
        """
        zone = ZoneInfo(self.zone)
        day = window.start.astimezone(zone).date() - ONE_DAY
        last = window.end.astimezone(zone).date() + ONE_DAY
        while day <= last:
            for hours in self.weekly.get(WEEKDAYS[day.weekday()], ()):
                opens, _, closes = hours.partition("-")
                start, end = _instant(day, opens, zone, fold=0), _instant(day, closes, zone, fold=1)
                if start < end and window.start <= start < window.end:
                    yield Interval(start, end)
            day += ONE_DAY


def _instant(day: date, clock: str, zone: ZoneInfo, *, fold: int) -> datetime:
    if clock == END_OF_DAY:
        day, clock = day + ONE_DAY, "00:00"
    local = datetime.combine(day, time.fromisoformat(clock), tzinfo=zone).replace(fold=fold)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return instant
    return _end_of_gap(local.replace(fold=1).astimezone(UTC), zone)


def _end_of_gap(before: datetime, zone: ZoneInfo) -> datetime:
    """The instant of the clock change that ``before`` precedes by less than a day, to the second."""
    low, high = before, before + ONE_DAY
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
    return high.replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Taken:
    """What stands in the way: ``slots`` of the ledger, and the ``busy`` time of people's own events, as last read.

    Beginnings and ends in UTC, which are only compared: there are thousands, and an Interval checks each of them.
    """

    slots: Collection[tuple[datetime, datetime]]
    busy: Collection[tuple[datetime, datetime]]


def list_openings(
    hours: OfficeHours, taken: Taken, *, buffers: Buffers, length: timedelta, window: Interval, now: datetime
) -> list[Interval]:
    """Every time of ``length`` that begins in ``window`` and can be offered; each opening is cut from its beginning on."""
    first, last = now + hours.notice, now + hours.ahead
    around = _Occupied(taken.busy, before=buffers.before, after=buffers.after)
    gap = max(buffers.before, buffers.after)  # as Buffers.apart
    apart = _Occupied(taken.slots, before=gap, after=gap)
    day_before = Interval(window.start - ONE_DAY, window.end)
    return [
        Interval(start, start + length)
        for opening in hours.within(day_before)
        for start in _cut(opening, length)
        if first <= start <= last and window.start <= start < window.end
        if not apart.meets(start, start + length) and not around.meets(start, start + length)
    ]


def _cut(opening: Interval, length: timedelta) -> Iterator[datetime]:
    start = opening.start
    while start + length <= opening.end:
        yield start
        start += length


class _Occupied:
    """Intervals as a union without overlaps, in order, so that one look finds whether another comes too close.

    ``before`` and ``after`` are what is to be kept free around the other.
    """

    def __init__(
        self, intervals: Collection[tuple[datetime, datetime]], *, before: timedelta, after: timedelta
    ) -> None:
        self._before, self._after = before, after
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []
        for start, end in sorted(intervals):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def meets(self, start: datetime, end: datetime) -> bool:
        begun = bisect_left(self._starts, end + self._after)
        return begun > 0 and self._ends[begun - 1] > start - self._before
