"""Guards that only matter when two workers believe in the same order: each alone is enough to fail one of these tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from models.ledger import Slot
from models.session import lock_agents, lock_calendar, transaction
from sync.boundaries import Boundary, watched
from sync.commit import slots
from sync.commit.notice import find_made
from sync.commit.outcome import Skipped
from sync.domain import CalendarId, Job, Kind, WriteKey
from sync.errors import Contention, Rejected, WriteOutcomeUnknown
from sync.records import store_sighting
from tests.integration.test_commit_crashes import Died
from tests.integration.world import World, at, drag, shown


def once(at_boundary: Boundary, act: Callable[[], object]) -> Callable[[Boundary], None]:
    """Do something at the first passing of a boundary, and never again."""
    passed: list[Boundary] = []

    def see(boundary: Boundary) -> None:
        if boundary is at_boundary and not passed:
            passed.append(boundary)
            act()

    return see


def die() -> None:
    raise Died


def test_who_settles_late_does_not_say_yes_to_what_another_is_taking_back(world: World) -> None:
    """The second worker has seen a person's event and died before it had taken ours back; then the first one wakes up."""

    def another() -> None:
        world.master.put(at(10.5), "Human")
        world.expire_leases()
        with pytest.raises(Died), watched(once(Boundary.UNDOING, die)):
            world.decide(proposal)

    proposal = world.ask(at(10))
    with watched(once(Boundary.VERIFIED, another)):
        outcome = world.decide(proposal)
    assert isinstance(outcome, Skipped)
    world.expire_leases()
    world.quiesce()
    assert (world.reason(proposal), shown(world.master)) == ("master_busy", [at(10.5)])
    world.assert_in_step()


@pytest.mark.parametrize("step", [Boundary.CHECK_READ, Boundary.WROTE, Boundary.VERIFY_READ])
def test_who_comes_late_does_not_turn_a_certain_no_into_a_perhaps(world: World, step: Boundary) -> None:
    """The second worker has recorded that ours must go, and died; the first one's next step must not be recorded."""

    def another() -> None:
        world.master.on("create", lambda: world.master.put(at(10.5), "Human"), after="after")
        if step is not Boundary.CHECK_READ:
            world.master.put(at(10.5), "Human")
        world.expire_leases()
        with pytest.raises(Died), watched(once(Boundary.UNDOING, die)):
            world.decide(proposal)

    proposal = world.ask(at(10))
    with watched(once(step, another)):
        assert isinstance(world.decide(proposal), Skipped)
    assert world.story(proposal).state == "undone"
    world.expire_leases()
    world.quiesce()
    assert world.reason(proposal) == "master_busy"
    world.assert_in_step()


def test_a_move_that_was_refused_cannot_land_late(world: World) -> None:
    """The first worker sleeps just before it writes; the second refuses; the vendor then refuses the first."""
    appointment = world.book(at(10))

    def another() -> None:
        world.master.put(at(15), "Human")
        world.expire_leases()
        world.decide(wish.id)
        assert world.reason(wish.id) == "master_busy"

    wish = world.wish(Kind.MOVE, at(15), appointment=appointment.id)
    with watched(once(Boundary.CHECKED, another)):
        assert isinstance(world.decide(wish.id), Skipped)
    assert shown(world.master) == [at(10), at(15)]
    world.quiesce()
    assert world.booked() == [at(10), at(15)]
    assert [row.starts_at for row in world.appointments() if row.id == appointment.id] == [at(10).start]


def test_a_move_that_the_vendor_rejects_after_an_unheard_attempt_is_refused(world: World) -> None:
    """Nobody knows whether the first write happened; the second is rejected, and so is the one that would outdate it."""
    appointment = world.book(at(10))
    wish = world.wish(Kind.MOVE, at(15), appointment=appointment.id)
    world.master.fail("update", WriteOutcomeUnknown("no answer"))
    world.master.fail("update", Rejected("no"))
    world.master.fail("update", Rejected("no"))
    world.settle()
    assert (world.reason(wish.id), world.slots("held", "booked")) == ("rejected", [at(10)])
    world.quiesce()
    world.assert_in_step()


