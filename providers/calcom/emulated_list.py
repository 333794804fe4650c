"""``GET /v2/bookings``: views, filters, order and pages, and the ways in which a page can lie.

Source: calcom/cal.com, ``packages/lib/bookings/getAllUserBookings.ts`` (views), ``get.handler.ts`` (filters; totals are
counted before those on ``updatedAt`` and ``createdAt``) and ``apps/api/v2/src/lib/pagination/pagination.ts``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from providers.calcom.emulated_booking import GONE, Booking, Refusal, read_time

MOST_ROWS = 250
DEFAULT_ROWS = 100

PAGE_LIES = (
    "page_too_large", "page_loop", "partial_page", "empty_page", "duplicate_rows", "malformed_row", "missing_id",
    "late_row", "odd_spelling", "free_order",
)  # fmt: skip

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
_ORDERS = {"sortStart": "start", "sortEnd": "end", "sortCreated": "createdAt", "sortUpdatedAt": "updatedAt"}


def list_page(
    query: Mapping[str, str], bookings: list[Booking], *, now: datetime, lie: str | None = None
) -> dict[str, Any]:
    """The page that ``query`` asks for.

    Raises:
        Refusal: 400, the query is not one.
    """
    take, skip = _number(query, "take", DEFAULT_ROWS), _number(query, "skip", 0)
    _must_be_valid(query)
    if not 1 <= take <= MOST_ROWS:
        raise Refusal(400, "BadRequestException", f"take must not be greater than {MOST_ROWS}")
    counted = [booking for booking in bookings if _is_counted(booking, query, now=now)]
    flipped = lie == "free_order" and skip > 0
    rows = _ordered([booking for booking in counted if _is_recent(booking, query)], query, flipped=flipped)
    start = 0 if lie == "page_loop" else skip
    page = rows[start : start + (2 * take if lie == "page_too_large" else take)]
    pagination = _pagination(take=take, skip=skip, total=len(counted))
    if lie in ("page_loop", "partial_page", "empty_page"):
        pagination["hasNextPage"] = True
    return {"status": "success", "data": _spoilt(page, lie), "pagination": pagination}


def touched_first(query: Mapping[str, str], bookings: list[Booking], *, now: datetime) -> Booking | None:
    """The first row of the whole list: the one whose change shifts all others."""
    rows = _ordered([row for row in bookings if _is_counted(row, query, now=now) and _is_recent(row, query)], query)
    return rows[0] if rows else None


def _is_counted(booking: Booking, query: Mapping[str, str], *, now: datetime) -> bool:
    return (
        any(_VIEWS[view](booking, now) for view in _views(query))
        and _at(booking, "start", odd=_LAST) >= _moment(query, "afterStart", _FIRST)
        and _at(booking, "end") <= _moment(query, "beforeEnd", _LAST)
        and query.get("bookingUid") in (None, booking.get("uid"))
        and _has_guest(booking, query.get("attendeeEmail"))
    )


def _is_recent(booking: Booking, query: Mapping[str, str]) -> bool:
    """SQL compares nothing with NULL: a booking without ``updatedAt`` is in no list that asks for it."""
    asked = [name for name in ("Updated", "Created") if f"after{name}At" in query or f"before{name}At" in query]
    for name in asked:
        field = f"{name.lower()}At"
        if booking.get(field) is None:
            return False
        earliest, latest = _moment(query, f"after{name}At", _FIRST), _moment(query, f"before{name}At", _LAST)
        if not earliest <= _at(booking, field) <= latest:
            return False
    return True


def _views(query: Mapping[str, str]) -> list[str]:
    views = query.get("status", "upcoming").split(",")
    if any(view not in _VIEWS for view in views):
        raise Refusal(
            400, "BadRequestException", "Invalid status. Allowed are upcoming, recurring, past, cancelled, unconfirmed"
        )
    return views


def _is_open(booking: Booking) -> bool:
    return booking.get("status") not in GONE


def _is_ahead(booking: Booking, now: datetime) -> bool:
    return _at(booking, "end", odd=_LAST) >= now


def _is_upcoming(booking: Booking, now: datetime) -> bool:
    single = not booking.get("recurringBookingUid")
    return _is_ahead(booking, now) and _is_open(booking) and (single or booking.get("status") == "accepted")


_VIEWS: dict[str, Callable[[Booking, datetime], bool]] = {
    "upcoming": _is_upcoming,
    "recurring": lambda row, now: _is_ahead(row, now) and _is_open(row) and bool(row.get("recurringBookingUid")),
    "past": lambda row, now: not _is_ahead(row, now) and _is_open(row),
    "cancelled": lambda row, _now: not _is_open(row),
    "unconfirmed": lambda row, now: _is_ahead(row, now) and row.get("status") == "pending",
}


def _must_be_valid(query: Mapping[str, str]) -> None:
    """Refuse what the vendor's input types refuse, whatever is booked.

    Raises:
        Refusal: 400.
    """
    _views(query)
    for name in query:
        if name.startswith(("after", "before")):
            read_time(query[name])


def _has_guest(booking: Booking, asked: str | None) -> bool:
    # A plus that was not encoded arrives as a blank, and the vendor puts it back.
    address = None if asked is None else asked.strip().replace(" ", "+").lower()
    return address is None or any(
        str(guest.get("email")).lower() == address for guest in booking.get("attendees") or []
    )


def _ordered(rows: list[Booking], query: Mapping[str, str], *, flipped: bool = False) -> list[Booking]:
    """``flipped``: rows of the same moment in another order, which is free."""
    name = next((name for name in _ORDERS if name in query), "sortStart")
    field, downwards = _ORDERS[name], query.get(name, "asc") == "desc"
    by_uid = sorted(rows, key=lambda row: str(row.get("uid")), reverse=downwards is not flipped)
    # NULL comes last, as PostgreSQL has it.
    return sorted(by_uid, key=lambda row: (row.get(field) is None, _at(row, field)), reverse=downwards)


def _at(booking: Booking, name: str, *, odd: datetime = _FIRST) -> datetime:
    try:
        return read_time(booking.get(name))
    except Refusal:
        return odd  # a planted oddity, which is in every list


def _moment(query: Mapping[str, str], name: str, default: datetime) -> datetime:
    return read_time(query[name]) if name in query else default


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise Refusal(400, "BadRequestException", f"{name} must be an integer number")
    return int(text)


def _pagination(*, take: int, skip: int, total: int) -> dict[str, Any]:
    pages = -(-total // take)
    return {
        "returnedItems": max(0, min(total - skip, take)),
        "totalItems": total,
        "itemsPerPage": take,
        "remainingItems": max(0, total - skip - take),
        "currentPage": max(1, min(skip // take + 1, pages)) if pages else 0,
        "totalPages": pages,
        "hasNextPage": skip + take < total,
        "hasPreviousPage": skip > 0,
    }


def _spoilt(page: list[Booking], lie: str | None) -> list[Booking]:
    newest = max(page, key=lambda row: _at(row, "createdAt"), default=None)
    lies: dict[str | None, list[Booking]] = {
        "partial_page": page[: (len(page) + 1) // 2],
        "empty_page": [],
        "duplicate_rows": page + page[:1],
        "malformed_row": [{**row, "start": None} for row in page[:1]] + page[1:],
        "late_row": [row for row in page if row is not newest],
    }
    return lies.get(lie, [spoilt_booking(row, lie) for row in page])


def spoilt_booking(booking: Booking, lie: str | None) -> Booking:
    """One booking without its number, or with its times in the spelling of a webhook."""
    if lie == "missing_id":
        return {name: value for name, value in booking.items() if name != "id"}
    if lie == "odd_spelling":
        return {
            name: _respelt(value) if name in ("start", "end", "updatedAt") else value for name, value in booking.items()
        }
    return booking


def _respelt(text: object) -> object:
    return text.replace(".000Z", "+00:00").replace("Z", "+00:00") if isinstance(text, str) else text
