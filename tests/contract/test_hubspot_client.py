"""The HubSpot client against the emulator, over real HTTP: what the suite of the port (test_calendar_port) does not ask."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tenacity

from providers.emulation import HumanEvent
from providers.hubspot.client import HubSpotCredentials, HubSpotService
from providers.hubspot.emulator import HubSpotEmulator
from sync.domain import (
    REFUSED_PREFIX,
    ChangeSet,
    EventDraft,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    Removal,
    Unparsed,
    WriteKey,
)
from sync.errors import (
    Contention,
    CredentialReadOnly,
    CredentialRevoked,
    CursorExpired,
    Forbidden,
    KeySpent,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    StaleVersion,
    WatertightError,
    WriteOutcomeUnknown,
)
from sync.ports import CalendarAdapter
from tests.fixtures.hubspot.serving import (
    OTHER,
    OWNER,
    TOKEN,
    WINDOW,
    Stage,
    World,
    calendar_ref,
    draft,
    hours,
    stage,
)

JOBS = [Job.NEW, Job.CANCEL, Job.UPDATE, None]


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def hubspot(server: Stage, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    world = server.world()
    world.emulator.limits.searches = 1000  # its own test lowers it
    return world


def new_key() -> WriteKey:
    return WriteKey(uuid.uuid4().hex)


def read(hubspot: World, cursor: str | None = None, *, job: Job | None = None) -> ChangeSet:
    return hubspot.calendar.read_changes(cursor, window=WINDOW, job=job)


def ids(changes: ChangeSet) -> list[str | None]:
    return [change.remote_id for change in changes.changes]


def event_of(hubspot: World, event_id: RemoteId) -> RemoteEvent:
    event = hubspot.calendar.find_event(event_id)
    assert event is not None
    return event


def since(seconds: float = 0) -> str:
    """A cursor that stands so many seconds before now."""
    return json.dumps({"v": 1, "since": int((time.time() - seconds) * 1000)})


def old(world: World, event_id: RemoteId, *, seconds: float = 7200) -> None:
    """Make a record look as if nothing had happened to it for long."""
    stamp = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    record = world.emulator.account.get(event_id)
    times = dict.fromkeys(["hs_createdate", "hs_lastmodifieddate", "hubspot_owner_assigneddate"], stamp)
    world.emulator.account.put({**record, "properties": {**record["properties"], **times}, "updatedAt": stamp})


def test_the_client_is_a_calendar_adapter(hubspot: World) -> None:
    adapter: CalendarAdapter = hubspot.calendar
    assert adapter is hubspot.calendar


@pytest.mark.parametrize(
    ("version", "path"),
    [("2026-09", "/crm/objects/2026-09/meetings"), ("v3", "/crm/v3/objects/meetings")],
)
def test_both_spellings_of_the_address_are_one_setting(hubspot: World, version: str, path: str) -> None:
    assert HubSpotCredentials("x", base_url="http://h/", api_version=version).meetings_url == f"http://h{path}"
    event_id = hubspot.human_creates()
    service = hubspot.connect(api_version=version)
    assert [event.remote_id for event in hubspot.calendar_of(OWNER, service).read_window(WINDOW)] == [event_id]


def test_an_api_version_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="api_version"):
        HubSpotCredentials("x", api_version="2026/09")


def test_the_token_is_never_shown() -> None:
    assert "pat-" not in repr(HubSpotCredentials(TOKEN))


# Reading changes


def test_a_first_read_is_full_and_keeps_to_owner_and_window(hubspot: World) -> None:
    mine = hubspot.human_creates(0, 1)
    hubspot.human_creates(0, 1, owner=OTHER)
    hubspot.human_creates(24 * 20, 24 * 20 + 1)
    first = read(hubspot)
    assert first.full
    assert ids(first) == [mine]


def test_a_meeting_that_began_before_the_window_is_found_however_long_ago(hubspot: World) -> None:
    long = hubspot.human_creates(-24 * 9, -23.5)
    hubspot.human_creates(-24 * 9, -24)  # ends where the window begins
    assert ids(read(hubspot)) == [long]
    assert [event.remote_id for event in hubspot.calendar.read_window(WINDOW)] == [long]


@pytest.mark.parametrize("job", [Job.NEW, Job.UPDATE, None])
def test_later_reads_tell_what_is_new(hubspot: World, job: Job | None) -> None:
    first = read(hubspot)
    event_id = hubspot.human_creates(0, 1)
    second = read(hubspot, first.cursor, job=job)
    assert not second.full
    (event,) = second.changes
    assert isinstance(event, RemoteEvent)
    assert (event.remote_id, event.interval, event.title) == (event_id, hours(0, 1), "Dentist")


def test_a_meeting_outside_the_window_comes_with_a_cursor(hubspot: World) -> None:
    event_id = hubspot.human_creates(24 * 40, 24 * 40 + 1)
    assert ids(read(hubspot, since(5), job=Job.NEW)) == [event_id]


def test_new_leaves_out_what_neither_began_nor_lies_ahead(hubspot: World) -> None:
    event_id = hubspot.human_creates(0, 1)
    old(hubspot, event_id)
    past = datetime.now(UTC) - timedelta(days=3)
    hubspot.human_changes(event_id, HumanEvent(start=past, end=past + timedelta(hours=1)))
    assert ids(read(hubspot, since(5), job=Job.NEW)) == []
    assert ids(read(hubspot, since(5), job=Job.UPDATE)) == [event_id]
    future = datetime.now(UTC) + timedelta(days=3)
    hubspot.human_changes(event_id, HumanEvent(start=future, end=future + timedelta(hours=1)))
    assert ids(read(hubspot, since(5), job=Job.NEW)) == [event_id]  # of the past until now, so never proposed


def test_a_meeting_that_is_handed_over_comes_to_one_and_goes_from_the_other(hubspot: World) -> None:
    event_id = hubspot.human_creates(0, 1)
    untouched = hubspot.human_creates(0, 1, owner=OTHER)
    old(hubspot, event_id)
    hubspot.human_sets(event_id, hubspot_owner_id=OTHER)
    (gone,) = read(hubspot, since(5), job=Job.CANCEL).changes
    assert isinstance(gone, Removal)
    assert (gone.remote_id, gone.updated is None) == (event_id, False)
    assert hubspot.calendar.find_event(event_id) is None
    theirs = hubspot.calendar_of(OTHER).read_changes(since(5), window=WINDOW, job=Job.NEW)
    assert ids(theirs) == [event_id, untouched]
    assert ids(read(hubspot, since(5), job=Job.UPDATE)) == []


def test_meetings_that_others_make_are_passed_over_once(hubspot: World) -> None:
    """They come with those that were handed over; a cursor that stayed behind would read ever more of them."""
    for number in range(3):
        hubspot.human_creates(number, number + 1, owner=OTHER)
    cursor = since(3600)
    again = read(hubspot, cursor, job=Job.CANCEL)
    assert again.changes == ()
    assert json.loads(again.cursor)["since"] > json.loads(cursor)["since"] + 3500_000


def test_cancelled_by_its_owner_is_a_removal(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    cursor = read(hubspot).cursor
    hubspot.human_changes(event_id, HumanEvent(busy=False))
    for job in (Job.CANCEL, Job.UPDATE, None):
        (removal,) = read(hubspot, cursor, job=job).changes
        assert isinstance(removal, Removal)
        assert removal.remote_id == event_id
        assert removal.updated is not None
    assert hubspot.calendar.find_event(event_id) is None
    assert hubspot.calendar.read_window(WINDOW) == []


def test_cancel_leaves_out_what_goes_on(hubspot: World) -> None:
    cursor = read(hubspot).cursor
    hubspot.human_creates()
    assert ids(read(hubspot, cursor, job=Job.CANCEL)) == []


def test_archived_is_a_removal_that_only_the_list_shows(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    cursor = read(hubspot).cursor
    hubspot.human_deletes(event_id)
    assert ids(read(hubspot, cursor, job=Job.UPDATE)) == []
    assert ids(read(hubspot, cursor, job=Job.NEW)) == []
    (removal,) = read(hubspot, cursor, job=Job.CANCEL).changes
    assert isinstance(removal, Removal)
    assert removal.remote_id == event_id
    assert hubspot.calendar.find_event(event_id) is None


def test_archived_long_ago_or_of_another_owner_is_not_told(hubspot: World) -> None:
    hubspot.human_deletes(hubspot.human_creates())
    theirs = hubspot.human_creates(owner=OTHER)
    hubspot.emulator.account.put({**hubspot.emulator.account.get(theirs), "archived": True})
    later = json.dumps({"v": 1, "since": int((time.time() + 3600) * 1000)})
    assert ids(read(hubspot, later, job=Job.CANCEL)) == []


def test_the_list_of_archived_meetings_is_read_to_its_end_and_shared(
    hubspot: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.hubspot.archived.PAGE_ROWS", 2)
    gone = [hubspot.human_creates(n, n + 1) for n in range(5)]
    for event_id in gone:
        hubspot.human_deletes(event_id)
    path = "GET /crm/objects/{version}/meetings"
    assert ids(read(hubspot, since(60), job=Job.CANCEL)) == gone
    assert hubspot.calls()[path] == 3
    with ThreadPoolExecutor(4) as pool:
        owners = [hubspot.calendar_of(str(number)) for number in range(4)]
        list(pool.map(lambda one: one.read_changes(since(60), window=WINDOW, job=Job.CANCEL), owners))
    assert hubspot.calls()[path] == 3
    hubspot.monotonic += 31
    read(hubspot, since(60), job=Job.CANCEL)
    assert hubspot.calls()[path] == 6


@pytest.mark.parametrize("job", JOBS)
def test_nothing_new_is_an_empty_change_set(hubspot: World, job: Job | None) -> None:
    cursor = read(hubspot, job=job).cursor
    again = read(hubspot, cursor, job=job)
    assert again.changes == ()
    assert read(hubspot, again.cursor, job=job).changes == ()


@pytest.mark.parametrize("job", JOBS)
def test_the_cursor_follows_what_was_seen_and_never_a_clock_of_ours(hubspot: World, job: Job | None) -> None:
    for event_id in (hubspot.human_creates(), hubspot.human_creates(2, 3)):
        hubspot.human_changes(event_id, HumanEvent(busy=False))
        old(hubspot, event_id, seconds=600)
    stand = json.loads(read(hubspot, job=job).cursor)["since"]
    assert abs(stand / 1000 - (time.time() - 600)) < 5
    assert json.loads(read(hubspot, since(3600), job=job).cursor)["since"] == stand
    assert json.loads(read(hubspot, since(100), job=job).cursor)["since"] > stand  # and it never goes back


def test_a_record_dated_in_the_future_does_not_carry_the_cursor_away(hubspot: World) -> None:
    hubspot.human_creates(raw={"properties": {"hs_lastmodifieddate": "2099-01-01T00:00:00.000Z"}})
    for cursor in (read(hubspot).cursor, read(hubspot, since(5), job=Job.UPDATE).cursor):
        assert json.loads(cursor)["since"] <= time.time() * 1000 + 1000


@pytest.mark.parametrize(
    "cursor", ["", "nonsense", "7", "{}", '{"v": 2, "since": 1}', '{"v": 1, "since": "1"}', '{"v": 1, "since": -1}']
)
@pytest.mark.parametrize("job", [Job.NEW, None])
def test_a_cursor_that_is_not_ours_is_expired(hubspot: World, cursor: str, job: Job | None) -> None:
    with pytest.raises(CursorExpired):
        read(hubspot, cursor, job=job)


@pytest.mark.parametrize(
    "raw",
    [
        {"id": None},
        {"properties": None},
        {"properties": {"hs_meeting_start_time": "tomorrow"}},
        {"properties": {"hs_meeting_end_time": ""}},
        {"properties": {"hs_meeting_end_time": "0"}},
        {"properties": {"hs_meeting_title": 7}},
        {"properties": {"hubspot_owner_id": 7}},
        {"properties": {"hs_lastmodifieddate": None}},
        {"updatedAt": "2027-03-08"},
    ],
)
def test_odd_records_never_break_a_batch(hubspot: World, raw: dict[str, object]) -> None:
    hubspot.human_creates(raw=raw)
    fine = hubspot.human_creates(2, 3)
    for cursor in (None, since(5)):
        changes = read(hubspot, cursor, job=Job.UPDATE).changes
        assert [type(change) for change in changes] == [Unparsed, RemoteEvent]
        assert changes[1].remote_id == fine


def test_an_odd_record_of_another_owner_is_not_ours_to_set_aside(hubspot: World) -> None:
    event_id = hubspot.human_creates(raw={"properties": {"hs_meeting_end_time": None}})
    hubspot.human_sets(event_id, hubspot_owner_id=OTHER)
    assert [type(change) for change in read(hubspot, since(5)).changes] == []


# Lies of the search; those that users have reported are in test_lies_hubspot.py


def test_a_row_that_the_index_finds_by_what_it_was_is_judged_by_what_it_is(hubspot: World) -> None:
    event_id = hubspot.human_creates(0, 1)
    hubspot.arm("late_in_search", seconds=5)
    hubspot.human_sets(event_id, hubspot_owner_id=OTHER)
    assert ids(read(hubspot)) == []
    assert hubspot.calendar.read_window(WINDOW) == []
    assert hubspot.calendar.find_event(event_id) is None


def test_a_row_told_twice_is_one_change(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    hubspot.arm("duplicate_rows")
    assert ids(read(hubspot, since(5))) == [event_id]


def test_a_record_that_changes_between_two_pages_hides_no_other(
    hubspot: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorted by time it would move to the end, and the first row of the next page to the one that was read already."""
    monkeypatch.setattr("providers.hubspot.searching.PAGE_ROWS", 5)
    made = [hubspot.human_creates(n, n + 1) for n in range(20)]
    stop = threading.Event()

    def edit() -> None:
        while not stop.is_set():
            hubspot.human_sets(made[0], hs_meeting_title="again")

    editor = threading.Thread(target=edit)
    editor.start()
    try:
        assert all(set(ids(read(hubspot, since(5), job=Job.UPDATE))) == set(made) for _ in range(5))
    finally:
        stop.set()
        editor.join()


