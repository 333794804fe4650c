"""When is the stack quiet? When nothing is open and two rounds of reading everything found nothing more to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from models.figures import WorkFigure, count_work, list_stopped_calendars, list_unfinished
from models.listings import list_calendars
from models.queries import list_open
from models.session import Sessions, transaction
from sync.domain import Job
from workers.diary import now

LOOK_SECONDS = 0.3
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Quiet:
    """Whether it became quiet; if not, ``open`` names what was still to do."""

    reached: bool
    seconds: float
    open: tuple[str, ...] = ()


def await_quiet(sessions: Sessions, *, timeout: float) -> Quiet:
    """Wait until nothing is open, every job has read every calendar since, and that happened twice without news."""
    began, deadline = time.monotonic(), time.monotonic() + timeout
    before: WorkFigure | None = None
    since = now()
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        work = _work_if_idle(sessions, since=since)
        if work is None:
            continue
        if work == before:
            return Quiet(reached=True, seconds=time.monotonic() - began)
        before, since = work, now()
    return Quiet(reached=False, seconds=time.monotonic() - began, open=_open(sessions, since=since))


def _work_if_idle(sessions: Sessions, *, since: datetime) -> WorkFigure | None:
    """What has been done so far, if nothing is open and everything was read after ``since``."""
    try:
        with transaction(sessions) as session:
            if list_open(session) != (0, 0) or _unread(sessions, since=since):
                return None
            return count_work(session)
    except SQLAlchemyError:  # the database may be in the middle of a restart
        return None


def _unread(sessions: Sessions, *, since: datetime) -> list[str]:
    """The calendars that a job has not begun to read after ``since``."""
    with transaction(sessions) as session:
        calendars = list_calendars(session)
    return [
        f"{job.value} has not read {calendar.agent} {calendar.provider} since {since:%H:%M:%S}"
        for calendar in calendars
        for job in Job
        if job.value not in calendar.read_at or calendar.read_at[job.value] <= since
    ]


def _open(sessions: Sessions, *, since: datetime) -> tuple[str, ...]:
    try:
        unread = _unread(sessions, since=since)
        with transaction(sessions) as session:
            found = [*list_unfinished(session, limit=SHOWN), *list_stopped_calendars(session), *unread]
    except SQLAlchemyError as error:
        return (f"the database does not answer ({type(error).__name__})",)
    return tuple(found[:SHOWN]) or ("new work kept coming",)
