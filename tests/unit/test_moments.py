"""Times and zones (P8): every zone of the database, 2020 to 2035; ``WATERTIGHT_TEST_FULL=1`` looks closer."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tzlocal.windows_tz import win_tz

from providers.google.payloads import parse_event
from providers.moments import find_zone, first_instant, from_local, parse_epoch_ms, parse_time, parse_zoned
from sync.errors import Malformed

FULL = os.environ.get("WATERTIGHT_TEST_FULL") == "1"
STEP = timedelta(hours=6) if FULL else timedelta(days=3)  # no zone changed its clocks twice within three days
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2035, 12, 31, tzinfo=UTC)
ZONES = sorted(available_timezones() - {"Factory", "localtime"})
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@cache
def offsets(zone: str) -> tuple[timedelta | None, ...]:
    info = ZoneInfo(zone)
    return tuple((FIRST + n * STEP).astimezone(info).utcoffset() for n in range((LAST - FIRST) // STEP))


def different() -> list[str]:
    """One of all zones that keep the same time; every zone at full size."""
    return ZONES if FULL else sorted({offsets(zone): zone for zone in ZONES}.values())


@cache
def transitions(zone: str) -> list[tuple[datetime, timedelta]]:
    """When the clocks change, and by how much they go forward."""
    info, all_of_zone, found = ZoneInfo(zone), offsets(zone), []
    for n in range(1, len(all_of_zone)):
        if all_of_zone[n] != all_of_zone[n - 1]:
            before, after = FIRST + (n - 1) * STEP, FIRST + n * STEP
            while after - before > timedelta(seconds=1):
                middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
                moved = middle.astimezone(info).utcoffset() == all_of_zone[n - 1]
                before, after = (middle, after) if moved else (before, middle)
            found.append((after, (all_of_zone[n] or timedelta()) - (all_of_zone[n - 1] or timedelta())))
    return found


def wall(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def test_every_gap_is_refused_and_every_fold_needs_an_offset() -> None:
    gaps = folds = 0
    for zone in different():
        for moment, forward in transitions(zone):
            first = wall(moment, zone)
            inside = [first - forward, first - MINUTE] if forward > timedelta() else [first, first - forward - MINUTE]
            reason = "clock change skips" if forward > timedelta() else "happens twice"
            for local in inside:
                with pytest.raises(Malformed, match=reason):
                    from_local(local, zone=ZoneInfo(zone), field="start")
            gaps, folds = gaps + (forward > timedelta()), folds + (forward < timedelta())
    assert min(gaps, folds) > 500


def test_a_wall_clock_is_the_instant_it_came_from_around_every_change() -> None:
    for zone in different():
        for moment, forward in transitions(zone):
            for instant in (moment - abs(forward) - MINUTE, moment + abs(forward)):
                assert from_local(wall(instant, zone), zone=ZoneInfo(zone), field="start") == instant


def test_days_around_every_change_begin_with_their_first_instant_and_touch() -> None:
    for zone in different():
        info = ZoneInfo(zone)
        for moment, _ in transitions(zone):
            today = wall(moment, zone).date()
            starts = [first_instant(today + n * DAY, zone=info) for n in (-1, 0, 1, 2)]
            for n, start in enumerate(starts):
                assert wall(start, zone).date() >= today + (n - 1) * DAY
                assert wall(start - timedelta(seconds=1), zone).date() < today + (n - 1) * DAY
            assert starts == sorted(set(starts))


@settings(max_examples=2000 if FULL else 200, deadline=None)
@given(instant=st.datetimes(datetime(2020, 1, 1), datetime(2035, 12, 31)), zone=st.sampled_from(ZONES))  # noqa: DTZ001
def test_local_times_lead_back_to_their_instant(instant: datetime, zone: str) -> None:
    aware = instant.replace(tzinfo=UTC)
    with suppress(_Twice):
        assert _back(wall(aware, zone), zone) == aware


class _Twice(Exception):
    pass


def _back(local: datetime, zone: str) -> datetime:
    """An instant has a wall clock, so it is never in a gap: only that the clock showed it twice is an excuse."""
    try:
        return from_local(local, zone=ZoneInfo(zone), field="start")
    except Malformed as error:
        raise (_Twice if "twice" in error.reason else AssertionError) from error


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("America/Chicago", "America/Chicago"),
        ("america/chicago", "America/Chicago"),
        ("Central Standard Time", "America/Chicago"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("Nepal Standard Time", "Asia/Kathmandu"),
        ("tzone://Microsoft/Utc", "UTC"),
        ("Z", "UTC"),
        ("UTC-11", "Etc/GMT+11"),  # a Windows name
        ("Etc/GMT+5", "Etc/GMT+5"),
    ],
)
def test_zones_go_by_iana_and_by_windows_names(name: str, zone: str) -> None:
    at = datetime(2027, 7, 1, 12, tzinfo=UTC)
    assert at.astimezone(find_zone(name, field="zone")).utcoffset() == at.astimezone(ZoneInfo(zone)).utcoffset()


def test_every_name_of_either_kind_is_known() -> None:
    for name in [*ZONES, *win_tz]:
        find_zone(name, field="zone")
    assert not {name.lower() for name in win_tz} & {zone.lower() for zone in ZONES} - {"utc"}


@pytest.mark.parametrize(
    ("name", "minutes"), [("UTC+05:45", 345), ("+05:45", 345), ("-0330", -210), ("utc+9", 540), ("UTC-14:00", -840)]
)
def test_an_offset_is_a_zone(name: str, minutes: int) -> None:
    assert find_zone(name, field="zone").utcoffset(None) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../UTC", "America", "GMT+5", "+15:00", "+5:75", "localtime", "posix/UTC", 7, None]
)
def test_a_zone_that_nobody_knows_is_malformed_and_not_quoted(name: object) -> None:
    with pytest.raises(Malformed) as caught:
        find_zone(name, field="start.timeZone")
    assert caught.value.field == "start.timeZone"
    assert "Mars" not in str(caught.value)


@pytest.mark.parametrize("name", ["tzone://Microsoft/Custom", "Customized Time Zone"])
def test_a_custom_zone_says_why_it_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="custom zone, whose rules are not told"):
        find_zone(name, field="start.timeZone")


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00:00+00:00", 23),  # begins at 01:00
        ("America/Asuncion", date(2023, 10, 1), "2023-10-01T04:00:00+00:00", 23),
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-23T22:00:00+00:00", 23),
        ("Asia/Beirut", date(2027, 3, 28), "2027-03-27T22:00:00+00:00", 23),
        ("Australia/Lord_Howe", date(2027, 4, 4), "2027-04-03T13:00:00+00:00", 24.5),
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-29T10:00:00+00:00", 24),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00+00:00", 0),  # there was none
        ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T10:00:00+00:00", 24),
        ("Europe/Moscow", date(2014, 10, 26), "2014-10-25T20:00:00+00:00", 25),  # the law changed
        ("America/Mexico_City", date(2027, 4, 4), "2027-04-04T06:00:00+00:00", 24),  # no summer time any more
    ],
)
def test_days_as_the_zone_had_them(zone: str, day: date, start: str, hours: float) -> None:
    begins, ends = (first_instant(each, zone=ZoneInfo(zone)) for each in (day, day + DAY))
    assert (begins, ends - begins) == (datetime.fromisoformat(start), timedelta(hours=hours))


def test_a_jump_over_half_past_midnight_begins_the_day_after_the_jump() -> None:
    zone = ZoneInfo("America/Toronto")  # 1919-03-30 23:30 became 1919-03-31 00:30
    begins = first_instant(date(1919, 3, 31), zone=zone)
    assert begins.astimezone(zone).time() == time(0, 30)
    assert (begins - timedelta(seconds=1)).astimezone(zone).date() == date(1919, 3, 30)


def test_a_whole_day_that_the_zone_skipped_is_refused_and_longer_ones_are_not() -> None:
    with pytest.raises(Malformed, match=r"start\.date: is a day that the agent's zone skipped"):
        parse_event(_all_day("2011-12-30", "2011-12-31"), zone="Pacific/Apia")
    two = parse_event(_all_day("2011-12-30", "2012-01-01"), zone="Pacific/Apia").interval
    assert two.end - two.start == DAY


@pytest.mark.parametrize("text", ["2027-03-08T15:00:00.1234567Z", "2027-03-08T15:00:00.123456+00:00"])
def test_digits_beyond_microseconds_are_cut_off(text: str) -> None:
    assert parse_time(text, field="start") == datetime(2027, 3, 8, 15, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2027-03-08T15:00:00.0000000", "UTC", "2027-03-08T15:00:00+00:00"),
        ("2027-03-08T09:00:00", "Central Standard Time", "2027-03-08T15:00:00+00:00"),
        ("2027-03-08T20:45:00", "UTC+05:45", "2027-03-08T15:00:00+00:00"),
        ("2026-11-01T01:30:00-06:00", "Nowhere/Land", "2026-11-01T07:30:00+00:00"),  # the offset says it
        ("2027-04-04T01:45:00+10:30", "Australia/Lord_Howe", "2027-04-03T15:15:00+00:00"),
    ],
)
def test_times_beside_a_zone(text: str, zone: str, instant: str) -> None:
    assert parse_zoned(text, zone, field="start") == datetime.fromisoformat(instant)


@pytest.mark.parametrize(
    ("text", "zone", "message"),
    [
        ("2027-03-08T15:00:00", "", r"start\.dateTime: has neither zone nor offset"),
        ("2027-03-14T02:30:00", "America/Chicago", r"start\.dateTime: falls into the hour that the clock change skips"),
        ("2026-11-01T01:30:00", "Central Standard Time", r"start\.dateTime: happens twice"),
        ("2027-04-04T01:45:00", "Australia/Lord_Howe", r"start\.dateTime: happens twice"),
        ("2011-12-30T12:00:00", "Pacific/Apia", r"start\.dateTime: falls into"),
        ("2027-W10-1T15:00:00", "UTC", r"start\.dateTime: is not an RFC 3339 time"),
        ("2027-02-29T15:00:00", "UTC", r"start\.dateTime: is not a time that exists"),
    ],
)
def test_times_that_are_none(text: str, zone: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        parse_zoned(text, zone, field="start")


@pytest.mark.parametrize("value", ["1804518000000", 1804518000000])
def test_milliseconds_since_1970(value: object) -> None:
    assert parse_epoch_ms(value, field="expiration") == datetime(2027, 3, 8, 15, tzinfo=UTC)


@pytest.mark.parametrize("value", ["", "1e3", "١٢٣", True, None, "99999999999999999"])
def test_what_is_not_milliseconds(value: object) -> None:
    with pytest.raises(Malformed):
        parse_epoch_ms(value, field="expiration")


def _all_day(first: str, after: str) -> dict[str, object]:
    return {
        "id": "abcde",
        "etag": '"1"',
        "updated": "2027-03-01T10:00:00Z",
        "start": {"date": first},
        "end": {"date": after},
    }
