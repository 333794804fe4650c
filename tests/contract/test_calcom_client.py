"""The Cal.com client against the emulator, over real HTTP: reading, with every way in which a list can lie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import tenacity

from providers.calcom.client import CalcomService
from sync.domain import BusyPolicy, Job, RemoteEvent, RemoteId, Removal
from sync.errors import (
    CredentialRevoked,
    CursorExpired,
    Forbidden,
    Malformed,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    Transient,
    WatertightError,
    WriteOutcomeUnknown,
)
from sync.ports import CalendarAdapter
from tests.fixtures.calcom.serving import (
    KEY,
    MORNING,
    PERSON,
    WINDOW,
    Stage,
    World,
    calendar_ref,
    hours,
    stage,
)

NOWHERE = "http://127.0.0.1:9/hook"
NONSENSE = ["html", "empty_body", "error_in_ok", "truncated", "older_shape"]
ALL_JOBS = [None, *Job]


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def calcom(server: Stage, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    return server.world()


def first(calcom: World) -> str:
    return calcom.calendar.read_changes(None, window=WINDOW).cursor


def ids(calcom: World, cursor: str | None = None, job: Job | None = None) -> list[str | None]:
    return [change.remote_id for change in calcom.calendar.read_changes(cursor, window=WINDOW, job=job).changes]


def ten_minutes_pass(calcom: World) -> str:
    """The vendor's clock goes on; the answer is a cursor whose overlap ends before whatever was there."""
    calcom.emulator._diary._stamps._last += timedelta(minutes=10)
    return json.dumps({"v": 1, "mark": (calcom.emulator._diary._stamps._last + timedelta(minutes=4)).isoformat()})


def test_the_client_is_a_calendar_adapter(calcom: World) -> None:
    adapter: CalendarAdapter = calcom.calendar
    assert adapter is calcom.calendar


# Reading changes


@pytest.mark.parametrize("job", ALL_JOBS)
def test_a_first_read_is_full_and_keeps_to_the_window(calcom: World, job: Job | None) -> None:
    inside, edge = calcom.books(0, 1), calcom.books(-24.5, -23.5)
    calcom.books(30, 31)
    calcom.books(24 * 30, 24 * 30 + 1)
    read = calcom.calendar.read_changes(None, window=WINDOW, job=job)
    assert read.full
    assert [change.remote_id for change in read.changes] == [inside, edge]


def test_later_reads_tell_what_came_since_and_are_not_full(calcom: World) -> None:
    calcom.books(0, 1)
    cursor = ten_minutes_pass(calcom)
    added, far = calcom.books(2, 3), calcom.books(24 * 30, 24 * 30 + 1)
    read = calcom.calendar.read_changes(cursor, window=WINDOW)
    assert not read.full
    assert [change.remote_id for change in read.changes] == [added, far]


def test_the_overlap_repeats_what_is_fresh(calcom: World) -> None:
    uid = calcom.books()
    cursor = first(calcom)
    again = calcom.calendar.read_changes(cursor, window=WINDOW)
    assert [change.remote_id for change in again.changes] == [uid]
    assert ids(calcom, again.cursor) == [uid]


def test_a_cancelled_booking_is_a_removal_with_its_time(calcom: World) -> None:
    uid = calcom.books()
    cursor = first(calcom)
    calcom.cancels(uid)
    (removal,) = calcom.calendar.read_changes(cursor, window=WINDOW).changes
    assert removal == Removal(uid, datetime.fromisoformat(calcom.data(uid)["updatedAt"]))


def test_a_rejected_booking_is_a_removal(calcom: World) -> None:
    uid = calcom.books(busy=False)
    cursor = first(calcom)
    calcom.changes(uid, status="rejected")
    (removal,) = calcom.calendar.read_changes(cursor, window=WINDOW, job=Job.CANCEL).changes
    assert isinstance(removal, Removal)
    assert removal.remote_id == uid


