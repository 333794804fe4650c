"""The Google client against the emulator, over real HTTP: what is Google's own. The port itself: test_calendar_port*.py."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import requests
import tenacity

from providers.emulation import Fault, HumanAction, HumanEvent
from providers.google.client import GoogleCredentials, GoogleService
from providers.google.emulator import GoogleEmulator
from sync.domain import Attendee, EventDraft, Interval, RemoteEvent, Removal, Unparsed, WriteKey
from sync.errors import (
    CredentialRevoked,
    CursorExpired,
    Forbidden,
    Malformed,
    ProviderUnavailable,
    RateLimited,
    StaleVersion,
    Transient,
    WatertightError,
    WriteOutcomeUnknown,
)
from sync.ports import CalendarAdapter
from tests.fixtures.google.serving import (
    MORNING,
    PERSON,
    WINDOW,
    Stage,
    World,
    calendar_ref,
    draft,
    hours,
    service_account,
    stage,
)

NOWHERE = "http://127.0.0.1:9/hook"
EVENTS = "/calendar/v3/calendars/{calendar}/events"


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def google(server: Stage, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    return server.world()


def new_key() -> WriteKey:
    return WriteKey(uuid.uuid4().hex)


def live_count(google: World) -> int:
    return sum(not entry.deleted for entry in google.emulator.store.entries(PERSON))


def calls(google: World, route: str) -> int:
    return google.emulator.books.by_route[route]


def test_the_client_is_a_calendar_adapter(google: World) -> None:
    adapter: CalendarAdapter = google.calendar
    assert adapter is google.calendar


# Reading changes


def test_a_first_read_keeps_to_the_window_and_a_cursor_tells_of_the_rest(google: World) -> None:
    google.human_creates(24 * 20, 24 * 20 + 1)
    first = google.calendar.read_changes(None, window=WINDOW)
    assert first.changes == ()
    google.human_creates(24 * 30, 24 * 30 + 1)
    (outside,) = google.calendar.read_changes(first.cursor, window=WINDOW).changes
    assert isinstance(outside, RemoteEvent)
    assert outside.interval == hours(24 * 30, 24 * 30 + 1)


def test_an_event_moved_out_of_the_window_comes_with_its_interval(google: World) -> None:
    event_id = google.human_creates()
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    later = hours(24 * 40, 24 * 40 + 1)
    google.human_changes(event_id, HumanEvent(start=later.start, end=later.end))
    (moved,) = google.calendar.read_changes(cursor, window=WINDOW).changes
    assert isinstance(moved, RemoteEvent)
    assert moved.interval == later


def test_all_pages_are_read(google: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.google.listing.PAGE_ROWS", 3)
    ids = [google.human_creates(n, n + 1) for n in range(8)]
    changes = google.calendar.read_changes(None, window=WINDOW)
    assert [change.remote_id for change in changes.changes] == ids
    assert calls(google, f"GET {EVENTS}") == 3
    google.human_deletes(ids[0])
    (removal,) = google.calendar.read_changes(changes.cursor, window=WINDOW).changes
    assert removal == Removal(ids[0])


def test_an_empty_page_before_the_end_is_not_the_end(google: World) -> None:
    event_id = google.human_creates()
    google.arm("empty_page")
    changes = google.calendar.read_changes(None, window=WINDOW)
    assert [change.remote_id for change in changes.changes] == [event_id]


def test_a_row_told_twice_is_one_change(google: World) -> None:
    google.human_creates()
    google.arm("duplicate_rows")
    assert len(google.calendar.read_changes(None, window=WINDOW).changes) == 1


@pytest.mark.parametrize("raw", [{"id": None}, {"end": {"dateTime": "soon"}}, {"status": "perhaps"}, {"etag": 7}])
def test_odd_records_never_break_a_batch(google: World, raw: dict[str, object]) -> None:
    google.human_creates(raw=raw)
    fine = google.human_creates(2, 3)
    changes = google.calendar.read_changes(None, window=WINDOW).changes
    assert [type(change) for change in changes] == [Unparsed, RemoteEvent]
    assert changes[1].remote_id == fine


@pytest.mark.parametrize("cursor", ["nonsense", "bm9uc2Vuc2U", "eyJraW5kIjogInN5bmMiLCAic2VxIjogMSwgImhhc2giOiAiMCJ9"])
def test_a_cursor_that_google_does_not_understand_is_expired(google: World, cursor: str) -> None:
    with pytest.raises(CursorExpired):
        google.calendar.read_changes(cursor, window=WINDOW)


def test_a_cursor_dies_when_the_page_size_changes(google: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = google.calendar.read_changes(None, window=WINDOW).cursor
    monkeypatch.setattr("providers.google.listing.PAGE_ROWS", 17)  # as a new release of ours might
    with pytest.raises(CursorExpired):
        google.calendar.read_changes(cursor, window=WINDOW)


@pytest.mark.parametrize("kind", ["no_sync_token", "partial_page", "endless_pages"])
def test_a_partial_read_of_changes_is_an_error(google: World, kind: str) -> None:
    google.human_creates(0, 1)
    google.human_creates(2, 3)
    google.arm(kind)
    with pytest.raises(ProviderUnavailable):
        google.calendar.read_changes(None, window=WINDOW)


def test_endless_empty_pages_end_at_a_cap(google: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.google.listing.MAX_PAGES", 5)
    google.arm("endless_pages")
    with pytest.raises(ProviderUnavailable, match="do not end"):
        google.calendar.read_changes(None, window=WINDOW)


# Reading a window


def test_a_window_has_no_cancelled_events(google: World) -> None:
    google.human_deletes(google.human_creates())
    google.human_creates(raw={"status": "cancelled", "start": None})  # shown in spite of showDeleted=false
    assert google.calendar.read_window(WINDOW) == []


def test_an_all_day_event_lies_in_the_agents_zone(google: World) -> None:
    """Google places it by the calendar's zone: midnight to midnight UTC, which ends before the window of the agent does."""
    day = datetime(2027, 3, 14, tzinfo=UTC)
    google.emulator.act(_all_day(day, day + timedelta(days=1)))
    chicago = ZoneInfo("America/Chicago")
    start = datetime(2027, 3, 14, tzinfo=chicago).astimezone(UTC)
    end = datetime(2027, 3, 15, tzinfo=chicago).astimezone(UTC)
    assert end - start == timedelta(hours=23)
    evening = Interval(end - timedelta(minutes=30), end)
    (event,) = google.calendar.read_window(evening)
    assert event.interval == Interval(start, end)
    assert google.calendar.read_window(Interval(end, end + timedelta(hours=1))) == []


