"""Cancelling: the master's event goes, the time is free, and every mirror follows."""

from __future__ import annotations

import pytest

from models.queries import AppointmentRecord
from sync.domain import Job
from sync.errors import Forbidden, ProviderUnavailable, StaleVersion, WriteOutcomeUnknown
from tests.integration.world import World, at, drag, shown


@pytest.fixture
def booked(world: World) -> AppointmentRecord:
    """One appointment, shown on two mirrors."""
    world.add_mirror("dana-mirror2")
    return world.book(at(10))


def assert_cancelled(world: World) -> None:
    assert world.booked() == []
    assert world.slots("held", "booked") == []
    assert [shown(world.calendars.of(name)) for name in world.ids] == [[], [], []]


@pytest.mark.usefixtures("booked")
def test_a_deleted_copy_cancels_everywhere(world: World) -> None:
    world.mirror.remove(world.mirror.events()[0].remote_id)
    world.quiesce()
    assert_cancelled(world)
    assert world.master.events() == []
    again = world.ask(at(10))
    world.quiesce()
    assert world.reason(again) == "accepted"


@pytest.mark.usefixtures("booked")
def test_a_deleted_master_event_cancels_everywhere(world: World) -> None:
    world.master.remove(world.master.events()[0].remote_id)
    world.quiesce()
    assert_cancelled(world)


@pytest.mark.usefixtures("booked")
def test_a_master_event_shown_as_free_cancels_everywhere(world: World) -> None:
    event = world.master.events()[0]
    world.master.put(at(10), event.title, remote_id=event.remote_id, blocks=False)
    world.quiesce()
    assert_cancelled(world)
    assert world.master.events() != []


