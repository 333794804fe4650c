"""People act on the master while we book, and on what we booked: appointment, slot and mirrors follow them (design §5.2).

What people do there when nothing is in flight is in ``test_commit_master.py`` and ``test_commit_cancel.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models.queries import AppointmentRecord
from sync.domain import Interval, Job, Kind, RemoteEvent
from sync.errors import ProviderUnavailable, WriteOutcomeUnknown
from tests.integration.test_commit_crashes import Died, mortal
from tests.integration.world import World, at, drag, shown

Act = Callable[[World], object]
CONFLICT = [("master_conflict", "warning")]


@pytest.fixture
def booked(world: World) -> AppointmentRecord:
    return world.book(at(10))


def ours(world: World) -> RemoteEvent:
    """The event on the master that the newest appointment or write in flight made."""
    (event,) = (event for event in world.master.events() if event.title == "Demo")
    return event


def human(world: World) -> RemoteEvent:
    return world.master.put(at(10.5), "Human")


def human_and_jobs(world: World) -> None:
    """Every job and the commit task have seen the event before the booking in flight is settled."""
    human(world)
    world.detect_all()
    for reference in world.due():
        world.engine.commit(reference)


def free_becomes_busy(world: World) -> None:
    world.master.put(at(10.5), "Human", remote_id="lunch")


def conflict_of(world: World) -> dict[str, Any]:
    ((detail, times),) = world.sql(
        "SELECT detail, times FROM alerts WHERE code = 'master_conflict' AND resolved_at IS NULL"
    )
    assert times == 1
    return dict(detail)


def interrupted(world: World, step: str, when: str, act: Callable[[], None]) -> str | None:
    """A booking at ten o'clock, in the middle of which something happens; the answer is its reason."""
    proposal = world.ask(at(10))
    try:
        mortal(world, step, when, act).commit(f"proposal:{proposal}")
    except Died:
        world.expire_leases()
    world.quiesce()
    return world.reason(proposal)


# A person's event lands while we book


@pytest.mark.parametrize("act", [human_and_jobs, free_becomes_busy])
@pytest.mark.parametrize(("step", "when"), [("checked", "after"), ("written", "after")])
def test_until_it_is_verified_ours_yields(world: World, act: Act, step: str, when: str) -> None:
    world.master.put(at(10.5), "Human", remote_id="lunch", blocks=False)
    proposal = world.ask(at(10))
    mortal(world, step, when, lambda: act(world)).commit(f"proposal:{proposal}")
    world.quiesce()
    story = world.story(proposal)
    in_the_way = next(event for event in world.master.events() if event.blocks)
    assert (story.reason, story.evidence["step"]) == ("master_busy", "verify")
    assert [found["remote_id"] for found in story.evidence["events"]] == [in_the_way.remote_id]
    assert world.booked() == [at(10.5)]
    world.assert_in_step()


@pytest.mark.parametrize("act", [human, human_and_jobs, free_becomes_busy])
@pytest.mark.parametrize("when", ["before", "after"])
def test_once_verified_ours_stays_and_people_are_told(world: World, act: Act, when: str) -> None:
    world.master.put(at(10.5), "Human", remote_id="lunch", blocks=False)
    proposal = world.ask(at(10))
    mortal(world, "verified", when, lambda: act(world)).commit(f"proposal:{proposal}")
    world.quiesce()
    assert (world.reason(proposal), world.booked()) == ("accepted", [at(10), at(10.5)])
    assert (world.slots("held", "booked"), world.alerts()) == ([at(10)], CONFLICT)
    world.assert_in_step()


def test_whoever_settles_for_a_dead_worker_reads_the_master_once_more(world: World) -> None:
    """Verified, and nobody was told yes: until then ours yields."""

    def die() -> None:
        human_and_jobs(world)
        raise Died

    proposal = world.ask(at(10))
    with pytest.raises(Died):
        mortal(world, "verified", "after", die).commit(f"proposal:{proposal}")
    world.expire_leases()
    world.quiesce()
    assert (world.reason(proposal), world.booked()) == ("master_busy", [at(10.5)])
    world.assert_in_step()


def test_one_conflict_is_told_once_however_often_it_is_read(world: World, booked: AppointmentRecord) -> None:
    human(world)
    world.detect(Job.UPDATE, "dana-master")
    world.quiesce()
    for name in world.ids:
        world.calendars.of(name).expire()
    world.quiesce()
    (slot,) = conflict_of(world)["slots"]
    assert (slot["appointment"], slot["state"]) == (booked.id, "booked")
    world.assert_in_step()


