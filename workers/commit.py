"""Commit: the one task that decides, and the only process that holds writers (P3)."""

from __future__ import annotations

import functools
import os
from typing import Any, assert_never

from sync.commit.engine import CommitEngine
from sync.commit.outcome import Accepted, Outcome, Refused, Skipped, Snoozed, Written
from workers.app import app, committing_runtime
from workers.nudge import nudge
from workers.wiring import rand

RETRY_WITHIN_SECONDS = 60.0  # a longer wait is the row's not_before, found by ResumeCommits
CLOCK_SLACK_SECONDS = 0.05  # the row's wait is measured by the database's clock


@functools.cache
def engine(_pid: int) -> CommitEngine:
    runtime = committing_runtime()
    return CommitEngine(runtime.sessions, runtime.calendars, rand=rand)


# Without end, said here: to ``retry`` itself None means "as the task says", which would be three times.
@app.task(name="Commit", bind=True, max_retries=None)
def commit(task: Any, reference: str, *, replay: bool = False) -> str:  # noqa: ANN401 - Celery has no types
    """Work on ``proposal:ID`` or ``write:ID``; safe to run any number of times. With ``replay`` it does not wait its time."""
    if replay:
        engine(os.getpid()).hurry(reference)
    return conclude(task, engine(os.getpid()).commit(reference), reference=reference)


def conclude(task: Any, outcome: Outcome, *, reference: str) -> str:  # noqa: ANN401 - Celery has no types
    """Turn the outcome into nudges, a retry or the one line that Flower shows.

    Raises:
        celery.exceptions.Retry: the row waits for less than a minute.
    """
    match outcome:
        case Accepted(reason, follow):
            nudge(follow, about=f"after {reference}")
            return f"accepted: {reason}"
        case Refused(reason, follow):
            nudge(follow, about=f"after {reference}")
            return f"refused: {reason}"
        case Written(what, follow):
            nudge(follow, about=f"after {reference}")
            return what
        case Skipped(why):
            return f"skipped: {why}"
        case Snoozed(seconds, code):
            if seconds <= RETRY_WITHIN_SECONDS:
                raise task.retry(kwargs={}, countdown=seconds + CLOCK_SLACK_SECONDS)
            return f"waits {seconds:.0f} s: {code}"
        case _:
            assert_never(outcome)
