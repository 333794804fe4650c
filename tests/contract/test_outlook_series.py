"""Series in Outlook: each occurrence is an event of its own, whatever becomes of its series."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests

from sync.domain import EventDraft, Interval, RemoteEvent, RemoteId, Removal
from sync.errors import CursorExpired, NotFound, StaleVersion
from tests.contract.outlook_world import Desk, World, draft, key, open_desk, served

CHICAGO = ZoneInfo("America/Chicago")
FIRST = datetime(2027, 3, 1, 9, tzinfo=CHICAGO)  # a Monday, two weeks before summer time
WINDOW = Interval(datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 3, 30, tzinfo=UTC))
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)
WEEKLY = {"type": "weekly", "interval": 1, "daysOfWeek": ["monday"], "firstDayOfWeek": "sunday"}
ENDLESS = {"type": "noEnd", "startDate": "2027-03-01"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = open_desk(world)
    desk.client.read_window(WINDOW)
    yield desk
    world.emulator.faults.clear()


def weekly(desk: Desk, *, first: datetime = FIRST, pattern: dict[str, Any] | None = None, **bounds: object) -> RemoteId:
    event = {
        "title": "Weekly",
        "start": first.isoformat(),
        "end": (first + HOUR).isoformat(),
        "zone": "Central Standard Time",
    }
    span = {**ENDLESS, "startDate": f"{first:%Y-%m-%d}", **bounds}
    return RemoteId(desk.act("create", event=event, raw={"recurrence": {"pattern": pattern or WEEKLY, "range": span}}))


def ends(desk: Desk, series: RemoteId, day: str) -> None:
    span = {"type": "endDate", "startDate": "2027-03-01", "endDate": day}
    desk.act("change", id=series, raw={"recurrence": {"pattern": WEEKLY, "range": span}})


def at(series: str, week: int) -> RemoteId:
    return RemoteId(f"OID.{series}.{FIRST + week * WEEK:%Y-%m-%d}")


def window_of(desk: Desk) -> dict[RemoteId, RemoteEvent]:
    return {event.remote_id: event for event in desk.client.read_window(WINDOW)}


def full(desk: Desk) -> dict[str | None, type]:
    return {each.remote_id: type(each) for each in desk.client.read_changes(None, window=WINDOW).changes}


def cursor_of(desk: Desk) -> str:
    return desk.client.read_changes(None, window=WINDOW).cursor


def test_a_series_comes_as_its_occurrences_at_its_own_local_time(desk: Desk) -> None:
    series = weekly(desk)
    found = window_of(desk)
    assert list(found) == [at(series, week) for week in range(5)]
    assert [event.interval.start.hour for event in found.values()] == [15, 15, 14, 14, 14]  # 09:00 through the change
    assert {event.series_id for event in found.values()} == {series}
    assert full(desk) == dict.fromkeys(found, RemoteEvent)


def test_stubs_are_completed_by_one_read(desk: Desk) -> None:
    weekly(desk)
    before = desk.world.books()["by_route"]
    (event, *_) = desk.client.read_changes(None, window=WINDOW).changes
    after = desk.world.books()["by_route"]
    assert isinstance(event, RemoteEvent)
    assert event.title == "Weekly"
    asked = {route: after[route] - before.get(route, 0) for route in after}
    assert {route.rsplit("/", 1)[1]: times for route, times in asked.items() if times and "users" in route} == {
        "delta": 1,
        "calendarView": 1,
    }


@pytest.mark.parametrize(
    ("pattern", "bounds", "days"),
    [
        (WEEKLY, {"type": "numbered", "numberOfOccurrences": 2}, [1, 8]),
        (WEEKLY, {"type": "endDate", "endDate": "2027-03-15"}, [1, 8, 15]),
        ({**WEEKLY, "interval": 2, "daysOfWeek": ["monday", "friday"]}, {}, [1, 5, 15, 19, 29]),
        ({"type": "daily", "interval": 10}, {}, [1, 11, 21]),
        ({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 1}, {}, [1]),
        ({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31}, {"startDate": "2027-02-28"}, []),
        ({"type": "relativeMonthly", "interval": 1, "index": "third", "daysOfWeek": ["tuesday"]}, {}, [16]),
        ({"type": "relativeMonthly", "interval": 1, "index": "last", "daysOfWeek": ["monday"]}, {}, [29]),
        ({"type": "absoluteYearly", "interval": 1, "month": 3, "dayOfMonth": 12}, {}, [12]),
        ({"type": "relativeYearly", "interval": 1, "month": 3, "index": "first", "daysOfWeek": ["friday"]}, {}, [5]),
    ],
)
def test_patterns(desk: Desk, pattern: dict[str, Any], bounds: dict[str, Any], days: list[int]) -> None:
    weekly(desk, pattern=pattern, **bounds)
    starts = [event.interval.start.astimezone(CHICAGO) for event in window_of(desk).values()]
    assert [(start.day, start.hour) for start in starts] == [(day, 9) for day in days]


def test_the_api_makes_series_and_refuses_odd_ones(desk: Desk) -> None:
    moment = {"dateTime": "2027-03-01T09:00:00", "timeZone": "Central Standard Time"}
    event = {"subject": "API", "start": moment, "end": {**moment, "dateTime": "2027-03-01T10:00:00"}}
    made = _api(desk, "POST", "events", {**event, "recurrence": {"pattern": WEEKLY, "range": ENDLESS}}, status=201)
    assert (made["type"], made["recurrence"]["range"]["recurrenceTimeZone"]) == (
        "seriesMaster",
        "Central Standard Time",
    )
    span = "startDateTime=2027-03-01T00:00:00Z&endDateTime=2027-03-10T00:00:00Z"
    rows = _api(desk, "GET", f"events/{made['id']}/instances?{span}")["value"]
    assert [(row["type"], row["seriesMasterId"]) for row in rows] == [("occurrence", made["id"])] * 2
    assert [row["id"] for row in _api(desk, "GET", "events")["value"]] == [made["id"]]
    odd = {"pattern": {"type": "hourly"}, "range": ENDLESS}
    assert "error" in _api(desk, "POST", "events", {**event, "recurrence": odd}, status=400)


def test_the_first_round_tells_stubs_and_the_pattern(desk: Desk) -> None:
    series = weekly(desk)
    rows = _api(desk, "GET", "calendarView/delta?startDateTime=2027-03-01T00:00:00Z&endDateTime=2027-03-30T00:00:00Z")[
        "value"
    ]
    assert rows[0].keys() == {"@odata.etag", "id", "start", "end", "type", "seriesMasterId"}
    assert [row["type"] for row in rows] == ["occurrence"] * 5 + ["seriesMaster"]
    assert rows[-1]["id"] == series


def test_an_occurrence_that_is_moved_alone_is_an_exception(desk: Desk) -> None:
    series = weekly(desk)
    cursor = cursor_of(desk)
    later = FIRST + WEEK + 2 * HOUR
    desk.act("change", id=at(series, 1), event={"start": later.isoformat(), "end": (later + HOUR).isoformat()})
    with pytest.raises(CursorExpired):
        desk.client.read_changes(cursor, window=WINDOW)
    assert window_of(desk)[at(series, 1)].interval == Interval(later, later + HOUR)
    assert full(desk) == dict.fromkeys((at(series, week) for week in range(5)), RemoteEvent)


def test_an_occurrence_that_is_deleted_alone_is_not_in_a_full_read(desk: Desk) -> None:
    """The feed repeats the rest of the series and does not name the one that is gone (docs#4501, #5520)."""
    series = weekly(desk)
    cursor = cursor_of(desk)
    desk.act("delete", id=at(series, 1))
    with pytest.raises(CursorExpired):
        desk.client.read_changes(cursor, window=WINDOW)
    assert full(desk).keys() == {at(series, week) for week in (0, 2, 3, 4)} == window_of(desk).keys()
    assert desk.client.find_event(at(series, 1)) is None


def test_a_deleted_series_takes_every_occurrence_away(desk: Desk) -> None:
    series = weekly(desk)
    desk.act("change", id=at(series, 2), event={"title": "Odd one"})
    desk.act("delete", id=at(series, 3))
    cursor = cursor_of(desk)
    desk.act("delete", id=series)
    told = {each.remote_id: type(each) for each in desk.client.read_changes(cursor, window=WINDOW).changes}
    assert told == dict.fromkeys([*(at(series, week) for week in (0, 1, 2, 4)), series], Removal)
    assert window_of(desk) == {}


def test_a_deleted_series_of_which_only_the_pattern_is_told_asks_for_a_full_read(desk: Desk) -> None:
    series, single = weekly(desk), desk.types(title="Single")
    cursor = cursor_of(desk)
    desk.act("delete", id=single)
    removal = desk.client.read_changes(cursor, window=WINDOW)
    assert removal.changes == (Removal(RemoteId(single)),)
    desk.act("delete", id=series)
    desk.fault("series_as_master", match="delta")
    with pytest.raises(CursorExpired):
        desk.client.read_changes(removal.cursor, window=WINDOW)
    assert full(desk) == {}


def test_a_series_that_ends_earlier_loses_its_last_occurrences(desk: Desk) -> None:
    series = weekly(desk)
    cursor = cursor_of(desk)
    ends(desk, series, "2027-03-15")
    with pytest.raises(CursorExpired):
        desk.client.read_changes(cursor, window=WINDOW)
    assert full(desk).keys() == {at(series, week) for week in range(3)}
    with pytest.raises(NotFound):
        desk.client.update(at(series, 4), draft(), version="*")


def test_this_and_following_ends_one_series_and_starts_another(desk: Desk) -> None:
    series = weekly(desk)
    cursor = cursor_of(desk)
    ends(desk, series, "2027-03-14")
    rest = weekly(desk, first=FIRST + 2 * WEEK + HOUR)
    with pytest.raises(CursorExpired):
        desk.client.read_changes(cursor, window=WINDOW)
    assert full(desk).keys() == {at(series, 0), at(series, 1), *(at(rest, week) for week in (2, 3, 4))}
    starts = [event.interval.start.astimezone(CHICAGO).hour for event in window_of(desk).values()]
    assert starts == [9, 9, 10, 10, 10]


def test_a_series_that_is_moved_overrules_its_exceptions(desk: Desk) -> None:
    series = weekly(desk)
    desk.act("change", id=at(series, 1), event={"title": "Odd one"})
    desk.act("delete", id=at(series, 2))
    later = FIRST + 3 * HOUR
    event = {"start": later.isoformat(), "end": (later + HOUR).isoformat(), "zone": "Central Standard Time"}
    desk.act("change", id=series, event=event)
    found = window_of(desk)
    assert [each.interval.start.astimezone(CHICAGO).hour for each in found.values()] == [12] * 5
    assert {each.title for each in found.values()} == {"Weekly"}


def test_a_series_outside_the_window_does_not_end_the_cursor(desk: Desk) -> None:
    cursor = cursor_of(desk)
    weekly(desk, first=FIRST + 20 * WEEK)
    assert desk.client.read_changes(cursor, window=WINDOW).changes == ()


def test_one_occurrence_is_written_and_deleted_by_its_id(desk: Desk) -> None:
    series = weekly(desk)
    one = desk.client.find_event(at(series, 1))
    assert one is not None
    moved = Interval(one.interval.start + HOUR, one.interval.end + HOUR)
    written = desk.client.update(one.remote_id, EventDraft(moved, "Moved"), version=one.version)
    assert (written.remote_id, written.interval, written.title) == (one.remote_id, moved, "Moved")
    with pytest.raises(StaleVersion):
        desk.client.delete(at(series, 2), version=one.version)  # an occurrence has the version of its series
    two = window_of(desk)[at(series, 2)]
    desk.client.delete(two.remote_id, version=two.version)
    desk.client.delete(two.remote_id, version=two.version)
    assert window_of(desk).keys() == {at(series, week) for week in (0, 1, 3, 4)}
    assert window_of(desk)[at(series, 1)].title == "Moved"


def test_our_event_that_a_person_makes_repeat_is_one_of_several(desk: Desk) -> None:
    created = desk.client.create(draft(), key=key("repeated"))
    span = {"type": "numbered", "numberOfOccurrences": 2, "startDate": "2027-03-08"}
    desk.act(
        "change", id=created.remote_id, raw={"recurrence": {"pattern": {"type": "daily", "interval": 1}, "range": span}}
    )
    assert [(event.key, event.series_id) for event in window_of(desk).values()] == [(None, created.remote_id)] * 2


def test_days_of_a_whole_day_series_are_dates_of_the_agent(desk: Desk) -> None:
    day = datetime(2027, 3, 13, tzinfo=UTC)
    event = {"start": day.isoformat(), "end": (day + timedelta(days=1)).isoformat(), "all_day": True, "title": "Fair"}
    span = {"type": "numbered", "numberOfOccurrences": 3, "startDate": "2027-03-13"}
    desk.act("create", event=event, raw={"recurrence": {"pattern": {"type": "daily", "interval": 1}, "range": span}})
    found = [event.interval for event in window_of(desk).values()]
    assert [(each.end - each.start) / HOUR for each in found] == [24, 23, 24]
    assert found[0].start == datetime(2027, 3, 13, tzinfo=CHICAGO)


def _api(
    desk: Desk, method: str, path: str, body: dict[str, Any] | None = None, *, status: int = 200
) -> dict[str, Any]:
    form = {"client_id": "x", "client_secret": "y", "grant_type": "client_credentials"}
    token = requests.post(f"{desk.world.url}/tenant/oauth2/v2.0/token", data=form, timeout=10).json()["access_token"]
    url = f"{desk.world.url}/v1.0/users/{desk.ref.remote}/{path}"
    headers = {"Authorization": f"Bearer {token}", "Prefer": "odata.maxpagesize=50"}
    answer = requests.request(method, url, json=body, headers=headers, timeout=10)
    assert answer.status_code == status, answer.text
    shown: dict[str, Any] = answer.json()
    return shown
