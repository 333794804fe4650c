"""The floor of everything that goes through Celery: a task that does nothing. Only the benchmarks' workers know it."""

from __future__ import annotations

from celery import Task

from workers.app import app


@app.task(name="Noop", base=Task)  # type: ignore[untyped-decorator]
def noop() -> None:
    """Do nothing."""
