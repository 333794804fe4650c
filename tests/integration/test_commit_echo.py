"""What we wrote ourselves comes back in every feed and is never proposed (P5)."""

from __future__ import annotations

import contextlib
import itertools
import random

import pytest

from sync.domain import Interval, Job
from sync.errors import ProviderUnavailable, StaleVersion, Transient, WriteOutcomeUnknown
from tests.integration.world import World, at, drag, shown


@pytest.fixture
def lived_in(world: World) -> World:
    """Two mirrors, and some of everything that can happen."""
    second = world.add_mirror("dana-mirror2", shows="busy")
    world.book(at(8), "Asked")
    world.master.put(at(10), "On the master")
    world.mirror.put(at(12), "On a mirror")
    second.put(at(12.5), "Refused")
    world.quiesce()
    drag(world.mirror, next(event for event in world.mirror.events() if event.title == "Asked"), at(15))
    second.remove(next(event for event in second.events() if event.interval == at(10)).remote_id)
    world.quiesce()
    return world


def test_no_order_of_jobs_proposes_anything_new(lived_in: World) -> None:
    before = len(lived_in.proposals())
    for jobs in itertools.permutations(Job):
        assert lived_in.detect_all(jobs) == []
    assert len(lived_in.proposals()) == before
    lived_in.assert_in_step()


def test_reading_everything_again_proposes_nothing(lived_in: World) -> None:
    for name in lived_in.ids:
        lived_in.calendars.of(name).expire()
    assert lived_in.detect_all() == []
    assert lived_in.due() == []
    lived_in.assert_in_step()


@pytest.mark.parametrize("seed", range(6))
def test_any_interleaving_of_jobs_and_commits_ends_in_step(world: World, seed: int) -> None:
    rand = random.Random(seed)  # noqa: S311 - a game, not a secret
    second = world.add_mirror("dana-mirror2")
    calendars = [world.master, world.mirror, second]
    for turn in range(40):
        calendar, to = rand.choice(calendars), at(rand.randrange(16, 40) / 2)
        play(world, rand, turn, to)
        if rand.random() < 0.5:
            world.detect(rand.choice(list(Job)), rand.choice(list(world.ids)))
        if rand.random() < 0.4:
            world.hurry()
            for reference in world.due()[: rand.randrange(1, 4)]:
                world.engine.commit(reference)
        events = calendar.events()
        if events and rand.random() < 0.3:
            change(world, rand, to)
    world.quiesce(rounds=12)
    world.assert_in_step()


@pytest.mark.parametrize("seed", range(4))
def test_any_interleaving_with_faults_ends_in_step(world: World, seed: int) -> None:
    rand = random.Random(seed)  # noqa: S311 - a game, not a secret
    world.add_mirror("dana-mirror2")
    for turn in range(40):
        to = at(rand.randrange(16, 40) / 2)
        play(world, rand, turn, to)
        if rand.random() < 0.4:
            change(world, rand, to)
        if rand.random() < 0.5:
            break_something(world, rand)
        with contextlib.suppress(Transient):
            world.detect(rand.choice(list(Job)), rand.choice(list(world.ids)))
        world.expire_leases()
        world.hurry()
        for reference in world.due()[: rand.randrange(4)]:
            world.engine.commit(reference)
    for name in world.ids:
        world.calendars.of(name).heal()
    world.quiesce(rounds=12)
    world.assert_in_step()


def break_something(world: World, rand: random.Random) -> None:
    """The next call of some method of some calendar fails, having done its work or not."""
    calendar = world.calendars.of(rand.choice(list(world.ids)))
    method = rand.choice(["create", "update", "delete", "read_window", "find_event", "read_changes"])
    error = rand.choice([WriteOutcomeUnknown, ProviderUnavailable, StaleVersion])
    if method.startswith(("read", "find")):
        error = ProviderUnavailable
    calendar.fail(method, error("broken"), after=rand.choice(["before", "after"]))


def play(world: World, rand: random.Random, turn: int, to: Interval) -> None:
    """Somebody wants something new."""
    match rand.randrange(8):
        case 0:
            world.ask(to, f"asked {turn}")
        case 1:
            world.mirror.put(to, f"mine {turn}")
        case 2:
            world.master.put(to, f"master {turn}")
        case _:
            pass


def change(world: World, rand: random.Random, to: Interval) -> None:
    """Somebody moves, deletes or frees something that is there."""
    calendar = world.calendars.of(rand.choice(list(world.ids)))
    events = [event for event in calendar.events() if event.blocks]
    if not events:
        return
    event = rand.choice(events)
    match rand.randrange(4):
        case 0:
            calendar.remove(event.remote_id)
        case 1:
            calendar.put(event.interval, event.title, remote_id=event.remote_id, blocks=False)
        case _:
            drag(calendar, event, to)


def test_a_copy_read_before_it_was_recorded_is_ours(world: World) -> None:
    world.mirror.fail("create", WriteOutcomeUnknown("no answer"), after="after")
    world.ask(at(10))
    world.work(rounds=2)
    assert shown(world.mirror) == [at(10)]
    assert world.detect_all() == []
    world.quiesce()
    world.assert_in_step()


@pytest.mark.parametrize("name", ["dana-master", "dana-mirror"])
def test_a_persons_copy_of_our_event_is_theirs(world: World, name: str) -> None:
    world.book(at(10))
    calendar = world.calendars.of(name)
    ours = calendar.events()[0]
    theirs = calendar.put(at(14), "Copied", key=ours.key)
    world.quiesce()
    assert world.booked() == [at(10), at(14)]
    assert theirs in calendar.events()
    world.assert_in_step()


def test_a_late_write_of_a_refused_booking_is_removed(world: World) -> None:
    """A worker that slept through its lease writes after another one has refused."""
    late = sleeping_worker(world)
    assert shown(world.master) == [at(10), at(10.5)]
    world.quiesce()
    assert world.reason(late) == "master_busy"
    assert shown(world.master) == [at(10.5)]
    world.assert_in_step()


def sleeping_worker(world: World) -> int:
    proposal = world.ask(at(10))

    def sleep() -> None:
        world.master.put(at(10.5), "Human")
        world.expire_leases()
        world.detect_all()
        world.decide(proposal)
        assert world.reason(proposal) == "master_busy"

    world.master.on("create", sleep)
    world.decide(proposal)
    return proposal


def test_a_stray_that_was_seen_before_its_refusal_is_removed(world: World) -> None:
    proposal = world.ask(at(10))
    world.master.fail("create", WriteOutcomeUnknown("no answer"), after="after")
    world.decide(proposal)
    assert world.detect_all() == []
    world.master.put(at(10), "Human")
    world.quiesce()
    assert world.reason(proposal) == "master_busy"
    assert [event.title for event in world.master.events()] == ["Human"]
    world.assert_in_step()


def test_a_late_copy_on_a_mirror_is_removed(world: World) -> None:
    world.ask(at(10))
    world.work(rounds=1)

    def sleep() -> None:
        world.master.remove(world.master.events()[0].remote_id)
        world.expire_leases()
        world.detect_all()
        world.settle()
        assert world.booked() == []

    world.mirror.on("create", sleep)
    world.work(rounds=1)
    assert shown(world.mirror) == [at(10)]
    world.quiesce()
    assert world.mirror.events() == []
    world.assert_in_step()
