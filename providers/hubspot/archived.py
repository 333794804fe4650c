"""The list of archived meetings, which no search shows. HubSpot filters it by nothing, not even by owner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from providers.hubspot.payloads import PROPERTIES
from providers.transport import Transport
from sync.errors import ProviderUnavailable

ARCHIVE_SECONDS = 30.0  # what a kept list lacks is found by a later one: shorter than the overlap of two reads
PAGE_ROWS = 100  # the most that one page may hold
MAX_PAGES = 1000

ROUTE = "/crm/objects/meetings?archived=true"


class ArchivedList:
    """All archived meetings of an account, read once for many calendars and kept for ``kept_seconds``."""

    def __init__(
        self,
        url: str,
        *,
        transport: Transport,
        kept_seconds: float = ARCHIVE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._transport = transport
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, list[dict[str, Any]]] | None = None

    def read(self) -> list[dict[str, Any]]:
        """Every archived meeting, as it was at most ``kept_seconds`` ago. Whoever asks meanwhile waits for one reading.

        Raises:
            ProviderUnavailable: a page is not a list of meetings, or the pages do not end.
        """
        with self._lock:
            if self._kept is not None and self._clock() - self._kept[0] < self._kept_seconds:
                return self._kept[1]
            began = self._clock()
            rows = [row for page in self._pages() for row in page["results"] if _is_archived(row)]
            self._kept = began, rows
            return rows

    def _pages(self) -> Iterator[dict[str, Any]]:
        asked = {"archived": "true", "limit": str(PAGE_ROWS), "properties": ",".join(PROPERTIES)}
        seen: set[str] = set()
        while True:
            page = self._transport.request("GET", self._url, route=ROUTE, params=asked).body
            if not isinstance(page.get("results"), list) or len(page["results"]) > PAGE_ROWS:
                raise ProviderUnavailable(f"hubspot GET {ROUTE}: not a page of meetings")
            yield page
            after = _after(page)
            if after is None:
                return
            if after in seen or len(seen) >= MAX_PAGES:
                raise ProviderUnavailable(f"hubspot GET {ROUTE}: the pages do not end")
            seen.add(after)
            asked["after"] = after


def _is_archived(row: object) -> bool:
    return isinstance(row, dict) and row.get("archived") is True


def _after(page: Mapping[str, Any]) -> str | None:
    match page.get("paging"):
        case {"next": {"after": str(after)}} if after:
            return after
        case None | {"next": None}:
            return None
        case _:
            raise ProviderUnavailable(f"hubspot GET {ROUTE}: paging cannot be understood")
