"""A visitor's hold: kept for its holder alone, until its time runs out or it becomes a booking (pessimistic mode)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sync.commit.outcome import Skipped, Written
from sync.domain import Kind
from sync.errors import Malformed, NotFound, ProviderUnavailable
from tests.integration.world import World, at


def expire_holds(world: World) -> None:
    world.sql("UPDATE slots SET held_until = clock_timestamp() - interval '1 ms', version = version WHERE held_by > 0")


def state(world: World) -> list[tuple[str, bool]]:
    """Each slot's state, and whether a visitor has it."""
    return [(row[0], row[1]) for row in world.sql("SELECT state, held_by IS NOT NULL FROM slots ORDER BY id")]


def test_a_hold_keeps_the_time_without_writing_anywhere(world: World) -> None:
    held = world.hold(at(10), seconds=90)
    assert state(world) == [("held", True)]
    assert (world.master.events(), world.mirror.events(), world.due()) == ([], [], [])
    [(left,)] = world.sql("SELECT extract(epoch FROM held_until - clock_timestamp()) FROM slots")
    assert 80 < left <= 90
    assert held.hold is not None


def test_nobody_else_gets_held_time_and_is_told_until_when(world: World) -> None:
    world.hold(at(10))
    other = world.ask(at(10.5))
    world.settle()
    assert world.reason(other) == "slot_taken"
    [slot] = world.story(other).evidence["slots"]
    assert (slot["state"], "held_until" in slot) == ("held", True)


def test_of_two_holds_of_one_hour_one_is_refused(world: World) -> None:
    world.hold(at(10))
    late = world.wish(Kind.HOLD, at(10), agent="dana")
    world.decide(late.id)
    assert world.reason(late.id) == "slot_taken"


def test_time_that_the_master_shows_as_busy_is_not_held(world: World) -> None:
    world.master.put(at(10), "Dentist")
    asked = world.wish(Kind.HOLD, at(10), agent="dana")
    world.decide(asked.id)
    assert (world.reason(asked.id), state(world)) == ("master_busy", [("free", False)])


def test_a_master_that_cannot_be_read_is_not_free_for_a_hold(world: World) -> None:
    asked = world.wish(Kind.HOLD, at(10), agent="dana")
    for _ in range(6):
        world.master.fail("read_window", ProviderUnavailable("down"))
        world.hurry()
        world.decide(asked.id)
    assert (world.reason(asked.id), state(world)) == ("master_unreadable", [("free", False)])


def test_the_holder_converts_the_hold_into_a_booking(world: World) -> None:
    held = world.hold(at(10))
    booking = world.wish(Kind.BOOK, at(10), agent="dana", title="Visit", hold=held.hold)
    world.quiesce()
    assert (world.reason(booking.id), state(world)) == ("accepted", [("booked", False)])
    world.assert_in_step()


@pytest.mark.parametrize("secret", [None, "", "guessed"])
def test_only_the_holder_converts_it(world: World, secret: str | None) -> None:
    world.hold(at(10))
    thief = world.wish(Kind.BOOK, at(10), agent="dana", title="Visit", hold=secret)
    world.settle()
    assert (world.reason(thief.id), state(world)) == ("slot_taken", [("held", True)])


def test_a_hold_for_one_time_is_not_one_for_another(world: World) -> None:
    held = world.hold(at(10))
    booking = world.wish(Kind.BOOK, at(12), agent="dana", title="Visit", hold=held.hold)
    world.settle()
    assert world.reason(booking.id) == "stale"
    assert world.story(booking.id).evidence["hold"] == "is for another time"
    assert state(world) == [("held", True)]


def test_a_hold_is_no_promise_against_the_master(world: World) -> None:
    """The human in Outlook was faster than the visitor: refused with the event, and the time is given back."""
    held = world.hold(at(10))
    world.master.put(at(10.5), "Human")
    booking = world.wish(Kind.BOOK, at(10), agent="dana", title="Visit", hold=held.hold)
    world.settle()
    assert (world.reason(booking.id), state(world)) == ("master_busy", [("free", False)])


