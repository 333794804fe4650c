"""CancellationSync: notice cancelled appointments, one calendar at a time."""

from __future__ import annotations

from typing import Any

from sync.domain import Job
from workers.app import app, settings
from workers.jobs import fan_out, run_calendar


@app.task(name="CancellationSync", bind=True, time_limit=None, soft_time_limit=None)
def sync_all(task: Any, among: list[int] | None = None) -> str:  # noqa: ANN401 - Celery has no types
    """Beat's entry: one subtask per due calendar; with ``among`` (ids), of these alone."""
    return fan_out(task, sync_calendar, Job.CANCEL, every=settings().cancel_every, among=among)


@app.task(name="CancellationSync.calendar", bind=True, max_retries=None, time_limit=None, soft_time_limit=None)
def sync_calendar(task: Any, calendar_id: int) -> str:  # noqa: ANN401 - Celery has no types
    return run_calendar(task, Job.CANCEL, calendar_id)