def _all_day(start: datetime, end: datetime) -> HumanAction:
    return HumanAction(action="create", calendar=PERSON, event=HumanEvent(start=start, end=end, all_day=True))


def test_a_time_shown_in_a_zone_is_the_same_instant(google: World) -> None:
    event = HumanEvent(start=MORNING, end=MORNING + timedelta(hours=1), zone="Asia/Kathmandu")
    shown = google.emulator.act(HumanAction(action="create", calendar=PERSON, event=event))
    assert shown["start"] == {"dateTime": "2027-03-08T20:45:00+05:45", "timeZone": "Asia/Kathmandu"}
    (read,) = google.calendar.read_window(WINDOW)
    assert read.interval == hours(0, 1)


def test_a_malformed_record_fails_the_whole_window(google: World) -> None:
    google.human_creates(0, 1)
    google.human_creates(2, 3, raw={"end": None})
    with pytest.raises(Malformed) as caught:
        google.calendar.read_window(hours(10, 11))
    assert caught.value.field == "end"


@pytest.mark.parametrize("kind", ["partial_page", "no_sync_token", "endless_pages"])
def test_a_window_that_is_not_whole_is_an_error(google: World, kind: str) -> None:
    google.human_creates(0, 1)
    google.human_creates(2, 3)
    google.arm(kind, times=None)
    with pytest.raises(ProviderUnavailable):
        google.calendar.read_window(WINDOW)


