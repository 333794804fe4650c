"""What people do on the master itself is a fact: the ledger and the mirrors follow."""

from __future__ import annotations

import pytest

from sync.domain import Job
from sync.errors import CredentialRevoked, ProviderUnavailable
from tests.integration.world import World, at, drag, shown


def test_a_persons_event_is_shown_on_the_mirrors_and_takes_no_slot(world: World) -> None:
    world.add_mirror("dana-mirror2")
    world.master.put(at(10), "Dentist")
    world.quiesce()
    assert [(row.origin, row.title) for row in world.appointments()] == [("master", "Dentist")]
    assert world.slots("held", "booked") == []
    world.assert_in_step()


def test_people_may_overlap_themselves(world: World) -> None:
    world.master.put(at(10))
    world.master.put(at(10.5))
    world.quiesce()
    assert world.booked() == [at(10), at(10.5)]
    assert world.alerts() == []
    world.assert_in_step()


def test_our_event_moved_takes_its_slot_and_the_mirrors_along(world: World) -> None:
    world.book(at(10))
    drag(world.master, world.master.events()[0], at(15))
    world.quiesce()
    assert (world.booked(), world.slots("held", "booked")) == ([at(15)], [at(15)])
    world.assert_in_step()


def test_our_event_moved_back_and_forth_ends_where_it_is(world: World) -> None:
    world.book(at(10))
    for hour in (15, 10, 16):
        drag(world.master, world.master.events()[0], at(hour))
        world.detect(Job.UPDATE, "dana-master")
    world.quiesce()
    assert (world.booked(), world.slots("booked")) == ([at(16)], [at(16)])
    world.assert_in_step()


def test_our_event_moved_into_the_past_frees_the_time_it_had(world: World) -> None:
    world.book(at(10))
    drag(world.master, world.master.events()[0], at(-75))
    world.quiesce()
    assert world.slots("booked") == [at(-75)]
    world.assert_in_step()


def test_our_event_moved_onto_another_booking_keeps_both_and_tells_people(world: World) -> None:
    world.book(at(10), "First")
    world.book(at(14), "Second")
    first = next(event for event in world.master.events() if event.title == "First")
    drag(world.master, first, at(14.5))
    world.quiesce()
    assert world.booked() == [at(14), at(14.5)]
    assert world.slots("held", "booked") == [at(14)]
    assert world.alerts() == [("master_conflict", "warning")]
    world.assert_in_step()


def test_a_persons_event_over_a_booking_is_kept_and_people_are_told(world: World) -> None:
    world.book(at(10))
    world.master.put(at(10.5), "Human")
    world.quiesce()
    assert world.booked() == [at(10), at(10.5)]
    assert world.alerts() == [("master_conflict", "warning")]
    world.assert_in_step()


def test_a_persons_event_moved_over_a_booking_is_told_too(world: World) -> None:
    world.book(at(10))
    human = world.master.put(at(15), "Human")
    world.quiesce()
    drag(world.master, human, at(10.5))
    world.quiesce()
    assert world.alerts() == [("master_conflict", "warning")]
    world.assert_in_step()


def test_a_new_title_travels_to_the_mirrors(world: World) -> None:
    world.book(at(10))
    world.master.put(at(10), "Demo at Ann's", remote_id=world.master.events()[0].remote_id)
    world.quiesce()
    assert [event.title for event in world.mirror.events()] == ["Demo at Ann's"]


def test_a_persons_event_deleted_goes_from_the_mirrors(world: World) -> None:
    human = world.master.put(at(10))
    world.quiesce()
    world.master.remove(human.remote_id)
    world.quiesce()
    assert (world.booked(), shown(world.mirror)) == ([], [])


@pytest.mark.parametrize("method", ["find_event", "read_changes"])
def test_an_outage_only_delays(world: World, method: str) -> None:
    world.master.put(at(10))
    world.detect(Job.NEW, "dana-master")
    world.master.fail(method, ProviderUnavailable("503"))
    if method == "read_changes":
        with pytest.raises(ProviderUnavailable):
            world.detect(Job.NEW, "dana-master")
    world.quiesce()
    assert world.booked() == [at(10)]
    world.assert_in_step()


def test_a_revoked_credential_parks_the_news_and_tells_people_once(world: World) -> None:
    world.master.put(at(10))
    world.detect(Job.NEW, "dana-master")
    for _ in range(3):
        world.master.fail("find_event", CredentialRevoked("no"))
        world.work(rounds=1)
    assert world.alerts() == [("credential_revoked", "critical")]
    assert world.sql("SELECT count(*) FROM dead_letters") == [(1,)]
    assert world.booked() == []
    world.quiesce()
    assert world.booked() == [at(10)]
    assert world.alerts() == []


def test_waiting_for_ones_turn_burns_no_attempt(world: World) -> None:
    world.book(at(10))
    drag(world.mirror, world.mirror.events()[0], at(15))
    drag(world.master, world.master.events()[0], at(16))
    world.detect_all()
    move = next(row for row in world.proposals() if row.kind == "move" and row.origin == "memory")
    follow = next(row for row in world.proposals() if row.kind == "move" and row.origin == "master")

    def wait() -> None:
        for _ in range(9):
            world.hurry()
            world.decide(follow.id)

    world.master.on("find_event", wait)
    world.decide(move.id)
    assert world.sql("SELECT attempt FROM proposals WHERE id = :id", id=follow.id) == [(0,)]
    world.quiesce()
    assert world.booked() == [at(16)]
    world.assert_in_step()
