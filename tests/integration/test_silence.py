"""The dead man's switch: who is silent, since when, and whether beat or the workers are to be looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from models.schedule import BeatFire, BeatJob
from models.session import Sessions, transaction
from sync.actions import Actor
from sync.alarms import Alarm
from sync.schedule import note_run, pause, resume, set_period
from workers.scheduler import fire_due, install_defaults
from workers.settings import Settings
from workers.silence import silent_jobs

SETTINGS = Settings()
NAME = "NewAppointmentSync"  # every 60 s
OLGA = Actor("olga", "cli")


@pytest.fixture
def sessions(app_sessions: Sessions) -> Sessions:
    """All jobs are well: fired, run, and waiting for their next slot."""
    install_defaults(app_sessions, SETTINGS)
    put(app_sessions, name=None, ran_at=ago(1), last_slot=ago(1))
    return app_sessions


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def put(sessions: Sessions, *, name: str | None = NAME, **values: object) -> None:
    with transaction(sessions) as session:
        query = update(BeatJob) if name is None else update(BeatJob).where(BeatJob.name == name)
        session.execute(query.values(**values))


def fire(sessions: Sessions, *slots: datetime) -> None:
    with transaction(sessions) as session:
        session.add_all(BeatFire(name=NAME, slot=slot, fired_at=slot) for slot in slots)


def alarms(sessions: Sessions, *, watching_since: datetime | None = None) -> list[Alarm]:
    with transaction(sessions) as session:
        return silent_jobs(session, SETTINGS, watching_since=watching_since)


def test_nobody_is_silent_while_all_is_well(sessions: Sessions) -> None:
    assert alarms(sessions, watching_since=ago(10_000)) == []


def test_a_dead_beat_is_found_after_three_periods(sessions: Sessions) -> None:
    put(sessions, ran_at=ago(140), last_slot=ago(141), next_slot=ago(81))
    assert alarms(sessions) == []
    put(sessions, ran_at=ago(185), last_slot=ago(186), next_slot=ago(126))
    [alarm] = alarms(sessions)
    assert (alarm.cause, alarm.code, alarm.calendar_id) == (f"silent:{NAME}", "job_silent", None)
    assert 183 <= alarm.detail.pop("seconds") <= 300
    assert alarm.detail == {"job": NAME, "every": 60, "suspect": "beat"}


def test_dead_workers_are_found_although_beat_goes_on(sessions: Sessions) -> None:
    fire(sessions, *(ago(seconds) for seconds in (250, 190, 130, 70, 10)))
    put(sessions, ran_at=ago(249), last_slot=ago(0), next_slot=ago(-60))
    [alarm] = alarms(sessions)
    assert (alarm.cause, alarm.detail["suspect"]) == (f"silent:{NAME}", "workers")
    with transaction(sessions) as session:
        note_run(session, NAME, task=NAME)
    assert alarms(sessions) == []


def test_a_job_that_never_ran_is_silent_from_its_first_chance_on(sessions: Sessions) -> None:
    put(sessions, ran_at=None, last_slot=None, next_slot=ago(140))
    assert alarms(sessions) == []
    put(sessions, ran_at=None, last_slot=None, next_slot=ago(190))
    assert [alarm.detail["suspect"] for alarm in alarms(sessions)] == ["beat"]
    fire(sessions, ago(190), ago(130))
    put(sessions, last_slot=ago(0), next_slot=ago(-60))
    assert [alarm.detail["suspect"] for alarm in alarms(sessions)] == ["workers"]


def test_a_job_of_every_second_has_half_a_minute(sessions: Sessions) -> None:
    put(sessions, every_seconds=1.0, ran_at=ago(10), next_slot=ago(9))
    assert alarms(sessions) == []
    put(sessions, every_seconds=1.0, ran_at=ago(32), next_slot=ago(31))
    assert [alarm.cause for alarm in alarms(sessions)] == [f"silent:{NAME}"]


def test_where_no_beat_has_ever_started_every_job_is_silent(app_sessions: Sessions) -> None:
    assert alarms(app_sessions) == alarms(app_sessions, watching_since=ago(5)) == []
    found = alarms(app_sessions, watching_since=ago(40))
    assert [alarm.cause for alarm in found] == ["silent:ReleaseHolds", "silent:ResumeCommits"]
    assert {alarm.detail["suspect"] for alarm in found} == {"beat"}


def test_a_paused_job_is_not_silent_but_a_forgotten_pause_is_told(sessions: Sessions) -> None:
    put(sessions, ran_at=ago(80_000), next_slot=ago(79_940))
    with transaction(sessions) as session:
        pause(session, NAME, by=OLGA)
    assert alarms(sessions) == []
    put(sessions, ran_at=ago(90_000), next_slot=ago(89_940))
    [alarm] = alarms(sessions)
    assert (alarm.cause, alarm.code) == (f"paused:{NAME}", "job_paused_long")
    assert alarm.detail["job"] == NAME
    assert 89_900 < alarm.detail["seconds"] < 90_100


def test_a_job_that_was_resumed_has_its_three_periods_again(sessions: Sessions) -> None:
    put(sessions, enabled=False, ran_at=ago(90_000), next_slot=ago(89_940))
    with transaction(sessions) as session:
        resume(session, NAME, by=OLGA)
    assert alarms(sessions) == []
    fire_due(sessions)
    assert alarms(sessions) == []


def test_a_shorter_period_counts_from_its_own_first_slot(sessions: Sessions) -> None:
    put(sessions, every_seconds=86_400.0, ran_at=ago(40_000), next_slot=ago(-46_400))
    with transaction(sessions) as session:
        set_period(session, NAME, every=5, by=OLGA)
    assert alarms(sessions) == []


def test_an_entry_that_is_not_of_the_task_is_not_noted(sessions: Sessions) -> None:
    put(sessions, ran_at=None)
    with transaction(sessions) as session:
        note_run(session, NAME, task="Commit")
        assert session.query(BeatJob).filter_by(name=NAME).one().ran_at is None
