"""What Google Calendar has been seen to do, one test a report, and what becomes of it here (docs/lies.md, rows 25 to 35)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
import requests
import tenacity

from models.session import Sessions
from sync.domain import Job, RemoteEvent, RemoteId, WriteKey
from sync.errors import CursorExpired, NotFound, ProviderUnavailable, RateLimited, Rejected, WriteOutcomeUnknown
from tests.contract.test_google_push import receiver, states, subscribe
from tests.fixtures.google.serving import MORNING, PERSON, WINDOW, Stage, World, draft, stage
from tests.integration.vendors import Vendors, VendorWorld, serving_both
from tests.integration.world import at

EVENTS = "/calendar/v3/calendars/{calendar}/events"


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def google(server: Stage, monkeypatch: pytest.MonkeyPatch) -> World:
    """One calendar and our client of it."""
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    return server.world()


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with serving_both() as vendors:
        yield vendors


@pytest.fixture
def world(
    vendors: Vendors, app_sessions: Sessions, commit_sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> Iterator[VendorWorld]:
    """The engine, with this vendor's calendar as the mirror."""
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())
    world = VendorWorld(app_sessions, commit_sessions, connected=vendors.connect())
    world.employ(vendors)
    yield world
    vendors.google.faults.clear()


def new_key() -> WriteKey:
    return WriteKey(uuid.uuid4().hex)


def live(google: World) -> list[str]:
    return [entry.id for entry in google.emulator.store.entries(PERSON) if not entry.deleted]


def calls(google: World, method: str) -> int:
    return sum(count for route, count in google.emulator.books.by_route.items() if route.startswith(method))


def test_lie_25_a_rate_limit_is_a_403(google: World) -> None:
    """It is a limit, to be obeyed, and no right that was taken away."""
    google.arm("rate_limited_403")
    with pytest.raises(RateLimited):
        google.calendar.create(draft(), key=new_key())
    assert live(google) == []


def test_lie_26_usage_limits_are_exceeded_far_below_the_quota(google: World) -> None:
    """An hour of rest: trying again within minutes prolongs it."""
    google.arm("quota_exceeded")
    with pytest.raises(RateLimited) as caught:
        google.calendar.create(draft(), key=new_key())
    assert caught.value.retry_after == 3600
    assert calls(google, "POST /calendar") == 1


def test_lie_27_a_sync_token_dies_in_normal_use(google: World) -> None:
    event_id = google.human_creates()
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    google.arm("expired_cursor")
    with pytest.raises(CursorExpired):
        google.calendar.read_changes(cursor, window=WINDOW)
    assert [each.remote_id for each in google.calendar.read_changes(None, window=WINDOW).changes] == [event_id]


def test_lie_28_a_full_read_shows_no_tombstones(world: VendorWorld) -> None:
    """What is missing is found by difference, asked for by id, and then believed."""
    world.book(at(10))
    world.on_mirror.remove(world.on_mirror.only())
    world.on_mirror.arm("expired_cursor", times=3)
    world.on_mirror.arm("no_tombstones", times=None)
    report = world.detect(Job.CANCEL, "dana-mirror")
    assert (report.full, len(report.proposals)) == (True, 1)
    world.quiesce()
    assert world.booked() == []
    world.assert_in_step()


def test_lie_29_the_last_page_has_no_sync_token(google: World) -> None:
    """Nothing proves that it was the last one: refused, and the cursor stands."""
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    event_id = google.human_creates()
    google.arm("no_sync_token", times=3)
    for start in (cursor, None):
        with pytest.raises(ProviderUnavailable):
            google.calendar.read_changes(start, window=WINDOW)
    with pytest.raises(ProviderUnavailable):
        google.calendar.read_window(WINDOW)
    assert [each.remote_id for each in google.calendar.read_changes(cursor, window=WINDOW).changes] == [event_id]


