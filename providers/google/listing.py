"""events.list: all pages, or an error. A part is never passed off as the whole (P6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from providers.transport import Transport
from sync.errors import Forbidden, NotFound, ProviderUnavailable

PAGE_ROWS = 2500
MAX_PAGES = 100

ROUTE = "/calendars/{calendar}/events"


class EventList:
    """The list of one calendar's events."""

    def __init__(self, url: str, *, transport: Transport) -> None:
        self._url = url
        self._transport = transport

    def read(self, params: Mapping[str, str]) -> tuple[list[object], str]:
        """Every row, and the sync token: its presence on the last page is the proof that nothing is missing.

        Raises:
            ProviderUnavailable: a page is not a list of events, the pages do not end, or the proof is absent.
            Forbidden: the calendar is not visible to this person.
        """
        rows: list[object] = []
        token = self.each(params, take=rows.extend)
        return rows, token

    def each(self, params: Mapping[str, str], *, take: Callable[[list[object]], None]) -> str:
        """Hand ``take`` the rows of every page, one page at a time; the answer is the sync token.

        What was taken counts for nothing unless this returns.

        Raises:
            ProviderUnavailable, Forbidden: as ``read``.
        """
        token: object = None
        for page in self.pages(params):
            take(page["items"])
            token = page.get("nextSyncToken")
        if not isinstance(token, str) or not token:
            raise ProviderUnavailable(f"google GET {ROUTE}: the last page has no sync token")
        return token

    def pages(self, params: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Page after page; short and empty ones are normal while there is a next token.

        Raises:
            ProviderUnavailable, Forbidden: as ``read``.
        """
        asked: dict[str, str] = {"maxResults": str(PAGE_ROWS), **params}
        seen: set[str] = set()
        before: list[object] = []
        while True:
            page = self._page(asked)
            yield page
            token = page.get("nextPageToken")
            if not token:
                return
            repeated = not isinstance(token, str) or token in seen or (page["items"] and page["items"] == before)
            if repeated or len(seen) >= MAX_PAGES:
                raise ProviderUnavailable(f"google GET {ROUTE}: the pages do not end")
            seen.add(token)
            before = page["items"]
            asked["pageToken"] = token

    def must_be_visible(self) -> None:
        """Tell "no such event" from "no such calendar for you", which Google answers alike.

        Raises:
            Forbidden: the calendar is not visible to this person.
        """
        self._page({"maxResults": "1"})

    def _page(self, params: Mapping[str, str]) -> dict[str, Any]:
        try:
            body = self._transport.request("GET", self._url, route=ROUTE, params=params).body
        except NotFound as error:
            # For a whole calendar 404 is never a deletion of its events.
            raise Forbidden(f"google GET {ROUTE}: the calendar is not visible") from error
        if body.get("kind") != "calendar#events" or not isinstance(body.get("items"), list):
            raise ProviderUnavailable(f"google GET {ROUTE}: not a list of events")
        return body