@pytest.mark.parametrize("job", [None, Job.UPDATE, Job.CANCEL])
def test_a_moved_booking_comes_before_the_removal_of_the_old_one(calcom: World, job: Job | None) -> None:
    old = calcom.books()
    cursor = first(calcom)
    new = calcom.moves(old, 4, 5)
    event, removal = calcom.calendar.read_changes(cursor, window=WINDOW, job=job).changes
    assert isinstance(event, RemoteEvent)
    assert (event.remote_id, event.replaces, event.interval) == (new, old, hours(4, 5))
    assert isinstance(removal, Removal)
    assert removal.remote_id == old


def test_the_new_job_sees_the_moved_booking_and_what_it_replaces(calcom: World) -> None:
    old = calcom.books()
    cursor = first(calcom)
    new = calcom.moves(old, 4, 5)
    (event,) = calcom.calendar.read_changes(cursor, window=WINDOW, job=Job.NEW).changes
    assert isinstance(event, RemoteEvent)
    assert (event.remote_id, event.replaces) == (new, old)


@pytest.mark.parametrize("job", [None, Job.UPDATE, Job.CANCEL])
@pytest.mark.parametrize("lie", [None, "reschedule_without_successor"])
def test_a_new_booking_without_a_time_of_change_still_comes(calcom: World, job: Job | None, lie: str | None) -> None:
    old = calcom.books()
    cursor = first(calcom)
    calcom.arm("null_updated")
    if lie:
        calcom.arm(lie)
    new = calcom.moves(old, 4, 5)
    assert calcom.data(new)["updatedAt"] is None
    assert ids(calcom, cursor, job) == [new, old]


@pytest.mark.parametrize("job", [None, Job.NEW])
def test_a_booking_that_was_never_changed_is_new_by_its_creation(calcom: World, job: Job | None) -> None:
    cursor = first(calcom)
    calcom.arm("null_updated")
    uid = calcom.books()
    (event,) = calcom.calendar.read_changes(cursor, window=WINDOW, job=job).changes
    assert isinstance(event, RemoteEvent)
    assert (event.remote_id, event.updated) == (uid, datetime.fromisoformat(calcom.data(uid)["createdAt"]))


def test_a_full_read_completes_a_chain_that_leaves_the_window(calcom: World) -> None:
    old = calcom.books()
    middle = calcom.moves(old, 24 * 30, 24 * 30 + 1)
    last = calcom.moves(middle, 24 * 40, 24 * 40 + 1)
    assert ids(calcom) == [last, old, middle]


@pytest.mark.parametrize("job", [None, Job.UPDATE, Job.CANCEL])
def test_a_chain_that_ended_is_told_with_its_links(calcom: World, job: Job | None) -> None:
    old = calcom.books()
    cursor = first(calcom)
    middle = calcom.moves(old, 2, 3)
    last = calcom.moves(middle, 4, 5)
    calcom.cancels(last)
    told = calcom.calendar.read_changes(cursor, window=WINDOW, job=job).changes
    links = {change.remote_id: change.replaces for change in told if isinstance(change, Removal)}
    assert links == {old: None, middle: old, last: middle}


def test_a_chain_that_bites_its_tail_ends(calcom: World) -> None:
    one, two = calcom.books(0, 1), calcom.books(2, 3)
    calcom.changes(one, status="cancelled", rescheduledToUid=two)
    calcom.changes(two, status="cancelled", rescheduledToUid=one)
    assert ids(calcom) == [one, two]
    assert calcom.calendar.find_event(one) is None


def test_a_chain_without_end_is_not_followed_for_ever(calcom: World) -> None:
    uids = [calcom.books(n, n + 1) for n in range(25)]
    for uid, following in pairwise(uids):
        calcom.changes(uid, status="cancelled", rescheduledToUid=following)
    with pytest.raises(Malformed, match="leads through more than 20"):
        calcom.calendar.find_event(uids[0])
    assert len(ids(calcom)) == 25


