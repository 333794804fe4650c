"""Intervals are half-open and in UTC, or they are not made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.domain import Interval, RemoteEvent, RemoteId
from sync.errors import Malformed

zones = st.sampled_from(
    [ZoneInfo(name) for name in ("UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Chicago")]
)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=zones)  # noqa: DTZ001 - hypothesis adds the zone
lengths = st.timedeltas(timedelta(microseconds=1), timedelta(days=3))
intervals = st.builds(lambda start, length: Interval(start, start.astimezone(UTC) + length), instants, lengths)
TEN = datetime(2027, 3, 8, 10, tzinfo=UTC)


@given(intervals)
def test_both_ends_are_in_utc(interval: Interval) -> None:
    assert (interval.start.tzinfo, interval.end.tzinfo) == (UTC, UTC)


@given(intervals, intervals)
def test_overlap_goes_both_ways_and_means_a_common_instant(one: Interval, other: Interval) -> None:
    common = max(one.start, other.start) < min(one.end, other.end)
    assert one.overlaps(other) == other.overlaps(one) == common


@given(intervals, lengths)
def test_what_touches_does_not_overlap(one: Interval, length: timedelta) -> None:
    assert not one.overlaps(Interval(one.end, one.end + length))
    assert one.overlaps(one)


@given(intervals, intervals)
def test_the_hull_is_the_smallest_that_contains_both(one: Interval, other: Interval) -> None:
    hull = one.hull(other)
    assert (hull.start, hull.end) == (min(one.start, other.start), max(one.end, other.end))


def test_widening() -> None:
    wide = Interval(TEN, TEN + timedelta(hours=1)).widened(before=timedelta(minutes=5), after=timedelta(minutes=10))
    assert str(wide) == "2027-03-08T09:55Z/2027-03-08T11:10Z"


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (TEN, TEN, "end"),
        (TEN, TEN - timedelta(seconds=1), "end"),
        (TEN.replace(tzinfo=None), TEN, "start"),
        (TEN, TEN.replace(tzinfo=None), "end"),
    ],
)
def test_what_makes_no_sense_is_refused_and_never_swapped(start: datetime, end: datetime, field: str) -> None:
    with pytest.raises(Malformed) as caught:
        Interval(start, end)
    assert caught.value.field == field


def test_the_hour_that_comes_twice_is_an_hour_long() -> None:
    """Autumn in Berlin: 02:30 summer time to 02:30 winter time looks empty on the wall and is an hour."""
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2027, 10, 31, 2, 30, tzinfo=berlin)
    interval = Interval(first, first.replace(fold=1))
    assert interval.end - interval.start == timedelta(hours=1)


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_an_event_holds_only_what_a_database_stores(text: str) -> None:
    now = datetime(2027, 3, 8, tzinfo=UTC)
    with pytest.raises(Malformed, match="title"):
        RemoteEvent(RemoteId("1"), "v", now, Interval(now, now + timedelta(hours=1)), blocks=True, title=text)
