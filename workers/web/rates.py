"""How often somebody may ask: a moving window of a minute in Valkey, the same for every web process.

While Valkey is away, each process grants its share of the rate (``WATERTIGHT_LIMITS_BLIND_SHARE``): fewer, never without limit.
"""

from __future__ import annotations

import functools
import hashlib
import math
import threading
from dataclasses import dataclass
from typing import Any

import redis
from limits.storage import RedisStorage
from redis.backoff import NoBackoff
from redis.retry import Retry

from providers.gates import Refusal
from providers.limits import PREFIX, SOCKET_SECONDS, Circuit
from providers.local_limits import LocalLimits
from providers.rules import Limit, Per
from workers.app import settings

WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Rate:
    """Whether one more request was ``taken``. ``left`` are allowed at once; the next is again after ``reset`` seconds."""

    taken: bool
    most: int
    left: int
    reset: float

    def headers(self) -> dict[str, str]:
        """``RateLimit`` and its policy as the IETF's draft has them, and Retry-After for who has to wait."""
        seconds = max(1, math.ceil(self.reset))
        told = {
            "RateLimit-Policy": f'"minute";q={self.most};w={WINDOW_SECONDS}',
            "RateLimit": f'"minute";r={self.left};t={seconds}',
        }
        return told if self.taken else told | {"Retry-After": str(seconds)}


class Rates:
    """Counts of whoever asks, by a name that says nothing of them. Thread-safe; connects at the first request."""

    def __init__(self, url: str | None, *, share: float) -> None:
        self._fleet = _Fleet(url) if url else None
        self._circuit = Circuit()
        self._share = share
        self._local = LocalLimits(share=share)

    def take(self, name: str, most: int) -> Rate:
        """One more request, of which there may be ``most`` a minute."""
        key = f"{PREFIX}:web:{hashlib.sha256(name.encode()).hexdigest()[:24]}"
        if self._fleet is not None and self._circuit.lets_through():
            try:
                rate = self._fleet.take(key, most)
            except redis.RedisError as error:
                self._circuit.broke(error)
            else:
                self._circuit.worked()
                return rate
        return self._take_alone(key, most)

    def _take_alone(self, key: str, most: int) -> Rate:
        whose = f"{key}:{threading.get_ident()}"  # that allows one at once, and here nothing is under way
        taken = self._local.take(whose, [(key, Limit(Per.APP, most, WINDOW_SECONDS))])
        share = max(1, int(most * self._share))
        if isinstance(taken, Refusal):
            return Rate(taken=False, most=share, left=0, reset=taken.seconds)
        taken.leave()
        return Rate(taken=True, most=share, left=0, reset=WINDOW_SECONDS)


class _Fleet:
    """By the server's clock: see ``providers.limits``. Every method may raise redis.RedisError."""

    def __init__(self, url: str) -> None:
        pool = redis.ConnectionPool.from_url(
            url, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self._client = redis.Redis(connection_pool=pool)
        self._windows = RedisStorage(url, connection_pool=pool)

    def take(self, key: str, most: int) -> Rate:
        seconds, microseconds = self._now()
        now = seconds + microseconds / 1_000_000
        taken = bool(self._windows.lua_acquire_moving_window(keys=[key], args=[now, most, WINDOW_SECONDS, 1]))
        window = self._windows.lua_moving_window(keys=[key], args=[now - WINDOW_SECONDS, most])
        oldest, count = (float(window[0]), int(window[1])) if window else (now, 0)
        return Rate(taken=taken, most=most, left=max(0, most - count), reset=oldest + WINDOW_SECONDS - now)

    def _now(self) -> tuple[int, int]:
        told: Any = self._client.time()
        return int(told[0]), int(told[1])


@functools.lru_cache(maxsize=1)
def connected() -> Rates:
    """The counts that this process shares with all who have the same broker."""
    return Rates(settings().counters(), share=settings().limits_blind_share)
