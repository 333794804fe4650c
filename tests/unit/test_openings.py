"""What is offered: working hours in the agent's zone across clock changes, buffers, notice, horizon, taken time."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sync.conflicts import Buffers
from sync.domain import Interval
from sync.openings import OfficeHours, Taken, list_openings

ALL_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NO_BUFFERS = Buffers(timedelta(0), timedelta(0))
NOTHING = Taken((), ())
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}:00+00:00")


def span(start: str, end: str) -> Interval:
    return Interval(utc(start), utc(end))


def times(start: str, end: str) -> tuple[datetime, datetime]:
    return utc(start), utc(end)


def office(zone: str, *hours: str, notice: int = 0, ahead: int = 3650) -> OfficeHours:
    weekly = {day: list(hours) for day in ALL_DAYS}
    return OfficeHours(zone, weekly, notice=timedelta(minutes=notice), ahead=timedelta(days=ahead))


def starts(
    hours: OfficeHours, window: Interval, *, taken: Taken = NOTHING, minutes: int = 60, buffers: Buffers = NO_BUFFERS,
    now: datetime = LONG_AGO,
) -> list[str]:  # fmt: skip
    found = list_openings(hours, taken, buffers=buffers, length=timedelta(minutes=minutes), window=window, now=now)
    assert all(one.end - one.start == timedelta(minutes=minutes) for one in found)
    return [f"{one.start:%dT%H:%M}" for one in found]


@pytest.mark.parametrize(
    ("zone", "day_before", "day_after"),
    [
        ("America/Chicago", ("2027-03-13", "15:00"), ("2027-03-14", "14:00")),
        ("Europe/Berlin", ("2027-03-27", "08:00"), ("2027-03-28", "07:00")),
        ("Europe/Berlin", ("2027-10-30", "07:00"), ("2027-10-31", "08:00")),
        ("America/Chicago", ("2027-11-06", "14:00"), ("2027-11-07", "15:00")),
        ("Australia/Lord_Howe", ("2027-04-02", "22:00"), ("2027-04-03", "22:30")),
        ("Asia/Kathmandu", ("2027-03-13", "03:15"), ("2027-03-14", "03:15")),
    ],
)
def test_nine_o_clock_stays_nine_o_clock_across_a_clock_change(
    zone: str, day_before: tuple[str, str], day_after: tuple[str, str]
) -> None:
    for day, clock in (day_before, day_after):
        window = Interval(utc(f"{day}T00:00"), utc(f"{day}T00:00") + timedelta(days=1))
        assert starts(office(zone, "09:00-10:00"), window) == [f"{day[-2:]}T{clock}"]


def test_hours_that_the_clock_change_shortens_or_lengthens_have_as_many_openings_as_they_last() -> None:
    night = office("Europe/Berlin", "00:00-06:00")
    assert len(starts(night, span("2027-03-27T12:00", "2027-03-28T12:00"))) == 5
    assert len(starts(night, span("2027-10-30T12:00", "2027-10-31T12:00"))) == 7


def test_an_opening_in_the_gap_begins_when_the_gap_ends() -> None:
    assert starts(office("Europe/Berlin", "02:30-04:00"), span("2027-03-27T12:00", "2027-03-28T12:00")) == ["28T01:00"]
    half = office("Australia/Lord_Howe", "02:10-03:00")  # 02:00 is followed by 02:30 on 2027-10-03
    assert starts(half, span("2027-10-02T12:00", "2027-10-03T12:00"), minutes=30) == ["02T15:30"]


def test_until_midnight_means_until_the_end_of_the_day() -> None:
    assert starts(office("UTC", "23:00-24:00"), span("2027-05-03T12:00", "2027-05-04T12:00")) == ["03T23:00"]


def test_every_opening_begins_in_the_window_and_keeps_to_the_grid_of_its_day() -> None:
    hours = office("UTC", "09:00-12:00")
    assert starts(hours, span("2027-05-03T09:30", "2027-05-03T11:00"), minutes=30) == [
        "03T09:30",
        "03T10:00",
        "03T10:30",
    ]
    assert starts(hours, span("2027-05-03T00:00", "2027-05-04T00:00"), minutes=50) == [
        "03T09:00",
        "03T09:50",
        "03T10:40",
    ]


def test_only_on_the_days_that_are_named() -> None:
    week = OfficeHours("UTC", {"wed": ["09:00-10:00"]}, notice=timedelta(0), ahead=timedelta(days=3650))
    assert starts(week, span("2027-05-03T00:00", "2027-05-10T00:00")) == ["05T09:00"]


def test_what_is_taken_is_not_offered_and_what_touches_is() -> None:
    hours = office("UTC", "09:00-13:00")
    day = span("2027-05-03T00:00", "2027-05-04T00:00")
    for taken in (
        Taken([times("2027-05-03T10:00", "2027-05-03T11:00")], ()),
        Taken((), [times("2027-05-03T10:00", "2027-05-03T11:00")]),
    ):
        assert starts(hours, day, taken=taken) == ["03T09:00", "03T11:00", "03T12:00"]
    over_night = Taken((), [times("2027-05-02T20:00", "2027-05-03T09:01")])
    assert starts(hours, day, taken=over_night) == ["03T10:00", "03T11:00", "03T12:00"]


def test_buffers_keep_their_distance_as_the_commit_task_will() -> None:
    hours, day = office("UTC", "09:00-13:00"), span("2027-05-03T00:00", "2027-05-04T00:00")
    buffers = Buffers(before=timedelta(minutes=15), after=timedelta(0))
    busy = Taken((), [times("2027-05-03T10:00", "2027-05-03T11:00")])
    assert starts(hours, day, taken=busy, buffers=buffers) == ["03T09:00", "03T12:00"]
    slots = Taken([times("2027-05-03T10:00", "2027-05-03T11:00")], ())
    assert starts(hours, day, taken=slots, buffers=buffers) == ["03T12:00"]


def test_notice_and_horizon_bound_what_is_offered() -> None:
    hours = office("UTC", "09:00-12:00", notice=90, ahead=1)
    now = utc("2027-05-03T08:45")
    assert starts(hours, span("2027-05-03T00:00", "2027-05-06T00:00"), now=now) == ["03T11:00"]
    later = utc("2027-05-03T09:45")
    assert starts(hours, span("2027-05-03T00:00", "2027-05-06T00:00"), now=later) == ["04T09:00"]


@pytest.mark.parametrize("zone", ["America/Chicago", "Europe/London", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_a_year_of_openings_lies_within_the_local_hours_and_none_overlap(zone: str) -> None:
    found = list_openings(
        office(zone, "08:30-11:00", "13:00-17:15"),
        NOTHING,
        buffers=NO_BUFFERS,
        length=timedelta(minutes=45),
        window=span("2027-01-01T00:00", "2028-01-01T00:00"),
        now=LONG_AGO,
    )
    local = [(one.start.astimezone(ZoneInfo(zone)), one.end.astimezone(ZoneInfo(zone))) for one in found]
    assert {(f"{start:%H:%M}", f"{end:%H:%M}") for start, end in local} == {
        ("08:30", "09:15"), ("09:15", "10:00"), ("10:00", "10:45"), ("13:00", "13:45"), ("13:45", "14:30"),
        ("14:30", "15:15"), ("15:15", "16:00"), ("16:00", "16:45"),
    }  # fmt: skip
    assert all(earlier.end <= later.start for earlier, later in itertools.pairwise(found))
    assert abs(len(found) - 8 * 365) < 8  # the year of the zone is not that of UTC
