"""Many at once, on real threads and a real database: never two in one time, never one forgotten (P1)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from sync.domain import Interval
from tests.integration.world import World, at, drag, shown


def at_once(count: int, work: Callable[[int], object]) -> None:
    """Run ``work(0)`` … ``work(count - 1)``, all let go together; any exception fails the test."""
    barrier = Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))


def test_of_sixteen_wishes_for_one_hour_one_is_booked(world: World) -> None:
    proposals = [world.ask(at(10)) for _ in range(16)]
    at_once(16, lambda number: world.decide(proposals[number]))
    world.settle()
    assert sorted(world.reason(proposal) or "" for proposal in proposals) == ["accepted"] + ["slot_taken"] * 15
    world.assert_in_step()


def test_one_wish_delivered_to_eight_workers_is_done_once(world: World) -> None:
    for hour in range(8, 16):
        proposal = world.ask(at(hour))
        at_once(8, lambda _: world.decide(proposal))  # noqa: B023 - run before the loop goes on
    world.settle()
    assert world.master.calls.count("create") == 8
    world.assert_in_step()


@pytest.mark.parametrize("seed", range(3))
def test_overlapping_wishes_leave_exactly_what_fits(world: World, seed: int) -> None:
    rand = random.Random(seed)  # noqa: S311 - a game, not a secret
    agents = ["dana", "ben", "asha"]
    world.add_agent("ben")
    world.add_agent("asha", before=15)
    proposals = [world.ask(at(rand.randrange(32, 60) / 4, 45), agent=rand.choice(agents)) for _ in range(40)]

    def work(number: int) -> None:
        due = world.due()
        random.Random(number).shuffle(due)  # noqa: S311
        for reference in due:
            world.engine.commit(reference)

    at_once(8, work)
    world.settle()
    stories = [world.story(proposal) for proposal in proposals]
    assert {story.reason for story in stories} == {"accepted", "slot_taken"}
    for agent in agents:
        booked = [row for row in world.appointments() if row.agent == agent]
        times = sorted(Interval(row.starts_at, row.ends_at) for row in booked)
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(times))
        for name in (f"{agent}-master", f"{agent}-mirror"):
            assert shown(world.calendars.of(name)) == times


def test_jobs_and_workers_at_once_end_in_step(world: World) -> None:
    world.book(at(8))
    for hour in range(10, 16):
        world.ask(at(hour))
        world.mirror.put(at(hour + 0.5), f"mine {hour}")
    drag(world.master, world.master.events()[0], at(18))
    names = list(world.ids)

    def work(number: int) -> None:
        for _ in range(3):
            if number % 2:
                world.detect_all()
            for reference in world.due():
                world.engine.commit(reference)
        assert names

    at_once(6, work)
    world.quiesce()
    world.assert_in_step()
