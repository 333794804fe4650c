"""What is offered: from slots and sightings, with versions that the commit engine takes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from sync.availability import Opening, find_alternatives, find_openings
from sync.domain import Interval, Job, Kind
from sync.errors import Malformed, NotFound
from tests.integration.test_commit_holds import expire_holds
from tests.integration.world import World, at, drag

DAY = Interval(at(0).start, at(24).start)
ALWAYS = {day: ["00:00-24:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


@pytest.fixture(autouse=True)
def hours(world: World) -> None:
    """Dana can be booked around the clock, an hour at a time."""
    configure(world, zone="UTC", working_hours=json.dumps(ALWAYS), appointment_minutes=60)


def configure(world: World, **values: object) -> None:
    for name, value in values.items():
        world.sql(f"UPDATE agents SET {name} = :value", value=value)  # noqa: S608 - names of columns


def offered(world: World, window: Interval = DAY) -> dict[float, int]:
    """By hour of the test's day, the version of what is offered."""
    found = find_openings(world.app, "dana", window).openings
    return {(one.interval.start - DAY.start) / timedelta(hours=1): one.version for one in found}


def missing(world: World) -> list[int]:
    there = offered(world)
    return [hour for hour in range(24) if hour not in there]


def take(world: World, opening: Opening) -> str | None:
    """Somebody books what was offered, by the version it was offered with."""
    proposal = world.ask(opening.interval, slot_version=opening.version)
    world.decide(proposal)
    return world.reason(proposal)


def opening(world: World, hour: int) -> Opening:
    return next(one for one in find_openings(world.app, "dana", DAY).openings if one.interval == at(hour))


def test_time_that_nobody_ever_had_has_version_zero_and_can_be_booked_by_it(world: World) -> None:
    assert offered(world) == dict.fromkeys(range(24), 0)
    assert take(world, opening(world, 9)) == "accepted"
    assert missing(world) == [9]


def test_what_people_have_on_the_master_and_the_mirrors_is_not_offered(world: World) -> None:
    world.master.put(at(9), "Dentist")
    world.master.put(at(11), "Lunch, perhaps", blocks=False)
    gone = world.master.put(at(13), "Cancelled soon")
    world.mirror.put(at(15.5), "Football")
    world.add_source("crm").put(at(17), "Wish")
    world.detect_all()
    assert missing(world) == [9, 13, 15, 16]
    world.master.remove(gone.remote_id)
    world.detect_all()
    assert missing(world) == [9, 15, 16]


def test_held_time_is_not_offered_until_the_hold_runs_out(world: World) -> None:
    world.hold(at(9))
    assert missing(world) == [9]
    expire_holds(world)
    assert missing(world) == []
    assert take(world, opening(world, 9)) == "accepted", "though nobody has ended the hold yet"


def test_a_hold_that_was_given_back_leaves_a_version_to_book_by(world: World) -> None:
    held = world.hold(at(9))
    world.decide(world.wish(Kind.CANCEL, hold=held.hold).id)
    offer = opening(world, 9)
    assert offer.version > 0
    assert take(world, offer) == "accepted"


def test_time_that_was_booked_and_cancelled_is_offered_by_its_version_of_now(world: World) -> None:
    booked = world.book(at(9))
    before = opening(world, 10)
    world.decide(world.wish(Kind.CANCEL, appointment=booked.id).id)
    offer = opening(world, 9)
    assert (offer.version > 0, before.version) == (True, 0)
    assert take(world, Opening(at(9), 0)) == "stale", "an offer from before the booking is no longer good"
    assert take(world, offer) == "accepted"


def test_time_that_was_moved_away_from_is_free_at_once_and_time_that_a_person_moved_to_is_not(world: World) -> None:
    booked = world.book(at(9))
    world.decide(world.wish(Kind.MOVE, at(11), appointment=booked.id).id)
    assert missing(world) == [11]
    world.quiesce()
    [ours] = world.master.events()
    drag(world.master, ours, at(14))
    for job in Job:
        world.detect(job, "dana-master")
    assert missing(world) == [11, 14], "until the commit task has followed"
    world.quiesce()
    assert missing(world) == [14]


def test_buffers_keep_offers_away_from_what_is_taken(world: World) -> None:
    configure(world, buffer_before_minutes=30, buffer_after_minutes=15)
    world.book(at(9))
    world.master.put(at(15), "Dentist")
    world.detect_all()
    assert missing(world) == [8, 9, 10, 14, 15, 16]
    for hour in (7, 11, 13, 17):
        assert take(world, opening(world, hour)) == "accepted"
        world.settle()


def test_notice_and_horizon_bound_what_is_offered(world: World) -> None:
    configure(world, minimum_notice_minutes=3 * 24 * 60 - 1)
    now = find_openings(world.app, "dana", DAY).now
    soonest = find_openings(world.app, "dana", Interval(now, now + timedelta(days=10))).openings[0]
    assert soonest.interval.start >= now + timedelta(days=3, minutes=-1)
    configure(world, minimum_notice_minutes=0, booking_days=1)
    assert offered(world) == {}


def test_the_picture_is_as_old_as_the_job_that_is_furthest_behind(world: World) -> None:
    assert find_openings(world.app, "dana", DAY).read_at is None
    for job in list(Job)[:2]:
        world.detect(job, "dana-master")
    assert find_openings(world.app, "dana", DAY).read_at is None, "one job has never read it"
    world.detect(list(Job)[2], "dana-master")
    [(first,)] = world.sql("SELECT min(read_at) FROM cursors")
    world.detect(list(Job)[2], "dana-master")
    assert find_openings(world.app, "dana", DAY).read_at == first


def test_a_master_that_nobody_reads_any_more_is_said_so(world: World) -> None:
    world.sql("UPDATE calendars SET stopped_code = 'credential_revoked' WHERE role = 'master'")
    assert find_openings(world.app, "dana", DAY).stopped == "credential_revoked"


def test_an_agent_without_a_master_has_nobody_who_reads_it(world: World) -> None:
    world.sql("INSERT INTO agents (slug, zone) VALUES ('new', 'UTC')")
    found = find_openings(world.app, "new", DAY)
    assert (found.read_at, found.stopped) == (None, "no_master")


def test_alternatives_are_the_nearest_of_the_same_length_and_avoid_what_they_are_told(world: World) -> None:
    world.book(at(12))
    wanted = at(12, 60)
    found = find_alternatives(world.app, "dana", wanted, avoid=[at(11)])
    assert [(one.interval.start - DAY.start) / timedelta(hours=1) for one in found] == [13, 10, 14, 9, 15]
    assert {one.interval.end - one.interval.start for one in found} == {timedelta(hours=1)}
    assert find_alternatives(world.app, "dana", at(12, 2)) == ()


def test_a_question_without_an_answer_is_refused_by_field(world: World) -> None:
    with pytest.raises(NotFound):
        find_openings(world.app, "nobody", DAY)
    with pytest.raises(Malformed, match="to: is more than 62 days"):
        find_openings(world.app, "dana", Interval(DAY.start, DAY.start + timedelta(days=63)))
    with pytest.raises(Malformed, match="minutes"):
        find_openings(world.app, "dana", DAY, minutes=4)
