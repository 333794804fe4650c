"""The search endpoint: every row that matches, or an error. A part is never passed off as the whole (P6).

Source: developers.hubspot.com/docs/api-reference/latest/crm/search-the-crm. A query shows 10,000 rows at most, knows one
sort, reads from an index that is moments late, and never shows archived records.

Rows are asked for in the order of their number, each page beginning after the number that the last one ended with. The
number of a record never changes: neither a record that changes between two pages nor ten thousand with one and the same
time (airbyte#43317) can hide another one or make the pages go round, and no query ever nears its limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from providers.hubspot.payloads import ID, MODIFIED, PROPERTIES, id_of
from providers.transport import Answer, Transport
from sync.errors import ProviderUnavailable

PAGE_ROWS = 200  # the most that one page may hold
MAX_PAGES = 500

ROUTE = "/crm/objects/meetings/search"

Filter = Mapping[str, str]
Groups = Sequence[Sequence[Filter]]
"""Filters that all hold, in groups of which one must hold."""


@dataclass(frozen=True, slots=True)
class Found:
    """All rows of a query, and what HubSpot's clock said when it began (None: it did not say)."""

    rows: list[object]
    asked_at: datetime | None


def where(name: str, operator: str, value: str | None = None) -> Filter:
    """One condition on a property."""
    condition = {"propertyName": name, "operator": operator}
    return condition if value is None else {**condition, "value": value}


class Search:
    """Searches the meetings of one account."""

    def __init__(self, url: str, *, transport: Transport) -> None:
        self._url = url
        self._transport = transport

    def read(self, groups: Groups, *, asked_for: Callable[[object], bool]) -> Found:
        """Every row that matches ``groups``.

        ``asked_for`` is the same question put to a row: what was not asked for comes all the same (estuary#2210), in any
        order, and is dropped.

        Raises:
            ProviderUnavailable: an answer is not a page of meetings, the pages do not end, or rows are missing.
        """
        rows: dict[int, object] = {}
        asked_at: datetime | None = None
        above = 0
        for number in range(MAX_PAGES):
            answer = self._page(_above(groups, above) if above else groups, sort=(ID, "ASCENDING"), limit=PAGE_ROWS)
            asked_at = _clock(answer.headers) if number == 0 else asked_at
            shown = [row for row in answer.body["results"] if id_of(row) is None or _is_new(row, above)]
            wanted = [row for row in shown if id_of(row) is None or asked_for(row)]
            rows |= {id_of(row) or -len(rows) - place: row for place, row in enumerate(wanted, start=1)}
            if not _has_next(answer.body):
                return Found(list(rows.values()), asked_at)
            above = _last(wanted or shown)
        raise ProviderUnavailable(f"hubspot POST {ROUTE}: the pages do not end")

    def find_newest(self, groups: Groups) -> tuple[object | None, datetime | None]:
        """The row that changed last, or None; and HubSpot's clock."""
        answer = self._page(groups, sort=(MODIFIED, "DESCENDING"), limit=1)
        rows = answer.body["results"]
        return (rows[0] if rows else None), _clock(answer.headers)

    def _page(self, groups: Groups, *, sort: tuple[str, str], limit: int) -> Answer:
        body = {
            "filterGroups": [{"filters": [dict(condition) for condition in group]} for group in groups],
            "sorts": [{"propertyName": sort[0], "direction": sort[1]}],
            "properties": list(PROPERTIES),
            "limit": limit,
        }
        answer = self._transport.request("POST", self._url, route=ROUTE, json=body, reading=True)
        _must_be_whole(answer.body, limit=limit)
        return answer


def _must_be_whole(body: Mapping[str, Any], *, limit: int) -> None:
    rows, total = body.get("results"), body.get("total")
    if not isinstance(rows, list) or not isinstance(total, int):
        raise ProviderUnavailable(f"hubspot POST {ROUTE}: not a page of meetings")
    if len(rows) > limit:
        raise ProviderUnavailable(f"hubspot POST {ROUTE}: more rows than asked for")
    if not _has_next(body) and len(rows) < total:
        raise ProviderUnavailable(f"hubspot POST {ROUTE}: {len(rows)} rows of {total}, and no next page")


def _has_next(body: Mapping[str, Any]) -> bool:
    match body.get("paging"):
        case {"next": {"after": str() | int()}}:
            return True
        case None | {"next": None}:
            return False
        case paging:
            if paging:
                raise ProviderUnavailable(f"hubspot POST {ROUTE}: paging cannot be understood")
            return False


def _above(groups: Groups, number: int) -> Groups:
    return [[*group, where(ID, "GT", str(number))] for group in groups]


def _is_new(row: object, above: int) -> bool:
    number = id_of(row)
    return number is not None and number > above


def _last(rows: Sequence[object]) -> int:
    """The number that the next page begins after: where the order was not kept, rows come again rather than get lost.

    Raises:
        ProviderUnavailable: there is none, so that the next page would be the same.
    """
    numbers = [number for number in map(id_of, rows) if number is not None]
    if not numbers:
        raise ProviderUnavailable(f"hubspot POST {ROUTE}: the pages do not end")
    return numbers[-1]


def _clock(headers: Mapping[str, str]) -> datetime | None:
    try:
        said = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    return said.astimezone(UTC) if said.tzinfo else None
