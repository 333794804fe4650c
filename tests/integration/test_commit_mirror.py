"""A person's event on a mirror is a proposal like any other, and its owner hears the answer."""

from __future__ import annotations

import pytest

from sync.commit.outcome import Snoozed
from sync.domain import Job, Kind, RemoteEvent
from sync.errors import ProviderUnavailable, WriteOutcomeUnknown
from tests.integration.world import World, at, drag, shown


def only(world: World) -> RemoteEvent:
    (event,) = world.mirror.events()
    return event


def test_accepted_it_is_linked_and_not_copied(world: World) -> None:
    second = world.add_mirror("dana-mirror2")
    mine = world.mirror.put(at(10), "Mine")
    world.quiesce()
    assert only(world) == mine
    assert [len(calendar.events()) for calendar in (world.master, second)] == [1, 1]
    world.assert_in_step()


def test_refused_it_is_marked_and_shown_as_free_with_the_reason(world: World) -> None:
    world.book(at(10))
    mine = world.mirror.put(at(10.5), "Mine", remote_id="mine")
    world.quiesce()
    marked = next(event for event in world.mirror.events() if event.remote_id == "mine")
    assert (marked.title, marked.interval, marked.blocks) == ("[not booked] Mine", at(10.5), False)
    assert world.mirror.bodies[mine.remote_id] == "watertight: another appointment has this time."
    world.assert_in_step()


@pytest.mark.parametrize(("on_refusal", "left"), [("leave", ["Mine"]), ("delete", [])])
def test_refused_it_is_left_or_deleted_where_that_is_wished(world: World, on_refusal: str, left: list[str]) -> None:
    world.configure("dana-mirror", on_refusal=on_refusal)
    world.master.put(at(10), blocks=True)
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.detect(Job.NEW, "dana-mirror")
    world.settle()
    assert [event.title for event in world.mirror.events()] == left
    world.quiesce()
    assert world.reasons()[0] == ("book", "master_busy")


@pytest.mark.parametrize("on_refusal", ["mark", "leave"])
def test_refused_and_moved_to_a_free_time_it_is_booked(world: World, on_refusal: str) -> None:
    world.configure("dana-mirror", on_refusal=on_refusal)
    world.book(at(10))
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.quiesce()
    refused = next(event for event in world.mirror.events() if event.remote_id == "mine")
    drag(world.mirror, refused, at(14))
    world.quiesce()
    booked = next(event for event in world.mirror.events() if event.remote_id == "mine")
    assert (booked.title, booked.blocks) == ("Mine", True)
    assert sorted(event.title for event in world.master.events()) == ["Demo", "Mine"]
    assert world.booked() == [at(10), at(14)]
    world.assert_in_step()


def test_refused_twice_it_carries_one_mark(world: World) -> None:
    world.book(at(10))
    world.book(at(14))
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.quiesce()
    refused = next(event for event in world.mirror.events() if event.remote_id == "mine")
    drag(world.mirror, refused, at(14.5))
    world.quiesce()
    marked = next(event for event in world.mirror.events() if event.remote_id == "mine")
    assert (marked.title, marked.interval, marked.blocks) == ("[not booked] Mine", at(14.5), False)
    world.assert_in_step()


def test_moved_before_it_was_marked_it_is_not_marked_at_its_new_time(world: World) -> None:
    lunch = world.master.put(at(10), "Lunch", blocks=True)
    mine = world.mirror.put(at(10), "Mine")
    world.detect(Job.NEW, "dana-mirror")
    world.decide(1)
    assert world.reasons() == [("book", "master_busy")]
    drag(world.mirror, mine, at(14))
    world.detect_all()
    world.quiesce()
    assert [event.title for event in world.mirror.events() if event.remote_id == mine.remote_id] == ["Mine"]
    assert world.booked() == [lunch.interval, at(14)]
    world.assert_in_step()


def test_marking_outlives_a_missing_answer(world: World) -> None:
    world.book(at(10))
    world.mirror.put(at(10), "Mine")
    world.mirror.fail("update", WriteOutcomeUnknown("no answer"), after="after")
    world.quiesce()
    assert sorted(event.title for event in world.mirror.events()) == ["Demo", "[not booked] Mine"]


def test_edited_while_pending_the_newest_wish_wins(world: World) -> None:
    mine = world.mirror.put(at(10), "Mine")
    world.detect(Job.NEW, "dana-mirror")
    for hour in (11, 12, 13):
        drag(world.mirror, mine, at(hour))
        world.detect(Job.UPDATE, "dana-mirror")
    world.quiesce()
    assert world.booked() == [at(13)]
    assert len(world.master.events()) == 1
    world.assert_in_step()


@pytest.mark.parametrize("reader", [Job.NEW, Job.CANCEL])
def test_moved_and_moved_back_while_pending_is_not_forgotten(world: World, reader: Job) -> None:
    """The booking is overtaken by a state that the update job never sees."""
    mine = world.mirror.put(at(10), "Mine")
    world.detect_all()
    drag(world.mirror, mine, at(11))
    world.detect(reader, "dana-mirror")
    world.settle()
    drag(world.mirror, mine, at(10))
    world.quiesce()
    assert world.booked() == [at(10)]
    world.assert_in_step()


