"""Dead letters for those who read and replay them, as frozen records."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.failures import Attempt, DeadLetter

LIMIT = 200
SHOWN_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try that failed; ``number`` counts from 1."""

    number: int
    code: str
    excerpt: str
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """A run that gave up. ``calendar`` and ``agent`` (a slug) are known where it was about a calendar.

    ``attempts`` is how many tries the last run took, ``times`` how often runs of it gave up since ``first_seen``;
    ``tries`` are the newest of them, oldest first, and only there when one dead letter was asked for.
    """

    id: int
    task: str
    reference: str
    calendar_id: int | None
    calendar: str | None
    agent: str | None
    branch: str
    code: str
    excerpt: str
    attempts: int
    times: int
    first_seen: datetime
    last_seen: datetime
    state: str
    closed_at: datetime | None
    closed_by: str | None
    tries: tuple[AttemptRecord, ...] = ()


def list_dead_letters(
    session: Session,
    *,
    closed: bool = False,
    ids: Collection[int] | None = None,
    code: str | None = None,
    limit: int | None = LIMIT,
) -> list[DeadLetterRecord]:
    """Open ones, newest first; with ``closed`` also those that were replayed or solved; ``ids`` and ``code`` narrow."""
    query = _query().order_by(DeadLetter.last_seen.desc(), DeadLetter.id.desc()).limit(limit)
    if not closed:
        query = query.where(DeadLetter.state == "open")
    if ids is not None:
        query = query.where(DeadLetter.id.in_(ids))
    if code is not None:
        query = query.where(DeadLetter.code == code)
    return [_record(*row) for row in session.execute(query)]


def find_dead_letter(session: Session, dead_letter_id: int) -> DeadLetterRecord | None:
    """One with its tries, or None."""
    row = session.execute(_query().where(DeadLetter.id == dead_letter_id)).one_or_none()
    if row is None:
        return None
    letter = _record(*row)
    return replace(letter, tries=tuple(_list_tries(session, letter)))


def _query() -> Select[DeadLetter, Calendar, str]:
    return (
        select(DeadLetter, Calendar, Agent.slug)
        .outerjoin(Calendar, Calendar.id == DeadLetter.calendar_id)
        .outerjoin(Agent, Agent.id == Calendar.agent_id)
    )


def _record(row: DeadLetter, calendar: Calendar | None, slug: str | None) -> DeadLetterRecord:
    return DeadLetterRecord(
        id=row.id,
        task=row.task,
        reference=row.reference,
        calendar_id=row.calendar_id,
        calendar=f"{calendar.provider} {calendar.role}" if calendar is not None else None,
        agent=slug,
        branch=row.branch,
        code=row.code,
        excerpt=row.excerpt,
        attempts=row.attempts,
        times=row.times,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        state=row.state,
        closed_at=row.closed_at,
        closed_by=row.closed_by,
    )


def _list_tries(session: Session, letter: DeadLetterRecord) -> list[AttemptRecord]:
    query = select(Attempt).where(Attempt.task == letter.task, Attempt.reference == letter.reference)
    if letter.closed_at is not None:
        query = query.where(Attempt.failed_at <= letter.closed_at)
    rows = session.scalars(query.order_by(Attempt.failed_at.desc(), Attempt.id.desc()).limit(SHOWN_ATTEMPTS)).all()
    return [AttemptRecord(row.number, row.code, row.excerpt, row.failed_at) for row in reversed(rows)]
