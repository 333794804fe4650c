"""How many requests an account may make: in ten seconds, in a day, and searches in a second.

Source: developers.hubspot.com/changelog/increasing-our-api-limits (a professional account). Refused requests do not count.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

BURST_SECONDS = 10.0
BURST_REQUESTS = 190
SEARCHES_PER_SECOND = 5
DAY_REQUESTS = 650_000


class Limits:
    """Counts the requests of one account; the numbers may be changed while it runs."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self.burst = BURST_REQUESTS
        self.searches = SEARCHES_PER_SECOND
        self.daily = DAY_REQUESTS
        self._now = now
        self._day = 0
        self._recent: deque[float] = deque()
        self._searched: deque[float] = deque()

    def exceeded(self, *, searching: bool) -> str | None:
        """Count one more request in, unless a policy forbids it: then its name."""
        now = self._now()
        _forget(self._recent, before=now - BURST_SECONDS)
        _forget(self._searched, before=now - 1.0)
        if self._day >= self.daily:
            return "DAILY"
        if len(self._recent) >= self.burst:
            return "TEN_SECONDLY_ROLLING"
        if searching and len(self._searched) >= self.searches:
            return "SECONDLY"
        self._day += 1
        self._recent.append(now)
        if searching:
            self._searched.append(now)
        return None

    def headers(self) -> dict[str, str]:
        """What every answer but that of a search tells of them."""
        return {
            "X-HubSpot-RateLimit-Max": str(self.burst),
            "X-HubSpot-RateLimit-Remaining": str(max(0, self.burst - len(self._recent))),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(int(BURST_SECONDS * 1000)),
            "X-HubSpot-RateLimit-Daily": str(self.daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, self.daily - self._day)),
        }


def _forget(moments: deque[float], *, before: float) -> None:
    while moments and moments[0] <= before:
        moments.popleft()
