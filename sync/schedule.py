"""The schedule as people change it at run time: the period of each job, and its pauses. Every change is kept with who made it.

Slots are anchored to the clock: multiples of the period, so they never drift. A change never loses a run that is overdue:
whatever was missed is made up for by one run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.operations import Action
from models.schedule import BeatJob
from models.session import database_now
from sync.actions import Actor, record_action
from sync.errors import Malformed, NotFound

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 86_400.0
DEFAULTS = "defaults"  # who has last changed an entry that follows the settings


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """One entry. ``every`` in seconds; ``last_slot`` was fired last, ``ran_at`` is when a run last ended well."""

    name: str
    every: float
    enabled: bool
    last_slot: datetime | None
    ran_at: datetime | None
    next_slot: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """What somebody did to one entry (``about``), and how it was before and after."""

    done_at: datetime
    who: str
    via: str
    what: str
    about: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Setting:
    """What people decide about an entry."""

    every: float
    enabled: bool
    changed_by: str


def next_slot(now: datetime, every: float) -> datetime:
    """The first multiple of ``every`` seconds after ``now``."""
    period = timedelta(seconds=every)  # whole microseconds: with floats the answer could be ``now`` itself
    return EPOCH + ((now - EPOCH) // period + 1) * period


def list_jobs(session: Session) -> list[ScheduledJob]:
    """Every entry, by name."""
    return [_scheduled(job) for job in session.scalars(select(BeatJob).order_by(BeatJob.name))]


def find_period(session: Session, name: str) -> float | None:
    """Seconds between two runs of the job, as it is now."""
    return session.scalar(select(BeatJob.every_seconds).where(BeatJob.name == name))


def list_changes(session: Session, *, name: str | None = None, limit: int = 50) -> list[ScheduleChange]:
    """What people did to the schedule, or to the job ``name``, newest first."""
    query = select(Action).where(Action.what.startswith("schedule.")).order_by(Action.done_at.desc()).limit(limit)
    if name is not None:
        query = query.where(Action.about == name)
    return [
        ScheduleChange(row.done_at, row.who, row.via, row.what, row.about, row.before or {}, row.after or {})
        for row in session.scalars(query)
    ]


def set_period(session: Session, name: str, *, every: float, by: Actor) -> ScheduledJob:
    """Run the job every ``every`` seconds from now on.

    Raises:
        Malformed: not between half a second and a day.
        NotFound: no such job; names those there are.
    """
    if not (math.isfinite(every) and SHORTEST_SECONDS <= every <= LONGEST_SECONDS):
        raise Malformed("every", f"must be between {SHORTEST_SECONDS:g} s and {LONGEST_SECONDS:g} s (a day)")
    job = _locked(session, name)
    return _change(session, job, "set", to=_Setting(every, job.enabled, str(by)), by=by)


def pause(session: Session, name: str, *, by: Actor) -> ScheduledJob:
    """Fire the job no more until it is resumed.

    Raises:
        NotFound: no such job.
    """
    job = _locked(session, name)
    return _change(session, job, "pause", to=_Setting(job.every_seconds, enabled=False, changed_by=str(by)), by=by)


def resume(session: Session, name: str, *, by: Actor) -> ScheduledJob:
    """Fire the job again: at once if it has missed slots, which count as one.

    Raises:
        NotFound: no such job.
    """
    job = _locked(session, name)
    return _change(session, job, "resume", to=_Setting(job.every_seconds, enabled=True, changed_by=str(by)), by=by)


def reset(session: Session, name: str, *, every: float, by: Actor) -> ScheduledJob:
    """As if nobody had ever touched it: not paused, the settings' period ``every``, and following them from now on.

    Raises:
        NotFound: no such job.
    """
    job = _locked(session, name)
    if job.changed_by == DEFAULTS:
        return _scheduled(job)
    return _change(session, job, "reset", to=_Setting(every, enabled=True, changed_by=DEFAULTS), by=by)


def _locked(session: Session, name: str) -> BeatJob:
    query = select(BeatJob).where(BeatJob.name == name).with_for_update()
    job = session.scalar(query.execution_options(populate_existing=True))
    if job is None:
        known = session.scalars(select(BeatJob.name).order_by(BeatJob.name)).all()
        raise NotFound(
            f"no job {name!r} in the schedule; known: {', '.join(known) or 'none until beat has started once'}"
        )
    return job


def _change(session: Session, job: BeatJob, what: str, *, to: _Setting, by: Actor) -> ScheduledJob:
    """Nothing is done, or kept, where nobody would see a difference: only a reset may change just who is followed."""
    before = _Setting(job.every_seconds, job.enabled, job.changed_by)
    if (before.every, before.enabled) != (to.every, to.enabled) or to.changed_by == DEFAULTS != before.changed_by:
        job.next_slot = _anchored(job, to, now=database_now(session))
        job.every_seconds, job.enabled, job.changed_by = to.every, to.enabled, to.changed_by
        record_action(session, by, f"schedule.{what}", about=job.name, before=_shown(before), after=_shown(to))
        session.flush()
    return _scheduled(job)


def _anchored(job: BeatJob, to: _Setting, *, now: datetime) -> datetime:
    """The next slot under another setting. What is overdue stays due, as the newest slot that was missed.

    That of a job which stays paused is left alone: it tells since when nothing has run.
    """
    upcoming = next_slot(now, to.every)
    if job.next_slot > now:
        return upcoming
    return max(job.next_slot, upcoming - timedelta(seconds=to.every)) if to.enabled else job.next_slot


def _shown(setting: _Setting) -> dict[str, Any]:
    """Without the name of whoever changed it before: that stands in the action before."""
    return {"every": setting.every, "enabled": setting.enabled}


def _scheduled(job: BeatJob) -> ScheduledJob:
    return ScheduledJob(
        name=job.name,
        every=job.every_seconds,
        enabled=job.enabled,
        last_slot=job.last_slot,
        ran_at=job.ran_at,
        next_slot=job.next_slot,
        changed_by=job.changed_by,
    )
