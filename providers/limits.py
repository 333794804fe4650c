"""The vendors' limits, shared by the whole fleet through Valkey (P10).

Rates are moving windows of the library ``limits``, counted by the server's clock: with each worker's own, one whose clock
is slow would go over every limit, and one whose clock is fast would stop all others. Places (requests under way) are a
sorted set of leases, and a vendor's "too fast" is a key that expires. Keys carry digests of accounts, never addresses
(P12).

While Valkey is away, each process keeps to a small share of every rate, one request at once.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
import requests
import structlog
from limits.storage import RedisStorage
from redis.backoff import NoBackoff
from redis.retry import Retry

from providers.gates import DEFAULT_PARK_SECONDS, Gate, NoRoom, Place, Refusal
from providers.local_limits import LocalLimits
from providers.observed import tell_parked, tell_turned_away
from providers.rules import SLACK_SECONDS, Limit, Per, Rules
from providers.verdicts import MOST_RETRY_AFTER_SECONDS

PREFIX = "watertight:limit"
PATIENCE_SECONDS = 2.0  # how long a request waits for its turn
PLACE_SECONDS = 35.0  # longer than any request: deadlines.DEADLINE_SECONDS and a slow connect
SOCKET_SECONDS = 1.0
AWAY_SECONDS = 5.0  # how long nobody but one asks a Valkey that did not answer

_LOOK_AGAIN_SECONDS = (0.02, 0.08)  # for a place; spread, so that those who wait do not ask in step
_NO_PLACE_SECONDS = 1.0
_RANDOM = random.SystemRandom()

_ENTER = """
local parked = redis.call('PTTL', KEYS[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if parked > 0 then return {'parked', parked, now} end
for i = 2, #KEYS do
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    if redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[i + 1]) then return {'full', 0, now} end
end
for i = 2, #KEYS do
    redis.call('ZADD', KEYS[i], now + ARGV[2], ARGV[1])
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
return {'in', 0, now}
"""
_PARK = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keys:
    """Where one gate is counted."""

    park: str
    places: tuple[tuple[str, Limit], ...]
    rates: tuple[tuple[str, Limit], ...]

    @staticmethod
    def of(vendor: str, *, app: str, account: str, limits: tuple[Limit, ...]) -> Keys:
        """``account`` in one spelling, since digests know no case."""
        whose = {Per.APP: _digest(app), Per.ACCOUNT: _digest(account), Per.BOTH: _digest(app, account)}
        named = tuple((f"{PREFIX}:{vendor}:{limit.name}:{whose[limit.per]}", limit) for limit in limits)
        return Keys(
            park=f"{PREFIX}:{vendor}:parked:{whose[Per.ACCOUNT]}",
            places=tuple((key, limit) for key, limit in named if not limit.seconds),
            rates=tuple((key, limit) for key, limit in named if limit.seconds),
        )

    def rates_of(self, route: str) -> list[tuple[str, Limit]]:
        """The tightest first: whoever waits for it looks again and again, and must not use up the others meanwhile."""
        counting = [(key, limit) for key, limit in self.rates if limit.counts(route)]
        return sorted(counting, key=lambda rate: rate[1].most / rate[1].seconds)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


class Fleet:
    """The counts in Valkey. Every method may raise redis.RedisError."""

    def __init__(self, url: str, *, place_seconds: float) -> None:
        self._place_ms = int(place_seconds * 1000)
        pool = redis.ConnectionPool.from_url(
            url,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = redis.Redis(connection_pool=pool)
        self._windows = RedisStorage(url, connection_pool=pool)
        self._enter = self._client.register_script(_ENTER)
        self._park = self._client.register_script(_PARK)

    def park(self, keys: Keys, seconds: float) -> None:
        self._park(keys=[keys.park], args=[max(1, int(seconds * 1000))])

    def take(self, keys: Keys, route: str) -> str | Refusal:
        """The name of a place, counted into every rate. A refused request may be counted into some of its rates."""
        name = uuid.uuid4().hex
        most = [limit.most for _, limit in keys.places]
        answer: Any = self._enter(
            keys=[keys.park, *(key for key, _ in keys.places)], args=[name, self._place_ms, *most]
        )
        state, left_ms, now_ms = answer
        if state == b"parked":
            return Refusal(left_ms / 1000, parked=True)
        if state == b"full":
            return Refusal(_RANDOM.uniform(*_LOOK_AGAIN_SECONDS))
        for key, limit in keys.rates_of(route):
            if wait := self._count(key, limit, now=now_ms / 1000):
                self.leave(keys, name)
                return Refusal(wait)
        return name

    def _count(self, key: str, limit: Limit, *, now: float) -> float:
        """Count one request in; otherwise for how many seconds there is no room."""
        window = limit.seconds + SLACK_SECONDS
        if self._windows.lua_acquire_moving_window(keys=[key], args=[now, limit.most, window, 1]):
            return 0.0
        oldest = self._windows.lua_moving_window(keys=[key], args=[now - window, limit.most])
        return max(float(oldest[0]) + window - now, 0.001) if oldest else 0.001

    def leave(self, keys: Keys, name: str) -> None:
        for key, _ in keys.places:
            self._client.zrem(key, name)


class Circuit:
    """Whether Valkey is asked. Once it did not answer, one caller in ``AWAY_SECONDS`` tries; the others do not wait."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._away_until: float | None = None

    @property
    def is_closed(self) -> bool:
        return self._away_until is None

    def lets_through(self) -> bool:
        with self._lock:
            if self._away_until is None:
                return True
            if self._now() < self._away_until:
                return False
            self._away_until = self._now() + AWAY_SECONDS
            return True

    def broke(self, error: Exception) -> None:
        with self._lock:
            first, self._away_until = self._away_until is None, self._now() + AWAY_SECONDS
        if first:
            log.warning("limiter.away", error=type(error).__name__)

    def worked(self) -> None:
        with self._lock:
            away, self._away_until = self._away_until is not None, None
        if away:
            log.info("limiter.back")


class FleetLimits:
    """``providers.gates.Limits`` for every process that is given the same ``url``. Connects at the first request.

    Without a ``url`` there is no fleet to be seen, and the process keeps to its share.
    """

    def __init__(
        self,
        url: str | None,
        *,
        rules: Rules,
        patience: float = PATIENCE_SECONDS,
        place_seconds: float = PLACE_SECONDS,
    ) -> None:
        self._rules = rules
        self._patience = patience
        self._fleet = Fleet(url, place_seconds=place_seconds) if url else None
        self._circuit = Circuit()
        self._local = LocalLimits(share=rules.blind_share)

    def gate(self, vendor: str, *, app: str, account: str) -> Gate:
        keys = Keys.of(vendor, app=app, account=account.casefold(), limits=self._rules.of(vendor))
        return FleetGate(keys, vendor=vendor, limits=self, patience=self._patience)

    def park(self, keys: Keys, seconds: float) -> None:
        """In this process whatever happens to Valkey, and in the others if it can be told."""
        self._local.park(keys.park, seconds)
        if self._fleet is not None and self._circuit.lets_through():
            with self._asking():
                self._fleet.park(keys, seconds)

    def take(self, keys: Keys, route: str) -> Place | Refusal:
        if left := self._local.parked(keys.park):
            return Refusal(left, parked=True)
        if self._fleet is not None and self._circuit.lets_through():
            with self._asking():
                taken = self._fleet.take(keys, route)
                return taken if isinstance(taken, Refusal) else self._place(keys, taken)
        return self._local.take(keys.park, keys.rates_of(route))

    def _place(self, keys: Keys, name: str) -> Place:
        """A request that nobody waits for any more is under way all the same: its place ends by its own expiry."""
        return Place(lambda: self._leave(keys, name), abandon=lambda: None)

    def _leave(self, keys: Keys, name: str) -> None:
        if keys.places and self._fleet is not None and self._circuit.is_closed:
            with self._asking():
                self._fleet.leave(keys, name)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Swallows a Valkey that does not answer, and remembers it."""
        try:
            yield
        except redis.RedisError as error:
            self._circuit.broke(error)
        else:
            self._circuit.worked()


class FleetGate:
    """A ``providers.gates.Gate``."""

    def __init__(self, keys: Keys, *, vendor: str, limits: FleetLimits, patience: float) -> None:
        self._keys = keys
        self._vendor = vendor
        self._limits = limits
        self._patience = patience

    @contextmanager
    def enter(self, *, route: str) -> Iterator[None]:
        place = self._turn(route)
        try:
            yield
        except requests.Timeout:
            place.abandon()
            raise
        except BaseException:
            place.leave()
            raise
        place.leave()

    def park(self, seconds: float | None) -> None:
        wanted = DEFAULT_PARK_SECONDS if seconds is None else seconds
        if wanted > 0.0:
            tell_parked(self._vendor, seconds=min(wanted, MOST_RETRY_AFTER_SECONDS))
            self._limits.park(self._keys, min(wanted, MOST_RETRY_AFTER_SECONDS))

    def _turn(self, route: str) -> Place:
        until = time.monotonic() + self._patience
        while True:
            taken = self._limits.take(self._keys, route)
            if not isinstance(taken, Refusal):
                return taken
            if taken.parked:
                tell_turned_away(self._vendor, reason="parked")
                raise NoRoom(f"{self._vendor} {route}: parked", retry_after=taken.seconds)
            if time.monotonic() + taken.seconds > until:
                tell_turned_away(self._vendor, reason="full")
                raise NoRoom(f"{self._vendor} {route}: no room", retry_after=max(taken.seconds, _NO_PLACE_SECONDS))
            time.sleep(taken.seconds)
