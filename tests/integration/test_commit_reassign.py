"""People ask to move, cancel or hand over an appointment: by its number, not through an event."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.queries import AppointmentRecord
from sync.domain import Kind
from sync.errors import Malformed, NotFound
from tests.integration.world import World, at, drag, shown


@pytest.fixture
def booked(world: World) -> AppointmentRecord:
    """Dana's appointment at ten; ben has calendars too."""
    world.add_agent("ben")
    return world.book(at(10), "Visit")


def times(world: World, agent: str) -> list[object]:
    return [shown(world.calendars.of(f"{agent}-{role}")) for role in ("master", "mirror")]


def test_a_move_by_number_moves_everything(world: World, booked: AppointmentRecord) -> None:
    wish = world.wish(Kind.MOVE, at(15), appointment=booked.id)
    world.quiesce()
    assert (world.reason(wish.id), world.slots("held", "booked")) == ("accepted", [at(15)])
    assert [row.title for row in world.appointments()] == ["Visit"]
    world.assert_in_step()


def test_a_cancellation_by_number_frees_everything(world: World, booked: AppointmentRecord) -> None:
    wish = world.wish(Kind.CANCEL, appointment=booked.id)
    world.quiesce()
    assert (world.reason(wish.id), world.booked(), world.slots("held", "booked")) == ("accepted", [], [])
    world.assert_in_step()


def test_a_cancellation_of_what_has_moved_on_says_so(world: World, booked: AppointmentRecord) -> None:
    world.wish(Kind.MOVE, at(15), appointment=booked.id)
    world.quiesce()
    [(version,)] = world.sql("SELECT version FROM slots WHERE state = 'booked'")
    wish = world.wish(Kind.CANCEL, appointment=booked.id, slot_version=version - 1)
    world.settle()
    assert world.reason(wish.id) == "stale"
    assert world.story(wish.id).evidence["version_now"] == version
    world.assert_in_step()


@pytest.mark.parametrize("where", ["master", "mirror"])
def test_a_copy_from_before_it_went_away_and_came_back_is_the_persons_who_restores_it(
    world: World, booked: AppointmentRecord, where: str
) -> None:
    """Its link is another copy's by then; the state machine found that nobody heard of such an event."""
    calendar = world.calendars.of(f"dana-{where}")
    [first] = calendar.events()
    for agent, interval in (("ben", at(10)), ("dana", at(15))):
        world.wish(Kind.MOVE, interval, appointment=booked.id, agent=agent)
        world.quiesce()
    world.wish(Kind.CANCEL, appointment=booked.id)
    world.quiesce()
    calendar.put(first.interval, first.title, remote_id=first.remote_id, key=first.key)
    world.quiesce()
    assert world.booked() == [at(10)]
    world.assert_in_step()


def test_an_appointment_goes_to_another_agent(world: World, booked: AppointmentRecord) -> None:
    wish = world.wish(Kind.MOVE, at(10), appointment=booked.id, agent="ben")
    world.quiesce()
    assert (world.reason(wish.id), world.slots("held", "booked")) == ("accepted", [at(10)])
    assert [(row.id, row.agent) for row in world.appointments()] == [(booked.id, "ben")]
    assert (times(world, "dana"), times(world, "ben")) == ([[], []], [[at(10)], [at(10)]])
    world.assert_in_step()


def test_it_stays_where_it_is_if_the_other_has_no_time(world: World, booked: AppointmentRecord) -> None:
    world.calendars.of("ben-master").put(at(10.5), "Dentist")
    wish = world.wish(Kind.MOVE, at(10), appointment=booked.id, agent="ben")
    world.quiesce()
    assert world.reason(wish.id) == "master_busy"
    assert shown(world.master) == [at(10)]
    assert shown(world.calendars.of("ben-master")) == [at(10.5)]
    world.assert_in_step()


def test_it_stays_where_it_is_if_the_other_is_booked(world: World, booked: AppointmentRecord) -> None:
    world.ask(at(10), agent="ben")
    world.quiesce()
    wish = world.wish(Kind.MOVE, at(10), appointment=booked.id, agent="ben")
    world.quiesce()
    assert world.reason(wish.id) == "slot_taken"
    world.assert_in_step()


def test_there_and_back_again(world: World, booked: AppointmentRecord) -> None:
    for agent, hour in (("ben", 10), ("dana", 12), ("ben", 12), ("dana", 10)):
        world.wish(Kind.MOVE, at(hour), appointment=booked.id, agent=agent)
    world.quiesce()
    assert [(row.id, row.agent) for row in world.appointments()] == [(booked.id, "dana")]
    assert (times(world, "dana"), times(world, "ben")) == ([[at(10)], [at(10)]], [[], []])
    world.assert_in_step()


