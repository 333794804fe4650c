"""Collections in pages: follow Graph's links to the end, and only to where the credential belongs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from providers.transport import Transport
from sync.errors import ProviderUnavailable

MAX_PAGES: Final = 1000
MAX_EMPTY_PAGES: Final = 50
MAX_SAME_PAGES: Final = 3  # replays are legal (Graph: delta-query-overview.md); the same page over and over is not


class EndlessPages(ProviderUnavailable):
    """The links go on for ever with the same rows (msgraph-sdk-dotnet#3082)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a collection, as sent. ``delta_link`` is the place to continue from, for collections that have one."""

    rows: tuple[object, ...]
    delta_link: str | None


class Pages:
    """Reads whole collections under one base URL."""

    def __init__(self, transport: Transport, *, base_url: str) -> None:
        self._transport = transport
        self._base = urlsplit(base_url)

    def trusts(self, link: str) -> bool:
        """Whether ``link`` leads to our own API; any other would be sent our token."""
        try:
            parts = urlsplit(link)
        except ValueError:
            return False
        same_host = (parts.scheme, parts.netloc.lower()) == (self._base.scheme, self._base.netloc.lower())
        return same_host and parts.path.startswith(f"{self._base.path.rstrip('/')}/")

    def read(
        self, url: str, *, route: str, headers: Mapping[str, str], params: Mapping[str, str] | None = None
    ) -> Rows:
        """Every row from ``url`` on.

        Raises:
            As ``each``.
        """
        rows: list[object] = []
        link = self.each(url, route=route, headers=headers, params=params, take=rows.extend)
        return Rows(tuple(rows), link)

    def each(
        self,
        url: str,
        *,
        route: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        take: Callable[[list[object]], None],
    ) -> str | None:
        """Hand ``take`` every page from ``url`` on, one at a time; the answer is the place to continue from, if there is one.

        An empty page with a next link is legal and is not the end. What was taken counts for nothing unless this returns.

        Raises:
            EndlessPages: it does not end.
            ProviderUnavailable: a page is not a page, or a link leads elsewhere.
        """
        seen: Counter[str] = Counter()
        for _ in range(MAX_PAGES):
            body = self._transport.request("GET", url, route=route, params=params, headers=headers).body
            page = body.get("value")
            if not isinstance(page, list):
                raise ProviderUnavailable(f"outlook GET {route}: a page without rows")
            _refuse_repetition(page, seen, route=route)
            take(page)
            link = body.get("@odata.nextLink")
            if link is None:
                return self._checked(body.get("@odata.deltaLink"), route=route)
            url, params = self._checked(link, route=route) or "", None
        raise EndlessPages(f"outlook GET {route}: more than {MAX_PAGES} pages")

    def _checked(self, link: object, *, route: str) -> str | None:
        if link is None:
            return None
        if not isinstance(link, str) or not self.trusts(link):
            raise ProviderUnavailable(f"outlook GET {route}: a link that leads elsewhere")
        return link


def _refuse_repetition(page: list[Any], seen: Counter[str], *, route: str) -> None:
    digest = hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()
    seen[digest] += 1
    if seen[digest] > (MAX_SAME_PAGES if page else MAX_EMPTY_PAGES):
        raise EndlessPages(f"outlook GET {route}: the same page {seen[digest]} times")
