"""How many messages wait at the broker."""

from __future__ import annotations

import functools

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from providers.limits import SOCKET_SECONDS
from workers.app import settings
from workers.checks import look_at_broker
from workers.settings import SettingsError

QUEUES = ("new", "cancel", "update", "commit", "upkeep")

log = structlog.get_logger(__name__)


def find_lengths() -> dict[str, int] | None:
    """By queue, what no worker has taken yet; None while the broker is away."""
    try:
        if not settings().broker().startswith("redis"):
            found = look_at_broker(settings())
            return None if found is None or found.waiting is None else dict(found.waiting)
        with _client().pipeline(transaction=False) as asked:
            for queue in QUEUES:
                asked.llen(queue)
            return dict(zip(QUEUES, map(int, asked.execute()), strict=True))
    except (redis.RedisError, SettingsError, ValueError) as error:
        log.warning("console.broker_away", error=type(error).__name__)
        return None


@functools.lru_cache(maxsize=1)
def _client() -> redis.Redis:
    """Waits no longer than a page may take, as kombu would."""
    return redis.Redis.from_url(
        settings().broker(),
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
