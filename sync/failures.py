"""Dead letters and alerts: recorded once per open cause, counted after that."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.failures import Alert, DeadLetter
from sync.errors import WatertightError
from sync.retry import branch_of

EXCERPT_CHARACTERS = 500
Severity = Literal["warning", "critical"]


def open_alert(session: Session, cause: str, *, code: str, severity: Severity, detail: dict[str, Any]) -> None:
    """Open the alert of this cause, or count one more occurrence of it. ``detail`` holds ids only (P12)."""
    row = insert(Alert).values(cause=cause, code=code, severity=severity, detail=detail)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["cause"],
            index_where=Alert.resolved_at.is_(None),
            set_={"times": Alert.times + 1, "last_seen": func.clock_timestamp(), "detail": row.excluded.detail},
        )
    )


def resolve_alert(session: Session, cause: str) -> None:
    """Close the open alert of this cause, if there is one."""
    session.execute(
        update(Alert)
        .where(Alert.cause == cause, Alert.resolved_at.is_(None))
        .values(resolved_at=func.clock_timestamp())
    )


def record_dead_letter(session: Session, task: str, *, reference: str, error: BaseException, attempts: int) -> None:
    """Keep a run that gave up. Our own errors carry no personal data; a stranger's text may, so only its type is kept."""
    known = isinstance(error, WatertightError)
    row = insert(DeadLetter).values(
        task=task,
        reference=reference,
        branch=branch_of(error),
        code=error.code if isinstance(error, WatertightError) else "bug",
        excerpt=(str(error) if known else type(error).__name__)[:EXCERPT_CHARACTERS],
        attempts=attempts,
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=["task", "reference", "code"],
            index_where=text("state = 'open'"),  # spelt out: a bound value cannot name a partial index once prepared
            set_={"times": DeadLetter.times + 1, "last_seen": func.clock_timestamp(), "excerpt": row.excluded.excerpt},
        )
    )
