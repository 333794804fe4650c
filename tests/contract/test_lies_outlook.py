"""What Microsoft Graph has been seen to do, one test a report, and what becomes of it here (docs/lies.md, rows 1 to 24)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import tenacity

from models.session import Sessions
from providers.outlook.auth import ClientCredentialFlow
from providers.outlook.client import DELTA_PAGE_ROWS
from sync.domain import Interval, Job, RemoteEvent, RemoteId, Unparsed
from sync.errors import CursorExpired, Malformed, NotFound, ProviderUnavailable
from tests.contract.outlook_lies import a_day_later, ask_schedule, changes, cursor_of, every_call, ids, occurrence
from tests.contract.outlook_world import HOUR, NINE, WINDOW, Desk, open_desk
from tests.contract.test_outlook_push import EXPIRES, Receiver, receiver
from tests.integration.vendors import Vendors, VendorWorld, serving_both
from tests.integration.world import at

__all__ = ["receiver"]


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with serving_both() as vendors:
        yield vendors


@pytest.fixture
def desk(vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """One mailbox and our client of it."""
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    desk = open_desk(vendors.outlook)
    desk.client.read_window(WINDOW)  # with a token in hand, faults meet the calls under test
    yield desk
    vendors.outlook.emulator.faults.clear()


@pytest.fixture
def world(
    vendors: Vendors, app_sessions: Sessions, commit_sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> Iterator[VendorWorld]:
    """The engine, with this vendor's calendar as the master."""
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())
    monkeypatch.setattr("providers.outlook.client.LOOK_AGAIN_SECONDS", 0)
    world = VendorWorld(app_sessions, commit_sessions, connected=vendors.connect())
    world.employ(vendors)
    yield world
    vendors.outlook.emulator.faults.clear()


def test_lie_01_occurrences_come_without_subject_and_attendees(desk: Desk) -> None:
    occurrence(desk)
    desk.fault("stub_rows")
    (event,) = changes(desk)
    assert isinstance(event, RemoteEvent)
    assert (event.title, event.series_id) == ("Standup", "the-series")


def test_lie_02_a_deletion_is_missing_from_the_feed(world: VendorWorld) -> None:
    world.book(at(10))
    world.on_master.remove(world.on_master.only())
    world.on_master.arm("drop_deletion", times=None)
    assert world.detect(Job.CANCEL, "dana-master").proposals == ()
    a_day_later(world, Job.CANCEL)
    world.quiesce()
    assert world.booked() == []
    world.assert_in_step()


def test_lie_03_an_event_that_left_the_window_is_said_to_be_deleted(desk: Desk) -> None:
    event, cursor = desk.types(), cursor_of(desk)
    far = NINE + timedelta(days=30)
    desk.act("change", id=event, event={"start": far.isoformat(), "end": (far + HOUR).isoformat()})
    (change,) = changes(desk, cursor)
    assert isinstance(change, RemoteEvent)
    assert change.interval == Interval(far, far + HOUR)


def test_lie_04_one_answer_has_the_same_id_twice(desk: Desk) -> None:
    event = desk.types()
    desk.fault("duplicate_rows")
    assert ids(changes(desk)) == [event]


def test_lie_05_pages_go_on_for_ever(desk: Desk) -> None:
    cursor, event = cursor_of(desk), desk.types()
    desk.fault("endless_pages")
    with pytest.raises(CursorExpired):
        changes(desk, cursor)
    assert ids(changes(desk)) == [event]


def test_lie_06_pages_are_bigger_than_asked_for_and_repeat_rows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.outlook.client.DELTA_PAGE_ROWS", 10)
    assert DELTA_PAGE_ROWS > 10
    planted = {desk.types(start=NINE + timedelta(minutes=each)) for each in range(13)}
    desk.fault("big_pages")
    found = ids(changes(desk))
    assert (len(found), set(found)) == (13, planted)


def test_lie_07_the_feed_leaves_a_series_out(desk: Desk) -> None:
    """Not for ever: the full read asks the plain calendar as well. The check before a booking never asks the feed."""
    event = occurrence(desk)
    desk.fault("omitted_series", times=None)
    assert ids(changes(desk)) == [event]
    assert ids(desk.client.read_window(WINDOW)) == [event]


