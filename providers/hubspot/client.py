"""HubSpot meetings of one owner: reads and writes. Polled; nothing is pushed.

Source: the published OpenAPI description of meetings (2026-09), developers.hubspot.com/docs/api-reference. A meeting made
by API is a record of the CRM: it reserves nobody's time, and nobody is invited or mailed by any call made here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from providers.gates import UNLIMITED, Limits
from providers.hubspot.answers import classify
from providers.hubspot.archived import ARCHIVE_SECONDS, ArchivedList
from providers.hubspot.asking import Place, ask_changes, ask_window, has_changed_hands, is_answer_to, is_of
from providers.hubspot.payloads import (
    OWNER,
    TAG,
    is_cancelled,
    modified_of,
    owner_of,
    parse_change,
    parse_event,
    parse_removal,
    tag_of,
)
from providers.hubspot.record import Records
from providers.hubspot.searching import Search, where
from providers.transport import CONNECT_SECONDS, READ_SECONDS, StaticToken, Transport, no_guard, nobody
from sync.domain import (
    CalendarRef,
    Change,
    ChangeSet,
    EventDraft,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    Removal,
    Subscription,
    WriteKey,
)
from sync.errors import KeySpent, Malformed, Rejected

_LEGACY = re.compile(r"v\d+")
_DATED = re.compile(r"\d{4}-\d\d(-beta)?")


@dataclass(frozen=True, slots=True)
class HubSpotCredentials:
    """A service key, or the token of a private app. ``api_version`` is dated (``2026-09``) or, until 2027, ``v3``.

    Raises:
        ValueError: an ``api_version`` that is neither.
    """

    token: str = field(repr=False)
    base_url: str = "https://api.hubapi.com"
    api_version: str = "2026-09"
    archive_seconds: float = ARCHIVE_SECONDS

    def __post_init__(self) -> None:
        if not (_LEGACY.fullmatch(self.api_version) or _DATED.fullmatch(self.api_version)):
            raise ValueError("api_version is neither dated (2026-09) nor numbered (v3)")

    @property
    def meetings_url(self) -> str:
        spelled = (
            f"{self.api_version}/objects" if _LEGACY.fullmatch(self.api_version) else f"objects/{self.api_version}"
        )
        return f"{self.base_url.rstrip('/')}/crm/{spelled}/meetings"


class HubSpotService:
    """Hands out calendars, one for each owner of an account; they share the key and the list of what is archived."""

    def __init__(
        self,
        credentials: HubSpotCredentials,
        *,
        guard: Callable[[], None] = no_guard,
        refused: Callable[[str], None] = nobody,
        limits: Limits = UNLIMITED,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        url = credentials.meetings_url
        # HubSpot counts by account. A key does not say of which, and both credential sets are keys of the same one.
        gate = limits.gate("hubspot", app="account", account=credentials.base_url)
        transport = Transport(
            "hubspot",
            auth=StaticToken(credentials.token),
            classify=classify,
            guard=guard,
            refused=refused,
            gate=gate,
            timeout=timeout,
        )
        self._search = Search(f"{url}/search", transport=transport)
        self._archived = ArchivedList(url, transport=transport, kept_seconds=credentials.archive_seconds, clock=clock)
        self._records = Records(url, transport=transport, clock=clock)

    def calendar(self, ref: CalendarRef) -> HubSpotCalendar:
        return HubSpotCalendar(ref, search=self._search, archived=self._archived, records=self._records)


class HubSpotCalendar:
    """``sync.ports.CalendarAdapter`` for the meetings of one owner, whose id is the calendar's reference."""

    def __init__(self, ref: CalendarRef, *, search: Search, archived: ArchivedList, records: Records) -> None:
        self._owner = ref.remote
        self._search = search
        self._archived = archived
        self._records = records

    # Reading

    def read_changes(self, cursor: str | None, *, window: Interval, job: Job | None = None) -> ChangeSet:
        if cursor is None:
            return self._read_all(window)
        place = Place.of(cursor)
        then = place.from_then
        asked_for = is_answer_to(self._owner, job, then=then)
        found = self._search.read(ask_changes(self._owner, job, then=then), asked_for=asked_for)
        changes = [change for row in found.rows if (change := self._change(row)) is not None]
        seen = [modified for row in found.rows if (modified := modified_of(row)) is not None]
        if job in (Job.CANCEL, None):
            changes += self._list_archived(then)
        return ChangeSet(tuple(changes), place.after(seen, clock=found.asked_at).dump(), full=False)

    def read_window(self, window: Interval) -> Sequence[RemoteEvent]:
        """As ``sync.ports``; from the search, whose index is moments late. What it has just missed, a later read finds."""
        rows = (row for row in self._rows_in(window) if not (isinstance(row, dict) and is_cancelled(row)))
        events = [_understood(row) for row in rows]
        return [event for event in events if event.interval.overlaps(window)]

    def find_event(self, remote_id: RemoteId) -> RemoteEvent | None:
        raw = self._records.find(remote_id, owner=self._owner)
        return None if raw is None or is_cancelled(raw) else parse_event(raw)

    def find_by_key(self, key: WriteKey) -> RemoteEvent | None:
        """By the tag of the write, as far as the search knows it yet; the oldest if a person has copied the meeting."""
        live = [raw for raw in self._tagged(key) if not is_cancelled(raw)]
        return parse_event(live[0]) if live else None

    # Writing

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        """As ``sync.ports``. HubSpot has no key for a creation: what the search shows is not made again.

        Raises:
            KeySpent: the meeting of this key has been cancelled or archived.
        """
        known = self._tagged(key)
        live = [raw for raw in known if not is_cancelled(raw)]
        if live:
            return parse_event(live[0])
        if known:
            raise KeySpent("hubspot: the meeting of this key has been cancelled")
        return self._records.create(draft, key=key, owner=self._owner, archived=self._archived)

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        """As ``sync.ports``. The version is compared with a read made just before.

        HubSpot has no conditional write: what somebody changes in the moment between is overwritten, if it is one of the
        properties that the draft changes.
        """
        return self._records.update(remote_id, draft, version=version, owner=self._owner)

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        """Archive; with the same moment between comparing and writing as ``update``."""
        self._records.archive(remote_id, version=version, owner=self._owner)

    # Push

    def subscribe(self, *, url: str, secret: str, expires: datetime) -> Subscription:  # noqa: ARG002 - the port's shape
        _refuse_push()

    def renew(self, subscription: Subscription, *, url: str, secret: str, expires: datetime) -> Subscription:  # noqa: ARG002
        _refuse_push()

    def unsubscribe(self, subscription: Subscription) -> None:  # noqa: ARG002 - the port's shape
        _refuse_push()

    # Helpers

    def _tagged(self, key: WriteKey) -> list[dict[str, Any]]:
        """The records of this write; more than one only where somebody has copied it."""
        groups = [[where(OWNER, "EQ", self._owner), where(TAG, "EQ", tag_of(key))]]
        rows = self._search.read(groups, asked_for=is_of(self._owner)).rows
        return self._records.list_tagged(key, rows=rows, owner=self._owner)

    def _read_all(self, window: Interval) -> ChangeSet:
        # Asked first, so that whatever changes while the window is read lies after the place.
        newest, clock = self._search.find_newest([[where(OWNER, "EQ", self._owner)]])
        changes = [parse_change(row) for row in self._rows_in(window)]
        kept = [change for change in changes if not isinstance(change, RemoteEvent) or change.interval.overlaps(window)]
        place = Place.at(modified_of(newest), clock=clock)
        return ChangeSet(tuple(kept), place.dump(), full=True)

    def _rows_in(self, window: Interval) -> list[object]:
        return self._search.read(ask_window(self._owner, window), asked_for=is_of(self._owner)).rows

    def _change(self, row: object) -> Change | None:
        """What a row means for this owner; None if nothing."""
        return parse_change(row) if owner_of(row) in (self._owner, None) else _departed(row)

    def _list_archived(self, then: datetime) -> list[Change]:
        changes = [parse_change(row) for row in self._archived.read() if owner_of(row) == self._owner]
        return [change for change in changes if not _is_older(change, then)]


def _is_older(change: Change, then: datetime) -> bool:
    return isinstance(change, Removal) and change.updated is not None and change.updated < then


def _departed(row: object) -> Removal | None:
    """The removal of a meeting that now is somebody else's, who is the one to be told if it cannot be understood."""
    if not isinstance(row, dict) or not has_changed_hands(row):
        return None
    try:
        return Removal(parse_removal(row).remote_id, modified_of(row))
    except Malformed:
        return None


def _understood(row: object) -> RemoteEvent:
    if not isinstance(row, dict):
        raise Malformed("results", "is not an object")
    return parse_event(row)


def _refuse_push() -> NoReturn:
    raise Rejected("hubspot: a service key cannot register webhooks; these calendars are polled")