def test_a_conflict_is_told_though_the_master_could_not_be_read_at_first(
    world: World, booked: AppointmentRecord
) -> None:
    human(world)
    world.detect(Job.NEW, "dana-master")
    world.master.fail("find_event", ProviderUnavailable("503"))
    world.quiesce()
    assert (world.booked()[0].start, world.alerts()) == (booked.starts_at, CONFLICT)


# People change ours while we book it


def deleted(world: World) -> None:
    world.master.remove(ours(world).remote_id)


def freed(world: World) -> None:
    world.master.put(ours(world).interval, "Demo", remote_id=ours(world).remote_id, blocks=False)


def put_at(to: Interval) -> Act:
    return lambda world: drag(world.master, ours(world), to)


CHANGES: list[tuple[Act, list[Interval]]] = [
    (deleted, []),
    (freed, []),
    (put_at(at(14)), [at(14)]),
    (put_at(at(10, 30)), [at(10, 30)]),
    (put_at(at(9.5, 150)), [at(9.5, 150)]),
]


@pytest.mark.parametrize(("act", "left"), CHANGES)
@pytest.mark.parametrize(("step", "jobs"), [("written", ()), ("verified", tuple(Job))])
@pytest.mark.parametrize("dies", [True, False])
def test_a_change_of_ours_before_it_is_settled_is_followed(
    world: World, act: Act, left: list[Interval], step: str, jobs: tuple[Job, ...], *, dies: bool
) -> None:
    world.detect_all()

    def change() -> None:
        act(world)
        world.detect_all(jobs)  # whose cursors do not pass the change a second time
        if dies:
            raise Died

    interrupted(world, step, "after", change)
    assert (world.booked(), world.slots("held", "booked")) == (left, left)
    world.assert_in_step()


# People change what is booked


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize("to", [at(10, 30), at(10.5, 30), at(9.5, 150), at(10, 90), at(9, 60)])
def test_a_stretched_or_shortened_event_takes_slot_and_mirrors_along(world: World, to: Interval) -> None:
    world.master.fail("find_event", ProviderUnavailable("503"))
    world.mirror.fail("update", WriteOutcomeUnknown("no answer"), after="after")
    drag(world.master, ours(world), to)
    world.quiesce()
    assert (world.booked(), world.slots("held", "booked")) == ([to], [to])
    given_back = world.ask(at(10.5, 30))
    world.quiesce()
    assert (world.reason(given_back) == "accepted") == (not to.overlaps(at(10.5, 30)))
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize("to", [at(9.5, 300), at(12.5, 30)])
def test_an_event_stretched_over_another_booking_gives_up_its_slot_and_people_are_told(
    world: World, to: Interval
) -> None:
    world.book(at(12), "Other")
    drag(world.master, ours(world), to)
    world.quiesce()
    assert world.booked() == sorted([to, at(12)])
    assert (world.slots("held", "booked"), world.alerts()) == ([at(12)], CONFLICT)
    world.assert_in_step()
    refused = world.ask(at(to.start.hour + to.start.minute / 60, 30))
    world.quiesce()
    assert world.reason(refused) in {"master_busy", "slot_taken"}  # without a slot it is still seen on the master


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize(
    ("step", "settled_first"), [("checked", True), ("written", False), ("verified", True), ("verified", False)]
)
def test_an_event_stretched_over_a_booking_in_flight_loses_neither(
    world: World, step: str, *, settled_first: bool
) -> None:
    def stretch() -> None:
        drag(world.master, ours(world), at(10, 180))
        world.detect_all()
        if not settled_first:
            for reference in world.due():
                world.engine.commit(reference)

    proposal = world.ask(at(12), "Other")
    mortal(world, step, "after", stretch).commit(f"proposal:{proposal}")
    world.quiesce()
    stays = step == "verified"
    assert world.reason(proposal) == ("accepted" if stays else "master_busy")
    assert world.booked() == [at(10, 180), *([at(12)] if stays else [])]
    assert world.alerts() == CONFLICT or not stays
    world.assert_in_step()


@pytest.mark.usefixtures("booked")
def test_an_event_that_goes_while_it_is_moved_is_cancelled(world: World) -> None:
    """Not refused by the vendor: gone, with no alert and no dead letter."""
    drag(world.mirror, world.mirror.events()[0], at(15))
    world.master.on("update", lambda: deleted(world))
    world.quiesce()
    assert (world.booked(), world.slots("held", "booked"), world.alerts()) == ([], [], [])
    assert world.sql("SELECT code FROM dead_letters") == []
    world.assert_in_step()