def test_lie_08_the_next_page_is_a_504_every_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No part of a round is taken for the whole, and the cursor stands. What is asked before a booking has no such pages."""
    monkeypatch.setattr("providers.outlook.client.DELTA_PAGE_ROWS", 2)
    cursor = cursor_of(desk)
    planted = [desk.types(start=NINE + timedelta(minutes=each)) for each in range(3)]
    desk.fault("next_link_504", times=None)
    for start in (cursor, None):
        with pytest.raises(ProviderUnavailable):
            changes(desk, start)
    assert ids(desk.client.read_window(WINDOW)) == planted
    desk.world.emulator.faults.clear()
    assert ids(changes(desk, cursor)) == planted


def test_lie_09_one_change_is_told_three_times(desk: Desk, receiver: Receiver) -> None:
    """A push says no more than "read again", and reading again shows nothing new."""
    desk.client.subscribe(url=receiver.url, secret="hush", expires=EXPIRES)
    read = desk.client.read_changes(None, window=WINDOW)
    desk.fault("repeated_push")
    desk.types()
    told = []
    for _ in range(3):
        receiver.next()
        read = desk.client.read_changes(read.cursor, window=WINDOW)
        told.append(len(read.changes))
    assert told == [1, 0, 0]


def test_lie_10_pushes_stay_away_though_the_subscription_is_good(desk: Desk, receiver: Receiver) -> None:
    desk.client.subscribe(url=receiver.url, secret="hush", expires=EXPIRES)
    cursor = cursor_of(desk)
    desk.fault("lost_push", times=None)
    event = desk.types()
    assert receiver.nothing()
    assert ids(changes(desk, cursor)) == [event]


def test_lie_11_a_subscription_ends_without_a_word(desk: Desk, receiver: Receiver) -> None:
    first = desk.client.subscribe(url=receiver.url, secret="hush", expires=EXPIRES)
    cursor = cursor_of(desk)
    desk.fault("lost_subscription")
    event = desk.types()
    assert receiver.nothing()
    assert ids(changes(desk, cursor)) == [event]
    with pytest.raises(NotFound):  # renewing tells, and a new one is made
        desk.client.renew(first, url=receiver.url, secret="hush", expires=EXPIRES)
    desk.client.subscribe(url=receiver.url, secret="hush", expires=EXPIRES)
    desk.types()
    assert receiver.next()


def test_lie_12_a_batch_is_ok_outside_and_refused_inside(desk: Desk) -> None:
    """Nothing is asked in batches, so every answer has its own status."""
    routes = every_call(desk)
    assert len(routes) == 7
    assert not any("$batch" in route for route in routes)


def test_lie_13_a_schedule_that_could_not_be_read_comes_with_200(desk: Desk) -> None:
    """Whoever takes the missing list for free time books twice; the client asks for the events themselves."""
    desk.types()
    (good,) = ask_schedule(desk, desk.ref.remote).json()["value"]
    assert [item["status"] for item in good["scheduleItems"]] == ["busy"]
    desk.fault("schedule_error")
    answer = ask_schedule(desk, desk.ref.remote)
    (broken,) = answer.json()["value"]
    assert (answer.status_code, broken["error"]["responseCode"], "scheduleItems" in broken) == (200, "5009", False)
    assert not any("getSchedule" in route for route in every_call(desk))
    assert len(desk.client.read_window(WINDOW)) == 1


def test_lie_14_a_schedule_is_left_out_or_breaks_on_null(desk: Desk) -> None:
    assert ask_schedule(desk, desk.ref.remote, availabilityViewInterval=None).status_code == 500
    desk.fault("schedule_silence")
    assert len(ask_schedule(desk, desk.ref.remote, "ben@example.com").json()["value"]) == 1
    assert not any("getSchedule" in route for route in every_call(desk))


def test_lie_15_a_whole_day_is_midnight_utc_whatever_the_zone(vendors: Vendors) -> None:
    """It is a date, and the agent's day decides when it begins."""
    desk = open_desk(vendors.outlook, zone="Asia/Kathmandu")
    day = datetime(2027, 3, 9, tzinfo=UTC)
    desk.types(start=day, end=day + timedelta(days=1), all_day=True)
    (event,) = desk.client.read_window(WINDOW)
    start = datetime(2027, 3, 8, 18, 15, tzinfo=UTC)
    assert event.interval == Interval(start, start + timedelta(days=1))


