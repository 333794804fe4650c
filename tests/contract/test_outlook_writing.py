"""The Outlook client writes to an Outlook emulator over HTTP: once per key, and only over the version it knows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from providers.outlook.client import OutlookService
from sync.domain import Attendee, RemoteEvent, RemoteId
from sync.errors import Forbidden, KeySpent, NotFound, RateLimited, StaleVersion, WriteOutcomeUnknown
from tests.contract.outlook_world import HOUR, NINE, WINDOW, Desk, World, draft, key, open_desk, served

OUTCOMES = ["commit_then_timeout", "server_error", "unavailable", "html", "empty_body", "truncated", "error_in_ok"]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = open_desk(world)
    desk.client.read_window(WINDOW)
    yield desk
    world.emulator.faults.clear()


class TestCreate:
    def test_shows_what_was_asked_for(self, desk: Desk) -> None:
        created = desk.client.create(draft(title="Größe 🏠"), key=key())
        assert (created.interval, created.title) == (draft().interval, "Größe 🏠")
        assert (created.blocks, created.attendees, created.key) == (True, (), key())
        assert desk.client.read_window(WINDOW) == [created]

    def test_free_draft_does_not_block(self, desk: Desk) -> None:
        assert not desk.client.create(replace(draft(), blocks=False), key=key()).blocks

    def test_attendees_are_named(self, desk: Desk) -> None:
        guests = (Attendee("Pat", "pat@example.com"),)
        assert desk.client.create(replace(draft(), attendees=guests), key=key()).attendees == guests

    def test_same_key_is_the_same_event(self, desk: Desk) -> None:
        first = desk.client.create(draft(), key=key())
        assert desk.client.create(draft(), key=key()) == first
        assert len(desk.client.read_window(WINDOW)) == 1

    @pytest.mark.parametrize(
        "kinds",
        [
            ["duplicate_transaction_400"],
            ["duplicate_transaction_409"],
            ["duplicate_transaction_without_id"],
            ["duplicate_transaction_400", "duplicate_transaction_without_id"],
            ["duplicate_transaction_echo"],
        ],
    )
    def test_every_report_of_a_used_key_leads_to_the_event(self, desk: Desk, kinds: list[str]) -> None:
        first = desk.client.create(draft(), key=key())
        for kind in kinds:
            desk.fault(kind)
        assert desk.client.create(draft(), key=key()) == first

    @pytest.mark.parametrize("kind", OUTCOMES)
    def test_unclear_answer_is_cleared_up_within_the_call(self, desk: Desk, kind: str) -> None:
        desk.fault(kind, match="POST")
        created = desk.client.create(draft(), key=key())
        assert desk.client.read_window(WINDOW) == [created]

    @pytest.mark.parametrize("kind", OUTCOMES)
    def test_lasting_silence_is_an_unknown_outcome_and_the_key_makes_it_safe(self, desk: Desk, kind: str) -> None:
        desk.fault(kind, match="POST", times=None)
        with pytest.raises(WriteOutcomeUnknown):
            desk.client.create(draft(), key=key())
        desk.world.emulator.faults.clear()
        assert desk.client.read_window(WINDOW) in ([], [desk.client.create(draft(), key=key())])
        assert len(desk.client.read_window(WINDOW)) == 1

    def test_hanging_write_is_an_unknown_outcome(self, world: World) -> None:
        desk = open_desk(world, world.service(timeout=(1, 0.2)))
        desk.client.read_window(WINDOW)
        desk.fault("commit_then_hang", seconds=0.6, match="POST", times=3)
        with pytest.raises(WriteOutcomeUnknown):
            desk.client.create(draft(), key=key())
        desk.world.emulator.faults.clear()
        found = desk.client.find_by_key(key())
        assert found is not None
        assert desk.client.create(draft(), key=key()) == found

    def test_event_that_is_not_visible_yet_is_an_unknown_outcome(self, desk: Desk) -> None:
        desk.fault("delayed_visibility", seconds=30)
        desk.fault("commit_then_timeout", match="POST")
        with pytest.raises(WriteOutcomeUnknown):
            desk.client.create(draft(), key=key())

    def test_key_of_a_deleted_event_is_spent(self, desk: Desk) -> None:
        desk.act("delete", id=desk.client.create(draft(), key=key()).remote_id)
        with pytest.raises(KeySpent):
            desk.client.create(draft(), key=key())

    @pytest.mark.parametrize("kind", ["commit_then_error", "commit_then_unavailable"])
    def test_failure_after_the_work_is_cleared_up_within_the_call(self, desk: Desk, kind: str) -> None:
        desk.fault(kind, match="POST")
        created = desk.client.create(draft(), key=key())
        assert desk.client.read_window(WINDOW) == [created]

    def test_limit_after_the_work_is_not_waited_for_and_the_key_makes_it_safe(self, desk: Desk) -> None:
        desk.fault("commit_then_limited", seconds=30, match="POST")
        with pytest.raises(RateLimited):
            desk.client.create(draft(), key=key())
        assert desk.client.read_window(WINDOW) == [desk.client.create(draft(), key=key())]

    def test_event_that_is_named_and_not_found_yet_is_no_deleted_event(self, desk: Desk) -> None:
        created = desk.client.create(draft(), key=key())
        desk.fault("missing", match="/events/", times=3)
        desk.fault("late_in_lists", match="GET", times=3)
        with pytest.raises(KeySpent):
            desk.client.create(draft(), key=key())
        assert desk.client.create(draft(), key=key()) == created

    def test_limit_is_not_waited_for(self, desk: Desk) -> None:
        desk.fault("rate_limited", seconds=30)
        with pytest.raises(RateLimited):
            desk.client.create(draft(), key=key())
        assert desk.client.read_window(WINDOW) == []


class TestUpdate:
    def test_replaces_interval_title_and_busy_state(self, desk: Desk) -> None:
        created = desk.client.create(draft(), key=key())
        wanted = replace(draft(start=NINE + HOUR, hours=2, title="Later"), blocks=False)
        updated = desk.client.update(created.remote_id, wanted, version=created.version)
        assert (updated.interval, updated.title, updated.blocks) == (wanted.interval, "Later", False)
        assert updated.version != created.version
        assert updated.updated > created.updated
        assert desk.client.find_event(created.remote_id) == updated

    def test_makes_a_whole_day_an_hour(self, desk: Desk) -> None:
        day = datetime(2027, 3, 9, tzinfo=UTC)
        event = _found(desk, desk.types(start=day, end=day + 24 * HOUR, all_day=True))
        assert desk.client.update(event.remote_id, draft(), version=event.version).interval == draft().interval

    def test_leaves_attendees_alone(self, desk: Desk) -> None:
        event = _found(desk, desk.types(attendees=["pat@example.com"]))
        assert desk.client.update(event.remote_id, draft(), version=event.version).attendees == event.attendees

    @pytest.mark.parametrize(("note", "expected"), [(None, "Ring twice."), ("Sorry.", "Sorry.\n\nRing twice.")])
    def test_keeps_a_persons_description(self, desk: Desk, note: str | None, expected: str) -> None:
        typed = RemoteId(desk.types())
        desk.act("change", id=typed, raw={"body": {"contentType": "text", "content": "Ring twice."}})
        for _ in range(2):  # the second time the note stands there already
            event = desk.client.find_event(typed)
            assert event is not None
            desk.client.update(typed, replace(draft(title="Moved"), body=None, note=note), version=event.version)
        entry = desk.world.emulator.store.get(desk.ref.remote.lower(), typed)
        assert entry is not None
        assert entry.data["body"]["content"] == expected

    def test_old_version_is_stale(self, desk: Desk) -> None:
        event = _found(desk, desk.types())
        desk.act("change", id=event.remote_id, event={"title": "Mine"})
        with pytest.raises(StaleVersion):
            desk.client.update(event.remote_id, draft(), version=event.version)
        assert _found(desk, event.remote_id).title == "Mine"

    def test_412_for_a_fresh_tag_is_stale_too(self, desk: Desk) -> None:
        event = _found(desk, desk.types())
        desk.fault("transient_412")
        with pytest.raises(StaleVersion):
            desk.client.update(event.remote_id, draft(), version=event.version)

    def test_gone_is_not_found(self, desk: Desk) -> None:
        event = _found(desk, desk.types())
        desk.act("delete", id=event.remote_id)
        with pytest.raises(NotFound):
            desk.client.update(event.remote_id, draft(), version=event.version)

    @pytest.mark.parametrize("kind", OUTCOMES)
    def test_unclear_answer_is_an_unknown_outcome_and_not_repeated(self, desk: Desk, kind: str) -> None:
        event = _found(desk, desk.types())
        before = _patches(desk)
        desk.fault(kind, match="PATCH")
        with pytest.raises(WriteOutcomeUnknown):
            desk.client.update(event.remote_id, draft(), version=event.version)
        assert _patches(desk) == before + 1


class TestDelete:
    def test_deletes_and_may_be_repeated(self, desk: Desk) -> None:
        event = _found(desk, desk.types())
        desk.client.delete(event.remote_id, version=event.version)
        desk.client.delete(event.remote_id, version=event.version)
        assert desk.client.find_event(event.remote_id) is None

    def test_old_version_is_stale(self, desk: Desk) -> None:
        event = _found(desk, desk.types())
        desk.act("change", id=event.remote_id, event={"title": "Mine"})
        with pytest.raises(StaleVersion):
            desk.client.delete(event.remote_id, version=event.version)
        assert desk.client.find_event(event.remote_id) is not None

    @pytest.mark.parametrize("kind", OUTCOMES)
    def test_unclear_answer_is_an_unknown_outcome(self, desk: Desk, kind: str) -> None:
        event = _found(desk, desk.types())
        desk.fault(kind, match="DELETE")
        with pytest.raises(WriteOutcomeUnknown):
            desk.client.delete(event.remote_id, version=event.version)


def test_guard_stands_before_every_request(world: World) -> None:
    def refuse() -> None:
        raise Forbidden("not now")

    client = OutlookService(world.credentials(), guard=refuse).calendar(world.ref())
    before = world.books()["total"]
    for call in (lambda: client.read_window(WINDOW), lambda: client.create(draft(), key=key())):
        with pytest.raises(Forbidden):
            call()
    assert world.books()["total"] == before


def test_more_than_four_at_once_are_refused(desk: Desk) -> None:
    client = desk.world.service(timeout=(5, 5)).calendar(desk.ref)
    client.read_window(WINDOW)
    before = desk.world.books()["limits_exceeded"].get("concurrency", 0)
    desk.fault("latency", seconds=0.8, times=5)
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(client.read_window, WINDOW) for _ in range(5)]
    assert [answer.result() for answer in answers] == [[]] * 5  # the fifth obeyed its Retry-After and came back
    assert desk.world.books()["limits_exceeded"]["concurrency"] == before + 1


def test_emulator_remembers_events_keys_and_cursors_after_a_restart(tmp_path: Path) -> None:
    with served(journal=tmp_path / "journal") as world:
        desk = open_desk(world)
        created = desk.client.create(draft(), key=key())
    with served(journal=tmp_path / "journal") as again:
        client = again.service().calendar(desk.ref)
        assert client.create(draft(), key=key()) == created
        state = requests.get(f"{again.url}/_control/state", timeout=10).json()
        (shown,) = state["calendars"][desk.ref.remote.lower()]
        assert (shown["transactionId"], shown["created_by"]) == (key(), "app")


def _patches(desk: Desk) -> int:
    routes: dict[str, int] = desk.world.books()["by_route"]
    return sum(count for route, count in routes.items() if route.startswith("PATCH"))


def _found(desk: Desk, event_id: str) -> RemoteEvent:
    event = desk.client.find_event(RemoteId(event_id))
    assert event is not None
    return event
