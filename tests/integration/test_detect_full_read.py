"""A full read shows no tombstones: what vanished is found by difference, asked for by id, and braked when it is too much."""

from __future__ import annotations

import pytest

from models.agents import Calendar
from models.session import transaction
from sync.changes import Brake
from sync.domain import Job
from sync.errors import CursorExpired, MassChange, ProviderUnavailable
from sync.patience import release_calendar
from tests.integration.world import World, at, drag

MIRROR = "dana-mirror"


@pytest.mark.parametrize("first", Job)
def test_nothing_is_lost_when_a_cursor_expires(world: World, first: Job) -> None:
    """Whichever job reads first and finds the difference, each finds what is its own to propose."""
    kept, moved, removed = (world.mirror.put(at(hour), f"Mine {hour}") for hour in (10, 12, 14))
    world.quiesce()
    drag(world.mirror, moved, at(16))
    world.mirror.remove(removed.remote_id)
    new = world.mirror.put(at(18), "New")
    world.mirror.expire()
    assert world.detect(first, MIRROR).full
    world.quiesce()
    assert world.booked() == [kept.interval, at(16), new.interval]
    world.assert_in_step()


def test_a_deletion_before_the_first_read_is_found(world: World) -> None:
    world.ask(at(10))
    world.settle()
    world.master.remove(world.master.events()[0].remote_id)
    world.quiesce()
    assert world.booked() == []
    world.assert_in_step()


def test_an_event_that_left_the_window_is_not_gone(world: World) -> None:
    mine = world.mirror.put(at(10), "Mine")
    world.quiesce()
    drag(world.mirror, mine, at(24 * 90))
    world.mirror.expire()
    world.quiesce()
    assert world.booked() == [at(24 * 90)]


def fill(world: World, count: int) -> None:
    for number in range(count):
        world.master.put(at(8 + number / 2, 30), f"Event {number}")
    world.quiesce()


def wipe(world: World, count: int) -> None:
    for remote_id in list(world.master.rows)[:count]:
        del world.master.rows[remote_id]
    world.master.expire()


def test_a_read_in_which_most_is_missing_is_stopped_and_changes_nothing(world: World) -> None:
    fill(world, 8)
    wipe(world, 8)
    before = world.sql("SELECT calendar_id, job, value FROM cursors ORDER BY 1, 2")
    for job in Job:
        with pytest.raises(MassChange):
            world.detect(job, "dana-master")
    assert world.sql("SELECT count(*) FROM sightings WHERE deleted") == [(0,)]
    assert world.sql("SELECT calendar_id, job, value FROM cursors ORDER BY 1, 2") == before
    assert len(world.booked()) == 8


def test_a_few_deletions_are_believed(world: World) -> None:
    fill(world, 8)
    wipe(world, Brake().at_least - 1)
    world.quiesce()
    assert len(world.booked()) == 8 - (Brake().at_least - 1)
    world.assert_in_step()


def test_what_is_long_over_does_not_weaken_the_brake(world: World) -> None:
    fill(world, 6)
    world.sql(
        "INSERT INTO sightings (calendar_id, remote_id, version, starts_at, ends_at) "
        "SELECT :calendar, 'old ' || n, '1', now() - interval '90 days', now() - interval '89 days' "
        "FROM generate_series(1, 100) n",
        calendar=world.ids["dana-master"],
    )
    wipe(world, 6)
    with pytest.raises(MassChange):
        world.detect(Job.CANCEL, "dana-master")


def test_a_vendor_that_cannot_be_asked_about_the_missing_changes_nothing(world: World) -> None:
    fill(world, 2)
    wipe(world, 1)
    world.master.fail("find_event", ProviderUnavailable("503"))
    with pytest.raises(ProviderUnavailable):
        world.detect(Job.CANCEL, "dana-master")
    assert len(world.booked()) == 2


def test_a_full_read_that_expires_is_an_outage_and_no_endless_loop(world: World) -> None:
    world.mirror.fail("read_changes", CursorExpired("x"))
    with pytest.raises(ProviderUnavailable):
        world.detect(Job.NEW, MIRROR)


def test_a_feed_that_says_that_much_is_gone_is_stopped_too(world: World) -> None:
    events = [world.mirror.put(at(8 + hour)) for hour in range(8)]
    world.quiesce()
    for event in events[: Brake().at_least]:
        world.mirror.remove(event.remote_id)
    with pytest.raises(MassChange):
        world.detect(Job.CANCEL, MIRROR)
    assert len(world.booked()) == 8


def test_what_is_past_is_no_loss(world: World) -> None:
    events = [world.mirror.put(at(8 + hour)) for hour in range(8)]
    world.quiesce()
    world.sql("UPDATE sightings SET starts_at = starts_at - interval '9 days', ends_at = ends_at - interval '9 days'")
    for event in events:
        world.mirror.remove(event.remote_id)
    world.detect(Job.CANCEL, MIRROR)


@pytest.mark.parametrize("full", [False, True])
def test_what_a_person_released_goes_on_once_for_each_job(world: World, full: bool) -> None:  # noqa: FBT001 - a parameter
    for _ in range(2):  # the first permission is used up by the time of the second loss
        events = [world.mirror.put(at(8 + hour)) for hour in range(8)]
        world.quiesce()
        for event in events:
            world.mirror.remove(event.remote_id)
        if full:
            world.mirror.expire()
        with pytest.raises(MassChange):
            world.detect(Job.CANCEL, MIRROR)
        assert len(world.booked()) == 8
        with transaction(world.app) as session:
            release_calendar(session, session.get_one(Calendar, world.ids[MIRROR]))
        world.quiesce()
        assert (world.booked(), world.slots("booked")) == ([], [])