def test_lie_16_a_time_is_labelled_with_a_zone_that_somebody_made_up(desk: Desk) -> None:
    """The zone of the organizer does not matter; an answer that is not in UTC, as asked for, is not understood."""
    event = desk.act("create", event={"start": NINE.isoformat(), "end": (NINE + HOUR).isoformat()},
                     raw={"originalStartTimeZone": "tzone://Microsoft/Custom"})  # fmt: skip
    assert ids(desk.client.read_window(WINDOW)) == [event]
    desk.fault("custom_zone", times=None)
    with pytest.raises(Malformed, match=r"start\.timeZone"):
        desk.client.read_window(WINDOW)
    (odd,) = changes(desk)
    assert isinstance(odd, Unparsed)
    assert (odd.remote_id, odd.field) == (event, "start.timeZone")


def test_lie_17_an_event_is_reported_deleted_and_never_again(desk: Desk) -> None:
    event, cursor = desk.types(), cursor_of(desk)
    desk.act("change", id=event, event={"title": "Moved and back"})
    desk.fault("false_removal", times=None)
    (change,) = changes(desk, cursor)
    assert isinstance(change, RemoteEvent)
    assert (change.remote_id, change.title) == (event, "Moved and back")
    assert ids(changes(desk)) == [event]


def test_lie_18_the_id_of_a_calendar_changes_by_itself(desk: Desk) -> None:
    """None is kept: the calendar is asked for as the default one of its mailbox."""
    assert not any("calendars" in route for route in every_call(desk))


def test_lie_19_two_ids_differ_in_one_character(desk: Desk) -> None:
    names = ["AAkA-ID_1", "AAkA_ID_1", "AAkA-id_1"]
    for hour, name in enumerate(names):
        start = NINE + hour * HOUR
        event = {"title": name, "start": start.isoformat(), "end": (start + HOUR).isoformat()}
        desk.act("create", event=event, raw={"id": name})
    assert ids(changes(desk)) == names
    found = [desk.client.find_event(RemoteId(name)) for name in names]
    assert [event.title for event in found if event] == names


@pytest.mark.parametrize("kind", ["other_event", "doubled_create"])
def test_lie_20_a_creation_names_another_event_or_makes_two(world: VendorWorld, kind: str) -> None:
    """The appointment has one event. A second one that the vendor made takes the time, so nobody else gets it."""
    world.on_master.put(at(8), "Dentist")
    world.quiesce()
    world.on_master.arm(kind)
    proposal = world.ask(at(10))
    world.settle()
    taken = [event for event in world.on_master.events() if event.interval == at(10)]
    reason, again = {"other_event": ("accepted", "slot_taken"), "doubled_create": ("master_busy", "master_busy")}[kind]
    assert (world.reason(proposal), world.slots("held"), len(taken)) == (reason, [], 1)
    assert [event.title for event in world.on_master.events() if event.interval == at(8)] == ["Dentist"]
    second = world.ask(at(10))
    world.settle()
    assert world.reason(second) == again


def test_lie_21_an_event_is_stored_and_the_answer_is_a_timeout(world: VendorWorld) -> None:
    world.on_master.arm("commit_then_timeout", match="POST", times=3)
    proposal = world.ask(at(10))
    world.settle()
    assert (world.reason(proposal), world.on_master.only().interval) == ("accepted", at(10))
    world.assert_in_step()


def test_lie_22_a_fresh_tag_is_refused(world: VendorWorld) -> None:
    world.book(at(10))
    world.on_mirror.drag(world.on_mirror.only(), at(12))
    world.on_master.arm("transient_412", times=2)
    world.quiesce()
    assert world.booked() == [at(12)]
    world.assert_in_step()


def test_lie_23_a_mailbox_without_a_zone_refuses_whoever_names_none(desk: Desk) -> None:
    desk.fault("zoneless_mailbox", times=None)
    assert every_call(desk)
    token = ClientCredentialFlow(desk.world.credentials()).token()
    url = f"{desk.world.url}/v1.0/users/{desk.ref.remote}/events"
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "TimeZoneNotSupportedException")


def test_lie_24_occurrences_share_their_icaluid(desk: Desk) -> None:
    shared: dict[str, Any] = {"iCalUId": "040000008200E0"}
    planted = [occurrence(desk, title, **shared) for title in ("Monday", "Tuesday")]
    assert ids(changes(desk)) == planted
    found = [desk.client.find_event(RemoteId(each)) for each in planted]
    assert [event.title for event in found if event] == ["Monday", "Tuesday"]
