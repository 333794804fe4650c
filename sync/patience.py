"""How long a job leaves a calendar alone that keeps failing: minutes at first, hours later, each job for itself (P9)."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.feeds import Cursor
from models.session import database_now
from sync.domain import CalendarId, Job
from sync.errors import MassChange, NotFound, Transient, WatertightError
from sync.failures import resolve_alert
from sync.retry import RetryPolicy

RUN_SECONDS = 60.0  # longer than one attempt takes with its timeouts and quick retries
BACKOFF = RetryPolicy(max_attempts=1, base=60.0, cap=4 * 3600.0)


def put_off(
    session: Session, job: Job, calendar_id: CalendarId, error: WatertightError, *, rand: float
) -> tuple[int, float]:
    """A run gave up: how many in a row, and the seconds for which this job leaves the calendar alone.

    ``rand`` is uniform in [0, 1). Never less than the vendor asked for. The next complete read ends it, and so does ``release_calendar``.
    """
    row = session.get(Cursor, (calendar_id, job.value), with_for_update=True)
    if row is None:
        return 0, 0.0
    row.failures += 1
    asked = error.retry_after if isinstance(error, Transient) else None
    seconds = max(BACKOFF.delay(row.failures, rand=rand), asked or 0.0)
    row.not_before = database_now(session) + timedelta(seconds=seconds)
    return row.failures, seconds


def hold_back(session: Session, job: Job, calendar_id: CalendarId, *, seconds: float) -> None:
    """A run tries again in ``seconds``: until then, and while it does, no other run of this job begins (P9)."""
    session.execute(
        update(Cursor)
        .where(Cursor.calendar_id == calendar_id, Cursor.job == job.value)
        .values(not_before=database_now(session) + timedelta(seconds=seconds + RUN_SECONDS))
    )


def try_again(session: Session, job: Job, calendar_id: CalendarId) -> str | None:
    """A person has put right what was wrong: this job reads the calendar again. The answer is what still stops it.

    Whether events are really gone (P13) is another question: that one waits for ``release_calendar``.
    """
    calendar = session.get(Calendar, calendar_id, with_for_update=True)
    if calendar is None:
        return NotFound.code
    if calendar.stopped_code == MassChange.code:
        return calendar.stopped_code
    calendar.stopped_code = None
    session.execute(
        update(Cursor)
        .where(Cursor.calendar_id == calendar_id, Cursor.job == job.value)
        .values(failures=0, not_before=None, hinted_at=None)  # whoever had it hinted at meanwhile sent no message
    )
    resolve_alert(session, f"stopped:{calendar_id}")
    return None


def release_calendar(session: Session, calendar: Calendar) -> None:
    """A person has looked: the jobs go on at once, and each may believe once that many events are gone (P13)."""
    calendar.stopped_code = None
    session.execute(
        update(Cursor).where(Cursor.calendar_id == calendar.id).values(may_lose=True, failures=0, not_before=None)
    )
    resolve_alert(session, f"stopped:{calendar.id}")
