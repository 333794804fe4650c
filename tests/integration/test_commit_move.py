"""Moving: the new time is held while the old one stays, so that the appointment is never without either."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.queries import AppointmentRecord
from sync.domain import Interval, Job, RemoteEvent
from sync.errors import NotFound, ProviderUnavailable, StaleVersion, WriteOutcomeUnknown
from tests.integration.world import World, at, drag, shown


@pytest.fixture
def booked(world: World) -> AppointmentRecord:
    return world.book(at(10))


def copy_of(world: World) -> RemoteEvent:
    return world.mirror.events()[0]


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize("to", [at(15), at(11), at(10.5), at(9.5, 120), at(10, 30)])
def test_a_copy_that_is_moved_moves_the_appointment(world: World, to: Interval) -> None:
    drag(world.mirror, copy_of(world), to)
    world.quiesce()
    assert (world.booked(), world.slots("booked")) == ([to], [to])
    assert len(world.master.events()) == 1
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize(("to", "live"), [(at(10.5), [at(10, 90)]), (at(15), [at(10), at(15)])])
def test_while_a_move_is_in_flight_both_times_are_taken(world: World, to: Interval, live: list[Interval]) -> None:
    during: list[list[Interval]] = []
    world.master.on("update", lambda: during.append(world.slots("held", "booked")))
    drag(world.mirror, copy_of(world), to)
    world.quiesce()
    assert during == [live]
    assert world.slots("held", "booked") == [to]


@pytest.mark.usefixtures("booked")
def test_a_move_onto_another_booking_is_refused_and_the_copy_put_back(world: World) -> None:
    world.book(at(14), "Other")
    drag(world.mirror, copy_of(world), at(13.5))
    world.quiesce()
    assert world.reasons()[-1] == ("move", "slot_taken")
    assert world.booked() == [at(10), at(14)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize("to", [at(14), at(10.5)])
def test_a_move_onto_a_persons_event_is_refused_and_the_copy_put_back(world: World, to: Interval) -> None:
    world.master.put(at(11, 240), "Human")
    drag(world.mirror, copy_of(world), to)
    world.detect(Job.UPDATE, "dana-mirror")
    world.settle()
    assert world.reasons()[-1] == ("move", "master_busy")
    assert shown(world.mirror) == [at(10)]
    assert world.slots("held", "booked") == [at(10)]
    world.quiesce()
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize("after", ["before", "after"])
def test_an_event_that_lands_while_we_move_wins(world: World, after: str) -> None:
    world.master.on("update", lambda: world.master.put(at(15), "Human"), after=after)
    drag(world.mirror, copy_of(world), at(15))
    world.quiesce()
    assert ("move", "master_busy") in world.reasons()
    assert world.booked() == [at(10), at(15)]
    assert world.slots("booked") == [at(10)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_a_new_title_travels_too(world: World) -> None:
    world.mirror.put(at(10), "Demo with Ann", remote_id=copy_of(world).remote_id)
    world.quiesce()
    assert [event.title for event in world.master.events()] == ["Demo with Ann"]
    assert world.slots("booked") == [at(10)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_new_words_are_welcome_even_where_people_overlap_themselves(world: World) -> None:
    world.master.put(at(10.5), "Human")
    world.quiesce()
    world.mirror.put(at(10), "Demo with Ann", remote_id=copy_of(world).remote_id)
    world.quiesce()
    assert sorted(event.title for event in world.master.events()) == ["Demo with Ann", "Human"]
    world.assert_in_step()


def test_a_move_of_a_copy_that_says_only_busy_keeps_the_title(world: World) -> None:
    world.configure("dana-mirror", shows="busy")
    world.book(at(10), "Secret")
    assert copy_of(world).title == "Busy"
    drag(world.mirror, copy_of(world), at(15))
    world.quiesce()
    assert [(event.title, event.interval) for event in world.master.events()] == [("Secret", at(15))]
    assert copy_of(world).title == "Busy"
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_moved_away_and_back_is_nothing(world: World) -> None:
    drag(world.mirror, copy_of(world), at(15))
    drag(world.mirror, copy_of(world), at(10))
    before = len(world.proposals())
    world.quiesce()
    assert len(world.proposals()) == before


@pytest.mark.usefixtures("booked")
def test_moved_back_while_the_move_is_pending_is_moved_back(world: World) -> None:
    drag(world.mirror, copy_of(world), at(15))
    world.detect(Job.UPDATE, "dana-mirror")
    drag(world.mirror, copy_of(world), at(10))
    world.quiesce()
    assert world.booked() == [at(10)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_two_moves_of_one_appointment_are_taken_in_turn(world: World) -> None:
    def move_again() -> None:
        drag(world.mirror, copy_of(world), at(16))
        world.detect(Job.UPDATE, "dana-mirror")
        second = world.proposals()[-1]
        world.decide(second.id)
        assert world.story(second.id).state == "pending"

    world.master.on("update", move_again)
    drag(world.mirror, copy_of(world), at(15))
    world.quiesce()
    assert world.booked() == [at(16)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_an_edit_that_another_job_reads_first_is_not_lost(world: World) -> None:
    def move_again() -> None:
        drag(world.mirror, copy_of(world), at(16))
        world.detect(Job.NEW, "dana-mirror")

    world.master.on("update", move_again)
    drag(world.mirror, copy_of(world), at(15))
    world.quiesce()
    assert world.booked() == [at(16)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_a_person_who_moves_the_master_meanwhile_wins(world: World) -> None:
    drag(world.master, world.master.events()[0], at(16))
    drag(world.mirror, copy_of(world), at(15))
    world.detect(Job.UPDATE, "dana-mirror")
    world.work()
    assert ("move", "master_changed") in world.reasons()
    world.quiesce()
    assert (world.booked(), world.slots("booked")) == ([at(16)], [at(16)])
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_a_master_that_changes_between_check_and_write_is_read_again(world: World) -> None:
    world.master.on("update", lambda: drag(world.master, world.master.events()[0], at(16)))
    drag(world.mirror, copy_of(world), at(15))
    world.quiesce()
    assert ("move", "master_changed") in world.reasons()
    assert world.booked() == [at(16)]
    world.assert_in_step()


FAULTS: list[tuple[Exception, str]] = [
    (WriteOutcomeUnknown("no answer"), "before"),
    (WriteOutcomeUnknown("no answer"), "after"),
    (StaleVersion("412"), "before"),
    (ProviderUnavailable("503"), "before"),
]


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize(("error", "after"), FAULTS)
@pytest.mark.parametrize("to", [at(15), at(10.5)])
def test_a_move_outlives_a_fault(world: World, error: Exception, after: str, to: Interval) -> None:
    world.master.fail("update", error, after=after)
    drag(world.mirror, copy_of(world), to)
    world.quiesce()
    assert world.booked() == [to]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_an_event_that_was_read_and_is_not_found_is_read_again(world: World) -> None:
    """Vendors do not find fresh ids for a while; a person's deletion shows in the next check."""
    world.master.fail("update", NotFound("not yet"))
    drag(world.mirror, copy_of(world), at(10.5))
    world.quiesce()
    assert world.slots("held", "booked") == [at(10.5)]
    assert world.alerts() == []
    world.assert_in_step()


def test_a_persons_event_on_the_master_is_moved_by_its_copy(world: World) -> None:
    world.master.put(at(10), "Human")
    world.quiesce()
    drag(world.mirror, copy_of(world), at(15))
    world.quiesce()
    assert shown(world.master) == [at(15)]
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_an_undone_move_that_was_interrupted_stays_refused(world: World) -> None:
    world.master.on("update", lambda: world.master.put(at(15), "Human"), after="after")
    fail_second_update(world)
    drag(world.mirror, copy_of(world), at(15))
    world.quiesce()
    assert ("move", "master_busy") in world.reasons()
    assert world.booked() == [at(10), at(15)]
    world.assert_in_step()


def fail_second_update(world: World) -> None:
    arm: Callable[[], None] = lambda: world.master.fail("update", WriteOutcomeUnknown("no answer"), after="after")  # noqa: E731
    world.master.on("find_event", lambda: world.master.on("find_event", arm))