def test_bookings_of_other_hosts_are_left_out(calcom: World) -> None:
    mine = calcom.books(0, 1)
    calcom.books(2, 3, raw={"hosts": [{"id": 2, "name": "Ben", "email": "ben@example.com", "username": "ben"}]})
    calcom.books(4, 5, raw={"hosts": [{"id": "unknown", "name": "unknown", "email": "unknown", "username": "unknown"}]})
    assert ids(calcom) == [mine]
    assert [event.remote_id for event in calcom.calendar.read_window(WINDOW)] == [mine]


@pytest.mark.parametrize("remote", ["DANA@example.com", "Dana", "dana"])
def test_a_host_is_named_by_address_or_username_in_any_case(calcom: World, remote: str) -> None:
    uid = calcom.books()
    (event,) = calcom.calendar_of(remote).read_window(WINDOW)
    assert event.remote_id == uid


@pytest.mark.parametrize(("tentative", "blocks"), [(True, True), (False, False)])
def test_what_the_host_has_not_confirmed_blocks_as_the_agent_says(calcom: World, tentative: bool, blocks: bool) -> None:  # noqa: FBT001 - a parametrised case
    calcom.books(busy=False)
    calendar = calcom.calendar_of(PERSON, busy=BusyPolicy(tentative=tentative))
    (event,) = calendar.read_window(WINDOW)
    assert event.blocks is blocks


@pytest.mark.parametrize(
    "raw", [{"uid": None}, {"end": "soon"}, {"status": "perhaps"}, {"hosts": None}, {"hosts": []}, {"title": 7}]
)
def test_odd_records_never_break_a_batch(calcom: World, raw: dict[str, object]) -> None:
    calcom.books(raw=raw)
    fine = calcom.books(2, 3)
    for cursor in (None, first(calcom)):
        changes = calcom.calendar.read_changes(cursor, window=WINDOW).changes
        assert sorted(type(change).__name__ for change in changes) == ["RemoteEvent", "Unparsed"]
        assert fine in [change.remote_id for change in changes]


@pytest.mark.parametrize("kind", ["odd_spelling", "duplicate_rows"])
def test_what_does_not_matter_does_not_disturb(calcom: World, kind: str) -> None:
    calcom.books()
    plain = calcom.calendar.read_changes(None, window=WINDOW).changes
    calcom.arm(kind)
    assert calcom.calendar.read_changes(None, window=WINDOW).changes == plain


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "[]",
        '{"v": 2}',
        '{"v": 1, "mark": "soon"}',
        '{"v": 1, "mark": "2150-01-01T00:00:00Z"}',
        "[" * 9999,
    ],
)
def test_a_strange_cursor_is_expired(calcom: World, cursor: str) -> None:
    with pytest.raises(CursorExpired):
        calcom.calendar.read_changes(cursor, window=WINDOW)


def test_an_odd_time_of_change_does_not_move_the_cursor(calcom: World) -> None:
    calcom.books(raw={"updatedAt": "2150-01-01T00:00:00Z"})
    cursor = first(calcom)
    added = calcom.books(2, 3)
    assert added in ids(calcom, cursor)


# Pages


