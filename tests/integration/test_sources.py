"""Systems that only propose: a CRM, and a booking tool where a new time is a new event."""

from __future__ import annotations

import pytest

from providers.memory import MemoryCalendar
from sync.domain import Interval, Job, Kind, RemoteEvent
from sync.errors import Rejected
from tests.integration.world import World, at, drag, shown


@pytest.fixture
def tool(world: World) -> MemoryCalendar:
    return world.add_source("dana-tool", replaces=True)


@pytest.fixture
def crm(world: World) -> MemoryCalendar:
    return world.add_source("dana-crm")


def booked_from(world: World, source: MemoryCalendar, interval: Interval) -> RemoteEvent:
    event = source.put(interval, "Prospect")
    world.quiesce()
    assert (world.booked(), shown(source)) == ([interval], [interval])
    return event


def everywhere(world: World, source: MemoryCalendar) -> list[list[Interval]]:
    return [world.booked(), shown(world.master), shown(world.mirror), shown(source)]


def test_what_a_source_never_had_is_not_made_there(world: World, crm: MemoryCalendar) -> None:
    world.book(at(10))
    assert shown(crm) == []


def test_a_source_hears_of_a_refusal_in_its_own_event(world: World, crm: MemoryCalendar) -> None:
    world.master.put(at(10), "Dentist")
    event = crm.put(at(10), "Prospect")
    world.quiesce()
    (told,) = crm.events()
    assert (told.remote_id, told.blocks, told.title) == (event.remote_id, False, "[not booked] Prospect")


def test_a_source_follows_a_move_on_the_master(world: World, crm: MemoryCalendar) -> None:
    booked_from(world, crm, at(10))
    drag(world.master, world.master.events()[0], at(14))
    world.quiesce()
    assert everywhere(world, crm) == [[at(14)]] * 4


def test_a_source_follows_a_cancellation_on_the_master(world: World, crm: MemoryCalendar) -> None:
    booked_from(world, crm, at(10))
    world.master.remove(world.master.events()[0].remote_id)
    world.quiesce()
    assert everywhere(world, crm) == [[], [], [], []]
    assert [event.title for event in crm.events()] == ["[cancelled] Prospect"]


def test_a_new_time_moves_the_appointment(world: World, tool: MemoryCalendar) -> None:
    event = booked_from(world, tool, at(10))
    tool.replace(event.remote_id, at(15))
    world.quiesce()
    assert everywhere(world, tool) == [[at(15)]] * 4
    assert world.reasons() == [("book", "accepted"), ("move", "accepted")]


@pytest.mark.parametrize("first", Job)
def test_a_new_time_is_no_cancellation_whichever_job_sees_it_first(
    world: World, tool: MemoryCalendar, first: Job
) -> None:
    event = booked_from(world, tool, at(10))
    tool.replace(event.remote_id, at(15))
    world.detect(first, "dana-tool")
    world.settle()
    assert len(world.booked()) == 1
    world.quiesce()
    assert everywhere(world, tool) == [[at(15)]] * 4
    assert ("cancel", "accepted") not in world.reasons()


def test_a_new_time_that_only_the_job_for_new_ones_is_shown_moves_the_appointment(
    world: World, tool: MemoryCalendar
) -> None:
    """A booking tool lists what took over among what is new; that the old one changed may have been listed too early."""
    event = booked_from(world, tool, at(10))
    tool.replace(event.remote_id, at(15))
    world.detect(Job.NEW, "dana-tool")
    world.settle()
    assert everywhere(world, tool) == [[at(15)]] * 4


@pytest.mark.parametrize("first", Job)
def test_an_event_that_takes_over_at_the_same_time_is_the_appointments_from_then_on(
    world: World, tool: MemoryCalendar, first: Job
) -> None:
    event = booked_from(world, tool, at(10))
    heir = tool.replace(event.remote_id, at(10))
    world.detect(first, "dana-tool")
    world.quiesce()
    assert everywhere(world, tool) == [[at(10)]] * 4
    tool.remove(heir.remote_id)
    world.quiesce()
    assert everywhere(world, tool) == [[], [], [], []]


