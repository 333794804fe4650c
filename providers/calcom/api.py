"""The endpoints that we use, each with the pinned version and with its answer taken out of the envelope.

Source: calcom/cal.com, ``apps/api/v2/src/ee/bookings/2024-08-13/controllers/bookings.controller.ts``.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from providers.calcom.payloads import is_of_another_version, uid_of
from providers.transport import Answer, Transport
from sync.domain import RemoteId
from sync.errors import Forbidden, NotFound, ProviderUnavailable, WriteOutcomeUnknown

# Without it, or with one it does not know, the vendor answers in the shape of an older endpoint and says nothing.
API_VERSION = "2024-08-13"

BOOKINGS = "/v2/bookings"
_BOOKING = f"{BOOKINGS}/{{uid}}"
_HEADERS = {"cal-api-version": API_VERSION}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. ``asked_at`` is the vendor's clock when it answered, None if it does not tell."""

    rows: list[object]
    total: int
    more: bool
    asked_at: datetime | None


class BookingApi:
    """The bookings that one key sees. ``base_url`` ends before ``/bookings`` (``https://api.cal.com/v2``)."""

    def __init__(self, transport: Transport, *, base_url: str) -> None:
        self._transport = transport
        self._bookings = f"{base_url.rstrip('/')}/bookings"

    def page(self, params: Mapping[str, str]) -> Page:
        """One page of the list.

        Raises:
            ProviderUnavailable: it is not one of this version.
            Forbidden: there is no such list for this key.
        """
        try:
            answer = self._transport.request("GET", self._bookings, route=BOOKINGS, params=params, headers=_HEADERS)
        except NotFound as error:
            # For a whole calendar 404 is never a deletion of its bookings.
            raise Forbidden(f"calcom GET {BOOKINGS}: there is no such list") from error
        match answer.body:
            case {
                "status": "success",
                "data": [*rows],
                "pagination": {"totalItems": int(total), "hasNextPage": bool(more)},
            } if not any(is_of_another_version(row) for row in rows):
                return Page(list(rows), total, more, _told_at(answer.headers))
            case _:
                raise ProviderUnavailable(f"calcom GET {BOOKINGS}: not a page of version {API_VERSION}")

    def find(self, uid: RemoteId) -> dict[str, Any] | None:
        """The booking in whatever state, or None if there is none.

        Raises:
            ProviderUnavailable: the answer is not this booking.
        """
        try:
            answer = self._transport.request("GET", self._url(uid), route=_BOOKING, headers=_HEADERS)
        except NotFound:
            return None
        booking = _booking(answer)
        if booking is None or uid_of(booking) != uid:
            raise ProviderUnavailable(f"calcom GET {_BOOKING}: not this booking")
        return booking

    def create(self, body: Mapping[str, Any]) -> RemoteId:
        """Book once; the answer is the uid.

        Raises:
            WriteOutcomeUnknown: it may have happened.
            Rejected: the vendor refuses.
        """
        return self._made(self._bookings, body, route=BOOKINGS)

    def reschedule(self, uid: RemoteId, body: Mapping[str, Any]) -> RemoteId:
        """Book the new time and cancel the old booking; the answer is the uid of the new one.

        Raises:
            As ``create``.
        """
        return self._made(f"{self._url(uid)}/reschedule", body, route=f"{_BOOKING}/reschedule")

    def cancel(self, uid: RemoteId, *, reason: str) -> None:
        """Cancel this booking and, of a series, no other.

        Raises:
            As ``create``.
        """
        url, route = f"{self._url(uid)}/cancel", f"{_BOOKING}/cancel"
        self._transport.request("POST", url, route=route, json={"cancellationReason": reason}, headers=_HEADERS)

    def _made(self, url: str, body: Mapping[str, Any], *, route: str) -> RemoteId:
        answer = self._transport.request("POST", url, route=route, json=body, headers=_HEADERS)
        booking = _booking(answer)
        uid = uid_of(booking) if booking else None
        if uid is None:
            # It happened; only its echo is unreadable, and refusing now would leave a booking that nobody knows.
            raise WriteOutcomeUnknown(f"calcom POST {route}: done, and the answer is not a booking")
        return uid

    def _url(self, uid: RemoteId) -> str:
        return f"{self._bookings}/{quote(uid, safe='')}"


def _booking(answer: Answer) -> dict[str, Any] | None:
    """The one booking of an answer. A list is what the uid of a whole series answers, which is no booking."""
    match answer.body:
        case {"status": "success", "data": dict(booking)} if not is_of_another_version(booking):
            return booking
        case _:
            return None


def _told_at(headers: Mapping[str, str]) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None
