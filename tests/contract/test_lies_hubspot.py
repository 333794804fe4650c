"""What HubSpot has been seen to do, one test a report, and what becomes of it here (docs/lies.md, rows 36 to 40)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tenacity

from providers.emulation import HumanEvent
from sync.domain import Job, Subscription
from sync.errors import ProviderUnavailable, Rejected, WriteOutcomeUnknown
from tests.contract.test_hubspot_client import JOBS, event_of, ids, new_key, old, read, since
from tests.fixtures.hubspot.serving import MORNING, OTHER, WINDOW, Stage, World, draft, stage


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def hubspot(server: Stage, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    world = server.world()
    world.emulator.limits.searches = 1000
    return world


def test_lie_36_the_search_misses_fresh_records(hubspot: World) -> None:
    """Every read begins before the place where the last one ended."""
    hubspot.arm("late_in_search", seconds=10)
    late = hubspot.human_creates(0, 1)
    old(hubspot, late, seconds=30)
    newer = hubspot.human_creates(2, 3)
    first = read(hubspot, since(40), job=Job.NEW)
    assert ids(first) == [newer]
    hubspot.monotonic += 11
    assert ids(read(hubspot, first.cursor, job=Job.NEW)) == [late, newer]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("lie", ["beyond_bounds", "out_of_order"])
def test_lie_37_rows_that_were_not_asked_for_come_out_of_order(
    hubspot: World, monkeypatch: pytest.MonkeyPatch, lie: str, job: Job | None
) -> None:
    """They are dropped, and push out none of those that were asked for."""
    monkeypatch.setattr("providers.hubspot.searching.PAGE_ROWS", 5)
    mine = [hubspot.human_creates(n, n + 1) for n in range(4)]
    hubspot.human_creates(owner=OTHER)
    mine += [hubspot.human_creates(n, n + 1) for n in range(4, 9)]
    hubspot.human_creates(owner=OTHER)
    for event_id in mine:
        hubspot.human_changes(event_id, HumanEvent(busy=False))
    hubspot.arm(lie, times=None)
    assert sorted(map(str, ids(read(hubspot, since(5), job=job)))) == mine
    assert sorted(map(str, ids(read(hubspot)))) == mine
    assert hubspot.calendar.read_window(WINDOW) == []


def test_lie_38_more_rows_with_one_time_than_a_query_shows(hubspot: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch gives thousands of records the same time, so that no time can tell the pages apart; their numbers can."""
    monkeypatch.setattr("providers.hubspot.searching.PAGE_ROWS", 10)
    hubspot.emulator.most_results = 40
    stamp = hubspot.emulator.account.stamps.next()
    made = [hubspot.human_creates(raw={"properties": {"hs_lastmodifieddate": stamp}}) for _ in range(105)]
    assert ids(read(hubspot, since(5), job=Job.UPDATE)) == made
    assert hubspot.emulator.books.by_status == {"200": 11}
    assert ids(read(hubspot)) == made
    hubspot.arm("endless_pages", times=None)
    for cursor in (None, since(5)):
        with pytest.raises(ProviderUnavailable):
            read(hubspot, cursor, job=Job.UPDATE)
    with pytest.raises(ProviderUnavailable):
        hubspot.calendar.read_window(WINDOW)


def test_lie_39_a_success_comes_with_empty_fields(hubspot: World) -> None:
    """Neither a creation nor a change is believed that the record does not show."""
    event = event_of(hubspot, hubspot.human_creates())
    hubspot.arm("empty_fields")
    with pytest.raises(WriteOutcomeUnknown, match="does not show it"):
        hubspot.calendar.update(event.remote_id, draft(3, 4), version=event.version)
    assert event_of(hubspot, event.remote_id) == event
    hubspot.arm("empty_fields")
    with pytest.raises(WriteOutcomeUnknown):
        hubspot.calendar.create(draft(), key=new_key())


def test_lie_40_event_ids_repeat_and_deliveries_are_out_of_order(hubspot: World) -> None:
    """None is ever asked for: a service key has no webhooks, and these calendars are polled."""
    subscription = Subscription("1", MORNING)
    for call in (
        lambda: hubspot.calendar.subscribe(url="http://h", secret="s", expires=MORNING),
        lambda: hubspot.calendar.renew(subscription, url="http://h", secret="s", expires=MORNING),
        lambda: hubspot.calendar.unsubscribe(subscription),
    ):
        with pytest.raises(Rejected, match="polled"):
            call()
    assert hubspot.calls() == {}
