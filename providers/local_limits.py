"""The limits of one process alone, for as long as the fleet's count cannot be reached: slow, not unlimited.

The library's own storage in memory starts a thread for each expiry, so this is a few lines of ours.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from providers.gates import Place, Refusal
from providers.rules import SLACK_SECONDS, Limit

BUSY_SECONDS = 0.05
"""How long to wait for somebody else's request before looking again."""


class LocalLimits:
    """A ``share`` of every rate and one request at once for each account. Thread-safe."""

    def __init__(self, *, share: float, now: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._now = now
        self._lock = threading.Lock()
        self._parked: dict[str, float] = {}
        self._inside: set[str] = set()
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    def park(self, account: str, seconds: float) -> None:
        """Keep everybody of this process out for ``seconds``, unless it is longer already."""
        with self._lock:
            self._parked[account] = max(self._parked.get(account, 0.0), self._now() + seconds)

    def parked(self, account: str) -> float:
        """For how many seconds more; 0 if not at all."""
        with self._lock:
            left = self._parked.get(account, 0.0) - self._now()
            if left <= 0.0:
                self._parked.pop(account, None)
            return max(left, 0.0)

    def take(self, account: str, rates: Sequence[tuple[str, Limit]]) -> Place | Refusal:
        """A place, counted into every rate; or none, counted nowhere."""
        with self._lock:
            if account in self._inside:
                return Refusal(BUSY_SECONDS)
            wait = max((self._until_free(key, limit) for key, limit in rates), default=0.0)
            if wait > 0.0:
                return Refusal(wait)
            for key, _ in rates:
                self._recent[key].append(self._now())
            self._inside.add(account)
            leave = functools.partial(self._leave, account)
            return Place(leave, abandon=leave)

    def _until_free(self, key: str, limit: Limit) -> float:
        recent, start = self._recent[key], self._now() - limit.seconds - SLACK_SECONDS
        while recent and recent[0] <= start:
            recent.popleft()
        most = max(1, int(limit.most * self._share))
        return recent[-most] - start if len(recent) >= most else 0.0

    def _leave(self, account: str) -> None:
        with self._lock:
            self._inside.discard(account)
