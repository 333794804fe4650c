"""Run one job by hand: ``watertight sync JOB``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import tenacity

from sync.detect import Report
from sync.domain import CalendarId, Job
from sync.errors import RateLimited, WatertightError
from workers.nudge import nudge
from workers.wiring import Runtime


class JobName(StrEnum):
    """As Celery, Flower and the documentation call the jobs."""

    NEW = "NewAppointmentSync"
    CANCEL = "CancellationSync"
    UPDATE = "UpdateSync"


PATIENCE_SECONDS = 30.0
SOON_SECONDS = 5.0

JOBS = {JobName.NEW: Job.NEW, JobName.CANCEL: Job.CANCEL, JobName.UPDATE: Job.UPDATE}


def run_by_hand(
    runtime: Runtime, name: JobName, chosen: Sequence[CalendarId], *, preview: bool
) -> list[dict[str, Any]]:
    """One row a calendar; an error in one does not keep the others from running."""
    return [_run(runtime, JOBS[name], calendar_id, preview=preview) for calendar_id in chosen]


def _run(runtime: Runtime, job: Job, calendar_id: CalendarId, *, preview: bool) -> dict[str, Any]:
    detector = runtime.detector()
    try:
        report = _patiently(detector.preview if preview else detector.run, job, calendar_id)
    except WatertightError as error:
        return {"calendar": calendar_id, "result": None, "proposals": [], "error": f"{error.code}: {error}"}
    if not preview:
        nudge(f"proposal:{proposal}" for proposal in report.proposals)
    return {
        "calendar": calendar_id,
        "result": _result(report, preview=preview),
        "proposals": _wishes(report),
        "error": None,
    }


def _patiently(work: Callable[[Job, CalendarId], Report], job: Job, calendar_id: CalendarId) -> Report:
    """The workers share the vendor's limits with us: a person would rather wait a few seconds than read "no room"."""
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_soon),
        wait=lambda state: _asked(state.outcome.exception() if state.outcome else None),
        stop=tenacity.stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    )
    return retrying(work, job, calendar_id)


def _is_soon(error: BaseException) -> bool:
    return isinstance(error, RateLimited) and _asked(error) <= SOON_SECONDS


def _asked(error: BaseException | None) -> float:
    return (error.retry_after if isinstance(error, RateLimited) else None) or 1.0


def _result(report: Report, *, preview: bool) -> str:
    return f"would propose {len(report.wishes)}" if preview else report.sentence()


def _wishes(report: Report) -> list[str]:
    return [f"{wish.kind} {wish.seen.interval or ''} ({wish.seen.remote_id})" for wish in report.wishes]
