"""What every implementation of the calendar ports does when all is well, and what it says of what it finds (sync/ports.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import tenacity

from sync.domain import EventDraft, RemoteEvent, RemoteId, Removal, Unparsed, WriteKey
from sync.errors import CursorExpired, Malformed, NotFound, Rejected, StaleVersion
from tests.contract.ports_bench import KEY, WINDOW, Bench, Can, Implementation, draft, hours, need
from tests.contract.ports_implementations import IMPLEMENTATIONS


@pytest.fixture(scope="module", params=IMPLEMENTATIONS, ids=lambda each: each.name)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[], Bench]]:
    implementation: Implementation = request.param
    with implementation.opened() as make:
        yield make


@pytest.fixture
def bench(make: Callable[[], Bench], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    monkeypatch.setattr("providers.outlook.client.LOOK_AGAIN_SECONDS", 0)
    bench = make()
    yield bench
    bench.heal()


def found(bench: Bench, remote_id: RemoteId) -> RemoteEvent:
    event = bench.calendar.find_event(remote_id)
    assert event is not None
    return event


def changes(bench: Bench, cursor: str | None) -> tuple[object, ...]:
    return bench.calendar.read_changes(cursor, window=WINDOW).changes


class TestChanges:
    def test_a_first_read_is_full_and_later_ones_tell_what_changed(self, bench: Bench) -> None:
        kept, gone = bench.put(hours(0, 1)), bench.put(hours(2, 3))
        bench.put(hours(24 * 20, 24 * 20 + 1))
        first = bench.calendar.read_changes(None, window=WINDOW)
        assert (first.full, {change.remote_id for change in first.changes}) == (True, {kept, gone})
        again = bench.calendar.read_changes(first.cursor, window=WINDOW)
        assert not again.full
        assert again.changes == () or Can.TELL_ONCE in bench.lacks
        bench.remove(gone)
        bench.retitle(kept, "Moved")
        added = bench.put(hours(4, 5))
        later = bench.calendar.read_changes(again.cursor, window=WINDOW).changes
        told = {change.remote_id: change for change in later if change not in again.changes}
        assert isinstance(told.pop(gone), Removal)
        assert told == {kept: found(bench, kept), added: found(bench, added)}

    def test_a_cursor_of_an_empty_calendar_sees_the_first_event(self, bench: Bench) -> None:
        cursor = bench.calendar.read_changes(None, window=WINDOW).cursor
        event = bench.put(hours(0, 1))
        assert changes(bench, cursor) == (found(bench, event),)

    def test_an_expired_cursor_says_so_and_a_full_read_follows(self, bench: Bench) -> None:
        need(bench, Can.EXPIRE)
        cursor = bench.calendar.read_changes(None, window=WINDOW).cursor
        event = bench.put(hours(0, 1))
        bench.expire_cursors()
        with pytest.raises(CursorExpired):
            changes(bench, cursor)
        fresh = bench.calendar.read_changes(None, window=WINDOW)
        assert (fresh.full, fresh.changes) == (True, (found(bench, event),))

    def test_a_record_that_cannot_be_understood_is_set_aside_and_the_rest_goes_on(self, bench: Bench) -> None:
        odd, fine = bench.plant_malformed(), bench.put(hours(2, 3))
        told = changes(bench, None)
        (unparsed,) = [change for change in told if isinstance(change, Unparsed)]
        assert (unparsed.remote_id, unparsed.reason) == (odd, "is null")
        assert isinstance(unparsed.raw, dict)
        assert [change.remote_id for change in told if isinstance(change, RemoteEvent)] == [fine]


class TestWindow:
    def test_it_holds_what_overlaps_and_nothing_that_only_touches(self, bench: Bench) -> None:
        inside = {bench.put(hours(*times)) for times in ((-1, 0.5), (0, 1), (0.5, 2))}
        for times in ((-2, -1), (-1, 0), (1, 2)):
            bench.put(hours(*times))
        bench.remove(bench.put(hours(0, 1)))
        window = bench.calendar.read_window(hours(0, 1))
        assert {event.remote_id for event in window} == inside
        assert all(event.blocks for event in window)

    def test_one_record_that_cannot_be_understood_makes_it_unreadable(self, bench: Bench) -> None:
        bench.put(hours(2, 3))
        bench.plant_malformed()
        with pytest.raises(Malformed):
            bench.calendar.read_window(hours(0, 5))


class TestFinding:
    def test_live_from_gone(self, bench: Bench) -> None:
        event = bench.put(hours(0, 1), "Dentist")
        assert (found(bench, event).title, found(bench, event).interval) == ("Dentist", hours(0, 1))
        assert bench.calendar.find_event(RemoteId("neverexisted")) is None
        bench.remove(event)
        assert bench.calendar.find_event(event) is None

    def test_what_cannot_be_understood_is_said_to_be_so(self, bench: Bench) -> None:
        with pytest.raises(Malformed):
            bench.calendar.find_event(bench.plant_malformed())

    def test_our_own_write_by_its_key(self, bench: Bench) -> None:
        need(bench, Can.CREATE, Can.DELETE)
        calendar = bench.calendar
        assert calendar.find_by_key(KEY) is None
        made = calendar.create(draft(), key=KEY)
        assert calendar.find_by_key(KEY) == made
        assert calendar.find_by_key(WriteKey(KEY[::-1])) is None
        calendar.delete(made.remote_id, version=made.version)
        assert calendar.find_by_key(KEY) is None


class TestCreate:
    def test_it_shows_what_the_draft_says(self, bench: Bench) -> None:
        need(bench, Can.CREATE)
        calendar = bench.calendar
        made = calendar.create(draft(title="Größe 🏠"), key=KEY)
        assert (made.interval, made.title, made.blocks, made.attendees) == (draft().interval, "Größe 🏠", True, ())
        assert calendar.read_window(WINDOW) == [made]
        assert not calendar.create(draft(7, blocks=False), key=WriteKey(KEY[::-1])).blocks or Can.FREE in bench.lacks

    def test_one_key_makes_one_event(self, bench: Bench) -> None:
        need(bench, Can.CREATE)
        calendar = bench.calendar
        made = calendar.create(draft(), key=KEY)
        assert made.key == KEY
        assert calendar.create(draft(), key=KEY) == made
        assert bench.titles() == ["Showing"]

    @pytest.mark.parametrize("by", ["a person", "us"])
    def test_a_key_whose_event_was_deleted_makes_no_other(self, bench: Bench, by: str) -> None:
        need(bench, Can.CREATE, Can.DELETE)
        calendar = bench.calendar
        made = calendar.create(draft(), key=KEY)
        if by == "us":
            calendar.delete(made.remote_id, version=made.version)
        else:
            bench.remove(made.remote_id)
        with pytest.raises(Rejected):
            calendar.create(draft(), key=KEY)
        assert bench.titles() == []


class TestUpdate:
    def test_it_replaces_interval_title_and_busy_state(self, bench: Bench) -> None:
        need(bench, Can.MOVE)
        calendar = bench.calendar
        event = found(bench, bench.put(hours(0, 1)))
        wanted = EventDraft(hours(5, 6 if Can.STRETCH in bench.lacks else 7), "Later", blocks=Can.FREE in bench.lacks)
        updated = calendar.update(event.remote_id, wanted, version=event.version)
        assert updated.interval == wanted.interval
        assert updated.blocks is wanted.blocks
        assert updated.title == ("Dentist" if Can.RETITLE in bench.lacks else "Later")
        if Can.KEEP_ID not in bench.lacks:
            assert (updated.remote_id, updated.version != event.version) == (event.remote_id, True)
            assert updated.updated > event.updated
        else:
            assert updated.replaces == event.remote_id
        assert found(bench, event.remote_id) == updated
        assert len(bench.titles()) == 1

    def test_an_old_version_is_stale(self, bench: Bench) -> None:
        need(bench, Can.MOVE)
        calendar = bench.calendar
        event = found(bench, bench.put(hours(0, 1)))
        bench.retitle(event.remote_id, "By hand")
        with pytest.raises(StaleVersion):
            calendar.update(event.remote_id, draft(), version=event.version)
        now = found(bench, event.remote_id)
        assert (now.title, now.interval) == ("By hand", hours(0, 1))

    def test_what_is_gone_is_not_found(self, bench: Bench) -> None:
        need(bench, Can.MOVE)
        calendar = bench.calendar
        event = found(bench, bench.put(hours(0, 1)))
        bench.remove(event.remote_id)
        for remote_id in (event.remote_id, RemoteId("neverexisted")):
            with pytest.raises(NotFound):
                calendar.update(remote_id, draft(), version=event.version)


class TestDelete:
    def test_it_may_be_repeated(self, bench: Bench) -> None:
        need(bench, Can.DELETE)
        calendar = bench.calendar
        event = found(bench, bench.put(hours(0, 1)))
        for _ in range(2):
            calendar.delete(event.remote_id, version=event.version)
        calendar.delete(RemoteId("neverexisted"), version=event.version)
        assert (bench.titles(), calendar.find_event(event.remote_id)) == ([], None)

    def test_an_old_version_is_stale(self, bench: Bench) -> None:
        need(bench, Can.DELETE)
        calendar = bench.calendar
        event = found(bench, bench.put(hours(0, 1)))
        bench.retitle(event.remote_id, "By hand")
        with pytest.raises(StaleVersion):
            calendar.delete(event.remote_id, version=event.version)
        assert bench.titles() == ["By hand"]