@pytest.mark.parametrize("kind", ["html", "empty_body", "error_in_ok", "truncated", "server_error", "unavailable"])
def test_a_passing_failure_of_a_read_is_bridged(google: World, kind: str) -> None:
    google.human_creates()
    google.arm(kind)
    assert len(google.calendar.read_window(WINDOW)) == 1


def test_a_hidden_calendar_is_forbidden_and_never_an_empty_one(google: World) -> None:
    event = google.calendar.create(draft(), key=new_key())
    google.arm("hidden_calendar", times=None)
    with pytest.raises(Forbidden):
        google.calendar.read_window(WINDOW)
    with pytest.raises(Forbidden):
        google.calendar.read_changes(None, window=WINDOW)
    with pytest.raises(Forbidden):
        google.calendar.find_event(event.remote_id)
    with pytest.raises(Forbidden):
        google.calendar.delete(event.remote_id, version=event.version)
    assert live_count(google) == 1


# Finding


def test_find_event_refuses_what_it_cannot_understand(google: World) -> None:
    event_id = google.human_creates(raw={"start": {"dateTime": "2027-03-08T15:00:00"}})
    with pytest.raises(Malformed, match=r"start\.dateTime: has neither zone nor offset"):
        google.calendar.find_event(event_id)


def test_find_by_key_does_not_take_a_persons_copy_for_our_write(google: World) -> None:
    key = new_key()
    tag: dict[str, object] = {"extendedProperties": {"private": {"watertightKey": key}}}
    google.human_creates(0, 1, raw=tag)
    assert google.calendar.find_by_key(key) is None
    created = google.calendar.create(draft(), key=key)
    google.human_creates(2, 3, raw=tag)
    assert google.calendar.find_by_key(key) == created


# Creating


def test_create_shows_what_the_draft_says(google: World) -> None:
    key = new_key()
    wish = EventDraft(hours(0, 1), title="Viewing", body="Keys", attendees=(Attendee("Ann", "ann@example.com"),))
    created = google.calendar.create(wish, key=key)
    assert (created.interval, created.title, created.blocks, created.key) == (hours(0, 1), "Viewing", True, key)
    assert created.attendees == wish.attendees
    entry = google.emulator.store.get(PERSON, created.remote_id)
    assert entry is not None
    assert entry.data["description"] == "Keys"
    assert entry.created_by == "app"


def test_a_key_outside_googles_alphabet_still_creates_once(google: World) -> None:
    key = WriteKey("Write-12/mirror")
    first = google.calendar.create(draft(), key=key)
    assert first.key == key
    assert google.calendar.create(draft(), key=key) == first
    assert google.calendar.find_by_key(key) == first
    assert live_count(google) == 1


@pytest.mark.parametrize("kind", ["commit_then_timeout", "empty_body", "html", "truncated", "error_in_ok"])
def test_a_create_whose_answer_is_lost_happens_once(google: World, kind: str) -> None:
    google.arm(kind, match="POST")
    created = google.calendar.create(draft(), key=(key := new_key()))
    assert created.key == key
    assert live_count(google) == 1


def test_a_create_that_never_gets_an_answer_is_of_unknown_outcome(google: World) -> None:
    key = new_key()
    google.arm("commit_then_timeout", match="POST", times=None)
    google.arm("unavailable", match="POST", times=None)
    with pytest.raises(WriteOutcomeUnknown):
        google.calendar.create(draft(), key=key)
    assert calls(google, f"POST {EVENTS}") + calls(google, "POST calendar") == 3
    google.emulator.faults.clear()
    assert google.calendar.create(draft(), key=key).key == key
    assert live_count(google) == 1


def test_creates_with_one_key_from_many_threads_make_one_event(google: World) -> None:
    key = new_key()
    with ThreadPoolExecutor(8) as pool:
        events = list(pool.map(lambda _: google.calendar.create(draft(), key=key), range(16)))
    assert len({event.remote_id for event in events}) == 1
    assert live_count(google) == 1


