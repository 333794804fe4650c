"""What Cal.com has been seen to do, one test a report, and what becomes of it here (docs/lies.md, rows 41 to 47)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
import tenacity

from models.session import Sessions
from providers.calcom.client import CalcomService
from providers.emulation import HumanAction, HumanEvent
from providers.registry import Registry, Service
from sync.domain import Interval, Job, Kind, RemoteId
from tests.contract.test_calcom_client import first, ids
from tests.contract.test_calcom_writing import booked, new_key, refusal
from tests.fixtures.calcom.serving import KEY, PERSON, WINDOW, Stage, World, draft, hours, stage
from tests.integration.vendors import VendorWorld
from tests.integration.world import MemoryService, at, shown

JOBS = [None, Job.UPDATE, Job.CANCEL]


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def calcom(server: Stage, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    return server.world()


@pytest.fixture
def world(calcom: World, app_sessions: Sessions, commit_sessions: Sessions) -> VendorWorld:
    """The engine, with master and mirror in memory and this vendor as the source."""
    calcom.emulator.now = lambda: datetime.now(UTC)
    calcom.emulator.requests_per_minute = 100_000
    world = VendorWorld(app_sessions, commit_sessions)
    services: dict[str, Service] = {
        "memory": MemoryService(world.calendars),
        "calcom": CalcomService(calcom.credentials()),
    }
    world.connected = Registry(services)
    world.add_agent("dana")
    world.add_mirror(PERSON, role="source", provider="calcom")
    return world


def typed(interval: Interval) -> HumanEvent:
    return HumanEvent(start=interval.start, end=interval.end)


def guest_books(calcom: World, interval: Interval) -> RemoteId:
    action = HumanAction(action="create", calendar=PERSON, event=typed(interval))
    return RemoteId(str(calcom.emulator.act(action)["uid"]))


def guest_moves(calcom: World, uid: RemoteId, interval: Interval, **raw: object) -> RemoteId:
    action = HumanAction(action="change", calendar=PERSON, id=uid, event=typed(interval), raw=raw)
    return RemoteId(str(calcom.emulator.act(action)["uid"]))


def everywhere(world: VendorWorld) -> list[list[Interval]]:
    return [world.booked(), shown(world.master), shown(world.mirror)]


def test_lie_41_a_reschedule_is_told_as_a_request(world: VendorWorld, calcom: World) -> None:
    """A new time that the host has still to confirm is told as if it were a new request. The booking says what it is."""
    uid = guest_books(calcom, at(10))
    world.quiesce()
    guest_moves(calcom, uid, at(15), status="pending")
    world.quiesce()
    assert everywhere(world) == [[at(15)]] * 3
    assert world.reasons() == [("book", "accepted"), ("move", "accepted")]


@pytest.mark.parametrize("job", JOBS)
def test_lie_42_a_reschedule_does_not_name_the_new_booking(calcom: World, job: Job | None) -> None:
    assert_one_link_is_enough(calcom, "reschedule_without_successor", job)


@pytest.mark.parametrize("job", JOBS)
def test_lie_43_the_uid_changes_and_the_new_one_does_not_name_the_old(calcom: World, job: Job | None) -> None:
    assert_one_link_is_enough(calcom, "successor_without_origin", job)


def assert_one_link_is_enough(calcom: World, lie: str, job: Job | None) -> None:
    old = calcom.books()
    cursor = first(calcom)
    calcom.arm(lie)
    new = calcom.moves(old, 4, 5)
    assert ids(calcom, cursor, job) == [new, old]
    found = calcom.calendar.find_event(old)
    assert found is not None
    assert found.remote_id == new


def test_lie_44_the_id_is_missing(calcom: World) -> None:
    """It is never read; the uid counts."""
    uid = calcom.books()
    plain = calcom.calendar.read_changes(None, window=WINDOW).changes
    found = calcom.calendar.find_event(uid)
    calcom.arm("missing_id", times=2)
    assert calcom.calendar.read_changes(None, window=WINDOW).changes == plain
    assert calcom.calendar.find_event(uid) == found


@pytest.mark.parametrize("write", ["create", "move", "cancel"])
def test_lie_45_an_error_is_shown_and_it_was_done(calcom: World, write: str) -> None:
    """After a refusal the booking is read again before anybody is told."""
    if write == "create":
        key = new_key()
        calcom.arm("booked_despite_error")
        assert calcom.calendar.create(draft(), key=key).key == key
        assert len(calcom.live()) == 1
        return
    event = booked(calcom)
    calcom.arm("booked_despite_error")
    if write == "cancel":
        assert not calcom.calendar.update(event.remote_id, refusal(), version=event.version).blocks
        assert calcom.live() == []
        return
    moved = calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert (moved.interval, moved.replaces) == (hours(4, 5), event.remote_id)
    assert calcom.live() == [moved.remote_id]


def test_lie_46_a_busy_calendar_is_not_honoured(world: VendorWorld, calcom: World) -> None:
    """Two bookings of one time: the first is kept, and the guest of the second is told no, with the reason.

    Nor is the vendor's word that a time is free worth anything when we move a booking: it is not even asked.
    """
    kept = guest_books(calcom, at(10))
    world.quiesce()
    calcom.arm("double_booking")
    refused = book_by_api(calcom, at(10))
    assert sorted(calcom.live()) == sorted([kept, refused])
    world.quiesce()
    assert everywhere(world) == [[at(10)]] * 3
    assert world.reasons() == [("book", "accepted"), ("book", "slot_taken")]
    assert calcom.live() == [kept]
    assert calcom.data(refused)["cancellationReason"]

    other = guest_books(calcom, at(12))
    world.quiesce()
    calcom.arm("double_booking")
    wish = world.wish(Kind.MOVE, at(12), appointment=world.appointments()[0].id)
    world.quiesce()
    assert (world.reason(wish.id), everywhere(world)) == ("slot_taken", [[at(10), at(12)]] * 3)
    assert sorted(calcom.live()) == sorted([kept, other])


def book_by_api(calcom: World, interval: Interval) -> RemoteId:
    """As another tool of the host's would."""
    guest = {"name": "Eve", "email": "eve@example.com", "timeZone": "UTC"}
    body = {"start": interval.start.isoformat(), "eventTypeId": 7, "lengthInMinutes": 60, "attendee": guest}
    headers = {"Authorization": f"Bearer {KEY}", "cal-api-version": "2024-08-13"}
    answer = requests.post(f"{calcom.url}/v2/bookings", json=body, headers=headers, timeout=5)
    assert answer.status_code == requests.codes.created, answer.text
    return RemoteId(str(answer.json()["data"]["uid"]))


def test_lie_47_what_is_done_from_links_in_mails_triggers_nothing(world: VendorWorld, calcom: World) -> None:
    """No push tells of it; the next poll does."""
    uid = guest_books(calcom, at(10))
    other = guest_books(calcom, at(12))
    world.quiesce()
    calcom.cancels(uid)
    guest_moves(calcom, other, at(14))
    world.quiesce()
    assert everywhere(world) == [[at(14)]] * 3
    assert sorted(world.reasons()) == [("book", "accepted")] * 2 + [("cancel", "accepted"), ("move", "accepted")]
