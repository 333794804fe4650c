"""Series in the emulators: when a rule has its occurrences. Both vendors keep the wall clock of the series' zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile

from dateutil.rrule import rrulestr

MOST = 1000  # occurrences of one series in one answer
_FAR = timedelta(days=2 * 366)
_DAY = timedelta(days=1)


def occurrences(
    lines: Sequence[str], *, first: datetime, zone: tzinfo | None, length: timedelta, start: datetime, end: datetime
) -> list[datetime]:
    """The wall clocks at which occurrences begin that overlap ``[start, end)``.

    ``lines`` are RRULE, RDATE and EXDATE (RFC 5545), ``first`` is the wall clock of the first occurrence in ``zone``;
    without a zone these are dates, placed in UTC. A weekly meeting at 09:00 stays at 09:00 through clock changes.

    Raises:
        ValueError: a rule that cannot be read.
    """
    rule = rrulestr("\n".join(lines), dtstart=first.replace(tzinfo=zone), forceset=True)
    walls = (each.replace(tzinfo=None) for each in rule)
    before_end = takewhile(lambda each: instant_of(each, zone) < end, walls)
    return list(islice((each for each in before_end if instant_of(each, zone) + length > start), MOST))


def instant_of(wall: datetime, zone: tzinfo | None) -> datetime:
    """In a gap the wall clock goes on as if the clocks had not changed yet; of two, it is the first."""
    return wall.replace(tzinfo=zone or UTC).astimezone(UTC)


def far_from(first: datetime) -> datetime:
    """How far an endless series is followed where nobody says how far: two years on, and two years from now."""
    return max(first, datetime.now(UTC)) + _FAR


def day_around(digits: str) -> tuple[datetime, datetime]:
    """A window that holds the day of an occurrence's id (``20270308``) in every zone; empty for what is no day."""
    try:
        day = datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        day = datetime(1970, 1, 1, tzinfo=UTC)
    return day - _DAY, day + 2 * _DAY