def test_an_event_that_exists_and_is_not_visible_yet_is_of_unknown_outcome(google: World) -> None:
    key = new_key()
    google.arm("delayed_visibility", match="POST", seconds=3600)
    created = google.calendar.create(draft(), key=key)
    with pytest.raises(WriteOutcomeUnknown):
        google.calendar.create(draft(), key=key)
    assert google.calendar.find_event(created.remote_id) is None
    before = google.calendar.read_changes(None, window=WINDOW)
    assert before.changes == ()
    google.emulator._calendars._hidden.clear()  # the hour is over
    assert google.calendar.create(draft(), key=key) == created
    assert google.calendar.read_changes(before.cursor, window=WINDOW).changes == (created,)


# Updating and deleting


def test_update_replaces_what_the_draft_holds_and_nothing_else(google: World) -> None:
    event_id = google.human_creates(raw={"location": "Main Street 1"})
    event = google.calendar.find_event(event_id)
    assert event is not None
    updated = google.calendar.update(event_id, draft(5, 6, title="Moved"), version=event.version)
    assert (updated.interval, updated.title) == (hours(5, 6), "Moved")
    assert updated.version != event.version
    assert updated.updated > event.updated
    entry = google.emulator.store.get(PERSON, event_id)
    assert entry is not None
    assert entry.data["location"] == "Main Street 1"
    assert entry.data["description"] == "Bring the keys."


@pytest.mark.parametrize(("note", "expected"), [(None, "Ring twice."), ("Sorry.", "Sorry.\n\nRing twice.")])
def test_a_persons_description_is_kept(google: World, note: str | None, expected: str) -> None:
    event_id = google.human_creates(raw={"description": "Ring twice."})
    for _ in range(2):  # the second time the note stands there already
        event = google.calendar.find_event(event_id)
        assert event is not None
        google.calendar.update(event_id, EventDraft(hours(5, 6), "Moved", note=note), version=event.version)
    entry = google.emulator.store.get(PERSON, event_id)
    assert entry is not None
    assert entry.data["description"] == expected


def test_update_turns_an_all_day_event_into_a_timed_one(google: World) -> None:
    day = datetime(2027, 3, 8, tzinfo=UTC)
    google.emulator.act(_all_day(day, day + timedelta(days=1)))
    (event,) = google.calendar.read_window(WINDOW)
    assert google.calendar.update(event.remote_id, draft(), version=event.version).interval == hours(0, 1)


def test_a_passing_412_is_told_as_it_is(google: World) -> None:
    created = google.calendar.create(draft(), key=new_key())
    google.arm("transient_412")
    with pytest.raises(StaleVersion):
        google.calendar.update(created.remote_id, draft(5, 6), version=created.version)
    assert google.calendar.update(created.remote_id, draft(5, 6), version=created.version).interval == hours(5, 6)


@pytest.mark.parametrize("kind", ["commit_then_timeout", "html"])
def test_an_update_without_an_answer_is_of_unknown_outcome_and_sent_once(google: World, kind: str) -> None:
    created = google.calendar.create(draft(), key=new_key())
    google.arm(kind, match="PATCH", times=None)
    with pytest.raises(WriteOutcomeUnknown):
        google.calendar.update(created.remote_id, draft(5, 6), version=created.version)
    assert calls(google, f"PATCH {EVENTS}/{{event_id}}") == 1
    google.emulator.faults.clear()
    now = google.calendar.find_event(created.remote_id)
    assert now is not None
    assert now.interval == hours(5, 6)


def test_nobody_is_notified_by_any_write(google: World) -> None:
    created = google.calendar.create(draft(), key=new_key())
    updated = google.calendar.update(created.remote_id, draft(5, 6), version=created.version)
    google.calendar.delete(updated.remote_id, version=updated.version)
    writes = [(method, query) for method, path, query in google.seen if method != "GET" and path != "/token"]
    assert writes == [(method, "sendUpdates=none") for method in ("POST", "PATCH", "DELETE")]


# Limits and credentials


@pytest.mark.parametrize("kind", ["rate_limited_403", "rate_limited"])
def test_too_fast_is_rate_limited_in_both_spellings(google: World, kind: str) -> None:
    google.arm(kind, times=None, seconds=7)
    with pytest.raises(RateLimited) as caught:
        google.calendar.read_window(WINDOW)
    assert caught.value.retry_after == (7 if kind == "rate_limited" else None)


