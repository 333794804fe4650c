"""The Outlook client reads an Outlook emulator over HTTP: what is Graph's own. The port itself: test_calendar_port*.py."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync.domain import Interval, RemoteId, Removal, Unparsed
from sync.errors import (
    CursorExpired,
    NotFound,
    ProviderUnavailable,
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
    def test_reads_all_pages(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("providers.outlook.client.DELTA_PAGE_ROWS", 3)
        planted = {desk.types(start=NINE + timedelta(minutes=each)) for each in range(8)}
        read = desk.client.read_changes(None, window=WINDOW)
        assert {_id(change) for change in read.changes} == planted
        assert desk.client.read_changes(read.cursor, window=WINDOW).changes == ()

    def test_cancelled_event_is_a_removal_with_its_time(self, desk: Desk) -> None:
        event = desk.types()
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        desk.act("change", id=event, raw={"isCancelled": True})
        (change,) = desk.client.read_changes(cursor, window=WINDOW).changes
        assert isinstance(change, Removal)
        assert change.updated is not None

    def test_endless_pages_end_a_full_read(self, desk: Desk) -> None:
        desk.types()
        desk.fault("endless_pages")
        with pytest.raises(ProviderUnavailable):
            desk.client.read_changes(None, window=WINDOW)
        assert len(desk.client.read_changes(None, window=WINDOW).changes) == 1

    def test_cursor_that_is_lost_with_another_status_expires(self, desk: Desk) -> None:
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        desk.fault("expired_cursor_40x")
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

    def test_one_hiccup_is_tried_again(self, desk: Desk) -> None:
        event = desk.types()
        desk.fault("truncated")
        assert [each.remote_id for each in desk.client.read_window(WINDOW)] == [event]


class TestFind:
    def test_finds_by_id_and_by_key(self, desk: Desk) -> None:
        created = desk.client.create(draft(), key=key("it's'me"))
        assert desk.client.find_event(created.remote_id) == created
        assert desk.client.find_by_key(key("it's'me")) == created

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
