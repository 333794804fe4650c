"""Dead letters and alerts: recorded once per open cause, counted after that."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Literal

from sqlalchemy import bindparam, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.failures import Alert, Attempt, DeadLetter
from models.session import UNSEEN
from sync.alarms import Alarm
from sync.catalogue import severity_of
from sync.errors import WatertightError
from sync.retry import branch_of

EXCERPT_CHARACTERS = 500

_RESOLVE = (
    update(Alert)
    .where(or_(Alert.cause == bindparam("the_cause"), func.starts_with(Alert.cause, bindparam("parts"))))
    .where(Alert.resolved_at.is_(None))
    .values(resolved_at=func.clock_timestamp())
)
Closed = Literal["replayed", "solved"]


def open_alert(
    session: Session, cause: str, *, code: str, detail: dict[str, Any], calendar_id: int | None = None
) -> None:
    """Open the alert of this cause, or count one more occurrence of it. ``detail`` holds ids only (P12)."""
    row = insert(Alert).values(
        cause=cause, code=code, severity=severity_of(code), detail=detail, calendar_id=calendar_id
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=["cause"],
            index_where=Alert.resolved_at.is_(None),
            set_={"times": Alert.times + 1, "last_seen": func.clock_timestamp(), "detail": row.excluded.detail},
        )
    )


def keep_alarms(session: Session, prefix: str, alarms: Iterable[Alarm]) -> None:
    """Open an alert for each alarm, and close those whose cause begins with ``prefix`` and was not found any more."""
    found = {alarm.cause: alarm for alarm in alarms}
    open_now = list_open_causes(session, prefix)
    for cause in sorted(found.keys() - open_now):
        alarm = found[cause]
        open_alert(session, cause, code=alarm.code, detail=alarm.detail, calendar_id=alarm.calendar_id)
    if over := open_now - found.keys():
        resolve_alerts(session, over)


def list_open_causes(session: Session, prefix: str) -> set[str]:
    """The causes that begin with ``prefix`` and have an open alert."""
    query = select(Alert.cause).where(Alert.cause.startswith(prefix, autoescape=True), Alert.resolved_at.is_(None))
    return set(session.scalars(query))


def resolve_alerts(session: Session, causes: Collection[str]) -> None:
    """Close the open alerts of exactly these causes."""
    session.execute(
        update(Alert)
        .where(Alert.cause.in_(causes), Alert.resolved_at.is_(None))
        .values(resolved_at=func.clock_timestamp())
    )


def resolve_alert(session: Session, cause: str) -> None:
    """Close the open alerts of this cause, and of what it splits into (``new:7`` into ``new:7:forbidden``)."""
    session.execute(_RESOLVE, {"the_cause": cause, "parts": f"{cause}:"}, execution_options=UNSEEN)


def code_of(error: BaseException) -> str:
    """Its stable code; what is not of our tree is a bug."""
    return error.code if isinstance(error, WatertightError) else "bug"


def excerpt_of(error: BaseException) -> str:
    """What may be kept of it: our own errors carry no personal data; a stranger's text may, so only its type is."""
    return (str(error) if isinstance(error, WatertightError) else type(error).__name__)[:EXCERPT_CHARACTERS]


def record_attempt(session: Session, task: str, *, reference: str, error: BaseException, number: int) -> None:
    """Keep one try that failed (``number`` counts from 1), in the transaction that says what is done about it."""
    session.add(Attempt(task=task, reference=reference, number=number, code=code_of(error), excerpt=excerpt_of(error)))


def record_dead_letter(
    session: Session,
    task: str,
    *,
    reference: str,
    error: BaseException,
    attempts: int,
    calendar_id: int | None = None,
) -> int:
    """Keep a run that gave up after so many attempts; the answer is the number of its dead letter."""
    row = insert(DeadLetter).values(
        task=task,
        reference=reference,
        branch=branch_of(error),
        code=code_of(error),
        calendar_id=calendar_id,
        excerpt=excerpt_of(error),
        attempts=attempts,
    )
    number: int = session.scalars(
        row.on_conflict_do_update(
            index_elements=["task", "reference", "code"],
            index_where=text("state = 'open'"),  # spelt out: a bound value cannot name a partial index once prepared
            set_={
                "times": DeadLetter.times + 1,
                "last_seen": func.clock_timestamp(),
                "excerpt": row.excluded.excerpt,
                "attempts": row.excluded.attempts,
            },
        ).returning(DeadLetter.id)
    ).one()
    return number


def close_dead_letter(session: Session, dead_letter_id: int, *, state: Closed, by: str) -> bool:
    """Whether this call closed it: of two who do it at once, one did."""
    closed = (
        update(DeadLetter)
        .where(DeadLetter.id == dead_letter_id, DeadLetter.state == "open")
        .values(state=state, closed_at=func.clock_timestamp(), closed_by=by)
        .returning(DeadLetter.id)
    )
    return session.execute(closed).first() is not None
