"""From a push to a job, and what polling does meanwhile: a hint that gets lost costs time, never a change."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from sqlalchemy import insert

from models.listings import list_due_calendars
from models.push import Channel
from models.session import database_now, transaction
from sync.domain import Job
from sync.errors import NotFound, ProviderUnavailable
from sync.hints import Received, Taken, list_lost, take_all
from sync.pushes import Push, Told
from tests.integration.pushing import take
from tests.integration.world import World, at, drag

MIRROR = "dana-mirror"
PERIOD = 60.0


def open_channel(world: World, calendar: str = MIRROR, **columns: object) -> None:
    """One that was opened an hour ago."""
    with transaction(world.app) as session:
        now = database_now(session)
        plain = {"remote_id": "c", "opened_at": now - timedelta(hours=1), "expires_at": now + timedelta(hours=1)}
        session.execute(insert(Channel).values(calendar_id=world.ids[calendar], **plain | columns))


def push(world: World, key: str, told: Told | None = None, calendar: str = MIRROR) -> Taken:
    return take(world.app, "memory", received(world, key, told, calendar).pushes)


def received(world: World, key: str, told: Told | None = None, calendar: str = MIRROR, channel: str = "c") -> Received:
    return Received("memory", (Push(key, world.ids[calendar], channel, told),))


def jobs(taken: Taken) -> list[Job]:
    return [nudge.job for nudge in taken.nudges]


def due(world: World, job: Job, *, fresh: float = 5 * PERIOD) -> bool:
    with transaction(world.app) as session:
        return world.ids[MIRROR] in {row.id for row in list_due_calendars(session, job.value, fresh_seconds=fresh)}


def hinted(world: World) -> set[str]:
    return {job for (job,) in world.sql("SELECT job FROM cursors WHERE hinted_at IS NOT NULL")}


def as_app(world: World, statement: str) -> None:
    """The commit role may not touch channels."""
    with transaction(world.app) as session:
        session.connection().exec_driver_sql(statement)


def unannounced(world: World) -> int:
    ((count,),) = world.sql("SELECT unannounced FROM channels")
    return int(count)


@pytest.fixture
def told(world: World) -> World:
    """Every job has read everything, and the mirror has had a channel for an hour."""
    world.detect_all()
    open_channel(world)
    return world


def test_of_many_deliveries_at_once_each_is_kept_once_and_everybody_woken_once(told: World) -> None:
    stranger = received(told, "x", Told.CREATED, channel="somebody else's")
    sent = [received(told, key, Told.CREATED) for key in ("1", "1", "2")] + [received(told, "3", Told.DELETED)]
    answers = take_all(told.app, [stranger, *sent])
    assert isinstance(answers[0], NotFound)
    taken = [answer for answer in answers if isinstance(answer, Taken)]
    assert [answer.new for answer in taken] == [1, 0, 1, 1]
    assert [sorted(jobs(answer)) for answer in taken] == [[Job.CANCEL, Job.NEW], [], [], []]
    assert told.sql("SELECT count(*) FROM deliveries") == [(3,)]


def test_a_hint_wakes_its_job_once_until_a_run_begins(told: World) -> None:
    assert jobs(push(told, "1", Told.CREATED)) == [Job.NEW]
    assert [jobs(push(told, str(number), Told.CREATED)) for number in range(2, 50)] == [[]] * 48
    told.detect(Job.NEW, MIRROR)
    assert hinted(told) == set()
    assert jobs(push(told, "50", Told.CREATED)) == [Job.NEW]


def test_a_hint_names_the_calendar_for_flower(told: World) -> None:
    assert {nudge.about for nudge in push(told, "1").nudges} == {"dana via memory mirror"}


def test_what_nobody_knows_is_not_kept(told: World) -> None:
    for strange in (Push("k", told.ids[MIRROR], "other"), Push("k", told.ids["dana-master"], "c")):
        with pytest.raises(NotFound):
            take(told.app, "memory", [strange])
    with pytest.raises(NotFound):
        take(told.app, "another", [Push("k", told.ids[MIRROR], "c")])
    assert told.sql("SELECT count(*) FROM deliveries") == [(0,)]


def test_what_is_announced_while_a_run_works_is_looked_at_again(told: World) -> None:
    told.mirror.on("read_changes", lambda: push(told, "while it works", Told.CREATED))
    push(told, "before", Told.CREATED)
    assert told.detect(Job.NEW, MIRROR).again
    assert hinted(told) == {"new"}
    assert not told.detect(Job.NEW, MIRROR).again


def test_a_run_that_fails_gives_its_hint_back(told: World) -> None:
    push(told, "1", Told.CREATED)
    (before,) = told.sql("SELECT hinted_at FROM cursors WHERE hinted_at IS NOT NULL")
    told.mirror.fail("read_changes", ProviderUnavailable("503"))
    with pytest.raises(ProviderUnavailable):
        told.detect(Job.NEW, MIRROR)
    assert told.sql("SELECT hinted_at FROM cursors WHERE hinted_at IS NOT NULL") == [before]
    assert due(told, Job.NEW)


def test_a_hint_whose_message_got_lost_is_sent_again(told: World) -> None:
    push(told, "1", Told.DELETED)

    def lost() -> list[Job]:
        with transaction(told.app) as session:
            return [nudge.job for nudge in list_lost(session)]

    assert lost() == []
    told.sql("UPDATE cursors SET hinted_at = hinted_at - interval '31 seconds' WHERE hinted_at IS NOT NULL")
    assert lost() == [Job.CANCEL]
    for waiting in ("leased_until", "not_before"):
        told.sql(f"UPDATE cursors SET {waiting} = clock_timestamp() + interval '1 minute'")  # noqa: S608
        assert lost() == []
        told.sql(f"UPDATE cursors SET {waiting} = NULL")  # noqa: S608
    told.configure(MIRROR, stopped_code="mass_change")
    assert lost() == []


@pytest.mark.parametrize("announced_as", [Told.UPDATED, Told.CREATED])
def test_a_run_passes_on_what_is_another_job_s_affair(told: World, announced_as: Told) -> None:
    event = told.mirror.put(at(10), "Mine")
    told.quiesce()
    told.mirror.remove(event.remote_id)
    push(told, "it is gone, in truth", announced_as)
    job = {Told.UPDATED: Job.UPDATE, Told.CREATED: Job.NEW}[announced_as]
    report = told.detect(job, MIRROR)
    assert (report.wishes, report.others) == ((), (Job.CANCEL,))


def test_a_run_that_nobody_announced_leaves_others_to_their_own_pace(told: World) -> None:
    event = told.mirror.put(at(10), "Mine")
    told.quiesce()
    told.mirror.remove(event.remote_id)
    assert told.detect(Job.UPDATE, MIRROR).others == ()


def test_what_we_wrote_ourselves_is_passed_on_to_nobody(told: World) -> None:
    told.book(at(10))
    push(told, "an echo")
    for job in Job:
        report = told.detect(job, MIRROR)
        assert (report.wishes, report.others, report.again) == ((), (), False)


# Polling beside it


def test_a_calendar_that_pushes_is_polled_less(told: World) -> None:
    assert not any(due(told, job) for job in Job)
    assert all(due(told, job, fresh=0.0) for job in Job), "as often as ever, where the settings say so"
    told.sql("UPDATE cursors SET read_at = read_at - interval '6 minutes' WHERE job = 'update'")
    assert [due(told, job) for job in Job] == [False, False, True]


@pytest.mark.parametrize(
    "trouble",
    [
        "UPDATE channels SET remote_id = NULL",
        "UPDATE channels SET expires_at = clock_timestamp()",
        "UPDATE channels SET opened_at = clock_timestamp()",
        "UPDATE channels SET unannounced = 2",
        "UPDATE cursors SET hinted_at = clock_timestamp()",
        "UPDATE cursors SET leased_until = clock_timestamp()",
        "UPDATE cursors SET failures = 1",
        "UPDATE cursors SET read_at = NULL",
        "DELETE FROM cursors",
        "DELETE FROM channels",
    ],
)
def test_one_whose_channel_cannot_be_relied_on_is_polled_as_ever(told: World, trouble: str) -> None:
    as_app(told, trouble)
    assert all(due(told, job) for job in Job)


def test_a_channel_that_is_silent_about_changes_is_found_out(told: World) -> None:
    for number in range(2):
        assert not due(told, Job.NEW)
        told.mirror.put(at(10 + number), "Not announced")
        told.detect(Job.NEW, MIRROR)
        told.detect(Job.UPDATE, MIRROR)
        assert unannounced(told) == number + 1, "counted once for each change, not for each job"
    assert due(told, Job.NEW)
    push(told, "it speaks again")
    assert unannounced(told) == 0


def test_a_hint_that_came_in_time_or_while_reading_is_an_announcement(told: World) -> None:
    told.mirror.put(at(10), "Announced")
    push(told, "1", Told.UPDATED)
    told.detect(Job.NEW, MIRROR)
    told.mirror.put(at(12), "Announced a little late")
    told.mirror.on("read_changes", lambda: push(told, "2", Told.UPDATED))
    told.detect(Job.NEW, MIRROR)
    assert unannounced(told) == 0


def test_a_read_that_finds_nothing_new_proves_nothing(told: World) -> None:
    for job in (*Job, *Job):
        told.detect(job, MIRROR)
    assert unannounced(told) == 0


def test_what_came_before_the_channel_was_opened_is_not_its_fault(world: World) -> None:
    world.detect_all()
    open_channel(world)
    as_app(world, "UPDATE channels SET opened_at = clock_timestamp()")
    world.mirror.put(at(10))
    world.detect(Job.NEW, MIRROR)
    assert unannounced(world) == 0


# Whatever happens to the pushes, the end is the same


def morning(world: World) -> list[Told]:
    """A person fills the calendar; what a faithful vendor pushes about it."""
    for hour in (8, 10, 12, 14):
        world.mirror.put(at(hour), f"Event {hour}")
    return [Told.CREATED] * 4


def afternoon(world: World) -> list[Told]:
    """The person renames, moves, frees, deletes, and types in one more."""
    renamed, moved, freed, gone = sorted(world.mirror.events(), key=lambda event: event.interval)
    world.mirror.put(renamed.interval, "Renamed", remote_id=renamed.remote_id)
    drag(world.mirror, moved, at(16))
    world.mirror.put(freed.interval, freed.title, remote_id=freed.remote_id, blocks=False)
    world.mirror.remove(gone.remote_id)
    world.mirror.put(at(18), "Late")
    return [Told.UPDATED, Told.UPDATED, Told.UPDATED, Told.DELETED, Told.CREATED]


def run_woken(world: World, taken: Taken) -> None:
    """As the workers do: run who was woken, again if need be, and those to whom it is passed on."""
    waiting = [nudge.job for nudge in taken.nudges]
    while waiting:
        report = world.detect(waiting.pop(), MIRROR)
        waiting += [report.job] * report.again
        waiting += report.others
    if taken.nudges:
        world.work()


def sightings(world: World) -> list[object]:
    query = "SELECT starts_at, blocks, deleted, title FROM sightings WHERE calendar_id = :id ORDER BY 1"
    return world.sql(query, id=world.ids[MIRROR])


FATES = ("in order", "reordered", "repeated", "half lost", "all lost")


@pytest.mark.parametrize("fate", FATES)
def test_pushes_reordered_repeated_or_lost_end_as_polling_does(world: World, fate: str) -> None:
    rand = random.Random(fate)  # noqa: S311 - a shuffle that can be repeated
    world.detect_all()
    open_channel(world)
    for act in (morning, afternoon):
        sent = [(f"{act.__name__} {number}", told) for number, told in enumerate(act(world))]
        if fate in ("reordered", "half lost"):
            rand.shuffle(sent)
        arrived = {"half lost": sent[::2], "all lost": [], "repeated": sent * 3}.get(fate, sent)
        for key, told in arrived:
            run_woken(world, push(world, key, told))
        if "lost" in fate:
            world.quiesce()
    assert [(row.starts_at, row.title) for row in world.appointments()] == BOOKED
    assert sightings(world) == SEEN
    assert {row.state for row in world.proposals()} == {"settled"}
    world.quiesce()
    world.assert_in_step()


BOOKED = [(at(8).start, "Renamed"), (at(16).start, "Event 10"), (at(18).start, "Late")]
SEEN = [
    (at(8).start, True, False, "Renamed"),
    (at(12).start, False, False, "Event 12"),
    (at(14).start, False, True, "Event 14"),
    (at(16).start, True, False, "Event 10"),
    (at(18).start, True, False, "Late"),
]