@pytest.mark.usefixtures("booked")
def test_a_master_event_that_is_busy_again_is_an_appointment_again(world: World) -> None:
    event = world.master.events()[0]
    for blocks in (False, True):
        world.master.put(at(10), event.title, remote_id=event.remote_id, blocks=blocks)
        world.quiesce()
    assert world.booked() == [at(10)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_deleted_on_both_mirrors_and_the_master_it_is_cancelled_once(world: World) -> None:
    for name in world.ids:
        world.calendars.of(name).remove(world.calendars.of(name).events()[0].remote_id)
    world.quiesce()
    assert_cancelled(world)
    assert sorted(reason or "" for kind, reason in world.reasons() if kind == "cancel") == [
        "accepted",
        "already_done",
        "already_done",
    ]


def test_a_persons_own_event_is_marked_and_not_deleted(world: World) -> None:
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.quiesce()
    world.master.remove(world.master.events()[0].remote_id)
    world.quiesce()
    (event,) = world.mirror.events()
    assert (event.remote_id, event.title, event.blocks) == ("mine", "[cancelled] Mine", False)
    assert "cancelled" in world.mirror.bodies[event.remote_id]
    world.assert_in_step()


def test_a_persons_own_event_that_is_busy_again_is_booked_again(world: World) -> None:
    mine = world.mirror.put(at(10), "Mine")
    world.quiesce()
    for blocks in (False, True):
        world.mirror.put(at(10), "Mine", remote_id=mine.remote_id, blocks=blocks)
        world.quiesce()
        assert len(world.booked()) == int(blocks)
        world.assert_in_step()
    assert len(world.mirror.events()) == 1


def test_a_wish_withdrawn_before_it_was_decided_books_nothing(world: World) -> None:
    mine = world.mirror.put(at(10), "Mine")
    world.detect(Job.NEW, "dana-mirror")
    world.mirror.remove(mine.remote_id)
    world.quiesce()
    assert world.reasons() == [("book", "gone"), ("cancel", "already_done")] or world.booked() == []
    assert world.master.events() == []
    world.assert_in_step()


@pytest.mark.parametrize("first", [Job.CANCEL, Job.NEW, Job.UPDATE])
def test_a_wish_withdrawn_while_it_is_written_is_cancelled(world: World, first: Job) -> None:
    mine = world.mirror.put(at(10), "Mine")

    def withdraw() -> None:
        world.mirror.remove(mine.remote_id)
        world.detect(first, "dana-mirror")

    world.master.on("create", withdraw)
    world.quiesce()
    assert (world.booked(), world.master.events(), world.mirror.events()) == ([], [], [])
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_cancelled_on_one_side_and_moved_on_the_other_ends_in_step(world: World) -> None:
    world.mirror.remove(world.mirror.events()[0].remote_id)
    other = world.calendars.of("dana-mirror2")
    drag(other, other.events()[0], at(15))
    world.quiesce()
    world.assert_in_step()
    assert len(world.booked()) <= 1


@pytest.mark.usefixtures("booked")
def test_a_person_who_moved_the_master_keeps_the_appointment(world: World) -> None:
    world.mirror.remove(world.mirror.events()[0].remote_id)
    drag(world.master, world.master.events()[0], at(15))
    world.detect(Job.CANCEL, "dana-mirror")
    world.work()
    world.quiesce()
    assert ("cancel", "master_changed") in world.reasons()
    assert world.booked() == [at(15)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize("after", ["before", "after"])
@pytest.mark.parametrize("error", [WriteOutcomeUnknown("no answer"), StaleVersion("412"), ProviderUnavailable("503")])
def test_a_cancellation_outlives_a_fault(world: World, error: Exception, after: str) -> None:
    world.master.fail("delete", error, after=after)
    world.calendars.of("dana-mirror2").fail("delete", error, after=after)
    world.mirror.remove(world.mirror.events()[0].remote_id)
    world.quiesce()
    assert_cancelled(world)


@pytest.mark.usefixtures("booked")
def test_a_cancellation_that_the_master_forbids_is_refused_and_the_copy_comes_back(world: World) -> None:
    world.master.fail("delete", Forbidden("read only"))
    world.mirror.remove(world.mirror.events()[0].remote_id)
    world.quiesce()
    assert ("cancel", "rejected") in world.reasons()
    assert world.booked() == [at(10)]
    world.assert_in_step()


def test_a_copy_made_unheard_before_a_move_shows_the_new_time(world: World) -> None:
    world.mirror.fail("create", WriteOutcomeUnknown("no answer"), after="after")
    world.ask(at(10))
    world.work(rounds=2)
    drag(world.master, world.master.events()[0], at(15))
    world.quiesce()
    assert shown(world.mirror) == [at(15)]
    world.assert_in_step()


def test_a_copy_shown_as_free_before_we_heard_of_it_is_busy_again(world: World) -> None:
    world.mirror.fail("create", WriteOutcomeUnknown("no answer"), after="after")
    world.ask(at(10))
    world.work(rounds=2)
    world.mirror.put(at(10), "Demo", remote_id=world.mirror.events()[0].remote_id, blocks=False)
    world.quiesce()
    world.assert_in_step()


def test_a_copy_deleted_before_we_heard_of_it_is_made_again(world: World) -> None:
    world.mirror.fail("create", WriteOutcomeUnknown("no answer"), after="after")
    world.ask(at(10))
    world.work(rounds=2)
    world.mirror.remove(world.mirror.events()[0].remote_id)
    world.quiesce()
    assert world.booked() == [at(10)]
    world.assert_in_step()


def test_a_copy_that_was_made_without_an_answer_is_found_when_it_must_go(world: World) -> None:
    world.mirror.fail("create", WriteOutcomeUnknown("no answer"), after="after")
    world.ask(at(10))
    for _ in range(2):
        for reference in world.due():
            world.engine.commit(reference)
    assert shown(world.mirror) == [at(10)]
    world.master.remove(world.master.events()[0].remote_id)
    world.quiesce()
    assert (world.booked(), world.mirror.events()) == ([], [])
