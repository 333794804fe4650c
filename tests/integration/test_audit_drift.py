"""AuditDrift: every kind of difference is found, believed only when it stays, and put right by the commit task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from models.audits import Audit
from models.drift import find_newest_audit, list_due_agents
from models.session import transaction
from providers.memory import MemoryCalendar
from sync.audits import Audited, Auditor, ask_repair
from sync.changes import Brake
from sync.domain import Job, Kind, RemoteEvent
from sync.errors import MassChange, ProviderUnavailable
from tests.integration.world import World, at, drag, shown

AT_ONCE, LATER = timedelta(0), timedelta(hours=1)
Spoil = Callable[[World], object]


def unheard(calendar: MemoryCalendar, act: Callable[[], object]) -> None:
    """Let something happen of which the vendor's list of changes never tells."""
    before = {name: row.seq for name, row in calendar.rows.items()}
    act()
    for name, row in calendar.rows.items():
        if before.get(name) != row.seq:
            row.seq = 1  # before every cursor that was handed out


def lose(calendar: MemoryCalendar, hour: float) -> None:
    unheard(calendar, lambda: calendar.remove(event_at(calendar, hour).remote_id))


def shift(calendar: MemoryCalendar, hour: float, to: float) -> None:
    unheard(calendar, lambda: drag(calendar, event_at(calendar, hour), at(to)))


def release(calendar: MemoryCalendar, hour: float) -> None:
    event = event_at(calendar, hour)
    unheard(calendar, lambda: calendar.put(event.interval, event.title, remote_id=event.remote_id, blocks=False))


def bring_back(calendar: MemoryCalendar, event: RemoteEvent) -> None:
    """The vendor shows an event again, or still, whose deletion it had confirmed."""
    calendar.rows[event.remote_id].state = event
    calendar.rows[event.remote_id].seq = 1


def event_at(calendar: MemoryCalendar, hour: float) -> RemoteEvent:
    (found,) = [event for event in calendar.events() if event.interval == at(hour)]
    return found


def audit(world: World, *, confirm: timedelta = AT_ONCE, agent: int = 1) -> Audited:
    return Auditor(world.app, world.calendars, reach=timedelta(days=30), confirm=confirm).audit(agent)


def newest(world: World) -> Audit:
    with transaction(world.app) as session:
        found = find_newest_audit(session, 1)
    assert found is not None
    return found


def repair(world: World, *, at_most: int | None = None) -> int:
    with transaction(world.app) as session:
        row = find_newest_audit(session, 1)
        assert row is not None
        return len(ask_repair(session, row, by="test", brake=Brake(), at_most=at_most))


def kinds(world: World) -> list[str]:
    return sorted(finding["what"] for finding in newest(world).findings)


def alerts(world: World) -> list[tuple[str, str]]:
    return [
        (cause, severity)
        for cause, severity in world.sql("SELECT cause, severity FROM alerts WHERE resolved_at IS NULL")
    ]


@pytest.fixture
def booked(world: World) -> World:
    """Two appointments, and every job has seen everything."""
    world.add_agent("other")
    for hour in (9, 11):
        world.ask(at(hour))
    world.quiesce()
    assert audit(world).state == "clean"
    return world