@pytest.mark.parametrize("rows", [3, 4, 7, 8, 9])
def test_all_pages_are_read_once(calcom: World, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("providers.calcom.listing.PAGE_ROWS", rows)
    uids = [calcom.books(n, n + 1) for n in range(8)]
    assert ids(calcom) == uids
    assert ids(calcom, ten_minutes_pass(calcom)) == []


@pytest.mark.parametrize("kind", ["rows_shift", "page_too_large", "partial_page"])
@pytest.mark.parametrize("job", [None, Job.UPDATE])
def test_what_moves_or_comes_in_other_portions_is_still_read_whole(
    calcom: World, monkeypatch: pytest.MonkeyPatch, kind: str, job: Job | None
) -> None:
    monkeypatch.setattr("providers.calcom.listing.PAGE_ROWS", 3)
    cursor = first(calcom)
    uids = [calcom.books(n, n + 1) for n in range(8)]
    calcom.arm(kind, match="GET /v2/bookings")
    assert sorted(map(str, ids(calcom, cursor, job))) == sorted(uids)


def test_rows_of_one_moment_in_another_order_hide_none(calcom: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a series was cancelled in one statement: page two begins where page one ended, and still lacks a row."""
    monkeypatch.setattr("providers.calcom.listing.PAGE_ROWS", 4)
    cursor = first(calcom)
    moment = calcom.emulator._diary._stamps.next()
    uids = [calcom.books(n, n + 1, raw={"uid": f"uid{n}", "updatedAt": moment}) for n in range(7)]
    calcom.arm("free_order", match="GET /v2/bookings")
    calcom.arm("free_order", match="GET /v2/bookings")
    assert ids(calcom, cursor, Job.UPDATE) == uids


def test_a_booking_cancelled_while_the_window_is_read_hides_no_other(
    calcom: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.calcom.listing.PAGE_ROWS", 3)
    uids = [calcom.books(n, n + 1) for n in range(8)]
    calcom.arm("row_vanishes")
    assert [event.remote_id for event in calcom.calendar.read_window(WINDOW)] == uids[1:]


def test_a_booking_that_the_list_shows_late_comes_with_the_overlap(calcom: World) -> None:
    cursor = first(calcom)
    uid = calcom.books()
    calcom.arm("late_row", times=2)  # in both lists: by change and by creation
    late = calcom.calendar.read_changes(cursor, window=WINDOW, job=Job.NEW)
    assert late.changes == ()
    assert ids(calcom, late.cursor, Job.NEW) == [uid]


@pytest.mark.parametrize("kind", ["rows_shift", "page_loop"])
def test_rows_that_never_rest_are_an_error(calcom: World, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("providers.calcom.listing.PAGE_ROWS", 3)
    cursor = first(calcom)
    for n in range(8):
        calcom.books(n, n + 1)
    calcom.arm(kind, times=None)
    with pytest.raises(ProviderUnavailable, match="move faster"):
        calcom.calendar.read_changes(cursor, window=WINDOW)


def test_pages_end_at_a_cap(calcom: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.calcom.listing.PAGE_ROWS", 3)
    monkeypatch.setattr("providers.calcom.listing.MAX_PAGES", 2)
    for n in range(8):
        calcom.books(n, n + 1)
    with pytest.raises(ProviderUnavailable, match="do not end"):
        calcom.calendar.read_window(WINDOW)


def test_an_empty_page_of_a_full_calendar_is_an_error(calcom: World) -> None:
    calcom.books()
    calcom.arm("empty_page", times=None)
    with pytest.raises(ProviderUnavailable, match="empty page"):
        calcom.calendar.read_window(WINDOW)
    with pytest.raises(ProviderUnavailable, match="empty page"):
        calcom.calendar.read_changes(None, window=WINDOW)


def test_totals_that_count_what_the_filter_leaves_out_are_not_believed(calcom: World) -> None:
    for n in range(5):
        calcom.books(n, n + 1)
    cursor = ten_minutes_pass(calcom)
    added = calcom.books(9, 10)
    assert ids(calcom, cursor) == [added]


@pytest.mark.parametrize("job", ALL_JOBS)
@pytest.mark.parametrize("kind", [*NONSENSE, "server_error", "unavailable"])
def test_a_read_that_is_not_whole_is_an_error(calcom: World, kind: str, job: Job | None) -> None:
    calcom.books()
    cursor = first(calcom)
    calcom.arm(kind, times=None)
    for since in (None, cursor):
        with pytest.raises(ProviderUnavailable):
            calcom.calendar.read_changes(since, window=WINDOW, job=job)


# Reading a window, finding


@pytest.mark.parametrize("raw", [{"end": None}, {"hosts": None}, {"uid": None}])
def test_a_malformed_record_fails_the_whole_window(calcom: World, raw: dict[str, object]) -> None:
    calcom.books(0, 1)
    calcom.books(2, 3, raw=raw)
    with pytest.raises(Malformed):
        calcom.calendar.read_window(WINDOW)


def test_a_window_or_a_booking_of_an_older_shape_is_an_error(calcom: World) -> None:
    uid = calcom.books()
    calcom.arm("older_shape", times=None)
    with pytest.raises(ProviderUnavailable):
        calcom.calendar.read_window(WINDOW)
    with pytest.raises(ProviderUnavailable):
        calcom.calendar.find_event(uid)


@pytest.mark.parametrize("kind", [*NONSENSE, "server_error", "unavailable"])
def test_a_passing_failure_of_a_read_is_bridged_or_told(calcom: World, kind: str) -> None:
    calcom.books()
    calcom.arm(kind)
    if kind == "older_shape":  # well-formed, so the transport has nothing to repeat
        with pytest.raises(ProviderUnavailable):
            calcom.calendar.read_window(WINDOW)
    assert len(calcom.calendar.read_window(WINDOW)) == 1


def test_find_event_tells_live_from_gone(calcom: World) -> None:
    uid = calcom.books(title="Viewing")
    found = calcom.calendar.find_event(uid)
    assert found is not None
    assert (found.title, found.interval, found.attendees[0].email) == ("Viewing", hours(0, 1), "guest@example.com")
    assert found == calcom.calendar.read_window(WINDOW)[0]
    calcom.cancels(uid)
    assert calcom.calendar.find_event(uid) is None
    assert calcom.calendar.find_event(RemoteId("neverexisted")) is None


def test_find_event_follows_a_chain_to_its_end(calcom: World) -> None:
    first_uid = calcom.books()
    second = calcom.moves(first_uid, 2, 3)
    calcom.arm("reschedule_without_successor")
    third = calcom.moves(second, 4, 5)
    found = calcom.calendar.find_event(first_uid)
    assert found is not None
    assert (found.remote_id, found.replaces) == (third, second)
    calcom.cancels(third)
    assert calcom.calendar.find_event(first_uid) is None


def test_a_successor_is_looked_for_among_the_bookings_of_the_guest(calcom: World) -> None:
    old = calcom.books(attendees=["ann+viewing@example.com"])
    calcom.arm("reschedule_without_successor")
    new = calcom.moves(old, 2, 3)
    found = calcom.calendar.find_event(old)
    assert found is not None
    assert found.remote_id == new
    assert any("attendeeEmail=ann%2Bviewing%40example.com" in query for _, _, query in calcom.seen)


def test_a_booking_handed_to_another_host_is_not_found(calcom: World) -> None:
    uid = calcom.books()
    calcom.changes(uid, hosts=[{"id": 2, "name": "Ben", "email": "ben@example.com", "username": "ben"}])
    assert calcom.calendar.find_event(uid) is None


def test_a_series_is_not_a_booking_and_its_occurrences_are(calcom: World) -> None:
    uid = calcom.books(raw={"recurringBookingUid": "series1"})
    with pytest.raises(ProviderUnavailable):
        calcom.calendar.find_event(RemoteId("series1"))
    found = calcom.calendar.find_event(uid)
    assert found is not None
    assert found.series_id == "series1"
    assert calcom.calendar.read_window(WINDOW) == [found]


# Limits and credentials


def test_the_vendors_limit_is_told_with_its_delay(calcom: World) -> None:
    calcom.emulator.requests_per_minute = 2
    for _ in range(2):
        calcom.calendar.read_window(WINDOW)
    with pytest.raises(RateLimited) as caught:
        calcom.calendar.read_window(WINDOW)
    assert caught.value.retry_after is not None
    assert 50 < caught.value.retry_after <= 62
    assert calcom.emulator.books.limits_exceeded == {"requests_per_minute": 1}


@pytest.mark.parametrize("kind", ["expired_key", "unauthorized"])
def test_a_key_that_is_refused_needs_a_human(calcom: World, kind: str) -> None:
    calcom.arm(kind, times=None)
    with pytest.raises(CredentialRevoked):
        calcom.calendar.read_window(WINDOW)


def test_a_key_that_is_none_needs_a_human(calcom: World) -> None:
    with pytest.raises(CredentialRevoked):
        calcom.calendar_of(PERSON, key="nonsense").read_window(WINDOW)


def test_a_list_that_is_not_there_is_never_an_empty_one(calcom: World) -> None:
    calcom.arm("missing", times=None)
    with pytest.raises(Forbidden):
        calcom.calendar.read_window(WINDOW)


def test_keys_may_be_of_each_host(calcom: World) -> None:
    uid = calcom.books()
    keys = {"Dana@Example.com": KEY, "ben@example.com": "cal_test_ben@example.com"}
    assert [event.remote_id for event in calcom.calendar_of(PERSON, key=keys).read_window(WINDOW)] == [uid]
    assert calcom.calendar_of("ben@example.com", key=keys).read_window(WINDOW) == []
    with pytest.raises(NotFound):
        calcom.calendar_of("asha@example.com", key=keys)


def test_an_administrators_key_reads_each_host_apart(calcom: World) -> None:
    uid = calcom.books()
    assert [event.remote_id for event in calcom.calendar_of(PERSON, key="cal_admin").read_window(WINDOW)] == [uid]
    assert calcom.calendar_of("ben@example.com", key="cal_admin").read_window(WINDOW) == []


def test_nothing_listening_is_unavailable(calcom: World) -> None:
    calcom.url = "http://127.0.0.1:9"
    with pytest.raises(ProviderUnavailable):
        calcom.calendar_of(PERSON).read_window(WINDOW)


def test_a_guard_stops_a_request_before_it_is_sent(calcom: World) -> None:
    def refuse() -> None:
        raise AssertionError("a transaction is open")

    service = CalcomService(calcom.credentials(), guard=refuse)
    with pytest.raises(AssertionError, match="transaction"):
        service.calendar(calendar_ref()).read_window(WINDOW)
    assert calcom.calls() == 0


def test_credentials_do_not_show_the_key(calcom: World) -> None:
    assert KEY not in repr(calcom.credentials())


def test_every_request_names_the_version(calcom: World) -> None:
    """Without the header the emulator answers in the older shape, which is an error."""
    assert calcom.calendar.read_window(WINDOW) == []


def test_webhooks_open_renew_and_end(calcom: World) -> None:
    expires = MORNING + timedelta(days=3)
    hook = calcom.calendar.subscribe(url=NOWHERE, secret="s3cret", expires=expires)
    assert hook.expires == expires
    longer = calcom.calendar.renew(hook, url=NOWHERE, secret="other", expires=expires + timedelta(days=1))
    assert (longer.id, longer.expires) == (hook.id, expires + timedelta(days=1))
    calcom.calendar.unsubscribe(longer)
    calcom.calendar.unsubscribe(longer)
    with pytest.raises(NotFound):
        calcom.calendar.renew(longer, url=NOWHERE, secret="s", expires=expires)


@pytest.mark.parametrize("kind", ["html", "empty_body", "error_in_ok", "truncated", "commit_then_timeout"])
def test_a_webhook_that_is_not_confirmed_is_of_unknown_outcome(calcom: World, kind: str) -> None:
    calcom.arm(kind, match="webhooks", times=None)
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.subscribe(url=NOWHERE, secret="s", expires=MORNING)


def test_unsubscribing_tells_of_a_failure(calcom: World) -> None:
    hook = calcom.calendar.subscribe(url=NOWHERE, secret="s", expires=MORNING)
    calcom.arm("unavailable", match="webhooks")
    with pytest.raises(Transient):
        calcom.calendar.unsubscribe(hook)


def test_no_error_names_a_person(calcom: World) -> None:
    calcom.arm("missing", times=None)
    with pytest.raises(WatertightError) as caught:
        calcom.calendar.read_window(WINDOW)
    assert PERSON not in str(caught.value)
    assert PERSON not in repr(caught.value.__cause__)
    assert not isinstance(caught.value, Transient)
