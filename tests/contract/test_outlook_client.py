"""The Outlook client reads an Outlook emulator over HTTP: every reading method, and every error it documents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers.outlook.client import DELTA_PAGE_ROWS
from sync.domain import Interval, RemoteEvent, RemoteId, Removal, Unparsed
from sync.errors import (
    CursorExpired,
    Malformed,
    NotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    WatertightError,
)
from tests.contract.outlook_world import HOUR, NINE, WINDOW, Desk, World, draft, key, open_desk, served


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = open_desk(world)
    desk.client.read_window(WINDOW)  # with a token in hand, faults meet the calls under test
    yield desk
    world.emulator.faults.clear()


class TestReadChanges:
    def test_without_cursor_shows_the_window_then_only_what_changed(self, desk: Desk) -> None:
        inside, outside = desk.types(), desk.types(start=NINE + timedelta(days=30))
        full = desk.client.read_changes(None, window=WINDOW)
        assert [_id(change) for change in full.changes] == [inside]
        assert full.full
        changed = desk.client.read_changes(full.cursor, window=WINDOW)
        assert (changed.changes, changed.full) == ((), False)
        desk.act("change", id=inside, event={"title": "Moved"})
        (change,) = desk.client.read_changes(changed.cursor, window=WINDOW).changes
        assert isinstance(change, RemoteEvent)
        assert (change.remote_id, change.title) == (inside, "Moved")
        assert outside != inside

    def test_reads_all_pages(self, desk: Desk) -> None:
        planted = {desk.types(start=NINE + timedelta(minutes=each)) for each in range(DELTA_PAGE_ROWS + 20)}
        read = desk.client.read_changes(None, window=WINDOW)
        assert {_id(change) for change in read.changes} == planted
        assert desk.client.read_changes(read.cursor, window=WINDOW).changes == ()

    def test_deleted_event_is_a_removal(self, desk: Desk) -> None:
        event = desk.types()
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        desk.act("delete", id=event)
        assert desk.client.read_changes(cursor, window=WINDOW).changes == (Removal(RemoteId(event)),)

    def test_cancelled_event_is_a_removal_with_its_time(self, desk: Desk) -> None:
        event = desk.types()
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        desk.act("change", id=event, raw={"isCancelled": True})
        (change,) = desk.client.read_changes(cursor, window=WINDOW).changes
        assert isinstance(change, Removal)
        assert change.updated is not None

    def test_event_moved_out_of_the_window_is_read_and_not_believed_removed(self, desk: Desk) -> None:
        event = desk.types()
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        far = NINE + timedelta(days=30)
        desk.act("change", id=event, event={"start": far.isoformat(), "end": (far + HOUR).isoformat()})
        (change,) = desk.client.read_changes(cursor, window=WINDOW).changes
        assert isinstance(change, RemoteEvent)
        assert change.interval == Interval(far, far + HOUR)

    def test_stub_is_completed(self, desk: Desk) -> None:
        desk.types(title="Standup")
        desk.fault("stub_rows")
        (change,) = desk.client.read_changes(None, window=WINDOW).changes
        assert isinstance(change, RemoteEvent)
        assert change.title == "Standup"

    def test_duplicates_are_merged(self, desk: Desk) -> None:
        desk.types()
        desk.fault("duplicate_rows")
        assert len(desk.client.read_changes(None, window=WINDOW).changes) == 1

    def test_pages_too_big_that_repeat_are_merged(self, desk: Desk) -> None:
        planted = {desk.types(start=NINE + timedelta(minutes=each)) for each in range(DELTA_PAGE_ROWS + 30)}
        desk.fault("big_pages")
        assert {_id(change) for change in desk.client.read_changes(None, window=WINDOW).changes} == planted

    def test_endless_pages_end_a_full_read(self, desk: Desk) -> None:
        desk.types()
        desk.fault("endless_pages")
        with pytest.raises(ProviderUnavailable):
            desk.client.read_changes(None, window=WINDOW)
        assert len(desk.client.read_changes(None, window=WINDOW).changes) == 1

    def test_endless_pages_expire_a_cursor(self, desk: Desk) -> None:
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        desk.types()
        desk.fault("endless_pages")
        with pytest.raises(CursorExpired):
            desk.client.read_changes(cursor, window=WINDOW)

    @pytest.mark.parametrize("kind", ["expired_cursor", "expired_cursor_40x"])
    def test_lost_cursor_expires(self, desk: Desk, kind: str) -> None:
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        desk.fault(kind)
        with pytest.raises(CursorExpired):
            desk.client.read_changes(cursor, window=WINDOW)

    @pytest.mark.parametrize(
        "cursor",
        [
            "http://evil.example/v1.0/users/x/calendarView/delta?$deltatoken=1",
            "http://127.0.0.1:1@evil.example/v1.0/users/x",
            "http://[bad",
            "",
        ],
    )
    def test_foreign_cursor_is_not_followed(self, desk: Desk, cursor: str) -> None:
        before = desk.world.books()["total"]
        with pytest.raises(CursorExpired):
            desk.client.read_changes(cursor, window=WINDOW)
        assert desk.world.books()["total"] == before

    def test_row_that_cannot_be_read_is_kept_while_the_rest_goes_on(self, desk: Desk) -> None:
        first, second = desk.types(), desk.types(start=NINE + HOUR)
        desk.fault("malformed_row", match="delta")
        odd, good = desk.client.read_changes(None, window=WINDOW).changes
        assert isinstance(odd, Unparsed)
        assert (odd.remote_id, odd.field, odd.reason) == (first, "start.dateTime", "is null")
        assert isinstance(odd.raw, dict)
        assert odd.raw["subject"] == "Dentist"
        assert _id(good) == second

    def test_row_without_an_id_is_kept(self, desk: Desk) -> None:
        desk.plants({"subject": "nameless", "lastModifiedDateTime": "2027-01-01T00:00:00Z"})
        (change,) = desk.client.read_changes(None, window=WINDOW).changes
        assert isinstance(change, Unparsed)
        assert (change.remote_id, change.field) == (None, "id")

    def test_pattern_of_a_series_is_not_an_event(self, desk: Desk) -> None:
        desk.types(title="Weekly")
        desk.act("create", event=_typed(), raw={"type": "seriesMaster"})
        assert len(desk.client.read_changes(None, window=WINDOW).changes) == 1

    def test_event_that_is_not_visible_yet_comes_later(self, desk: Desk) -> None:
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        desk.fault("delayed_visibility", seconds=0.3)
        created = desk.client.create(draft(), key=key())
        early = desk.client.read_changes(cursor, window=WINDOW)
        assert early.changes == ()
        _until(lambda: desk.client.find_event(created.remote_id))
        assert desk.client.read_changes(early.cursor, window=WINDOW).changes == (created,)

    def test_all_day_event_at_the_edge_is_read_by_the_agents_zone(self, world: World) -> None:
        desk = open_desk(world, zone="Asia/Kathmandu")
        event = desk.types(
            start=datetime(2027, 3, 9, tzinfo=UTC), end=datetime(2027, 3, 10, tzinfo=UTC), all_day=True, zone="UTC"
        )
        window = Interval(datetime(2027, 3, 8, 17, tzinfo=UTC), datetime(2027, 3, 8, 20, tzinfo=UTC))
        assert [_id(change) for change in desk.client.read_changes(None, window=window).changes] == [event]
        assert [each.remote_id for each in desk.client.read_window(window)] == [event]


class TestReadWindow:
    def test_shows_what_overlaps_and_nothing_that_only_touches(self, desk: Desk) -> None:
        inside = desk.types(start=NINE - HOUR / 2)
        desk.types(start=NINE - HOUR)
        desk.types(start=NINE + HOUR)
        found = desk.client.read_window(Interval(NINE, NINE + HOUR))
        assert [event.remote_id for event in found] == [inside]

    def test_says_what_blocks(self, desk: Desk) -> None:
        desk.types(busy=False)
        desk.types(start=NINE + HOUR)
        assert [event.blocks for event in desk.client.read_window(WINDOW)] == [False, True]

    def test_reads_all_pages(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        planted = {desk.types(start=NINE + timedelta(minutes=each)) for each in range(7)}
        monkeypatch.setattr("providers.outlook.client.WINDOW_PAGE_ROWS", 3)
        assert {event.remote_id for event in desk.client.read_window(WINDOW)} == planted

    def test_cancelled_and_empty_events_take_no_time(self, desk: Desk) -> None:
        desk.act("create", event=_typed(), raw={"isCancelled": True})
        desk.types(end=NINE)
        assert desk.client.read_window(WINDOW) == []

    def test_one_row_that_cannot_be_read_makes_it_unreadable(self, desk: Desk) -> None:
        desk.types()
        desk.fault("malformed_row", match="calendarView")
        with pytest.raises(Malformed) as caught:
            desk.client.read_window(WINDOW)
        assert caught.value.field == "start.dateTime"

    @pytest.mark.parametrize(
        "kind", ["html", "empty_body", "error_in_ok", "truncated", "server_error", "unavailable", "commit_then_timeout"]
    )
    def test_nonsense_is_never_an_empty_calendar(self, desk: Desk, kind: str) -> None:
        desk.types()
        desk.fault(kind, times=None)
        with pytest.raises(ProviderUnavailable):
            desk.client.read_window(WINDOW)

    def test_one_hiccup_is_tried_again(self, desk: Desk) -> None:
        event = desk.types()
        desk.fault("truncated")
        assert [each.remote_id for each in desk.client.read_window(WINDOW)] == [event]

    def test_silence_is_a_timeout(self, world: World) -> None:
        desk = open_desk(world, world.service(timeout=(1, 0.2)))
        desk.client.read_window(WINDOW)
        desk.fault("latency", seconds=0.6)
        with pytest.raises(ProviderTimeout):
            desk.client.read_window(WINDOW)

    def test_limit_carries_the_vendors_delay(self, desk: Desk) -> None:
        desk.fault("rate_limited", seconds=7, times=None)
        with pytest.raises(RateLimited) as caught:
            desk.client.read_window(WINDOW)
        assert caught.value.retry_after == 7


class TestFind:
    def test_finds_by_id_and_by_key(self, desk: Desk) -> None:
        created = desk.client.create(draft(), key=key("it's'me"))
        assert desk.client.find_event(created.remote_id) == created
        assert desk.client.find_by_key(key("it's'me")) == created

    def test_finds_nothing(self, desk: Desk) -> None:
        assert desk.client.find_event(RemoteId("AAkAno-such_id=")) is None
        assert desk.client.find_by_key(key("unused")) is None

    def test_key_is_compared_with_case(self, desk: Desk) -> None:
        desk.client.create(draft(), key=key("ABC"))
        assert desk.client.find_by_key(key("abc")) is None

    def test_of_copies_the_one_that_we_made_is_found(self, desk: Desk) -> None:
        created = desk.client.create(draft(), key=key())
        stored = desk.world.emulator.store.get(desk.ref.remote.lower(), created.remote_id)
        assert stored is not None
        copied = {
            **stored.data,
            "id": "0-copy",
            "transactionId": "localevent",
            "createdDateTime": "2001-01-01T00:00:00Z",
        }
        desk.plants(copied)
        assert desk.client.find_by_key(key()) == created

    def test_copy_that_outlives_the_one_that_we_made_is_not_ours(self, desk: Desk) -> None:
        created = desk.client.create(draft(), key=key())
        stored = desk.world.emulator.store.get(desk.ref.remote.lower(), created.remote_id)
        assert stored is not None
        desk.plants({**stored.data, "id": "0-copy", "transactionId": "localevent"})
        desk.act("delete", id=created.remote_id)
        assert desk.client.find_by_key(key()) is None

    def test_cancelled_event_does_not_exist(self, desk: Desk) -> None:
        event = desk.act("create", event=_typed(), raw={"isCancelled": True})
        assert desk.client.find_event(RemoteId(event)) is None

    def test_event_that_cannot_be_read_is_said_to_be_so(self, desk: Desk) -> None:
        event = desk.act("create", event=_typed(), raw={"end": None})
        with pytest.raises(Malformed) as caught:
            desk.client.find_event(RemoteId(event))
        assert (caught.value.field, caught.value.reason) == ("end", "is null")

    def test_404_that_is_not_about_the_event_never_says_deleted(self, world: World) -> None:
        ref = world.ref(remote="x/../../nowhere")
        with pytest.raises(WatertightError) as caught:
            world.service().calendar(ref).find_event(RemoteId("event"))
        assert type(caught.value) is NotFound


def _id(change: object) -> str | None:
    return getattr(change, "remote_id", None)


def _typed() -> dict[str, Any]:
    return {"title": "Odd", "start": NINE.isoformat(), "end": (NINE + HOUR).isoformat()}


def _until(check: Any) -> None:  # noqa: ANN401 - any callable
    deadline = datetime.now(UTC) + timedelta(seconds=5)
    while not check():
        assert datetime.now(UTC) < deadline
