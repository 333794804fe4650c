"""When is the stack quiet? When nothing is open and two rounds of reading everything found nothing more to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import OperationalError

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


def await_quiet(sessions: Sessions, *, standstill: float, at_most: float) -> Quiet:
    """Wait until nothing is open, every job has read every calendar since, and that happened twice without news.

    Gives up after ``standstill`` seconds without progress: a slow machine breaks no promise, one that stands still does.
    After ``at_most`` it gives up in any case: work that makes new work for ever is never quiet.
    """
    clock = _Standstill(standstill, at_most)
    before: WorkFigure | None = None
    since = now()
    while not clock.is_over():
        time.sleep(LOOK_SECONDS)
        work = _work(sessions)
        clock.saw(work)
        if work is None or not _is_idle(sessions, since=since):
            continue
        if work == before:
            return Quiet(reached=True, seconds=clock.seconds)
        before, since = work, now()
    return Quiet(reached=False, seconds=clock.seconds, open=_open(sessions, since=since))


class _Standstill:
    """How long nothing has been done."""

    def __init__(self, standstill: float, at_most: float) -> None:
        self._began = self._moved = time.monotonic()
        self._standstill, self._at_most = standstill, at_most
        self._work: WorkFigure | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def saw(self, work: WorkFigure | None) -> None:
        if work is not None and work != self._work:
            self._work, self._moved = work, time.monotonic()

    def is_over(self) -> bool:
        return time.monotonic() - self._moved > self._standstill or self.seconds > self._at_most


def _work(sessions: Sessions) -> WorkFigure | None:
    """What has been done so far; None while the database does not answer (it may be in the middle of a restart)."""
    try:
        with transaction(sessions) as session:
            return count_work(session)
    except OperationalError:
        return None


def _is_idle(sessions: Sessions, *, since: datetime) -> bool:
    """Whether nothing is open and every calendar was read by every job after ``since``."""
    try:
        with transaction(sessions) as session:
            still_open = list_open(session)
        return still_open == (0, 0) and not _unread(sessions, since=since)
    except OperationalError:
        return False


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
    except OperationalError as error:
        return (f"the database does not answer ({type(error).__name__})",)
    return tuple(found[:SHOWN]) or ("new work kept coming",)
