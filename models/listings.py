"""Reads for operators: calendars and their freshness, failures, alerts, schedule. Nothing here touches the ledger."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.failures import Alert, DeadLetter
from models.feeds import Cursor, Sighting
from models.schedule import BeatJob

LIMIT = 200


@dataclass(frozen=True, slots=True)
class DueCalendar:
    """A calendar that a job should read now."""

    id: int
    agent: str
    provider: str
    role: str


def list_due_calendars(session: Session, job: str) -> list[DueCalendar]:
    """Calendars that this job should read: not stopped for a human, not left alone because they keep failing."""
    rows = session.execute(
        select(Calendar.id, Agent.slug, Calendar.provider, Calendar.role)
        .join(Agent)
        .outerjoin(Cursor, and_(Cursor.calendar_id == Calendar.id, Cursor.job == job))
        .where(
            Calendar.stopped_code.is_(None),
            or_(Cursor.not_before.is_(None), Cursor.not_before <= func.clock_timestamp()),
        )
        .order_by(Calendar.id)
    )
    return [DueCalendar(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class CalendarRecord:
    """A calendar with the time of each job's last complete read, and until when a job leaves it alone for its failures."""

    id: int
    agent: str
    zone: str
    provider: str
    remote: str
    role: str
    stopped_code: str | None
    read_at: dict[str, datetime]
    put_off: dict[str, datetime]
    events: int


def list_calendars(session: Session) -> list[CalendarRecord]:
    read_at: defaultdict[int, dict[str, datetime]] = defaultdict(dict)
    put_off: defaultdict[int, dict[str, datetime]] = defaultdict(dict)
    for row in session.scalars(select(Cursor)):
        if row.read_at is not None:
            read_at[row.calendar_id][row.job] = row.read_at
        if row.not_before is not None:
            put_off[row.calendar_id][row.job] = row.not_before
    events = dict(
        session.execute(
            select(Sighting.calendar_id, func.count()).where(~Sighting.deleted).group_by(Sighting.calendar_id)
        ).all()
    )
    rows = session.execute(select(Calendar, Agent).join(Agent).order_by(Agent.slug, Calendar.id))
    return [
        CalendarRecord(
            id=calendar.id,
            agent=agent.slug,
            zone=agent.zone,
            provider=calendar.provider,
            remote=calendar.remote,
            role=calendar.role,
            stopped_code=calendar.stopped_code,
            read_at=read_at[calendar.id],
            put_off=put_off[calendar.id],
            events=events.get(calendar.id, 0),
        )
        for calendar, agent in rows
    ]


def list_dead_letters(session: Session) -> list[dict[str, Any]]:
    """Open ones, newest first."""
    rows = session.scalars(
        select(DeadLetter).where(DeadLetter.state == "open").order_by(DeadLetter.last_seen.desc()).limit(LIMIT)
    )
    return [
        {
            "id": row.id,
            "task": row.task,
            "reference": row.reference,
            "branch": row.branch,
            "code": row.code,
            "times": row.times,
            "last_seen": row.last_seen,
            "excerpt": row.excerpt,
        }
        for row in rows
    ]


def list_broken(session: Session, task: str, *, within_seconds: float) -> set[str]:
    """References of runs that ended in a bug or with their worker, a short while ago."""
    since = func.clock_timestamp() - timedelta(seconds=within_seconds)
    rows = session.scalars(
        select(DeadLetter.reference).where(
            DeadLetter.state == "open",
            DeadLetter.task == task,
            DeadLetter.branch == "Bug",
            DeadLetter.last_seen > since,
        )
    )
    return set(rows)


def list_alerts(session: Session) -> list[dict[str, Any]]:
    """Open ones, newest first."""
    rows = session.scalars(
        select(Alert).where(Alert.resolved_at.is_(None)).order_by(Alert.last_seen.desc()).limit(LIMIT)
    )
    return [
        {
            "severity": row.severity,
            "code": row.code,
            "cause": row.cause,
            "times": row.times,
            "opened_at": row.opened_at,
            "last_seen": row.last_seen,
            "detail": row.detail,
        }
        for row in rows
    ]


def list_schedule(session: Session) -> list[dict[str, Any]]:
    rows = session.scalars(select(BeatJob).order_by(BeatJob.name))
    return [
        {
            "name": row.name,
            "every_seconds": row.every_seconds,
            "enabled": row.enabled,
            "last_slot": row.last_slot,
            "next_slot": row.next_slot,
            "changed_by": row.changed_by,
        }
        for row in rows
    ]