def test_a_human_who_moves_the_old_copy_is_too_late(world: World, booked: AppointmentRecord) -> None:
    """The event on dana's mirror only waits to be taken off; what is done to it is not done to ben's appointment."""
    wish = world.wish(Kind.MOVE, at(10), appointment=booked.id, agent="ben")
    world.decide(wish.id)
    drag(world.mirror, world.mirror.events()[0], at(18))
    drag(world.master, world.master.events()[0], at(19))
    world.quiesce()
    assert (times(world, "dana"), times(world, "ben")) == ([[], []], [[at(10)], [at(10)]])


def test_our_own_taking_off_is_not_mistaken_for_a_cancellation(world: World, booked: AppointmentRecord) -> None:
    """A job reads the deletion before the write that made it is recorded."""
    wish = world.wish(Kind.MOVE, at(10), appointment=booked.id, agent="ben")
    world.decide(wish.id)
    world.master.on("delete", world.detect_all, after="after")
    world.mirror.on("delete", world.detect_all, after="after")
    world.quiesce()
    assert [row.agent for row in world.appointments()] == ["ben"]
    world.assert_in_step()


def test_a_persons_own_event_is_marked_and_not_deleted(world: World) -> None:
    world.add_agent("ben")
    event = world.mirror.put(at(10), "Mine")
    world.quiesce()
    [appointment] = world.appointments()
    world.wish(Kind.MOVE, at(10), appointment=appointment.id, agent="ben")
    world.quiesce()
    [left] = world.mirror.events()
    assert (left.remote_id, left.blocks, left.title) == (event.remote_id, False, "[cancelled] Mine")
    assert "went to somebody else" in world.mirror.bodies[event.remote_id]
    assert times(world, "ben") == [[at(10)], [at(10)]]


@pytest.mark.parametrize("order", [1, -1])
def test_a_cancellation_and_a_reassignment_at_once(world: World, booked: AppointmentRecord, order: int) -> None:
    """Each locks both agents, so one is first; what is cancelled is cancelled wherever it has got to."""
    wishes = [
        world.wish(Kind.MOVE, at(10), appointment=booked.id, agent="ben"),
        world.wish(Kind.CANCEL, appointment=booked.id),
    ][::order]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda wish: world.decide(wish.id), wishes))
    world.quiesce()
    assert world.slots("held", "booked") == []
    world.assert_in_step()


def test_two_appointments_change_places(world: World, booked: AppointmentRecord) -> None:
    """Crosswise locks: no deadlock, and nobody is lost."""
    world.ask(at(12), "Other", agent="ben")
    world.quiesce()
    other = next(row for row in world.appointments() if row.agent == "ben")
    wishes = [
        world.wish(Kind.MOVE, at(10), appointment=booked.id, agent="ben"),
        world.wish(Kind.MOVE, at(12), appointment=other.id, agent="dana"),
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda wish: world.decide(wish.id), wishes))
    world.quiesce()
    assert sorted((row.agent, row.title) for row in world.appointments()) == [("ben", "Visit"), ("dana", "Other")]
    world.assert_in_step()


def test_what_is_not_there_is_said_at_once(world: World) -> None:
    with pytest.raises(NotFound, match="appointment 77"):
        world.wish(Kind.MOVE, at(10), appointment=77)
    with pytest.raises(Malformed, match="appointment"):
        world.wish(Kind.CANCEL)
    with pytest.raises(Malformed, match="start"):
        world.wish(Kind.BOOK, agent="dana")
    with pytest.raises(Malformed, match="agent"):
        world.wish(Kind.HOLD, at(10))


def test_what_is_asked_about_one_appointment_is_done_in_the_order_of_asking(
    world: World, booked: AppointmentRecord
) -> None:
    wishes = [world.wish(Kind.MOVE, at(hour), appointment=booked.id) for hour in (12, 14, 16)]
    for wish in reversed(wishes):
        world.decide(wish.id)
    assert [world.story(wish.id).state for wish in wishes] == ["settled", "pending", "pending"]
    world.quiesce()
    assert world.booked() == [at(16)]


def test_what_the_new_owner_calls_off_does_not_wait_for_what_the_old_one_still_shows(
    world: World, booked: AppointmentRecord
) -> None:
    """The copy that is to go waits for the new master to carry it; the cancellation must not wait for that copy."""
    mine = world.master.put(at(12), "Mine")
    world.quiesce()
    handed = next(row for row in world.appointments() if row.starts_at == mine.interval.start)
    wish = world.wish(Kind.MOVE, at(12), appointment=handed.id, agent="ben")
    world.decide(wish.id)
    theirs = world.calendars.of("ben-master")
    made = next(event for event in theirs.events() if event.interval == at(12))
    theirs.put(made.interval, made.title, remote_id=made.remote_id, blocks=False)
    world.quiesce()
    assert [row.id for row in world.appointments()] == [booked.id]
    world.assert_in_step()
