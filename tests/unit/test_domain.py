"""Intervals are half-open and in UTC, or they are not made."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.domain import LONGEST_NAME_BYTES, Interval, RemoteEvent, RemoteId, Removal, Unparsed
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


def event(**fields: object) -> RemoteEvent:
    now = datetime(2027, 3, 8, tzinfo=UTC)
    plain = RemoteEvent(RemoteId("1"), "v", now, Interval(now, now + timedelta(hours=1)), blocks=True)
    return replace(plain, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
@pytest.mark.parametrize("field", ["remote_id", "version", "title", "key", "series_id", "replaces"])
def test_an_event_holds_only_what_a_database_stores(field: str, text: str) -> None:
    with pytest.raises(Malformed, match=field):
        event(**{field: text})


@pytest.mark.parametrize("field", ["remote_id", "version", "key", "series_id", "replaces"])
def test_what_stands_in_an_index_has_a_length(field: str) -> None:
    assert event(**{field: "x" * LONGEST_NAME_BYTES})
    with pytest.raises(Malformed, match=field):
        event(**{field: "é" * (LONGEST_NAME_BYTES // 2 + 1)})


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800", "x" * (LONGEST_NAME_BYTES + 1)])
def test_a_removal_names_what_can_be_stored_and_a_quarantined_record_has_no_other_id(odd: str) -> None:
    with pytest.raises(Malformed, match="remote_id"):
        Removal(RemoteId(odd))
    assert Unparsed(odd, "id", "is odd", {}).remote_id is None
    assert Unparsed("fine", "id", "is odd", {}).remote_id == "fine"


def test_the_path_of_a_malformed_value_is_short_and_printable() -> None:
    assert Malformed("private.a\x00b\ud800", "is null").field == "private.a?b?"
    assert len(str(Malformed("x" * 5000, "is null"))) < 300