@pytest.mark.parametrize(("also", "status"), [(None, "403"), ("limits_as_429", "429")])
def test_the_emulators_own_limit_is_told_in_both_spellings(google: World, also: str | None, status: str) -> None:
    google.emulator.books.limits["person_per_minute"] = 2
    if also:
        google.arm(also)
    for _ in range(2):
        google.calendar.read_window(WINDOW)
    with pytest.raises(RateLimited):
        google.calendar.read_window(WINDOW)
    books = google.emulator.books.as_dict()
    assert books["by_status"][status] == 1
    assert books["limits_exceeded"] == {"userRateLimitExceeded": 1}


def test_a_revoked_delegation_needs_a_human(google: World) -> None:
    google.calendar.read_window(WINDOW)
    google.arm("invalid_grant", times=None)
    with pytest.raises(CredentialRevoked):
        google.calendar.read_window(WINDOW)
    google.emulator.faults.clear()
    assert google.calendar.read_window(WINDOW) == []


def test_a_refused_token_is_replaced_once(google: World) -> None:
    google.calendar.read_window(WINDOW)
    google.arm("unauthorized")
    assert google.calendar.read_window(WINDOW) == []
    assert calls(google, "POST /token") == 2
    google.arm("unauthorized", times=None)
    with pytest.raises(CredentialRevoked):
        google.calendar.read_window(WINDOW)
    assert calls(google, "POST /token") == 3


@pytest.mark.parametrize("kind", ["html", "empty_body", "truncated", "server_error", "unavailable", "error_in_ok"])
def test_a_token_endpoint_that_fails_is_no_revocation(google: World, kind: str) -> None:
    google.emulator.faults.arm(Fault(kind=kind, match="POST /token", times=None))
    with pytest.raises(ProviderUnavailable):
        google.calendar.read_window(WINDOW)
    google.emulator.faults.clear()
    assert google.calendar.read_window(WINDOW) == []


def test_a_token_endpoint_that_is_too_busy_is_a_limit(google: World) -> None:
    google.emulator.faults.arm(Fault(kind="rate_limited", match="POST /token", seconds=9))
    with pytest.raises(RateLimited) as caught:
        google.calendar.read_window(WINDOW)
    assert caught.value.retry_after == 9


def test_many_threads_share_one_token(google: World) -> None:
    ready = threading.Barrier(8)

    def read(_: int) -> None:
        ready.wait()
        google.service.calendar(calendar_ref()).read_window(WINDOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))
    assert calls(google, "POST /token") == 1


def test_each_person_has_a_token_of_their_own(google: World) -> None:
    google.calendar.read_window(WINDOW)
    assert google.calendar_of("ben@example.com").read_window(WINDOW) == []
    assert calls(google, "POST /token") == 2


@pytest.mark.parametrize("damage", [{"private_key": "no key"}, {"client_email": None}])
def test_a_key_that_cannot_be_used_needs_a_human(google: World, damage: Mapping[str, str | None]) -> None:
    damaged: dict[str, str | None] = {**service_account(), **damage}
    key = {name: value for name, value in damaged.items() if value is not None}
    service = GoogleService(GoogleCredentials(key, base_url=google.url, token_uri=f"{google.url}/token"))
    with pytest.raises(CredentialRevoked):
        service.calendar(calendar_ref()).read_window(WINDOW)


def test_nothing_listening_is_unavailable() -> None:
    nowhere = GoogleCredentials(service_account(), base_url="http://127.0.0.1:9", token_uri="http://127.0.0.1:9/token")
    with pytest.raises(ProviderUnavailable):
        GoogleService(nowhere).calendar(calendar_ref()).read_window(WINDOW)


def test_a_guard_stops_a_request_before_it_is_sent(google: World) -> None:
    def refuse() -> None:
        raise AssertionError("a transaction is open")

    service = GoogleService(google.credentials, guard=refuse)
    with pytest.raises(AssertionError, match="transaction"):
        service.calendar(calendar_ref()).read_window(WINDOW)
    assert google.emulator.books.as_dict()["total"] == 0


