"""Beat over one table: any number of beats, each slot fired once, an operator's change kept (docs/adr/0006)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from celery.beat import Scheduler
from sqlalchemy import case, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.schedule import BeatFire, BeatJob
from models.session import Sessions, database_now, transaction
from sync.schedule import DEFAULTS, next_slot
from workers.app import runtime, touch_heartbeat
from workers.settings import Settings

log = structlog.get_logger(__name__)


def default_periods(settings: Settings) -> dict[str, float]:
    """Seconds between runs, by task name."""
    return {
        "NewAppointmentSync": settings.new_every,
        "CancellationSync": settings.cancel_every,
        "UpdateSync": settings.update_every,
        "ResumeCommits": settings.resume_every,
        "ReleaseHolds": settings.release_every,
        "RenewSubscriptions": settings.renew_every,
    }


def install_defaults(sessions: Sessions, settings: Settings) -> None:
    """Add missing entries and follow changed settings; an entry that an operator has changed is left alone.

    One that is overdue stays due: beat has just come back, and what it missed is to be made up for now.
    """
    with transaction(sessions) as session:
        now = database_now(session)
        for name, every in default_periods(settings).items():
            row = insert(BeatJob).values(name=name, task=name, every_seconds=every, next_slot=next_slot(now, every))
            session.execute(
                row.on_conflict_do_update(
                    index_elements=["name"],
                    set_={
                        "every_seconds": row.excluded.every_seconds,
                        "next_slot": case((BeatJob.next_slot <= now, BeatJob.next_slot), else_=row.excluded.next_slot),
                    },
                    where=(BeatJob.changed_by == DEFAULTS) & (BeatJob.every_seconds != row.excluded.every_seconds),
                )
            )


def fire_due(sessions: Sessions) -> list[tuple[str, str, float]]:
    """Claim every due slot: (task, task id, period). Slots missed while no beat ran count as one.

    A slot is claimed by compare-and-set and recorded under its primary key in the same transaction, so of many beats one
    gets it. A beat that dies between this and publishing loses that one slot; the next comes a period later.
    """
    with transaction(sessions) as session:
        now = database_now(session)
        due = session.scalars(
            select(BeatJob).where(BeatJob.enabled, BeatJob.next_slot <= now).order_by(BeatJob.name)
        ).all()
        return [_fired(job, slot) for job in due if (slot := _claim(session, job, now)) is not None]


def _claim(session: Session, job: BeatJob, now: datetime) -> datetime | None:
    """The slot, if it is ours. An operator may have changed the entry since it was read: then it is looked at again soon.

    A slot that was fired before (the database's clock was set back) is passed over: it must not stop the other jobs.
    """
    slot = job.next_slot
    same = (BeatJob.enabled, BeatJob.next_slot == slot, BeatJob.every_seconds == job.every_seconds)
    claimed = session.execute(
        update(BeatJob)
        .where(BeatJob.id == job.id, *same)
        .values(last_slot=slot, next_slot=next_slot(now, job.every_seconds))
        .returning(BeatJob.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if claimed is None:
        return None
    return session.scalar(
        insert(BeatFire).values(name=job.name, slot=slot).on_conflict_do_nothing().returning(BeatFire.slot)
    )


def _fired(job: BeatJob, slot: datetime) -> tuple[str, str, float]:
    return job.task, f"{job.name}@{slot:%Y%m%dT%H%M%S.%f}Z", job.every_seconds


class PostgresScheduler(Scheduler):
    """Celery's beat loop around ``fire_due``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Celery's own arguments
        self._installed = False
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Nothing at start: the database may come up after us."""

    def tick(self, *_: object, **__: object) -> float:
        """Fire what is due; seconds until the next look."""
        longest = float(self.max_interval or 2)
        touch_heartbeat("beat")
        try:
            sessions = runtime().sessions
            if not self._installed:
                install_defaults(sessions, runtime().settings)
                self._installed = True
            for task, task_id, every in fire_due(sessions):
                self._publish(task, task_id=task_id, every=every)
            return self._until_next(sessions, longest=longest)
        except SQLAlchemyError as error:
            log.warning("beat.database_away", error=type(error).__name__)
            return longest

    def _publish(self, task: str, *, task_id: str, every: float) -> None:
        try:
            self.app.send_task(task, task_id=task_id, expires=max(every, 5.0))
        except self.app.connection_for_write().recoverable_connection_errors as error:
            log.warning("beat.broker_away", task=task, error=type(error).__name__)
        except Exception:  # a lost slot must not end the scheduler
            log.exception("beat.not_published", task=task)

    def _until_next(self, sessions: Sessions, *, longest: float) -> float:
        with transaction(sessions) as session:
            coming = session.scalars(
                select(BeatJob.next_slot).where(BeatJob.enabled).order_by(BeatJob.next_slot)
            ).first()
            now = database_now(session)
        return longest if coming is None else min(longest, max(0.0, (coming - now).total_seconds()))
