"""Requests per minute of each person and of the project. Source: developers.google.com/calendar/api/guides/quota."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Final

WINDOW_SECONDS: Final = 60.0  # sliding
LIMITS: Final = {"person_per_minute": 600, "project_per_minute": 10_000}

_PROJECT: Final = ""


class Limits:
    """Counts the requests of each person, and of all together: one emulator is one project. Those refused do not count."""

    def __init__(self, most: Mapping[str, int], *, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    def refuse(self, person: str) -> str | None:
        """The reason why ``person`` may not make one more request, as Google spells it; None counts it in."""
        if self._count(person) >= self._most["person_per_minute"]:
            return "userRateLimitExceeded"
        if self._count(_PROJECT) >= self._most["project_per_minute"]:
            return "rateLimitExceeded"
        for name in (person, _PROJECT):
            self._recent[name].append(self._now())
        return None

    def _count(self, name: str) -> int:
        recent, start = self._recent[name], self._now() - WINDOW_SECONDS
        while recent and recent[0] <= start:
            recent.popleft()
        return len(recent)
