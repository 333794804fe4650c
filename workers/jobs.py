"""What the three sync jobs have in common: fan out one task per calendar, run it, and let the error's branch decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.listings import list_due_calendars
from models.session import transaction
from sync.detect import Report
from sync.domain import CalendarId, Job
from sync.errors import NeedsHuman, RateLimited, WatertightError
from sync.failures import open_alert, record_attempt
from sync.hints import Nudge, pass_on
from sync.patience import hold_back, put_off
from sync.retry import RetryIn, RetryPolicy
from sync.schedule import find_period
from workers.app import runtime, settings
from workers.nudge import nudge, wake
from workers.wiring import rand

POLICY = RetryPolicy(max_attempts=5, base=2.0, cap=60.0)  # the cap stays far below the visibility timeout
UNUSUAL_FAILURES = 3  # in a row: that a vendor asks to wait now and then needs nobody's attention
SPREAD = 0.5  # of the period: fan-out is spread, not fired at once
BATCH = 100  # calendars: to send more messages than that takes longer than beat's slot should

log = structlog.get_logger(__name__)


def fan_out(task: Any, subtask: Any, job: Job, *, every: float, among: Sequence[int] | None = None) -> str:  # noqa: ANN401 - Celery has no types
    """One ``subtask`` per due calendar, spread over half of the period ``every`` (seconds) and void after it.

    The period in the schedule wins over that of the settings. A calendar whose vendor tells us about changes is read only
    every few periods, and so is one in which nothing has changed for long. Of many calendars ``task`` itself is sent for a
    batch at a time (``among``), when it is their turn: beat's slot stays short, and the batches are worked off by many.
    """
    factor = settings().poll_factor
    with transaction(runtime().sessions) as session:
        every = find_period(session, task.name) or every
        # Half a period: what was read at a slot is due at another.
        fresh = every * (factor - 0.5) if factor > 1 else 0.0
        due = list_due_calendars(session, job.value, fresh_seconds=fresh, early_seconds=every / 2, among=among)
    if among is None and len(due) > BATCH:
        return _send_batches(task, [calendar.id for calendar in due], every=every)
    spread = every * SPREAD if among is None else 0.0
    for position, calendar in enumerate(due):
        subtask.apply_async(
            args=[calendar.id],
            argsrepr=f"({calendar.id}, {calendar.agent!r}, '{calendar.provider} {calendar.role}')",
            countdown=min(spread * position / len(due), POLICY.cap),
            expires=max(every, 5.0),
        )
    return f"{len(due)} calendars"


def _send_batches(task: Any, ids: Sequence[int], *, every: float) -> str:  # noqa: ANN401 - Celery has no types
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    for position, batch in enumerate(batches):
        task.apply_async(
            kwargs={"among": batch},  # not args: by these failures are told apart, and all of beat's runs are one cause
            kwargsrepr=f"({len(batch)} calendars from {batch[0]})",
            countdown=min(every * SPREAD * position / len(batches), POLICY.cap),
            expires=max(every, 5.0),
        )
    return f"{len(ids)} calendars in {len(batches)} batches"


def run_calendar(task: Any, job: Job, calendar_id: int) -> str:  # noqa: ANN401 - Celery has no types
    """Run one job for one calendar; the answer is Flower's one-line result.

    Raises:
        celery.exceptions.Retry: the error's branch says that it is worth another try.
        WatertightError: it is not, or not any more.
    """
    try:
        report = runtime().detector().run(job, CalendarId(calendar_id))
    except WatertightError as error:
        failed = _Failed(task.name, job, CalendarId(calendar_id), error, task.request.retries + 1)
        decision = POLICY.decide(error, attempt=failed.number, rand=rand())
        if isinstance(decision, RetryIn) and decision.seconds <= POLICY.cap:
            _hold_back(failed, decision.seconds)
            # The first message was void after its period; this one is not, or a vendor that hangs would never be given up.
            told = task.request.get("argsrepr")  # kept, else Flower would show the bare number from now on
            shown = {"argsrepr": told} if told else {}
            raise task.retry(exc=error, countdown=decision.seconds, expires=None, **shown) from error
        if isinstance(error, NeedsHuman):
            _stop(failed)
            raise
        failures, seconds = _put_off(failed)
        if isinstance(error, RateLimited) and failures < UNUSUAL_FAILURES:
            return f"left alone for {seconds:.0f} s, as the vendor asked"
        raise
    _nudge(report)
    _pass_on(report)
    return report.sentence()


def _nudge(report: Report) -> None:
    nudge((f"proposal:{proposal}" for proposal in report.proposals), about=report.about)


def _pass_on(report: Report) -> None:
    """What was announced while the run worked, and what it has seen of others' work, is looked at at once."""
    if report.again:
        wake([Nudge(report.job, report.calendar_id, report.about)])
    if report.others:
        wake(pass_on(runtime().sessions, report.calendar_id, report.others))


@dataclass(frozen=True, slots=True)
class _Failed:
    """One try of a run that failed; ``number`` counts from 1."""

    task: str
    job: Job
    calendar_id: CalendarId
    error: WatertightError
    number: int

    def keep(self, session: Session) -> None:
        record_attempt(session, self.task, reference=str(self.calendar_id), error=self.error, number=self.number)


def _hold_back(failed: _Failed, seconds: float) -> None:
    """While this run keeps trying, beat starts no other beside it."""
    with transaction(runtime().sessions) as session:
        failed.keep(session)
        hold_back(session, failed.job, failed.calendar_id, seconds=seconds)


def _put_off(failed: _Failed) -> tuple[int, float]:
    """The job leaves this calendar alone for a while; the others go on, and so does this job elsewhere (P9)."""
    with transaction(runtime().sessions) as session:
        failed.keep(session)
        failures, seconds = put_off(session, failed.job, failed.calendar_id, failed.error, rand=rand())
    about = {"calendar_id": failed.calendar_id, "job": failed.job.value, "code": failed.error.code}
    log.warning("calendar.put_off", **about, seconds=round(seconds))
    return failures, seconds


def _stop(failed: _Failed) -> None:
    """No job touches this calendar until a person releases it: ``watertight calendars release``."""
    code, calendar_id = failed.error.code, failed.calendar_id
    with transaction(runtime().sessions) as session:
        failed.keep(session)
        session.get_one(Calendar, calendar_id, with_for_update=True).stopped_code = code
        open_alert(
            session,
            f"stopped:{calendar_id}",
            code=code,
            detail={"calendar": calendar_id, "job": failed.job.value, "code": code},
            calendar_id=calendar_id,
        )
    log.error("calendar.stopped", calendar_id=calendar_id, job=failed.job.value, code=code)
