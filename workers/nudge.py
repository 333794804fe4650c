"""Wake the commit task. The row is the truth: a nudge that gets lost is made up for by ResumeCommits."""

from __future__ import annotations

from collections.abc import Iterable

import redis
import structlog
from kombu.exceptions import OperationalError

from workers.app import app

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


def waiting() -> int:
    """How many messages no commit worker has taken yet; 0 while the broker is away."""
    with app.connection_for_read() as connection:
        try:
            return int(connection.default_channel.client.llen("commit"))
        except (OperationalError, redis.RedisError) as error:
            log.warning("nudge.unknown", error=type(error).__name__)
            return 0
