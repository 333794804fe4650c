"""What a commit that failed leaves for people: each try, and one dead letter and one alert when it gives up (P11)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from sync.domain import CalendarRef
from sync.errors import WatertightError
from sync.failures import open_alert, record_attempt, record_dead_letter

TASK = "Commit"


@contextmanager
def blamed_on(calendar: CalendarRef) -> Iterator[None]:
    """What fails inside is the trouble of this calendar, whatever the write is for: else people are sent to the wrong vendor."""
    try:
        yield
    except WatertightError as error:
        error.calendar_id = calendar.id
        raise


def keep_try(session: Session, reference: str, error: WatertightError, *, number: int) -> None:
    """One try failed, and another will follow."""
    record_attempt(session, TASK, reference=reference, error=error, number=number)


def keep_failure(session: Session, calendar_id: int, reference: str, error: WatertightError, *, attempts: int) -> None:
    """The last try failed too. One alert for a calendar and code, whatever number of proposals stand behind it.

    The cause is named by the calendar that was worked on, since success there ends it; the alert is about the one to blame.
    """
    keep_try(session, reference, error, number=attempts)
    letter = record_dead_letter(
        session, TASK, reference=reference, error=error, attempts=attempts, calendar_id=calendar_id
    )
    blamed = error.calendar_id or calendar_id
    detail = {"calendar": blamed, "reference": reference, "failure": letter, "code": error.code}
    open_alert(session, f"commit:{calendar_id}:{error.code}", code=error.code, detail=detail, calendar_id=blamed)