# People copy ours: the same key, another id


def copied(world: World, to: Interval) -> RemoteEvent:
    return world.master.put(to, "Copied", key=ours(world).key)


def assert_theirs(world: World, *left: Interval, title: str = "Copied") -> None:
    """The copy is an appointment of the person's own, and takes no slot."""
    assert [(row.origin, row.title) for row in world.appointments() if row.title == title] == [("master", title)]
    assert world.booked() == sorted(left)
    world.assert_in_step()


COPIES: list[tuple[str, Act, list[Interval]]] = [
    ("keeps both", lambda _: None, [at(10), at(14)]),
    ("deletes the original", deleted, [at(14)]),
    ("moves the original", put_at(at(16)), [at(14), at(16)]),
    ("swaps them", put_at(at(14.5)), [at(14), at(14.5)]),
]
MOMENTS = [(("written", "before"), True), (("written", "after"), True), (("verified", "after"), False)]


@pytest.mark.parametrize(("name", "act", "left"), COPIES)
@pytest.mark.parametrize(("moment", "dies"), MOMENTS)
def test_a_copy_made_before_ours_is_settled_is_the_persons(
    world: World, name: str, act: Act, left: list[Interval], moment: tuple[str, str], *, dies: bool
) -> None:
    world.detect_all()

    def copy() -> None:
        copied(world, at(14))
        act(world)
        world.detect_all()
        if dies:
            raise Died

    assert (name, interrupted(world, *moment, copy)) != (name, None)
    assert_theirs(world, *left)


@pytest.mark.parametrize("to", [at(10), at(9.5)])
@pytest.mark.parametrize("dies", [True, False])
def test_a_copy_over_ours_before_it_is_verified_wins_and_is_kept(world: World, to: Interval, *, dies: bool) -> None:
    def copy() -> None:
        copied(world, to)
        if dies:
            raise Died

    assert interrupted(world, "written", "before", copy) == "master_busy"
    assert_theirs(world, to)


@pytest.mark.parametrize("to", [at(10.5), at(14)])
def test_a_copy_of_an_event_that_must_go_is_not_taken_for_it(world: World, to: Interval) -> None:
    """The answer to the write was lost, the person's copy lies beside ours, and another event has the time."""
    world.master.fail("create", WriteOutcomeUnknown("no answer"), after="after")
    proposal = world.ask(at(10))
    world.decide(proposal)
    copied(world, to)
    world.master.put(at(10), "Human")
    world.quiesce()
    assert world.reason(proposal) == "master_busy"
    assert sorted(event.title for event in world.master.events()) == ["Copied", "Human"]
    assert_theirs(world, to, at(10))


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize(("name", "act", "left"), COPIES)
def test_a_copy_of_what_is_booked_is_the_persons(world: World, name: str, act: Act, left: list[Interval]) -> None:
    copied(world, at(14))
    act(world)
    world.quiesce()
    assert (name, world.slots("held", "booked")) == (name, [interval for interval in left if interval != at(14)])
    assert_theirs(world, *left)


@pytest.mark.usefixtures("booked")
def test_a_copy_over_what_is_booked_is_kept_and_people_are_told(world: World) -> None:
    copied(world, at(10))
    world.quiesce()
    assert (world.slots("booked"), world.alerts()) == ([at(10)], CONFLICT)
    assert_theirs(world, at(10), at(10))


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize("seen", [True, False])
def test_a_copy_that_is_moved_and_deleted_again_leaves_ours_alone(world: World, *, seen: bool) -> None:
    copy = copied(world, at(14))
    for act in (lambda: drag(world.master, copy, at(16)), lambda: world.master.remove(copy.remote_id)):
        if seen:
            world.quiesce()
        act()
    world.quiesce()
    assert (world.booked(), world.slots("booked")) == ([at(10)], [at(10)])
    assert shown(world.master) == [at(10)]
    world.assert_in_step()


@pytest.mark.parametrize("name", ["dana-master", "dana-mirror"])
def test_an_event_of_ours_that_a_person_takes_out_of_the_bin_is_theirs(world: World, name: str) -> None:
    """The appointment was cancelled by its number, so no job has ever proposed anything about the event."""
    appointment = world.book(at(10))
    calendar = world.calendars.of(name)
    (event,) = calendar.events()
    world.wish(Kind.CANCEL, appointment=appointment.id)
    world.quiesce()
    calendar.put(at(10), event.title, remote_id=event.remote_id)
    world.quiesce()
    assert [row.id for row in world.appointments()] == [appointment.id + 1]
    world.assert_in_step()