@pytest.mark.parametrize("kind", ["partial_page", "oversized_page", "errors_beside"])
@pytest.mark.parametrize("cursor", [None, "then"])
def test_a_partial_read_is_an_error_and_never_a_shorter_result(hubspot: World, kind: str, cursor: str | None) -> None:
    hubspot.human_creates(0, 1)
    hubspot.human_creates(2, 3)
    hubspot.arm(kind, times=None)
    with pytest.raises(ProviderUnavailable):
        read(hubspot, cursor and since(5), job=Job.UPDATE)
    with pytest.raises(ProviderUnavailable):
        hubspot.calendar.read_window(WINDOW)


def test_endless_pages_with_ever_new_rows_end_at_a_cap(hubspot: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.hubspot.searching.PAGE_ROWS", 1)
    monkeypatch.setattr("providers.hubspot.searching.MAX_PAGES", 3)
    for number in range(5):
        hubspot.human_creates(number, number + 1)
    with pytest.raises(ProviderUnavailable, match="do not end"):
        read(hubspot, since(5), job=Job.UPDATE)


@pytest.mark.parametrize("kind", ["html", "empty_body", "error_in_ok", "truncated", "server_error", "unavailable"])
def test_a_passing_failure_of_a_read_is_bridged_and_a_lasting_one_told(hubspot: World, kind: str) -> None:
    event_id = hubspot.human_creates()
    hubspot.arm(kind, calendar=None)
    assert ids(read(hubspot)) == [event_id]
    hubspot.arm(kind, calendar=None)
    assert event_of(hubspot, event_id).remote_id == event_id
    hubspot.arm(kind, calendar=None, times=None)
    for failing in (
        lambda: read(hubspot),
        lambda: read(hubspot, since(5), job=Job.CANCEL),
        lambda: hubspot.calendar.read_window(WINDOW),
        lambda: hubspot.calendar.find_event(event_id),
        lambda: hubspot.calendar.find_by_key(new_key()),
    ):
        with pytest.raises(ProviderUnavailable):
            failing()


def test_a_failing_list_of_archived_meetings_fails_the_read(hubspot: World) -> None:
    hubspot.arm("server_error", match="GET ", calendar=None, times=None)
    with pytest.raises(ProviderUnavailable):
        read(hubspot, since(5), job=Job.CANCEL)
    assert ids(read(hubspot, since(5), job=Job.NEW)) == []


# Finding


def test_find_event_tells_live_from_gone(hubspot: World) -> None:
    event_id = hubspot.human_creates(title="Dentist")
    assert event_of(hubspot, event_id).title == "Dentist"
    assert hubspot.calendar_of(OTHER).find_event(event_id) is None
    assert hubspot.calendar.find_event(RemoteId("1")) is None
    hubspot.human_deletes(event_id)
    assert hubspot.calendar.find_event(event_id) is None


def test_a_retired_api_version_is_not_taken_for_the_end_of_every_meeting(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    hubspot.arm("version_gone", calendar=None, times=None)
    with pytest.raises(Forbidden, match="not served"):
        hubspot.calendar.find_event(event_id)


def test_versions_of_the_search_and_of_the_record_are_the_same(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    (event,) = hubspot.calendar.read_window(WINDOW)
    assert event == event_of(hubspot, event_id)
    hubspot.human_sets(event_id, hs_meeting_location="Main Street 1")
    assert event_of(hubspot, event_id).version != event.version


# Creating


def test_create_shows_what_the_draft_says_and_is_found_by_its_key(hubspot: World) -> None:
    key = new_key()
    assert hubspot.calendar.find_by_key(key) is None
    created = hubspot.calendar.create(EventDraft(hours(0, 1), title="Viewing", body="Keys", note="Hi"), key=key)
    assert (created.interval, created.title, created.blocks, created.key) == (hours(0, 1), "Viewing", True, key)
    assert hubspot.property_of(created.remote_id, "hs_timestamp") == "2027-03-08T15:00:00.000Z"
    assert hubspot.property_of(created.remote_id, "hs_internal_meeting_notes") == "Hi"
    assert hubspot.calendar.find_by_key(key) == created
    assert hubspot.calendar.create(draft(), key=key) == created


def test_a_creation_that_the_search_shows_late_is_not_repeated(hubspot: World) -> None:
    key = new_key()
    hubspot.arm("late_in_search", seconds=10)
    _create_without_answer(hubspot, key)
    with pytest.raises(WriteOutcomeUnknown, match="moments ago"):
        hubspot.calendar.create(draft(), key=key)
    hubspot.monotonic += 11
    assert hubspot.calendar.create(draft(), key=key).key == key
    assert len(hubspot.emulator.account.records()) == 1


def _create_without_answer(hubspot: World, key: WriteKey) -> None:
    """Its record comes into being, and the answer to the read afterwards is a failure that lasts."""
    hubspot.arm("server_error", match="GET /crm/objects/2026-09/meetings/", calendar=None, times=None)
    with pytest.raises(WatertightError):
        hubspot.calendar.create(draft(), key=key)
    hubspot.emulator.faults.clear()


@pytest.mark.parametrize("how", ["archived", "cancelled"])
def test_the_key_of_a_meeting_that_is_gone_is_spent(hubspot: World, how: str) -> None:
    key = new_key()
    created = hubspot.calendar.create(draft(), key=key)
    if how == "archived":
        hubspot.calendar.delete(created.remote_id, version=created.version)
    else:
        hubspot.human_changes(created.remote_id, HumanEvent(busy=False))
    hubspot.monotonic += 61
    with pytest.raises(KeySpent):
        hubspot.calendar.create(draft(), key=key)


def test_a_refused_creation_may_be_tried_again_at_once(hubspot: World) -> None:
    key = new_key()
    hubspot.arm("conflict", match="POST /crm/objects/2026-09/meetings$", calendar=None)
    with pytest.raises(Contention):
        hubspot.calendar.create(draft(), key=key)
    assert hubspot.calendar.create(draft(), key=key).key == key


# Updating


def test_update_moves_and_leaves_the_rest(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    hubspot.human_sets(event_id, hs_internal_meeting_notes="Mine", hs_meeting_body="Theirs")
    event = event_of(hubspot, event_id)
    moved = hubspot.calendar.update(event_id, draft(3, 4, title=event.title), version=event.version)
    assert (moved.interval, moved.title, moved.blocks) == (hours(3, 4), "Dentist", True)
    assert moved.version != event.version
    for name, value in (
        ("hs_timestamp", "2027-03-08T18:00:00.000Z"),
        ("hs_meeting_outcome", "SCHEDULED"),
        ("hs_internal_meeting_notes", "Mine"),
        ("hs_meeting_body", "Theirs"),
    ):
        assert hubspot.property_of(event_id, name) == value


def refusal(event: RemoteEvent) -> EventDraft:
    return EventDraft(event.interval, title=REFUSED_PREFIX + event.title, blocks=False, note="The time is taken.")


def test_a_refusal_is_marked_and_judged_again_when_its_owner_insists(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    hubspot.human_sets(event_id, hs_internal_meeting_notes="Mine")
    event = event_of(hubspot, event_id)
    marked = hubspot.calendar.update(event_id, refusal(event), version=event.version)
    assert (marked.title, marked.blocks) == ("[not booked] Dentist", False)
    assert hubspot.property_of(event_id, "hs_meeting_outcome") == "CANCELED"
    assert hubspot.property_of(event_id, "hs_internal_meeting_notes") == "The time is taken.\n\nMine"
    assert hubspot.calendar.find_event(event_id) == marked
    assert read(hubspot, since(5), job=Job.UPDATE).changes == (marked,)
    assert read(hubspot, since(5), job=Job.CANCEL).changes == (marked,)

    calls = hubspot.calls()
    again = hubspot.calendar.update(event_id, refusal(event), version=marked.version)
    assert again == marked
    assert "PATCH" not in str(set(hubspot.calls().items()) - set(calls.items()))

    hubspot.human_changes(event_id, HumanEvent(busy=True))
    (insisted,) = read(hubspot, since(5), job=Job.UPDATE).changes
    assert isinstance(insisted, RemoteEvent)
    assert insisted.blocks

    back = hubspot.calendar.update(event_id, draft(title="Dentist"), version=insisted.version)
    assert (back.title, back.blocks) == ("Dentist", True)


def test_a_mark_is_taken_back_by_a_draft_that_takes_time(hubspot: World) -> None:
    event = event_of(hubspot, hubspot.human_creates())
    marked = hubspot.calendar.update(event.remote_id, refusal(event), version=event.version)
    back = hubspot.calendar.update(event.remote_id, draft(title="Dentist"), version=marked.version)
    assert back.blocks
    assert hubspot.property_of(event.remote_id, "hs_meeting_outcome") == "SCHEDULED"


@pytest.mark.parametrize("gone", ["archived", "cancelled", "handed over"])
def test_an_update_of_what_is_gone_says_so(hubspot: World, gone: str) -> None:
    event = event_of(hubspot, hubspot.human_creates())
    if gone == "archived":
        hubspot.human_deletes(event.remote_id)
    elif gone == "cancelled":
        hubspot.human_changes(event.remote_id, HumanEvent(busy=False))
    else:
        hubspot.human_sets(event.remote_id, hubspot_owner_id=OTHER)
    with pytest.raises((NotFound, StaleVersion)):
        hubspot.calendar.update(event.remote_id, draft(3, 4), version=event.version)


def test_delete_archives_once(hubspot: World) -> None:
    event = event_of(hubspot, hubspot.human_creates())
    hubspot.calendar.delete(event.remote_id, version=event.version)
    hubspot.calendar.delete(event.remote_id, version=event.version)
    hubspot.calendar.delete(RemoteId("1"), version="x")
    assert hubspot.calls()["DELETE /crm/objects/{version}/meetings/{number}"] == 1
    assert hubspot.calendar.find_event(event.remote_id) is None


# Refusals


@pytest.mark.parametrize(
    ("kind", "seconds", "wait"),
    [
        ("rate_limited", 7, 7),
        ("burst_limit", None, 10),
        ("daily_limit", None, 3600),
        ("locked", None, 2),
        ("migrating", 90, 90),
    ],
)
def test_limits_say_how_long_to_wait(hubspot: World, kind: str, seconds: float | None, wait: float) -> None:
    event = event_of(hubspot, hubspot.human_creates())
    hubspot.arm(kind, match="PATCH", seconds=seconds)
    with pytest.raises(RateLimited) as caught:
        hubspot.calendar.update(event.remote_id, draft(3, 4), version=event.version)
    assert caught.value.retry_after == wait
    assert event_of(hubspot, event.remote_id) == event


def test_more_searches_than_a_second_allows_wait_for_the_next(hubspot: World) -> None:
    hubspot.emulator.limits.searches = 2
    hubspot.human_creates()
    began = time.monotonic()
    for _ in range(3):
        assert len(hubspot.calendar.read_window(WINDOW)) == 1
    assert time.monotonic() - began >= 1.0
    assert hubspot.emulator.books.limits_exceeded == {"SECONDLY": 1}


def test_a_refused_token_is_revoked(hubspot: World) -> None:
    stranger = hubspot.calendar_of(OWNER, hubspot.connect("nonsense"))
    with pytest.raises(CredentialRevoked):
        stranger.read_window(WINDOW)
    with pytest.raises(CredentialRevoked):
        stranger.find_event(RemoteId("1"))


def test_a_token_without_scopes_may_not_read_and_is_not_told_of_as_a_writer(hubspot: World) -> None:
    told: list[str] = []
    credentials = HubSpotCredentials(TOKEN, base_url=hubspot.url)
    calendar = HubSpotService(credentials, refused=told.append).calendar(calendar_ref())
    hubspot.arm("missing_scopes", calendar=None, times=2)
    with pytest.raises(Forbidden):
        calendar.read_window(WINDOW)
    with pytest.raises(Forbidden):
        calendar.find_event(RemoteId("1"))
    assert told == []


def test_a_reading_token_reads_and_cannot_write(hubspot: World) -> None:
    event = event_of(hubspot, hubspot.human_creates())
    told: list[str] = []
    credentials = HubSpotCredentials(f"{TOKEN}-reader", base_url=hubspot.url)
    reader = HubSpotService(credentials, refused=told.append).calendar(calendar_ref())
    assert reader.read_window(WINDOW) == [event]
    with pytest.raises(CredentialReadOnly):
        reader.update(event.remote_id, draft(3, 4), version=event.version)
    with pytest.raises(CredentialReadOnly):
        reader.delete(event.remote_id, version=event.version)
    with pytest.raises(CredentialReadOnly):
        reader.create(draft(), key=new_key())
    assert len(told) == 3


def test_the_guard_is_asked_before_every_request(hubspot: World) -> None:
    class Closed(Exception):
        pass

    def guard() -> None:
        raise Closed

    calendar = HubSpotService(HubSpotCredentials(TOKEN, base_url=hubspot.url), guard=guard).calendar(calendar_ref())
    with pytest.raises(Closed):
        calendar.read_window(WINDOW)
    assert hubspot.calls() == {}


# What a job costs


@pytest.mark.parametrize(
    ("job", "first", "searches", "lists"),
    [
        (Job.NEW, True, 2, 0),
        (Job.UPDATE, True, 2, 0),
        (Job.CANCEL, True, 2, 0),
        (Job.NEW, False, 1, 0),
        (Job.UPDATE, False, 1, 0),
        (Job.CANCEL, False, 1, 1),
    ],
)
def test_calls_of_a_job_are_as_documented(hubspot: World, job: Job, *, first: bool, searches: int, lists: int) -> None:
    """docs/providers/hubspot.md, the table of calls."""
    hubspot.human_creates()
    read(hubspot, None if first else since(5), job=job)
    calls = hubspot.calls()
    assert calls.get("POST /crm/objects/{version}/meetings/search", 0) == searches
    assert calls.get("GET /crm/objects/{version}/meetings", 0) == lists


def test_calls_of_a_write_are_as_documented(hubspot: World) -> None:
    event = event_of(hubspot, hubspot.human_creates())
    before = hubspot.calls()
    hubspot.calendar.update(event.remote_id, refusal(event), version=event.version)
    record = "/crm/objects/{version}/meetings/{number}"
    assert hubspot.calls() == {f"GET {record}": before[f"GET {record}"] + 2, f"PATCH {record}": 1}


# Restart


def test_a_restart_remembers(hubspot: World, server: Stage, tmp_path: Path) -> None:
    journal = tmp_path / "hubspot.jsonl"
    before = server.world(HubSpotEmulator(journal=journal))
    kept, gone, given = before.human_creates(0, 1), before.human_creates(2, 3), before.human_creates(4, 5)
    before.human_deletes(gone)
    before.human_sets(given, hubspot_owner_id=OTHER)
    after = server.world(HubSpotEmulator(journal=journal))
    assert [event.remote_id for event in after.calendar.read_window(WINDOW)] == [kept]
    assert [event.remote_id for event in after.calendar_of(OTHER).read_window(WINDOW)] == [given]
    assert gone in ids(read(after, since(60), job=Job.CANCEL))
    assert int(after.human_creates()) > int(given)
    assert hubspot.calls() == {}
    for world in (before, after):
        assert world.emulator.store._journal is not None
        world.emulator.store._journal.close()


def test_a_draft_with_a_description_writes_it(hubspot: World) -> None:
    event = event_of(hubspot, hubspot.human_creates())
    wish = replace(draft(title=event.title), body="Bring the keys.")
    hubspot.calendar.update(event.remote_id, wish, version=event.version)
    assert hubspot.property_of(event.remote_id, "hs_meeting_body") == "Bring the keys."


def test_a_window_wider_than_all_time_is_a_window(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    wide = Interval(datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    assert [event.remote_id for event in hubspot.calendar.read_window(wide)] == [event_id]
