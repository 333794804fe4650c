"""Moves and cancellations that meet: chains, swaps through freed time, and each under a death at every step."""

from __future__ import annotations

import pytest

from sync.boundaries import Boundary, watched
from sync.domain import Kind
from tests.integration.test_commit_crashes import Died
from tests.integration.world import World, at, shown

STEPS = [
    Boundary.CLAIMING, Boundary.CLAIMED, Boundary.CHECK_READ, Boundary.CHECKED, Boundary.WROTE, Boundary.WRITTEN,
    Boundary.VERIFY_READ, Boundary.VERIFIED, Boundary.SETTLING, Boundary.SETTLED,
]  # fmt: skip

WRITING = {Boundary.WROTE, Boundary.WRITTEN, Boundary.VERIFY_READ, Boundary.VERIFIED}  # which a hold never does


def decide_and_die(world: World, proposal: int, step: Boundary) -> None:
    """The worker dies at its first passing of the step; somebody else finds the row when its lease has run out."""

    def die(boundary: Boundary) -> None:
        if boundary is step:
            raise Died

    with pytest.raises(Died), watched(die):
        world.decide(proposal)
    world.expire_leases()


@pytest.mark.parametrize("step", STEPS)
def test_a_chain_of_moves_ends_where_the_last_one_leads(world: World, step: Boundary) -> None:
    """Disjoint, overlapping, back onto the first time; the one in the middle dies."""
    appointment = world.book(at(10))
    wishes = [world.wish(Kind.MOVE, at(hour), appointment=appointment.id) for hour in (14, 14.5, 10)]
    world.decide(wishes[0].id)
    decide_and_die(world, wishes[1].id, step)
    world.quiesce()
    assert [world.reason(wish.id) for wish in wishes] == ["accepted"] * 3
    assert (world.booked(), world.slots("held", "booked")) == ([at(10)], [at(10)])
    world.assert_in_step()


@pytest.mark.parametrize("step", STEPS)
def test_time_that_was_freed_a_moment_ago_can_be_taken(world: World, step: Boundary) -> None:
    """Neither the mirrors nor the jobs have heard of the cancellation yet."""
    first, second = world.book(at(10), "First"), world.book(at(12), "Second")
    world.decide(world.wish(Kind.CANCEL, appointment=first.id).id)
    wish = world.wish(Kind.MOVE, at(10), appointment=second.id)
    decide_and_die(world, wish.id, step)
    world.quiesce()
    assert (world.reason(wish.id), world.booked()) == ("accepted", [at(10)])
    world.assert_in_step()


@pytest.mark.parametrize("step", STEPS)
def test_a_cancellation_during_a_move_waits_and_cancels(world: World, step: Boundary) -> None:
    appointment = world.book(at(10))
    move = world.wish(Kind.MOVE, at(10.5), appointment=appointment.id)
    cancellation = world.wish(Kind.CANCEL, appointment=appointment.id)
    decide_and_die(world, move.id, step)
    world.decide(cancellation.id)
    world.quiesce()
    assert (world.reason(cancellation.id), world.booked(), world.slots("held", "booked")) == ("accepted", [], [])
    assert world.reason(move.id) in {"accepted", "gone"}
    world.assert_in_step()


@pytest.mark.parametrize("step", STEPS)
def test_a_move_during_a_cancellation_finds_nothing_to_move(world: World, step: Boundary) -> None:
    appointment = world.book(at(10))
    cancellation = world.wish(Kind.CANCEL, appointment=appointment.id)
    move = world.wish(Kind.MOVE, at(15), appointment=appointment.id)
    decide_and_die(world, cancellation.id, step)
    world.decide(move.id)
    world.quiesce()
    assert {world.reason(cancellation.id), world.reason(move.id)} <= {"accepted", "gone"}
    assert world.booked() == []
    world.assert_in_step()


@pytest.mark.parametrize("step", STEPS)
def test_a_hand_over_that_dies_leaves_the_appointment_with_one_agent(world: World, step: Boundary) -> None:
    world.add_agent("ben")
    appointment = world.book(at(10))
    wish = world.wish(Kind.MOVE, at(10), appointment=appointment.id, agent="ben")
    decide_and_die(world, wish.id, step)
    live = world.sql("SELECT agent_id FROM slots WHERE state = 'booked'")
    assert len(live) == 1
    world.quiesce()
    assert [(row.id, row.agent) for row in world.appointments()] == [(appointment.id, "ben")]
    assert shown(world.master) == []
    world.assert_in_step()


@pytest.mark.parametrize("step", [step for step in STEPS if step not in WRITING])
def test_a_hold_that_dies_is_a_hold_or_nothing(world: World, step: Boundary) -> None:
    asked = world.wish(Kind.HOLD, at(10), agent="dana")
    decide_and_die(world, asked.id, step)
    world.settle()
    assert (world.reason(asked.id), world.slots("held")) == ("accepted", [at(10)])
    assert world.sql("SELECT count(*) FROM slots WHERE held_by IS NOT NULL") == [(1,)]
