"""The list of bookings: all of it, or an error. A part is never passed off as the whole (P6).

The vendor pages by ``take`` and ``skip`` over a set that moves: a booking that changes goes to the end of a list sorted by
change, and all behind it shift. So every page begins with the last row of the one before. If it does not, rows have
shifted and perhaps slipped through, and the list is read once more from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from providers.calcom.api import BOOKINGS, BookingApi
from providers.calcom.payloads import stamp_of, uid_of
from sync.domain import RemoteId
from sync.errors import Malformed, ProviderUnavailable

PAGE_ROWS = 250  # the most that the vendor allows (get-bookings.input.ts)
MAX_PAGES = 100
MAX_SWEEPS = 4

# What ``status`` means is in getAllUserBookings.ts: not a state but a view. ``cancelled`` holds the rejected ones too.
LIVE = ("upcoming", "unconfirmed", "recurring")
ENDED = ("past",)
EVERYTHING = (*LIVE, *ENDED, "cancelled")


class _Shifted(Exception):
    """The rows moved between two pages."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A whole list, each booking once and in its newest state. Records without a uid are all kept.

    ``asked_at`` is the vendor's clock before the first row was read, so whatever changed later is told by the next read.
    """

    rows: tuple[object, ...]
    asked_at: datetime

    def by_uid(self) -> dict[RemoteId, dict[str, Any]]:
        return {uid: row for row in self.rows if isinstance(row, dict) and (uid := uid_of(row)) is not None}


def read_list(api: BookingApi, params: Mapping[str, str], *, views: tuple[str, ...], counted: bool = False) -> Rows:
    """Every row of the list.

    ``counted`` says that the vendor's totals know of all our filters: of those on ``updatedAt`` and ``createdAt`` they do
    not (get.handler.ts counts before it filters).

    Raises:
        ProviderUnavailable: a page is not one, the pages do not end, or the rows do not come to rest.
    """
    asked = {**params, "status": ",".join(views), "take": str(PAGE_ROWS)}
    started = datetime.now(UTC)
    for _ in range(MAX_SWEEPS):
        try:
            return _swept(api, asked, counted=counted, started=started)
        except _Shifted:
            continue
    raise ProviderUnavailable(f"calcom GET {BOOKINGS}: the rows move faster than they can be read")


def _swept(api: BookingApi, params: Mapping[str, str], *, counted: bool, started: datetime) -> Rows:
    """From the first row to the last, which is proven by the totals, or by a page that holds it alone.

    Raises:
        _Shifted: a page does not begin where the one before ended.
        ProviderUnavailable: as ``read_list``.
    """
    read: list[object] = []
    asked_at = started
    for number in range(MAX_PAGES):
        skip = max(0, len(read) - 1)
        page = api.page({**params, "skip": str(skip)})
        if number == 0:
            # The earlier of the two clocks: the next read goes on from here, and may repeat but not leave out.
            asked_at = min(page.asked_at or started, started)
            if not page.rows and page.total and counted:
                raise ProviderUnavailable(f"calcom GET {BOOKINGS}: an empty page of {page.total} rows")
        elif _name(page.rows[:1]) != _name(read[-1:]):
            raise _Shifted
        read = read[:skip] + page.rows
        if not page.rows or (number and len(page.rows) == 1) or (not page.more and page.total <= len(read)):
            newest = tuple(_newest_of_each(read))
            if number and len(newest) < len(read):
                raise _Shifted  # a row at two places: among rows of one moment the order is free, and another has none
            return Rows(newest, asked_at)
    raise ProviderUnavailable(f"calcom GET {BOOKINGS}: the pages do not end")


def _name(rows: list[object]) -> object:
    """By what the one row is recognised: its uid, or the whole of it where it has none."""
    return [uid_of(row) or row if isinstance(row, dict) else row for row in rows]


def _newest_of_each(rows: list[object]) -> Iterator[object]:
    latest: dict[RemoteId | int, object] = {}
    for position, row in enumerate(rows):
        name: RemoteId | int = (uid_of(row) if isinstance(row, dict) else None) or position
        if name not in latest or _stamp(row) >= _stamp(latest[name]):
            latest[name] = row
    return iter(latest.values())


def _stamp(row: object) -> datetime:
    try:
        return stamp_of(row) if isinstance(row, dict) else datetime.max.replace(tzinfo=UTC)
    except Malformed:
        return datetime.max.replace(tzinfo=UTC)  # unreadable: the later one is kept, and quarantined
