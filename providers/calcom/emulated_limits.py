"""Requests per minute and key. Source: calcom/cal.com, ``docs/api-reference/v2`` on rate limits (120 for an API key)."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0


class Limits:
    """Counts the requests of each key; those refused do not count."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    def wait(self, key: str, *, most: int) -> float | None:
        """Count one more request in: None, or the seconds to wait if ``most`` have been made within the window."""
        now = self._now()
        recent = self._recent[key]
        while recent and recent[0] <= now - WINDOW_SECONDS:
            recent.popleft()
        if len(recent) >= most:
            return recent[0] + WINDOW_SECONDS - now
        recent.append(now)
        return None
