"""Chains of bookings: a new time is a new booking with a new uid, and the old one is cancelled (cal.diy#1551).

Both ends name each other, and each may fail to: the old one when a host asks the guest for another time (cal.diy#28543),
the new one when a single seat moves (cal.diy#29986). One link is enough here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from providers.calcom.api import BookingApi
from providers.calcom.cursor import OVERLAP
from providers.calcom.listing import EVERYTHING, read_list
from providers.calcom.payloads import is_gone, is_hosted_by, origin_of, stamp_of, successor_of, uid_of
from sync.domain import RemoteId
from sync.errors import Malformed

MAX_LINKS = 20

Raw = dict[str, Any]


class Chains:
    """Follows the bookings of one host."""

    def __init__(self, api: BookingApi, *, remote: str) -> None:
        self._api = api
        self._remote = remote

    def newest(self, raw: Raw) -> Raw | None:
        """The live booking at the end of the chain, ``raw`` itself if it is live; None if there is none of this host's.

        Raises:
            Malformed: the chain is longer than anybody reschedules.
        """
        seen = {uid_of(raw)}
        while is_gone(raw):
            following = self._following(raw)
            if following is None or uid_of(following) in seen:
                return None
            if len(seen) > MAX_LINKS:
                raise Malformed("rescheduledToUid", f"leads through more than {MAX_LINKS} bookings")
            seen.add(uid_of(following))
            raw = following
        return raw if is_hosted_by(raw, self._remote) else None

    def complete(self, rows: dict[RemoteId, Raw]) -> dict[RemoteId, Raw]:
        """``rows`` with every booking that took over from one of them; those that the list lacks are read by uid."""
        complete = dict(rows)
        for raw in rows.values():
            seen: set[RemoteId] = set()
            step: Raw | None = raw if self._is_ours(raw) else None
            while step is not None and is_gone(step):
                uid = successor_of(step)
                if uid is None or uid in seen or len(seen) > MAX_LINKS:
                    break
                seen.add(uid)
                step = complete.get(uid) or self._api.find(uid)
                if step is not None:
                    complete[uid] = step
        return complete

    def has_orphans(self, rows: dict[RemoteId, Raw]) -> bool:
        """Whether one of ``rows`` was cancelled and nothing says yet whether another took over from it."""
        origins = {origin_of(raw) for raw in rows.values()}
        ended = (
            uid for uid, raw in rows.items() if _may_have_moved(raw) and not successor_of(raw) and self._is_ours(raw)
        )
        return any(uid not in origins for uid in ended)

    def _following(self, raw: Raw) -> Raw | None:
        named = successor_of(raw)
        found = self._api.find(named) if named else None
        return found or (self._searched(raw) if _may_have_moved(raw) else None)

    def _searched(self, raw: Raw) -> Raw | None:
        """The booking that names ``raw`` as its origin; it is not older than the end of ``raw`` and has the same guest."""
        guest = _guest(raw)
        params = {"afterCreatedAt": since(stamp_of(raw) - OVERLAP), "sortCreated": "asc"}
        if guest:
            params["attendeeEmail"] = guest
        rows = read_list(self._api, params, views=EVERYTHING).by_uid().values()
        named = [row for row in rows if origin_of(row) == uid_of(raw)]
        return next((row for row in named if not is_gone(row)), named[-1] if named else None)

    def _is_ours(self, raw: Raw) -> bool:
        try:
            return is_hosted_by(raw, self._remote)
        except Malformed:
            return False


def since(moment: datetime) -> str:
    """A time as the list's filters take it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _may_have_moved(raw: Raw) -> bool:
    """A rejected booking never took place anywhere else."""
    return str(raw.get("status")).lower() == "cancelled"


def _guest(raw: Raw) -> str | None:
    match raw:
        case {"attendees": [{"email": str(address)}, *_]} if "@" in address:
            return address
        case _:
            return None