def test_moved_while_it_is_written_the_newest_wish_wins(world: World) -> None:
    mine = world.mirror.put(at(10), "Mine")

    def move() -> None:
        drag(world.mirror, mine, at(14))
        world.detect_all()

    world.master.on("create", move)
    world.quiesce()
    assert world.booked() == [at(14)]
    world.assert_in_step()


def test_an_event_shown_as_free_is_no_wish_until_it_is_busy(world: World) -> None:
    mine = world.mirror.put(at(10), "Mine", blocks=False)
    world.quiesce()
    assert world.master.events() == []
    world.mirror.put(at(10), "Mine", remote_id=mine.remote_id)
    world.quiesce()
    assert shown(world.master) == [at(10)]
    world.assert_in_step()


def test_what_is_over_is_not_proposed(world: World) -> None:
    world.mirror.put(at(-100), "Yesterday")
    world.quiesce()
    assert world.proposals() == []


def test_two_people_wanting_one_hour_on_two_mirrors(world: World) -> None:
    second = world.add_mirror("dana-mirror2")
    world.mirror.put(at(10), "One")
    second.put(at(10), "Two")
    world.quiesce()
    assert sorted(str(reason) for _, reason in world.reasons()) == ["accepted", "slot_taken"]
    assert len(world.master.events()) == 1
    world.assert_in_step()


def insist(world: World) -> None:
    """The owner of a refused event makes it busy again."""
    (refused,) = (event for event in world.mirror.events() if event.remote_id == "mine")
    assert not refused.blocks
    world.mirror.put(refused.interval, refused.title, remote_id="mine", blocks=True)


def test_an_owner_who_insists_is_asked_about_again(world: World) -> None:
    booked = world.book(at(10))
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.quiesce()
    insist(world)
    world.quiesce()
    assert [reason for _, reason in world.reasons()] == ["accepted", "slot_taken", "slot_taken"]
    world.assert_in_step()
    world.wish(Kind.CANCEL, appointment=booked.id)
    world.quiesce()
    insist(world)
    world.quiesce()
    assert [(event.title, event.blocks) for event in world.mirror.events()] == [("Mine", True)]
    world.assert_in_step()


def test_a_copy_that_a_person_sets_free_is_cancelled_and_taken_off(world: World) -> None:
    world.book(at(10))
    copy = only(world)
    world.mirror.put(copy.interval, copy.title, remote_id=copy.remote_id, blocks=False)
    world.quiesce()
    assert (world.booked(), world.mirror.events()) == ([], [])
    world.assert_in_step()


def test_a_refused_event_that_was_deleted_and_is_taken_out_of_the_bin_is_judged_again(world: World) -> None:
    world.configure("dana-mirror", on_refusal="delete")
    booked = world.book(at(10))
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.quiesce()
    assert len(world.mirror.events()) == 1
    world.wish(Kind.CANCEL, appointment=booked.id)
    world.quiesce()
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.quiesce()
    assert [row.title for row in world.appointments()] == ["Mine"]
    world.assert_in_step()


def test_a_refused_event_that_is_renamed_before_it_is_marked_is_marked_all_the_same(world: World) -> None:
    world.master.put(at(10), "Human")
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.detect(Job.NEW, "dana-mirror")
    world.decide(world.proposals()[0].id)
    world.mirror.put(at(10), "Still mine", remote_id="mine")
    world.quiesce()
    marked = next(event for event in world.mirror.events() if event.remote_id == "mine")
    assert (marked.title, marked.blocks) == ("[not booked] Still mine", False)


def test_an_event_whose_appointment_was_cancelled_can_be_made_busy_again(world: World) -> None:
    world.mirror.put(at(10), "Mine", remote_id="mine")
    world.quiesce()
    world.wish(Kind.CANCEL, appointment=world.appointments()[0].id)
    world.quiesce()
    assert [(event.title, event.blocks) for event in world.mirror.events()] == [("[cancelled] Mine", False)]
    world.mirror.put(at(10), "[cancelled] Mine", remote_id="mine", blocks=True)
    world.quiesce()
    assert [row.title for row in world.appointments()] == ["Mine"]
    world.assert_in_step()


def test_nothing_is_copied_that_the_master_does_not_carry_any_more(world: World) -> None:
    """P3: a person has moved our event, and no job has heard of it; the copy waits until the ledger has followed."""
    world.decide(world.ask(at(10)))
    drag(world.master, world.master.events()[0], at(15))
    (copy,) = world.due()
    assert world.engine.commit(copy) == Snoozed(0.5, "stale_version")
    assert (world.mirror.events(), world.mirror.calls.count("create")) == ([], 0)
    world.quiesce()
    assert shown(world.mirror) == [at(15)]
    world.assert_in_step()


def test_nothing_is_copied_while_the_master_cannot_be_read(world: World) -> None:
    world.decide(world.ask(at(10)))
    (copy,) = world.due()
    world.master.fail("find_event", ProviderUnavailable("down"))
    assert world.engine.commit(copy) == Snoozed(0.5, "provider_unavailable")
    assert world.mirror.events() == []
    world.quiesce()
    world.assert_in_step()
