"""Recurring events in Google: each instance is an event of its own, whatever becomes of its series."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from google.oauth2 import service_account

from providers.emulation import HumanAction, HumanEvent
from sync.domain import EventDraft, Interval, RemoteEvent, RemoteId, Removal, Unparsed, WriteKey
from sync.errors import CursorExpired, Malformed
from tests.fixtures.google.serving import MORNING, PERSON, Stage, World, draft, stage

CHICAGO = ZoneInfo("America/Chicago")
FIRST = datetime(2027, 3, 1, 9, tzinfo=CHICAGO)  # a Monday, two weeks before summer time
WINDOW = Interval(datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 3, 30, tzinfo=UTC))
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def google(server: Stage) -> World:
    return server.world()


def weekly(google: World, *rules: str, first: datetime = FIRST, **raw: object) -> RemoteId:
    event = HumanEvent(start=first, end=first + HOUR, title="Weekly", zone="America/Chicago")
    recurrence = list(rules or ("RRULE:FREQ=WEEKLY",))
    action = HumanAction(action="create", calendar=PERSON, event=event, raw={"recurrence": recurrence, **raw})
    return RemoteId(str(google.emulator.act(action)["id"]))


def changes_series(google: World, series: RemoteId, **raw: object) -> None:
    google.emulator.act(HumanAction(action="change", calendar=PERSON, id=series, raw=raw))


def at(series: str, week: int, *, first: datetime = FIRST) -> RemoteId:
    return RemoteId(f"{series}_{(first + week * WEEK).astimezone(UTC):%Y%m%dT%H%M%SZ}")


def window_of(google: World) -> dict[RemoteId, RemoteEvent]:
    return {event.remote_id: event for event in google.calendar.read_window(WINDOW)}


def news(google: World, cursor: str) -> dict[str | None, type]:
    return {each.remote_id: type(each) for each in google.calendar.read_changes(cursor, window=WINDOW).changes}


def test_a_series_comes_as_its_instances_at_its_own_local_time(google: World) -> None:
    series = weekly(google)
    read = google.calendar.read_changes(None, window=WINDOW)
    assert [change.remote_id for change in read.changes] == [at(series, week) for week in range(5)]
    starts = [event.interval.start for event in window_of(google).values()]
    assert [start.hour for start in starts] == [15, 15, 14, 14, 14]  # 09:00 in Chicago before and in summer time
    assert {event.series_id for event in window_of(google).values()} == {series}


def test_days_of_a_whole_day_series_are_dates_of_the_agent(google: World) -> None:
    body = {"start": {"date": "2027-03-13"}, "end": {"date": "2027-03-14"}, "recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]}
    series = google.emulator.act(HumanAction(action="create", calendar=PERSON, raw=body))["id"]
    events = google.calendar.read_window(WINDOW)
    assert [event.remote_id for event in events] == [f"{series}_202703{day}" for day in (13, 14, 15)]
    assert [(event.interval.end - event.interval.start) / HOUR for event in events] == [24, 23, 24]


@pytest.mark.parametrize(
    ("rules", "weeks"),
    [
        (["RRULE:FREQ=WEEKLY;COUNT=3"], [0, 1, 2]),
        (["RRULE:FREQ=WEEKLY;UNTIL=20270315T140000Z"], [0, 1, 2]),
        (["RRULE:FREQ=WEEKLY;INTERVAL=2"], [0, 2, 4]),
        (["RRULE:FREQ=WEEKLY", "EXDATE;TZID=America/Chicago:20270308T090000"], [0, 2, 3, 4]),
    ],
)
def test_rules(google: World, rules: list[str], weeks: list[int]) -> None:
    series = weekly(google, *rules)
    assert list(window_of(google)) == [at(series, week) for week in weeks]


def test_the_api_makes_series_and_lists_their_instances(google: World) -> None:
    event = {
        "start": {"dateTime": FIRST.isoformat(), "timeZone": "America/Chicago"},
        "end": {"dateTime": (FIRST + HOUR).isoformat(), "timeZone": "America/Chicago"},
        "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=2"],
    }
    made = _api(google, "POST", "", json=event)
    shown = _api(google, "GET", f"/{made['id']}/instances")["items"]
    assert [row["id"] for row in shown] == [at(made["id"], week) for week in (0, 1)]
    assert shown[1]["originalStartTime"] == {"dateTime": "2027-03-08T09:00:00-06:00", "timeZone": "America/Chicago"}
    assert [row["id"] for row in _api(google, "GET", "")["items"]] == [made["id"]]  # singleEvents was not asked for
    assert (
        _api(google, "POST", "", json={**event, "recurrence": ["RRULE:FREQ=NEVER"]}, status=400)["error"]["code"] == 400
    )


def test_an_instance_that_is_moved_alone_is_one_change(google: World) -> None:
    series = weekly(google)
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    later = FIRST + WEEK + 2 * HOUR
    google.human_changes(at(series, 1), HumanEvent(start=later, end=later + HOUR, zone="America/Chicago"))
    assert news(google, cursor) == {at(series, 1): RemoteEvent}
    assert window_of(google)[at(series, 1)].interval == Interval(later, later + HOUR)
    assert len(window_of(google)) == 5


def test_an_instance_that_is_cancelled_alone_is_one_removal(google: World) -> None:
    series = weekly(google)
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    google.human_deletes(at(series, 1))
    assert news(google, cursor) == {at(series, 1): Removal}
    row = next(
        row
        for row in _api(google, "GET", "?singleEvents=true&showDeleted=true")["items"]
        if row["status"] == "cancelled"
    )
    assert row.keys() == {"kind", "etag", "id", "status", "recurringEventId", "originalStartTime"}
    assert at(series, 1) not in window_of(google)
    assert google.calendar.find_event(at(series, 1)) is None


def test_a_deleted_series_takes_every_instance_away(google: World) -> None:
    series = weekly(google)
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    google.human_deletes(series)
    told = news(google, cursor)
    assert {at(series, week) for week in range(5)} <= told.keys()
    assert set(told.values()) == {Removal}
    assert window_of(google) == {}


def test_a_series_that_ends_earlier_takes_its_last_instances_away(google: World) -> None:
    series = weekly(google)
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    changes_series(google, series, recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"])
    told = news(google, cursor)
    assert {at(series, week): told[at(series, week)] for week in range(5)} == {
        at(series, week): RemoteEvent if week < 3 else Removal for week in range(5)
    }
    changes_series(google, series, recurrence=["RRULE:FREQ=WEEKLY"])
    assert len(window_of(google)) == 5


def test_this_and_following_ends_one_series_and_starts_another(google: World) -> None:
    series = weekly(google)
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    changes_series(google, series, recurrence=["RRULE:FREQ=WEEKLY;UNTIL=20270314T000000Z"])
    later = FIRST + 2 * WEEK + HOUR
    rest = weekly(google, first=later)
    told = news(google, cursor)
    assert [told[at(series, week)] for week in range(5)] == [RemoteEvent] * 2 + [Removal] * 3
    assert told[at(rest, 0, first=later)] is RemoteEvent
    expected = [at(series, week) for week in (0, 1)] + [at(rest, week, first=later) for week in range(3)]
    assert list(window_of(google)) == expected


def test_a_series_that_is_moved_leaves_its_old_instances(google: World) -> None:
    series = weekly(google)
    google.human_changes(at(series, 1), HumanEvent(title="Odd one"))
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    later = FIRST + 3 * HOUR
    google.human_changes(series, HumanEvent(start=later, end=later + HOUR, zone="America/Chicago"))
    told = news(google, cursor)
    assert [told[at(series, week)] for week in range(5)] == [Removal] * 5
    assert list(window_of(google)) == [at(series, week, first=later) for week in range(5)]


@pytest.mark.parametrize("change", ["deleted", "shortened"])
def test_a_feed_that_names_only_the_series_asks_for_a_full_read(google: World, change: str) -> None:
    series = weekly(google)
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    if change == "deleted":
        google.human_deletes(series)
    else:
        changes_series(google, series, recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"])
    google.arm("series_as_master", match="GET")
    with pytest.raises(CursorExpired):
        google.calendar.read_changes(cursor, window=WINDOW)
    live = [each for each in google.calendar.read_changes(None, window=WINDOW).changes if isinstance(each, RemoteEvent)]
    assert len(live) == (0 if change == "deleted" else 3)


def test_a_deleted_single_event_is_no_series(google: World) -> None:
    weekly(google)
    single = google.human_creates()
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    google.human_deletes(single)
    assert news(google, cursor) == {single: Removal}


def test_a_series_that_is_not_expanded_makes_a_window_unreadable(google: World) -> None:
    """Read as its first instance it would hide all others."""
    series = weekly(google)
    google.arm("series_as_master", match="GET", times=None)
    with pytest.raises(Malformed) as caught:
        google.calendar.read_window(WINDOW)
    assert caught.value.field == "recurrence"
    (kept,) = google.calendar.read_changes(None, window=WINDOW).changes
    assert isinstance(kept, Unparsed)
    assert (kept.remote_id, kept.field) == (series, "recurrence")


def test_one_instance_is_written_and_deleted_by_its_id(google: World) -> None:
    series = weekly(google)
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    one = google.calendar.find_event(at(series, 1))
    assert one is not None
    moved = Interval(one.interval.start + HOUR, one.interval.end + HOUR)
    written = google.calendar.update(one.remote_id, EventDraft(moved, "Moved"), version=one.version)
    assert (written.remote_id, written.interval, written.title, written.key) == (one.remote_id, moved, "Moved", None)
    two = window_of(google)[at(series, 2)]
    google.calendar.delete(two.remote_id, version=two.version)
    google.calendar.delete(two.remote_id, version=two.version)
    assert news(google, cursor) == {at(series, 1): RemoteEvent, at(series, 2): Removal}
    assert list(window_of(google).items())[-1] == (at(series, 1), written)
    assert len(window_of(google)) == 4


def test_pages_hold_instances(google: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.google.listing.PAGE_ROWS", 2)
    series = weekly(google)
    assert len(google.calendar.read_changes(None, window=WINDOW).changes) == 5
    assert list(window_of(google)) == [at(series, week) for week in range(5)]


def test_our_event_that_a_person_makes_repeat_is_one_of_several(google: World) -> None:
    created = google.calendar.create(draft(), key=WriteKey("0" * 32))
    google.emulator.act(
        HumanAction(
            action="change", calendar=PERSON, id=created.remote_id, raw={"recurrence": ["RRULE:FREQ=DAILY;COUNT=2"]}
        )
    )
    found = google.calendar.read_window(Interval(MORNING, MORNING + timedelta(days=3)))
    assert [(event.key, event.series_id) for event in found] == [(None, created.remote_id)] * 2


def _api(google: World, method: str, path: str, *, status: int = 200, **sent: Any) -> dict[str, Any]:  # noqa: ANN401
    token = requests.post(f"{google.url}/token", data=_grant(google), timeout=10).json()["access_token"]
    url = f"{google.url}/calendar/v3/calendars/{PERSON}/events{path}"
    answer = requests.request(method, url, headers={"Authorization": f"Bearer {token}"}, timeout=10, **sent)
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _grant(google: World) -> dict[str, str]:
    scopes = ["https://www.googleapis.com/auth/calendar"]
    load = service_account.Credentials.from_service_account_info
    made = load(google.credentials.service_account, scopes=scopes)  # type: ignore[no-untyped-call]
    assertion = made.with_subject(PERSON)._make_authorization_grant_assertion()
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion.decode()}
