"""Reads for operators: calendars and their freshness, failures, alerts, schedule. Nothing here touches the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
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


def list_due_calendars(session: Session) -> list[DueCalendar]:
    """Calendars that are polled and not stopped for a human."""
    rows = session.execute(
        select(Calendar.id, Agent.slug, Calendar.provider, Calendar.role)
        .join(Agent)
        .where(Calendar.stopped_code.is_(None))
        .order_by(Calendar.id)
    )
    return [DueCalendar(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class CalendarRecord:
    """A calendar with the time of each job's last complete read."""

    id: int
    agent: str
    zone: str
    provider: str
    remote: str
    role: str
    stopped_code: str | None
    read_at: dict[str, datetime]
    events: int


def list_calendars(session: Session) -> list[CalendarRecord]:
    reads = session.execute(select(Cursor.calendar_id, Cursor.job, Cursor.read_at).where(Cursor.read_at.is_not(None)))
    by_calendar: dict[int, dict[str, datetime]] = {}
    for calendar_id, job, read_at in reads:
        if read_at is not None:
            by_calendar.setdefault(calendar_id, {})[job] = read_at
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
            read_at=by_calendar.get(calendar.id, {}),
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
