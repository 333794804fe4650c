"""A worker may die anywhere: whoever comes after it finishes the same work, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync.commit.engine import CommitEngine
from sync.commit.order import Order
from sync.commit.outcome import Skipped
from sync.domain import Interval, Job
from tests.integration.world import World, at, drag, shown

STEPS = ("checked", "written", "verified")


class Died(BaseException):
    """Nothing in the engine can catch this, as nothing catches SIGKILL."""


class Mortal(CommitEngine):
    """Does ``act`` around the moment at which it records ``step``."""

    def arm(self, step: str, when: str, act: Callable[[], object]) -> Mortal:
        self.step, self.when, self.act = step, when, act
        return self

    def _progress(self, order: Order, state: str, **values: object) -> None:
        if (state, self.when) == (self.step, "before"):
            self.act()
        super()._progress(order, state, **values)
        if (state, self.when) == (self.step, "after"):
            self.act()


def die() -> None:
    raise Died


def mortal(world: World, step: str, when: str, act: Callable[[], object] = die) -> Mortal:
    return Mortal(world.commit_sessions, world.calendars, rand=lambda: 0.0).arm(step, when, act)


def let_die(world: World, step: str, when: str) -> None:
    with pytest.raises(Died):
        mortal(world, step, when).commit(f"proposal:{world.proposals()[-1].id}")
    assert isinstance(world.decide(world.proposals()[-1].id), Skipped)
    world.expire_leases()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_booking_is_finished_by_whoever_comes_next(world: World, step: str, when: str) -> None:
    proposal = world.ask(at(10))
    let_die(world, step, when)
    assert world.slots("held") == [at(10)]
    world.quiesce()
    assert world.reason(proposal) == "accepted"
    world.assert_in_step()


@pytest.mark.parametrize("to", [at(15), at(10.5)])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_move_is_finished_by_whoever_comes_next(world: World, step: str, when: str, to: Interval) -> None:
    world.book(at(10))
    drag(world.mirror, world.mirror.events()[0], to)
    world.detect(Job.UPDATE, "dana-mirror")
    let_die(world, step, when)
    world.quiesce()
    assert (world.booked(), world.slots("held", "booked")) == ([to], [to])
    world.assert_in_step()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_cancellation_is_finished_by_whoever_comes_next(world: World, step: str, when: str) -> None:
    world.book(at(10))
    world.mirror.remove(world.mirror.events()[0].remote_id)
    world.detect(Job.CANCEL, "dana-mirror")
    let_die(world, step, when)
    world.quiesce()
    assert (world.booked(), world.slots("held", "booked"), world.master.events()) == ([], [], [])
    world.assert_in_step()


@pytest.mark.parametrize("method", ["read_window", "create"])
@pytest.mark.parametrize("after", ["before", "after"])
def test_death_inside_a_call_of_the_vendor(world: World, method: str, after: str) -> None:
    world.master.fail(method, Died(), after=after)
    proposal = world.ask(at(10))
    for _ in range(2):
        try:
            world.decide(proposal)
        except Died:
            world.expire_leases()
    world.quiesce()
    assert world.reason(proposal) == "accepted"
    world.assert_in_step()


@pytest.mark.parametrize("after", ["before", "after"])
@pytest.mark.parametrize("method", ["create", "update", "delete"])
def test_death_while_a_mirror_is_written(world: World, method: str, after: str) -> None:
    world.mirror.fail(method, Died(), after=after)
    work_with_deaths(world, lambda: world.ask(at(10)))
    work_with_deaths(world, lambda: drag(world.master, world.master.events()[0], at(15)))
    assert shown(world.mirror) == [at(15)]
    work_with_deaths(world, lambda: world.master.remove(world.master.events()[0].remote_id))
    assert world.mirror.events() == []


def work_with_deaths(world: World, act: Callable[[], object]) -> None:
    act()
    for _ in range(3):
        try:
            world.quiesce()
        except Died:
            world.expire_leases()
        else:
            world.assert_in_step()
            return


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["checked", "written", "undone"])
def test_a_refusal_is_finished_by_whoever_comes_next(world: World, step: str, when: str) -> None:
    world.master.on("create", lambda: world.master.put(at(10.5), "Human"))
    proposal = world.ask(at(10))
    let_die(world, step, when)
    world.quiesce()
    assert (world.reason(proposal), world.booked()) == ("master_busy", [at(10.5)])
    world.assert_in_step()


@pytest.mark.parametrize("step", STEPS)
def test_a_late_worker_changes_nothing(world: World, step: str) -> None:
    """Another worker has booked, and a person has put something there since: the late one must not undo that."""

    def sleep() -> None:
        world.expire_leases()
        world.decide(proposal)
        assert world.reason(proposal) == "accepted"
        world.master.put(at(10.5), "Human")

    proposal = world.ask(at(10))
    outcome = mortal(world, step, "after", sleep).commit(f"proposal:{proposal}")
    assert isinstance(outcome, Skipped)
    assert shown(world.master) == [at(10), at(10.5)]
    world.quiesce()
    assert world.booked() == [at(10), at(10.5)]
    world.assert_in_step()


def test_a_late_failure_refuses_nothing(world: World) -> None:
    """The late worker's read fails for good after another one has booked."""

    def sleep() -> None:
        world.expire_leases()
        world.decide(proposal)
        assert world.reason(proposal) == "accepted"

    proposal = world.ask(at(10))
    world.master.on("read_window", sleep)
    assert isinstance(world.decide(proposal), Skipped)
    world.quiesce()
    assert world.booked() == [at(10)]
    world.assert_in_step()
