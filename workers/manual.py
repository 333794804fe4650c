"""Run one job by hand: ``watertight sync JOB``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sync.detect import Report
from sync.domain import CalendarId, Job
from sync.errors import WatertightError
from workers.nudge import nudge
from workers.wiring import Runtime


class JobName(StrEnum):
    """As Celery, Flower and the documentation call the jobs."""

    NEW = "NewAppointmentSync"
    CANCEL = "CancellationSync"
    UPDATE = "UpdateSync"


JOBS = {JobName.NEW: Job.NEW, JobName.CANCEL: Job.CANCEL, JobName.UPDATE: Job.UPDATE}


def run_by_hand(
    runtime: Runtime, name: JobName, chosen: Sequence[CalendarId], *, preview: bool
) -> list[dict[str, Any]]:
    """One row a calendar; an error in one does not keep the others from running."""
    return [_run(runtime, JOBS[name], calendar_id, preview=preview) for calendar_id in chosen]


def _run(runtime: Runtime, job: Job, calendar_id: CalendarId, *, preview: bool) -> dict[str, Any]:
    detector = runtime.detector()
    try:
        report = detector.preview(job, calendar_id) if preview else detector.run(job, calendar_id)
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


def _result(report: Report, *, preview: bool) -> str:
    return f"would propose {len(report.wishes)}" if preview else report.sentence()


def _wishes(report: Report) -> list[str]:
    return [f"{wish.kind} {wish.seen.interval or ''} ({wish.seen.remote_id})" for wish in report.wishes]
