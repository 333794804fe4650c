"""Which alert belongs to a run that gave up: one for each cause, however many dead letters it leaves (P11)."""

from __future__ import annotations

from sqlalchemy.orm import Session

from sync.errors import MasterCheckBypassed, NeedsHuman, WatertightError
from sync.failures import code_of, open_alert, record_attempt, record_dead_letter

COMMIT = "Commit"
JOBS = {"NewAppointmentSync.calendar": "new", "CancellationSync.calendar": "cancel", "UpdateSync.calendar": "update"}


def cause_of(task: str, *, reference: str, code: str, calendar_id: int | None) -> str:
    """The alert that such a dead letter goes with.

    A job's goes by job and calendar: under that name the next complete read resolves it. A commit's goes by calendar, as
    long as it is known. ``code`` is a part of it: a credential that is revoked is another cause than an outage before.
    """
    if task in JOBS and reference.isdigit():
        return f"{JOBS[task]}:{reference}:{code}"
    if task == COMMIT and calendar_id is not None:
        return f"commit:{calendar_id}:{code}"
    return f"task:{task}:{reference}:{code}"


def keep_failed_task(session: Session, task: str, *, reference: str, error: BaseException, attempts: int) -> None:
    """One dead letter, and one alert unless another says the same already (a stopped calendar, a wall)."""
    code = code_of(error)
    calendar_id = int(reference) if task in JOBS and reference.isdigit() else None
    if not (task in JOBS and isinstance(error, WatertightError)):  # a job has kept its own
        record_attempt(session, task, reference=reference, error=error, number=attempts)
    letter = record_dead_letter(
        session, task, reference=reference, error=error, attempts=attempts, calendar_id=calendar_id
    )
    if isinstance(error, MasterCheckBypassed) or (task in JOBS and isinstance(error, NeedsHuman)):
        return
    cause = cause_of(task, reference=reference, code=code, calendar_id=calendar_id)
    detail = {"task": task, "reference": reference, "failure": letter, "code": code}
    open_alert(session, cause, code=code, detail=detail | _of_calendar(calendar_id), calendar_id=calendar_id)


def _of_calendar(calendar_id: int | None) -> dict[str, int]:
    return {} if calendar_id is None else {"calendar": calendar_id}
