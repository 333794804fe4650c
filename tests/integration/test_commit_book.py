from __future__ import annotations

from tests.integration.world import World, at


def test_a_booking_stands_on_master_and_mirror(world: World) -> None:
    proposal = world.ask(at(10))
    world.settle()
    assert world.reason(proposal) == "accepted"
    assert [event.interval for event in world.master.events()] == [at(10)]
    world.assert_in_step()


def test_of_two_for_one_hour_the_second_is_refused_with_evidence(world: World) -> None:
    first, second = world.ask(at(10)), world.ask(at(10.5))
    world.settle()
    assert (world.reason(first), world.reason(second)) == ("accepted", "slot_taken")
    taken = world.story(second).evidence["slots"][0]
    assert taken["appointment"] == world.story(first).appointment_id
    world.assert_in_step()
