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
from sync.errors import Forbidden, KeySpent, RateLimited, StaleVersion, WriteOutcomeUnknown
from tests.contract.outlook_world import HOUR, WINDOW, Desk, World, draft, key, open_desk, served

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
    def test_attendees_are_named(self, desk: Desk) -> None:
        guests = (Attendee("Pat", "pat@example.com"),)
        assert desk.client.create(replace(draft(), attendees=guests), key=key()).attendees == guests

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


class TestUpdate:
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

    def test_412_for_a_fresh_tag_is_stale_too(self, desk: Desk) -> None:
        event = _found(desk, desk.types())
        desk.fault("transient_412")
        with pytest.raises(StaleVersion):
            desk.client.update(event.remote_id, draft(), version=event.version)

    @pytest.mark.parametrize("kind", ["commit_then_timeout", "html"])
    def test_unclear_answer_is_an_unknown_outcome_and_not_repeated(self, desk: Desk, kind: str) -> None:
        event = _found(desk, desk.types())
        before = _patches(desk)
        desk.fault(kind, match="PATCH")
        with pytest.raises(WriteOutcomeUnknown):
            desk.client.update(event.remote_id, draft(), version=event.version)
        assert _patches(desk) == before + 1


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
