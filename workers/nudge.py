"""Wake the commit task, or a job. The row is the truth: a nudge that gets lost is made up for by upkeep."""

from __future__ import annotations

from collections.abc import Iterable

import redis
import structlog
from kombu.exceptions import OperationalError

from sync.domain import Job
from sync.hints import Nudge
from workers.app import app
from workers.dead_letters import JOBS

TASKS = {Job(job): task for task, job in JOBS.items()}
HINT_SECONDS = 60.0  # a message that waited for longer was sent again

log = structlog.get_logger(__name__)


def nudge(references: Iterable[str], *, about: str = "") -> int:
    """Send one Commit per reference; how many were sent. ``about`` (agent and calendar) is for Flower's eyes only."""
    sent = 0
    for reference in references:
        shown = f"({reference!r}, {about!r})" if about else f"({reference!r},)"
        try:
            app.send_task("Commit", args=[reference], argsrepr=shown)
        except OperationalError as error:
            log.warning("nudge.lost", reference=reference, error=type(error).__name__)
            break  # the broker is away: the rest will be found in the table
        sent += 1
    return sent


def nudge_at_once(reference: str) -> bool:
    """Send one Commit that does not wait for the row's next try; whether it was sent."""
    try:
        app.send_task("Commit", args=[reference], kwargs={"replay": True}, argsrepr=f"({reference!r}, 'replayed')")
    except OperationalError as error:
        log.warning("nudge.lost", reference=reference, error=type(error).__name__)
        return False
    return True


def start(task: str) -> bool:
    """Send one of beat's tasks out of its turn; whether it was sent."""
    try:
        app.send_task(task, expires=HINT_SECONDS)
    except OperationalError as error:
        log.warning("start.lost", task=task, error=type(error).__name__)
        return False
    return True


def wake(nudges: Iterable[Nudge]) -> int:
    """Send one message for each calendar that a job is to read now; how many were sent."""
    sent = 0
    for one in nudges:
        agent, _, calendar = one.about.partition(" via ")
        shown = f"({one.calendar_id}, {agent!r}, {calendar!r})"  # as a poll shows it
        try:
            app.send_task(TASKS[one.job], args=[one.calendar_id], argsrepr=shown, expires=HINT_SECONDS)
        except OperationalError as error:
            log.warning("hint.lost", calendar_id=one.calendar_id, job=one.job.value, error=type(error).__name__)
            break  # the broker is away: the hints stay in the table
        sent += 1
    return sent


def ask_renewal() -> None:
    """Have the channels seen to now. A message that gets lost is made up for by the next period."""
    start("RenewSubscriptions")


def waiting() -> int:
    """How many messages no commit worker has taken yet; 0 while the broker is away."""
    with app.connection_for_read() as connection:
        try:
            return int(connection.default_channel.client.llen("commit"))
        except (OperationalError, redis.RedisError) as error:
            log.warning("nudge.unknown", error=type(error).__name__)
            return 0