def test_a_hold_that_ran_out_is_released_once(world: World) -> None:
    held = world.hold(at(10))
    assert isinstance(world.engine.commit(f"hold:{held.id}"), Skipped)
    expire_holds(world)
    assert isinstance(world.engine.commit(f"hold:{held.id}"), Written)
    assert isinstance(world.engine.commit(f"hold:{held.id}"), Skipped)
    assert state(world) == [("free", False)]


def test_time_whose_hold_ran_out_is_free_before_anybody_released_it(world: World) -> None:
    world.hold(at(10))
    expire_holds(world)
    other = world.ask(at(10.5))
    world.quiesce()
    assert world.reason(other) == "accepted"
    assert state(world) == [("free", False), ("booked", False)]


def test_a_holder_who_is_late_still_gets_what_nobody_took(world: World) -> None:
    held = world.hold(at(10))
    expire_holds(world)
    world.engine.commit(f"hold:{held.id}")
    booking = world.wish(Kind.BOOK, at(10), agent="dana", title="Visit", hold=held.hold)
    world.quiesce()
    assert world.reason(booking.id) == "accepted"


def test_a_holder_who_is_late_does_not_get_what_somebody_took(world: World) -> None:
    held = world.hold(at(10))
    expire_holds(world)
    other = world.ask(at(10))
    world.settle()
    booking = world.wish(Kind.BOOK, at(10), agent="dana", title="Visit", hold=held.hold)
    world.settle()
    assert (world.reason(other), world.reason(booking.id)) == ("accepted", "slot_taken")


def test_a_hold_that_runs_out_during_its_conversion_is_not_released(world: World) -> None:
    held = world.hold(at(10))
    booking = world.wish(Kind.BOOK, at(10), agent="dana", title="Visit", hold=held.hold)

    def run_out() -> None:
        expire_holds(world)
        assert isinstance(world.engine.commit(f"hold:{held.id}"), Skipped)
        world.decide(world.ask(at(10.5)))

    world.master.on("create", run_out)
    world.quiesce()
    assert [reason for _, reason in world.reasons()] == ["accepted", "accepted", "slot_taken"]
    assert world.reason(booking.id) == "accepted"
    world.assert_in_step()


@pytest.mark.parametrize("seed", range(4))
def test_expiry_and_conversion_at_once_leave_one_owner(world: World, seed: int) -> None:
    """Whichever takes the agent's lock first: the time is booked, and nothing is half released."""
    held = world.hold(at(10))
    booking = world.wish(Kind.BOOK, at(10), agent="dana", title="Visit", hold=held.hold)
    expire_holds(world)
    work = [f"hold:{held.id}", f"proposal:{booking.id}"][:: 1 if seed % 2 else -1]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(world.engine.commit, work))
    world.quiesce()
    assert (world.reason(booking.id), world.slots("held", "booked")) == ("accepted", [at(10)])


def test_the_holder_gives_the_hold_back_and_nobody_else_can(world: World) -> None:
    held = world.hold(at(10))
    with pytest.raises(NotFound, match="hold"):
        world.wish(Kind.CANCEL, hold="guessed")
    world.decide(world.wish(Kind.CANCEL, hold=held.hold).id)
    assert state(world) == [("free", False)]
    again = world.wish(Kind.CANCEL, hold=held.hold)
    world.decide(again.id)
    assert world.reason(again.id) == "already_done"


def test_the_version_that_a_visitor_saw_does_not_matter_to_the_holder(world: World) -> None:
    held = world.hold(at(10))
    booking = world.wish(Kind.BOOK, at(10), agent="dana", title="Visit", hold=held.hold, slot_version=0)
    world.quiesce()
    assert world.reason(booking.id) == "accepted"


@pytest.mark.parametrize("seconds", [0, 3601])
def test_a_hold_has_a_sensible_length(world: World, seconds: int) -> None:
    with pytest.raises(Malformed, match="seconds"):
        world.wish(Kind.HOLD, at(10), agent="dana", hold_seconds=seconds)


def test_the_same_hold_asked_for_twice_is_one(world: World) -> None:
    first = world.hold(at(10))
    world.requests -= 1
    again = world.wish(Kind.HOLD, at(10), agent="dana")
    assert (again.id, again.hold, again.created) == (first.id, first.hold, False)