def due_copy(world: World) -> str:
    """A person has moved a booking on the master from 10 to 15, and the mirror is still to follow: the copy's reference."""
    world.book(at(10))
    drag(world.master, world.master.events()[0], at(15))
    world.detect(Job.UPDATE, "dana-master")
    (proposal,) = world.due()
    world.engine.commit(proposal)
    (copy,) = world.due()
    return copy


def test_a_copy_that_is_out_of_date_cannot_land_late(world: World) -> None:
    """A copy's first worker sleeps just before it writes; the appointment moves away and back; nobody is misled."""
    copy = due_copy(world)

    def another() -> None:
        world.expire_leases()
        world.quiesce()
        drag(world.master, world.master.events()[0], at(10))
        world.quiesce()
        assert shown(world.mirror) == [at(10)]

    with watched(once(Boundary.COPY_CHECKED, another)):
        assert isinstance(world.engine.commit(copy), Skipped)
    assert shown(world.mirror) == [at(10)]
    world.quiesce()
    assert world.booked() == [at(10)]
    world.assert_in_step()


def test_a_copy_is_not_undone_by_a_late_one_whose_successor_died_unheard(world: World) -> None:
    """The successor brought the copy back to where it was, and did not live to say so: it looks as the late one knew it."""
    copy = due_copy(world)

    def another() -> None:
        world.expire_leases()
        drag(world.master, world.master.events()[0], at(10))
        world.detect(Job.UPDATE, "dana-master")
        (back,) = (reference for reference in world.due() if reference != copy)
        world.engine.commit(back)
        with pytest.raises(Died), watched(once(Boundary.COPY_WROTE, die)):
            world.engine.commit(copy)

    with watched(once(Boundary.COPY_CHECKED, another)):
        assert isinstance(world.engine.commit(copy), Skipped)
    assert shown(world.mirror) == [at(10)]
    world.expire_leases()
    world.quiesce()
    assert (shown(world.mirror), world.booked()) == ([at(10)], [at(10)])
    world.assert_in_step()


def test_a_copy_that_a_job_is_storing_while_we_refuse_is_looked_at(world: World) -> None:
    """The job takes it for ours, since our write is still open; after our refusal nobody else would look at it."""
    calendar = CalendarId(world.ids["dana-master"])
    copy = replace(world.master.put(at(10)), key=WriteKey("our-key"))

    def look() -> set[str]:
        with transaction(world.commit_sessions) as session:
            return find_made(session, calendar, "our-key")

    def is_waiting() -> bool:
        return bool(world.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))

    with ThreadPoolExecutor(1) as other:
        with transaction(world.app) as session:
            lock_calendar(session, calendar)
            store_sighting(session, calendar, copy, row=None)
            session.flush()
            found = other.submit(look)
            while not (is_waiting() or found.done()):
                time.sleep(0.01)
        assert found.result() == {copy.remote_id}


def test_a_slot_that_changed_since_it_was_read_is_not_changed(world: World) -> None:
    world.book(at(10))
    with transaction(world.commit_sessions) as session:
        lock_agents(session, [1], cause="test", actor="test")
        read = session.get_one(Slot, 1)
        world_says = "UPDATE slots SET version = version + 1"
        session.connection().exec_driver_sql(world_says)
        with pytest.raises(Contention, match="no longer at version"):
            slots.change(session, read, state="free")


def test_a_late_worker_raises_no_alarm(world: World) -> None:
    """Another has booked and the appointment was cancelled since: the key that the sleeper sends is used up."""

    def another() -> None:
        world.expire_leases()
        world.decide(proposal)
        world.wish(Kind.CANCEL, appointment=world.appointments()[0].id)
        world.quiesce()

    proposal = world.ask(at(10))
    with watched(once(Boundary.CHECKED, another)):
        assert isinstance(world.decide(proposal), Skipped)
    assert (world.alerts(), world.sql("SELECT id FROM dead_letters")) == ([], [])
    world.quiesce()
    world.assert_in_step()
