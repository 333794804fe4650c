"""What a commit that failed leaves for people: each try, and one dead letter and one alert when it gives up (P11)."""

from __future__ import annotations

from sqlalchemy.orm import Session

from sync.errors import WatertightError
from sync.failures import open_alert, record_attempt, record_dead_letter

TASK = "Commit"


def keep_try(session: Session, reference: str, error: WatertightError, *, number: int) -> None:
    """One try failed, and another will follow."""
    record_attempt(session, TASK, reference=reference, error=error, number=number)


def keep_failure(session: Session, calendar_id: int, reference: str, error: WatertightError, *, attempts: int) -> None:
    """The last try failed too. One alert for a calendar and code, whatever number of proposals stand behind it."""
    keep_try(session, reference, error, number=attempts)
    letter = record_dead_letter(
        session, TASK, reference=reference, error=error, attempts=attempts, calendar_id=calendar_id
    )
    detail = {"calendar": calendar_id, "reference": reference, "failure": letter, "code": error.code}
    open_alert(session, f"commit:{calendar_id}:{error.code}", code=error.code, detail=detail, calendar_id=calendar_id)
