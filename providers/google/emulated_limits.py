"""Requests per minute and person. Source: developers.google.com/calendar/api/guides/quota (sliding window)."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0


class Limits:
    """Counts the requests of each person; those refused do not count."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    def admits(self, person: str, *, most: int) -> bool:
        """Count one more request in, unless ``most`` have been made within the window."""
        now = self._now()
        recent = self._recent[person]
        while recent and recent[0] <= now - WINDOW_SECONDS:
            recent.popleft()
        if len(recent) >= most:
            return False
        recent.append(now)
        return True