def test_a_chain_of_new_times_between_two_reads(world: World, tool: MemoryCalendar) -> None:
    event = booked_from(world, tool, at(10))
    for hour in (11, 12, 13):
        event = tool.replace(event.remote_id, at(hour))
    world.quiesce()
    assert everywhere(world, tool) == [[at(13)]] * 4
    assert world.reasons() == [("book", "accepted"), ("move", "accepted")]


def test_a_chain_that_ends_in_a_cancellation_cancels(world: World, tool: MemoryCalendar) -> None:
    event = booked_from(world, tool, at(10))
    event = tool.replace(event.remote_id, at(11))
    event = tool.replace(event.remote_id, at(12))
    tool.remove(event.remote_id)
    world.quiesce()
    assert everywhere(world, tool) == [[], [], [], []]


def test_a_new_time_that_is_taken_is_put_back(world: World, tool: MemoryCalendar) -> None:
    event = booked_from(world, tool, at(10))
    world.master.put(at(15), "Dentist")
    tool.replace(event.remote_id, at(15))
    world.quiesce()
    assert (shown(tool), shown(world.master)) == ([at(10)], [at(10), at(15)])
    assert ("move", "master_busy") in world.reasons()


def test_a_move_elsewhere_gives_the_source_a_new_event(world: World, tool: MemoryCalendar) -> None:
    event = booked_from(world, tool, at(10))
    world.wish(Kind.MOVE, at(16), appointment=world.appointments()[0].id)
    world.quiesce()
    assert everywhere(world, tool) == [[at(16)]] * 4
    (now,) = tool.events()
    assert now.replaces == event.remote_id
    assert world.reasons() == [("book", "accepted"), ("move", "accepted")]


def test_a_move_whose_answer_got_lost_makes_no_second_event(world: World, tool: MemoryCalendar) -> None:
    booked_from(world, tool, at(10))
    world.wish(Kind.MOVE, at(16), appointment=world.appointments()[0].id)
    tool.fail("update", ConnectionResetError(), after="after")
    with pytest.raises(ConnectionResetError):
        world.settle()
    world.expire_leases()
    world.quiesce()
    assert everywhere(world, tool) == [[at(16)]] * 4


def test_a_new_time_before_the_first_was_decided_is_booked_once(world: World, tool: MemoryCalendar) -> None:
    event = tool.put(at(10), "Prospect")
    world.detect(Job.NEW, "dana-tool")
    tool.replace(event.remote_id, at(15))
    world.quiesce()
    assert everywhere(world, tool) == [[at(15)]] * 4


def test_a_cancelled_one_that_is_booked_anew_is_a_new_wish(world: World, tool: MemoryCalendar) -> None:
    event = booked_from(world, tool, at(10))
    tool.remove(event.remote_id)
    world.quiesce()
    tool.replace(event.remote_id, at(11))
    world.quiesce()
    assert everywhere(world, tool) == [[at(11)]] * 4


def test_a_full_read_does_not_lose_what_was_replaced(world: World, tool: MemoryCalendar) -> None:
    event = booked_from(world, tool, at(10))
    tool.replace(event.remote_id, at(15))
    tool.expire()
    world.quiesce()
    assert everywhere(world, tool) == [[at(15)]] * 4


def test_a_circle_of_events_that_replace_each_other_ends(world: World, tool: MemoryCalendar) -> None:
    """A vendor's mistake: each says that it took over from the other."""
    one = booked_from(world, tool, at(10))
    two = tool.replace(one.remote_id, at(11))
    world.quiesce()
    tool.replace(two.remote_id, at(12))
    world.sql("UPDATE sightings SET replaces = :two WHERE remote_id = :one", one=one.remote_id, two=two.remote_id)
    world.quiesce()
    assert everywhere(world, tool) == [[at(12)]] * 4


def test_what_a_source_cannot_show_is_told_to_people_and_left(world: World, crm: MemoryCalendar) -> None:
    booked_from(world, crm, at(10))
    crm.fail("update", Rejected("the length cannot be changed"))
    drag(world.master, world.master.events()[0], at(14))
    world.quiesce()
    assert (everywhere(world, crm), world.due()) == ([[at(14)], [at(14)], [at(14)], [at(10)]], [])
    assert world.sql("SELECT code FROM dead_letters WHERE state = 'open'") == [("rejected",)]
    drag(world.master, world.master.events()[0], at(15))
    world.quiesce()
    assert everywhere(world, crm) == [[at(15)]] * 4