SPOILED: dict[str, tuple[Spoil, list[str], list[float]]] = {
    "a copy vanished": (lambda world: lose(world.mirror, 9), ["missing"], [9, 11]),
    "a copy stands elsewhere": (lambda world: shift(world.mirror, 9, 15), ["elsewhere"], [9, 11]),
    "a copy is free": (lambda world: release(world.mirror, 9), ["free"], [9, 11]),
    "the master lost it": (lambda world: lose(world.master, 9), ["missing"], [11]),
    "the master has it elsewhere": (lambda world: shift(world.master, 9, 15), ["elsewhere"], [11, 15]),
    "the master has it free": (lambda world: release(world.master, 9), ["free"], [11]),
    "nobody heard of a person's event on the master": (
        lambda world: unheard(world.master, lambda: world.master.put(at(20))),
        ["unnoticed"],
        [9, 11, 20],
    ),
    "nobody heard of a wish on the mirror": (
        lambda world: unheard(world.mirror, lambda: world.mirror.put(at(20))),
        ["unnoticed"],
        [9, 11, 20],
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_each_kind_of_drift_is_found_and_put_right(booked: World, name: str) -> None:
    spoil, found, hours = SPOILED[name]
    spoil(booked)
    booked.quiesce()  # nobody hears of it
    assert (audit(booked).state, kinds(booked)) == ("drift", found)
    grave = name in ("the master lost it", "nobody heard of a person's event on the master")
    assert alerts(booked) == [("drift_master:1", "critical") if grave else ("drift:1", "warning")]
    assert repair(booked) == 1
    booked.quiesce()
    assert audit(booked).state == "clean"
    assert booked.booked() == [at(hour) for hour in hours]
    booked.assert_in_step()
    assert alerts(booked) == []


def test_a_copy_that_came_back_after_its_appointment_had_ended_goes(booked: World) -> None:
    copy = event_at(booked.mirror, 9)
    booked.wish(Kind.CANCEL, appointment=1)
    booked.quiesce()
    bring_back(booked.mirror, copy)
    assert (audit(booked).state, kinds(booked)) == ("drift", ["stray"])
    repair(booked)
    booked.quiesce()
    assert (audit(booked).state, shown(booked.mirror)) == ("clean", [at(11)])


def test_a_second_copy_goes_and_the_one_that_the_ledger_knows_stays(booked: World) -> None:
    first = event_at(booked.mirror, 9)
    lose(booked.mirror, 9)
    audit(booked)
    repair(booked)
    booked.quiesce()
    second = event_at(booked.mirror, 9)
    bring_back(booked.mirror, first)
    assert (audit(booked).state, kinds(booked)) == ("drift", ["doubled"])
    repair(booked)
    booked.quiesce()
    assert (audit(booked).state, event_at(booked.mirror, 9).remote_id) == ("clean", second.remote_id)


def test_a_refused_wish_that_shows_as_taken_time_again_is_answered_again(booked: World) -> None:
    booked.mirror.put(at(9.5))
    booked.quiesce()
    (refused,) = [event for event in booked.mirror.events() if event.interval == at(9.5)]
    assert not refused.blocks
    unheard(booked.mirror, lambda: booked.mirror.put(at(9.5), refused.title, remote_id=refused.remote_id))
    assert (audit(booked).state, kinds(booked)) == ("drift", ["still_busy"])
    repair(booked)
    booked.quiesce()
    assert (audit(booked).state, shown(booked.mirror)) == ("clean", [at(9), at(11)])


def test_two_of_our_own_on_one_another_are_for_people(booked: World) -> None:
    event = event_at(booked.master, 9)
    unheard(booked.master, lambda: booked.master.put(at(11), event.title, remote_id=event.remote_id))
    audit(booked)
    assert "overlap" in kinds(booked)
    assert alerts(booked) == [("drift_master:1", "critical")]
    wanted = [finding for finding in newest(booked).findings if finding["what"] != "overlap"]
    assert repair(booked) == len(wanted)


def test_what_is_found_once_may_be_under_way(booked: World) -> None:
    lose(booked.mirror, 9)
    first = audit(booked, confirm=LATER)
    assert (first.state, first.drift, first.suspects, alerts(booked)) == ("suspect", 0, 1, [])
    assert repair(booked) == 0
    booked.sql(
        "UPDATE audits SET findings = jsonb_set(findings, '{0,since}', to_jsonb((now() - interval '61 min')::text))"
    )
    again = audit(booked, confirm=LATER)
    assert (again.state, again.drift, again.suspects) == ("drift", 1, 0)
    shift(booked.mirror, 11, 16)
    assert (audit(booked, confirm=LATER).drift, audit(booked, confirm=LATER).suspects) == (1, 1)


def test_work_under_way_is_no_drift(booked: World) -> None:
    booked.mirror.fail("create", ProviderUnavailable("down"))
    proposal = booked.ask(at(13))
    booked.decide(proposal)
    for reference in [one for one in booked.due() if one.startswith("write:")]:
        booked.engine.commit(reference)
    assert audit(booked).state == "clean"  # the copy is still to come


def test_a_calendar_that_cannot_be_read_is_neither_clean_nor_drift(booked: World) -> None:
    lose(booked.mirror, 9)
    audit(booked)
    booked.mirror.fail("read_window", ProviderUnavailable("down"))
    found = audit(booked)
    assert (found.state, found.drift, found.code) == ("unreadable", 0, "provider_unavailable")
    assert alerts(booked) == [("drift:1", "warning")]  # stays open: nobody knows better
    assert (audit(booked).state, kinds(booked)) == ("drift", ["missing"])


def test_whoever_changed_it_meanwhile_is_heard_first(booked: World) -> None:
    shift(booked.mirror, 9, 15)
    audit(booked)
    repair(booked)
    drag(booked.mirror, event_at(booked.mirror, 15), at(17))  # a person, and this time the vendor tells
    booked.settle()
    assert shown(booked.mirror) == [at(11), at(17)]  # not put back over their heads
    booked.quiesce()
    assert booked.booked() == [at(11), at(17)]
    booked.assert_in_step()


def test_more_than_the_brake_allows_is_not_repaired_before_somebody_has_looked(booked: World) -> None:
    hours = [13 + number for number in range(5)]
    for hour in hours:
        booked.ask(at(hour))
    booked.quiesce()
    for hour in hours:
        lose(booked.mirror, hour)
    assert audit(booked).drift == len(hours)
    with pytest.raises(MassChange, match="5 differences at 7 appointments"):
        repair(booked)
    assert repair(booked, at_most=2) == 2
    booked.quiesce()
    assert audit(booked).drift == len(hours) - 2


def test_asked_twice_it_is_repaired_once(booked: World) -> None:
    lose(booked.mirror, 9)
    audit(booked)
    assert (repair(booked), repair(booked)) == (1, 0)
    booked.quiesce()
    assert booked.mirror.calls.count("create") == 3  # two at first, one anew


def test_the_repair_is_a_decision_with_its_evidence(booked: World) -> None:
    lose(booked.mirror, 9)
    audit(booked)
    repair(booked)
    booked.quiesce()
    ((number,),) = booked.sql("SELECT id FROM proposals WHERE kind = 'repair'")
    story = booked.story(number)
    assert (story.reason, story.evidence) == ("accepted", {"step": "repair", "found": "gone"})


def test_a_repair_after_a_crash_is_done_once(booked: World) -> None:
    copy = event_at(booked.mirror, 9)
    booked.wish(Kind.CANCEL, appointment=1)
    booked.quiesce()
    bring_back(booked.mirror, copy)
    audit(booked)
    repair(booked)
    booked.mirror.fail("delete", ProviderUnavailable("the answer got lost"), after="after")
    booked.quiesce()
    assert (audit(booked).state, shown(booked.mirror)) == ("clean", [at(11)])


def test_who_was_audited_longest_ago_is_next_and_who_is_suspect_sooner(booked: World) -> None:
    def due(minutes: int) -> list[int]:
        booked.sql(
            "UPDATE audits SET audited_at = now() - make_interval(mins => :minutes) WHERE id ="
            " (SELECT max(id) FROM audits WHERE agent_id = 1)",
            minutes=minutes,
        )
        with transaction(booked.app) as session:
            return list_due_agents(session, every=timedelta(hours=1), again=timedelta(minutes=10))

    assert due(0) == [2]
    assert due(61) == [2, 1]
    lose(booked.mirror, 9)
    audit(booked, confirm=LATER)
    assert (due(5), due(11)) == ([2], [2, 1])


def test_jobs_have_nothing_to_say_about_a_repair(booked: World) -> None:
    """What is put right is known at once, so no job takes it for news."""
    lose(booked.mirror, 9)
    audit(booked)
    repair(booked)
    booked.settle()
    assert [booked.detect(job, "dana-mirror").proposals for job in Job] == [(), (), ()]