def test_lie_30_a_deleted_id_of_our_own_choice_stays_burnt(google: World) -> None:
    key = new_key()
    created = google.calendar.create(draft(), key=key)
    google.human_deletes(created.remote_id)
    with pytest.raises(Rejected):
        google.calendar.create(draft(), key=key)
    tombstone = google.emulator.store.get(PERSON, created.remote_id)
    assert tombstone is not None
    with pytest.raises(NotFound):
        google.calendar.update(created.remote_id, draft(), version=tombstone.data["etag"])
    google.calendar.delete(created.remote_id, version=created.version)
    assert google.emulator.books.by_status.keys() >= {"409", "403", "410"}


def test_lie_31_cancelled_rows_come_though_none_were_asked_for(google: World) -> None:
    event_id = google.human_creates()
    google.arm("cancelled_rows")
    assert [event.remote_id for event in google.calendar.read_window(WINDOW)] == [event_id]


def test_lie_32_one_change_is_pushed_many_times_and_says_nothing(google: World) -> None:
    """A push says no more than "read again", and reading again shows nothing new."""
    read = google.calendar.read_changes(None, window=WINDOW)
    with receiver() as (url, inbox):
        subscribe(google, url)
        google.arm("duplicate_push")
        event_id = google.human_creates()
        assert [state for state, _ in states(inbox, 3)] == ["sync", "exists", "exists"]
    told: list[object] = []
    for _ in range(3):
        read = google.calendar.read_changes(read.cursor, window=WINDOW)
        told += [change.remote_id for change in read.changes]
    assert told == [event_id]


def every_call(google: World) -> set[str]:
    """The paths of everything that the client can ask."""
    created = google.calendar.create(draft(), key=new_key())
    updated = google.calendar.update(created.remote_id, draft(2, 3), version=created.version)
    google.calendar.read_changes(google.calendar.read_changes(None, window=WINDOW).cursor, window=WINDOW)
    google.calendar.read_window(WINDOW)
    google.calendar.find_by_key(new_key())
    google.calendar.delete(created.remote_id, version=updated.version)
    return {path for _, path, _ in google.seen}


def test_lie_33_busy_times_that_could_not_be_read_come_with_200(google: World) -> None:
    """Whoever takes the empty list for free time books twice; the client asks for the events themselves."""
    assert not any("freeBusy" in path for path in every_call(google))
    google.human_creates()
    google.arm("freebusy_error")
    later = MORNING + timedelta(hours=1)
    asked = {"timeMin": MORNING.isoformat(), "timeMax": later.isoformat(), "items": [{"id": PERSON}]}
    headers = {"Authorization": f"Bearer {google.calendar._transport._auth.token()}"}
    answer = requests.post(f"{google.url}/calendar/v3/freeBusy", json=asked, headers=headers, timeout=5)
    (entry,) = answer.json()["calendars"].values()
    assert (answer.status_code, entry["busy"], bool(entry["errors"])) == (200, [], True)
    assert len(google.calendar.read_window(WINDOW)) == 1


def test_lie_34_an_event_is_not_found_right_after_it_was_made(google: World) -> None:
    key = new_key()
    google.arm("delayed_visibility", match="POST", seconds=3600)
    created = google.calendar.create(draft(), key=key)
    with pytest.raises(WriteOutcomeUnknown):  # neither gone nor made again
        google.calendar.create(draft(), key=key)
    google.emulator._calendars._hidden.clear()  # the hour is over
    assert google.calendar.create(draft(), key=key) == created
    assert live(google) == [created.remote_id]


@pytest.mark.parametrize("kind", ["unavailable", "commit_then_unavailable"])
def test_lie_35_a_503_in_the_middle_of_a_run(google: World, kind: str) -> None:
    """The chosen id makes trying again safe, whether or not the first attempt was stored."""
    google.arm(kind, match="POST /calendar")
    created = google.calendar.create(draft(), key=new_key())
    assert isinstance(created, RemoteEvent)
    assert live(google) == [created.remote_id]
    google.arm("unavailable", match="GET")
    assert google.calendar.find_event(RemoteId(created.remote_id)) == created
