"""Reads for operators: calendars and their freshness, failures, alerts. Nothing here touches the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, func, or_, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.failures import Alert, DeadLetter
from models.feeds import Cursor, Sighting
from models.push import Channel

LIMIT = 200
UNHEALTHY = 2  # reads in a row that found what the vendor had not told; one may be a push that is still on its way
QUIET_SHARE = 1 / 60  # of the time for which nothing has changed in a calendar, it may stay unread


@dataclass(frozen=True, slots=True)
class DueCalendar:
    """A calendar that a job should read now."""

    id: int
    agent: str
    provider: str
    role: str


def list_due_calendars(
    session: Session,
    job: str,
    *,
    fresh_seconds: float = 0.0,
    early_seconds: float = 0.0,
    among: Collection[int] | None = None,
) -> list[DueCalendar]:
    """Calendars that this job should read: not stopped for a human, not left alone because they keep failing.

    Of those whose vendor tells us about changes, only such as this job has not read for ``fresh_seconds``; of the others,
    not those in which nothing has changed for so long that their last read is still good (for ``fresh_seconds`` at most;
    ``early_seconds`` less, or it would be a slot late).
    With ``among``, of these alone.
    """
    chosen = [] if among is None else [Calendar.id.in_(among)]
    rows = session.execute(
        select(Calendar.id, Agent.slug, Calendar.provider, Calendar.role)
        .join(Agent)
        .outerjoin(Cursor, and_(Cursor.calendar_id == Calendar.id, Cursor.job == job))
        .outerjoin(Channel, Channel.calendar_id == Calendar.id)
        .where(
            Calendar.stopped_code.is_(None),
            or_(Cursor.not_before.is_(None), Cursor.not_before <= func.clock_timestamp()),
            ~func.coalesce(_is_fresh(fresh_seconds, early_seconds), false()),
            *chosen,
        )
        .order_by(Calendar.id)
    )
    return [DueCalendar(*row) for row in rows]


def is_healthy() -> ColumnElement[bool]:
    """Whether a channel can be relied on: it is open, and no two reads in a row found what it had not told (null: none)."""
    return and_(
        Channel.remote_id.is_not(None),
        Channel.expires_at > func.clock_timestamp(),
        Channel.unannounced < UNHEALTHY,
    )


def _is_fresh(fresh_seconds: float, early_seconds: float) -> ColumnElement[bool]:
    """Whether a job may leave the calendar alone: its last read is good for now, and nothing is due.

    A hint whose message got lost, a run that failed and one that was killed are due at once.
    """
    longest = timedelta(seconds=fresh_seconds)
    is_told = and_(is_healthy(), Channel.opened_at < Cursor.read_at)  # everything was read since the channel is open
    quiet = (func.clock_timestamp() - Cursor.changed_at) * QUIET_SHARE - timedelta(seconds=early_seconds)
    good_for = case((is_told, longest), else_=func.least(quiet, longest))
    return and_(
        Cursor.read_at > func.clock_timestamp() - good_for,
        Cursor.hinted_at.is_(None),
        Cursor.leased_until.is_(None),
        Cursor.failures == 0,
    )


@dataclass(frozen=True, slots=True)
class PushRecord:
    """How a vendor tells us about a calendar. ``lag`` is the age of the oldest hint that no run has taken up, in seconds."""

    healthy: bool
    expires_at: datetime | None
    last_hint_at: datetime | None
    lag: float | None
    trouble: str | None


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
    push: PushRecord | None


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
    push = _list_pushes(session)
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
            push=push.get(calendar.id),
        )
        for calendar, agent in rows
    ]


def _list_pushes(session: Session) -> dict[int, PushRecord]:
    """By calendar: of those that have, or shall have, a channel."""
    hinted = select(func.min(Cursor.hinted_at)).where(Cursor.calendar_id == Channel.calendar_id).scalar_subquery()
    lag = func.extract("epoch", func.clock_timestamp() - hinted)
    rows: Iterable[Any] = session.execute(select(Channel, func.coalesce(is_healthy(), false()), lag))
    return {
        channel.calendar_id: PushRecord(
            healthy=healthy,
            expires_at=channel.expires_at if channel.remote_id is not None else None,
            last_hint_at=channel.last_hint_at,
            lag=None if seconds is None else max(0.0, float(seconds)),
            trouble=channel.last_error_code or ("silent" if channel.unannounced >= UNHEALTHY else None),
        )
        for channel, healthy, seconds in rows
    }


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
            "id": row.id,
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