def test_credentials_do_not_show_the_key(google: World) -> None:
    assert "PRIVATE KEY" not in repr(google.credentials)


# Push


def test_channels_open_renew_and_end(google: World) -> None:
    expires = MORNING + timedelta(days=3)
    first = google.calendar.subscribe(url=NOWHERE, secret="s3cret", expires=expires)
    assert first.expires == expires
    second = google.calendar.renew(first, url=NOWHERE, secret="s3cret", expires=expires)
    assert second.id != first.id
    google.calendar.unsubscribe(first)  # renewing has ended it
    google.calendar.unsubscribe(second)
    google.calendar.unsubscribe(second)
    assert google.emulator.books.by_status["404"] >= 2


def test_renewing_survives_a_failure_to_stop_the_old_channel(google: World) -> None:
    first = google.calendar.subscribe(url=NOWHERE, secret="s", expires=MORNING)
    google.arm("server_error", match="channels/stop")
    assert google.calendar.renew(first, url=NOWHERE, secret="s", expires=MORNING).id != first.id


def test_unsubscribing_tells_of_a_failure(google: World) -> None:
    channel = google.calendar.subscribe(url=NOWHERE, secret="s", expires=MORNING)
    google.arm("unavailable", match="channels/stop")
    with pytest.raises(Transient):
        google.calendar.unsubscribe(channel)


@pytest.mark.parametrize("kind", ["html", "error_in_ok", "empty_body", "truncated"])
def test_a_channel_that_is_not_confirmed_is_of_unknown_outcome(google: World, kind: str) -> None:
    google.arm(kind, match="watch")
    with pytest.raises(WriteOutcomeUnknown):
        google.calendar.subscribe(url=NOWHERE, secret="s", expires=MORNING)


def test_no_error_names_a_person(google: World) -> None:
    google.arm("hidden_calendar", times=None)
    with pytest.raises(WatertightError) as caught:
        google.calendar.read_window(WINDOW)
    assert PERSON not in str(caught.value)
    assert PERSON not in repr(caught.value.__cause__)


def test_people_and_faults_reach_the_emulator_over_http(google: World) -> None:
    control = f"{google.url}/_control"
    event = {"start": "2027-03-08T09:00:00-06:00", "end": "2027-03-08T10:00:00-06:00", "title": "Dentist"}
    wish = {"action": "create", "calendar": PERSON.upper(), "event": event}
    shown = requests.post(f"{control}/events", json=wish, timeout=5).json()
    (read,) = google.calendar.read_window(WINDOW)
    assert (read.remote_id, read.title, read.interval) == (shown["id"], "Dentist", hours(0, 1))
    state = requests.get(f"{control}/state", timeout=5).json()
    assert state["calendars"][PERSON] == [{**shown, "created_by": "human"}]
    requests.post(f"{control}/faults", json={"kind": "quota_exceeded", "calendar": PERSON}, timeout=5)
    with pytest.raises(RateLimited):
        google.calendar.read_window(WINDOW)
    gone = {"action": "delete", "calendar": PERSON, "id": shown["id"]}
    assert requests.post(f"{control}/events", json=gone, timeout=5).json()["status"] == "cancelled"
    assert requests.post(f"{control}/events", json=gone, timeout=5).status_code == 404
    assert google.calendar.read_window(WINDOW) == []


def test_the_emulator_remembers_across_a_restart(server: Stage, tmp_path: Path) -> None:
    key = new_key()
    with remembering(tmp_path) as emulator:
        before = server.world(emulator).calendar
        created = before.create(draft(), key=key)
        cursor = before.read_changes(None, window=WINDOW).cursor
    with remembering(tmp_path) as emulator:
        after = server.world(emulator).calendar
        assert after.find_by_key(key) == created
        moved = after.update(created.remote_id, draft(5, 6), version=created.version)
        assert after.read_changes(cursor, window=WINDOW).changes == (moved,)


@contextmanager
def remembering(folder: Path) -> Iterator[GoogleEmulator]:
    emulator = GoogleEmulator(journal=folder / "google.jsonl")
    yield emulator
    assert emulator.store._journal is not None
    emulator.store._journal.close()
