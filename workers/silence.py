"""The dead man's switch: which job has not run for three periods, so that somebody looks for what died.

A job is well while a run of it ends (``ran_at``) soon after each slot. What is asked of the table is since when that has not
been so: since the first slot that was fired and not run, or the one that nobody fired. Whoever watches must live without beat.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Row, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from models.schedule import BeatFire, BeatJob
from models.session import database_now
from sync.alarms import Alarm
from workers.periods import default_periods
from workers.settings import Settings

SILENT = "job_silent"
SILENT_PERIODS = 3
SHORTEST_SILENCE = timedelta(seconds=30)  # a job of every second may well be busy for a moment
LONGEST_PAUSE = timedelta(days=1)
BEAT_IS_LATE = timedelta(seconds=10)  # it looks every two

Suspect = Literal["beat", "workers"]
Found = Row[BeatJob, datetime | None]


def silent_jobs(session: Session, settings: Settings, *, watching_since: datetime | None = None) -> list[Alarm]:
    """Every job that is silent, and every pause that somebody may have forgotten.

    With ``watching_since`` (since when somebody watches) also every job of the settings that is not in the table, since no beat has
    ever started here.
    """
    now = database_now(session)
    rows = session.execute(_jobs()).all()
    found = [alarm for row in rows if (alarm := _judge(row, now=now)) is not None]
    if watching_since is None:
        return found
    known = {job.name for job, _ in rows}
    missing = {name: every for name, every in default_periods(settings).items() if name not in known}
    return found + [
        _silent(name, seconds=now - watching_since, every=every, suspect="beat")
        for name, every in sorted(missing.items())
        if now - watching_since > patience_with(every)
    ]


def _jobs() -> Select[BeatJob, datetime | None]:
    """Each job with when the first slot was fired that no run has ended for. Its slots are looked for near the last run."""
    near = BeatFire.slot > BeatJob.ran_at - SILENT_PERIODS * func.make_interval(0, 0, 0, 0, 0, 0, BeatJob.every_seconds)
    unheard = or_(BeatJob.ran_at.is_(None), and_(near, BeatFire.fired_at > BeatJob.ran_at))
    first = select(BeatFire.fired_at).where(BeatFire.name == BeatJob.name, unheard).order_by(BeatFire.slot).limit(1)
    return select(BeatJob, first.correlate(BeatJob).scalar_subquery()).order_by(BeatJob.name)


def _judge(row: Found, *, now: datetime) -> Alarm | None:
    """Whether somebody must look at this job; the slot that a paused one did not get tells since when it rests."""
    job, unheard = row
    if not job.enabled:
        paused = now - job.next_slot
        detail = {"job": job.name, "seconds": round(paused.total_seconds())}
        return Alarm(f"paused:{job.name}", "job_paused_long", detail=detail) if paused > LONGEST_PAUSE else None
    silence = now - _last_well(job, unheard)
    if silence <= patience_with(job.every_seconds):
        return None
    suspect: Suspect = "beat" if now - job.next_slot > BEAT_IS_LATE else "workers"
    return _silent(job.name, seconds=silence, every=job.every_seconds, suspect=suspect)


def _last_well(job: BeatJob, unheard: datetime | None) -> datetime:
    """The last instant at which nobody could have complained: a run, or one period before a slot that came to nothing.

    That is later than the last run where there was a pause, or a longer period, in between.
    """
    slot = job.next_slot if unheard is None else min(unheard, job.next_slot)
    if job.ran_at is None:
        return slot  # its first chance
    return max(job.ran_at, slot - timedelta(seconds=job.every_seconds))


def patience_with(every: float) -> timedelta:
    """For how long a job with this period (seconds) may be silent."""
    return max(SILENT_PERIODS * timedelta(seconds=every), SHORTEST_SILENCE)


def _silent(name: str, *, seconds: timedelta, every: float, suspect: Suspect) -> Alarm:
    """``suspect``: beat has not fired what is due, or it has and no worker has run it."""
    detail = {"job": name, "seconds": round(seconds.total_seconds()), "every": every, "suspect": suspect}
    return Alarm(f"silent:{name}", SILENT, detail=detail)
