"""What people change in the schedule: followed at once, kept with who made it, never at the cost of a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from models.operations import Action
from models.schedule import BeatFire, BeatJob
from models.session import Sessions, transaction
from sync.actions import Actor
from sync.errors import Malformed, NotFound
from sync.schedule import EPOCH, ScheduledJob, list_changes, list_jobs, pause, reset, resume, set_period
from workers.scheduler import _claim, fire_due, install_defaults
from workers.settings import Settings

OLGA = Actor("olga", "cli")
NAME = "UpdateSync"
HOUR = timedelta(hours=1)


@pytest.fixture
def sessions(app_sessions: Sessions) -> Sessions:
    install_defaults(app_sessions, Settings())
    return app_sessions


def job(sessions: Sessions, name: str = NAME) -> ScheduledJob:
    with transaction(sessions) as session:
        return next(one for one in list_jobs(session) if one.name == name)


def put(sessions: Sessions, **values: object) -> None:
    with transaction(sessions) as session:
        session.execute(update(BeatJob).where(BeatJob.name == NAME).values(**values))


def actions(sessions: Sessions) -> list[tuple[object, ...]]:
    with transaction(sessions) as session:
        return [
            (row.who, row.via, row.what, row.about, row.before, row.after)
            for row in session.scalars(select(Action).order_by(Action.id))
        ]


def fired(sessions: Sessions) -> list[str]:
    return [task for task, _, _ in fire_due(sessions) if task == NAME]


def test_a_new_period_counts_from_now_and_is_kept_with_who_set_it(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        changed = set_period(session, NAME, every=5, by=OLGA)
    assert job(sessions) == changed
    assert (changed.every, changed.enabled, changed.changed_by) == (5, True, "olga (cli)")
    assert changed.next_slot - datetime.now(UTC) <= timedelta(seconds=6)
    assert (changed.next_slot - EPOCH) % timedelta(seconds=5) == timedelta(0)
    before, after = {"every": 600.0, "enabled": True}, {"every": 5, "enabled": True}
    assert actions(sessions) == [("olga", "cli", "schedule.set", NAME, before, after)]


def test_what_is_set_already_is_no_change(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        set_period(session, NAME, every=600, by=OLGA)
        resume(session, NAME, by=OLGA)
        reset(session, NAME, every=600, by=OLGA)
    assert (actions(sessions), job(sessions).changed_by) == ([], "defaults")
    with transaction(sessions) as session:
        pause(session, NAME, by=OLGA)
        pause(session, NAME, by=Actor("otto", "console"))
    assert ([one[2] for one in actions(sessions)], job(sessions).changed_by) == (["schedule.pause"], "olga (cli)")


@pytest.mark.parametrize("every", [0, 0.49, -5, 86_400.1, float("nan"), float("inf")])
def test_a_period_is_between_half_a_second_and_a_day(sessions: Sessions, every: float) -> None:
    with pytest.raises(Malformed, match=r"every: must be between 0\.5 s and 86400 s"), transaction(sessions) as session:
        set_period(session, NAME, every=every, by=OLGA)
    assert (actions(sessions), job(sessions).every) == ([], 600)


def test_an_unknown_job_is_answered_with_the_known_ones(sessions: Sessions) -> None:
    for change in (pause, resume):
        known = "no job 'Nope' in the schedule; known: AuditDrift, CancellationSync, New"
        with pytest.raises(NotFound, match=known), transaction(sessions) as session:
            change(session, "Nope", by=OLGA)


def test_a_paused_job_is_not_fired_and_makes_up_for_what_it_missed_by_one_run(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        pause(session, NAME, by=OLGA)
    now = datetime.now(UTC)
    missed = now - timedelta(days=3)
    put(sessions, next_slot=missed)
    assert fired(sessions) == []
    with transaction(sessions) as session:
        set_period(session, NAME, every=86_400, by=OLGA)
    assert job(sessions).next_slot == missed, "it tells since when nothing has run"
    with transaction(sessions) as session:
        resume(session, NAME, by=OLGA)
    assert (fired(sessions), fired(sessions)) == ([NAME], [])
    assert job(sessions).next_slot > now
    assert (job(sessions).last_slot or EPOCH) > now - timedelta(days=1), "the newest of those missed"


def test_a_longer_period_does_not_swallow_a_run_that_is_due(sessions: Sessions) -> None:
    overdue = datetime.now(UTC) - timedelta(seconds=1)
    put(sessions, next_slot=overdue, last_slot=overdue - timedelta(seconds=600))
    with transaction(sessions) as session:
        set_period(session, NAME, every=86_400, by=OLGA)
    assert fired(sessions) == [NAME]
    assert job(sessions).next_slot - datetime.now(UTC) <= timedelta(days=1)


def test_neither_does_a_changed_setting(sessions: Sessions) -> None:
    put(sessions, next_slot=datetime.now(UTC) - HOUR)
    install_defaults(sessions, Settings(update_every=86_400))
    assert fired(sessions) == [NAME]
    assert job(sessions).every == 86_400


def test_a_reset_entry_follows_the_settings_again(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        set_period(session, NAME, every=5, by=OLGA)
        pause(session, NAME, by=OLGA)
        changed = reset(session, NAME, every=600, by=OLGA)
    assert (changed.every, changed.enabled, changed.changed_by) == (600, True, "defaults")
    install_defaults(sessions, Settings(update_every=30))
    assert job(sessions).every == 30
    assert [one[2] for one in actions(sessions)] == ["schedule.set", "schedule.pause", "schedule.reset"]


def test_the_history_is_told_newest_first(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        set_period(session, NAME, every=5, by=OLGA)
    with transaction(sessions) as session:
        pause(session, "ReleaseHolds", by=Actor("otto", "console"))
        told = list_changes(session)
        assert [(one.who, one.via, one.what, one.about) for one in told] == [
            ("otto", "console", "schedule.pause", "ReleaseHolds"),
            ("olga", "cli", "schedule.set", NAME),
        ]
        assert (told[1].before["every"], told[1].after["every"]) == (600, 5)
        assert [one.about for one in list_changes(session, name=NAME)] == [NAME]


def test_a_change_that_is_rolled_back_leaves_no_action(sessions: Sessions) -> None:
    with sessions() as session:
        pause(session, NAME, by=OLGA)
        session.rollback()
    assert (actions(sessions), job(sessions).enabled) == ([], True)


def test_a_beat_that_read_the_old_period_does_not_fire_by_it(sessions: Sessions) -> None:
    put(sessions, next_slot=datetime.now(UTC) - HOUR)
    with sessions() as beat, beat.begin():
        read = beat.scalars(select(BeatJob).where(BeatJob.name == NAME)).one()
        with sessions() as operator, operator.begin():
            operator.execute(update(BeatJob).where(BeatJob.name == NAME).values(every_seconds=5))
        assert _claim(beat, read, datetime.now(UTC)) is None
    assert fired(sessions) == [NAME]
    assert job(sessions).next_slot - datetime.now(UTC) <= timedelta(seconds=5)


def test_a_slot_that_was_fired_before_the_clock_went_back_stops_nobody(sessions: Sessions) -> None:
    now = datetime.now(UTC)
    slot = now - HOUR
    with transaction(sessions) as session:
        session.add(BeatFire(name=NAME, slot=slot))
        session.execute(update(BeatJob).values(next_slot=slot))
    assert NAME not in (names := {task for task, _, _ in fire_due(sessions)})
    assert {"NewAppointmentSync", "CancellationSync", "ResumeCommits"} <= names
    assert job(sessions).next_slot > now
