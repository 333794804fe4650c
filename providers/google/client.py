"""Google Calendar v3: reads, writes and push channels of one calendar.

Source: the discovery document ``calendar.v3.json`` revision 20261030 and developers.google.com/workspace/calendar/api/guides.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from providers.cursors import Place, read_place
from providers.gates import UNLIMITED, Limits
from providers.google.answers import DuplicateId, classify
from providers.google.auth import READING, WRITING, GoogleCredentials, SubjectToken
from providers.google.listing import ROUTE as EVENTS
from providers.google.listing import EventList
from providers.google.payloads import (
    dump_draft,
    dump_patch,
    event_id,
    is_cancelled,
    parse_change,
    parse_event,
    parse_occurrence,
)
from providers.google.push import PushChannels
from providers.google.series import must_tell_instances, series_of
from providers.transport import CONNECT_SECONDS, READ_SECONDS, Answer, Transport, no_guard, nobody
from sync.domain import (
    CalendarRef,
    Change,
    ChangeSet,
    EventDraft,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    WriteKey,
)
from sync.errors import (
    Forbidden,
    Malformed,
    NotFound,
    ProviderUnavailable,
    Rejected,
    StaleVersion,
    WriteOutcomeUnknown,
)

__all__ = ["ZONE_SPREAD", "GoogleCalendar", "GoogleCredentials", "GoogleService"]

# Google places an all-day event by the calendar's zone, we by the agent's: asked for this much more, no day that we
# see in the window is left out. The clocks of the world differ by 26 hours at most.
ZONE_SPREAD = timedelta(hours=26)

_EVENT = f"{EVENTS}/{{event}}"
_SILENTLY = {"sendUpdates": "none"}
_FEED = {"singleEvents": "true", "showDeleted": "true"}

_Row = TypeVar("_Row", bound=Change)


class GoogleService:
    """Hands out calendars; one token and one transport for each person, whichever threads ask."""

    def __init__(
        self,
        credentials: GoogleCredentials,
        *,
        guard: Callable[[], None] = no_guard,
        refused: Callable[[str], None] = nobody,
        limits: Limits = UNLIMITED,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        self._credentials = credentials
        self._gate_of = functools.partial(limits.gate, "google", app=credentials.project)
        self._connect = functools.partial(
            Transport, "google", classify=classify, guard=guard, refused=refused, timeout=timeout
        )
        self._transports: dict[str, Transport] = {}
        self._lock = threading.Lock()

    def calendar(self, ref: CalendarRef) -> GoogleCalendar:
        return GoogleCalendar(ref, transport=self._transport(ref.remote), base_url=self._credentials.base_url)

    def _transport(self, subject: str) -> Transport:
        with self._lock:
            known = self._transports.get(subject)
            if known is None:
                auth = SubjectToken(
                    self._credentials.service_account,
                    subject=subject,
                    token_uri=self._credentials.token_uri,
                    scope=READING if self._credentials.read_only else WRITING,
                )
                known = self._connect(auth=auth, gate=self._gate_of(account=subject))
                self._transports[subject] = known
            return known


class GoogleCalendar(PushChannels):
    """``sync.ports.CalendarAdapter`` for one Google calendar, whose id is also the person acted for."""

    def __init__(self, ref: CalendarRef, *, transport: Transport, base_url: str) -> None:
        self._zone, self._busy = ref.zone, ref.busy
        base = base_url.rstrip("/")
        url = f"{base}/calendars/{quote(ref.remote, safe='')}/events"
        super().__init__(url, transport=transport, base_url=base)
        self._list = EventList(self._events, transport=transport)

    # Reading

    def read_changes(
        self,
        cursor: str | None,
        *,
        window: Interval,
        job: Job | None = None,  # noqa: ARG002 - the feed cannot be filtered by kind
    ) -> ChangeSet:
        """The feed spells out what became of each instance of a series (events.list, ``showDeleted``).

        Raises:
            CursorExpired: Google has lost it, or says that a series changed and not what became of its instances.
        """
        if cursor is None:
            return self._read_full(window)
        place = read_place(cursor)
        # The window may not be repeated next to a sync token; everything else must be.
        rows, token = self._list.read({**_FEED, "syncToken": place.link})
        must_tell_instances(rows, place)
        changes = _last_of_each(self._change(row) for row in rows)
        return ChangeSet(tuple(changes), str(place.moved(token, seen=series_of(rows))), full=False)

    def _read_full(self, window: Interval) -> ChangeSet:
        """Rows become changes page by page: as the vendor's JSON they take several times the memory."""
        told: list[Change] = []
        series: set[str] = set()

        def take(page: list[object]) -> None:
            series.update(series_of(page))
            told.extend(map(self._change, page))

        token = self._list.each({**_FEED, **_span(window)}, take=take)
        changes = (change for change in _last_of_each(iter(told)) if _concerns(change, window))
        return ChangeSet(tuple(changes), str(Place(token).moved(token, seen=series)), full=True)

    def _change(self, row: object) -> Change:
        return parse_change(row, zone=self._zone, busy=self._busy)

    def read_window(self, window: Interval) -> Sequence[RemoteEvent]:
        rows, _ = self._list.read({"singleEvents": "true", "showDeleted": "false", **_span(window)})
        # Cancelled rows come in spite of showDeleted=false (GAS-ICS-Sync#315).
        live = (row for row in rows if not (isinstance(row, dict) and is_cancelled(row)))
        events = _last_of_each(self._understood(row) for row in live)
        return [event for event in events if event.interval.overlaps(window)]

    def find_event(self, remote_id: RemoteId) -> RemoteEvent | None:
        raw = self._find_raw(remote_id)
        return None if raw is None else parse_event(raw, zone=self._zone, busy=self._busy)

    def find_by_key(self, key: WriteKey) -> RemoteEvent | None:
        """By the id that the write chose. Whatever else carries our tag is a person's copy of our event."""
        return self.find_event(event_id(key))

    # Writing

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        body = dump_draft(draft, key=key)
        try:
            answer = self._transport.request(
                "POST", self._events, route=EVENTS, params=_SILENTLY, json=body, keyed=True
            )
        except DuplicateId:
            return self._already_there(key)
        return self._written(answer, event_id(key))

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        draft = self._noted(remote_id, draft)
        try:
            answer = self._transport.request(
                "PATCH",
                self._event_url(remote_id),
                route=_EVENT,
                params=_SILENTLY,
                json=dump_patch(draft),
                headers={"If-Match": version},
            )
        except (StaleVersion, Forbidden) as error:
            # A deleted event answers 412 or 403 (google-api-python-client#846), not 404.
            if self._find_raw(remote_id) is None:
                raise NotFound("google: the event to change is gone") from error
            raise
        return self._written(answer, remote_id)

    def _noted(self, remote_id: RemoteId, draft: EventDraft) -> EventDraft:
        """A note goes before what the description says now; If-Match sees to it that this is still the newest."""
        if draft.note is None:
            return draft
        raw = self._find_raw(remote_id) or {}
        return replace(draft, body=draft.noted(str(raw.get("description") or "")), note=None)

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        try:
            answer = self._transport.request(
                "DELETE",
                self._event_url(remote_id),
                route=_EVENT,
                params=_SILENTLY,
                headers={"If-Match": version},
                empty=True,
            )
        except (StaleVersion, NotFound):
            if self._find_raw(remote_id) is not None:
                raise
            return
        if answer.status != requests.codes.no_content:  # a page with 200 comes from something in between
            raise WriteOutcomeUnknown(f"google DELETE {_EVENT}: {answer.status} instead of 204")

    # Helpers

    def _event_url(self, remote_id: RemoteId) -> str:
        return f"{self._events}/{quote(remote_id, safe='')}"

    def _understood(self, row: object) -> RemoteEvent:
        if not isinstance(row, dict):
            raise Malformed("items", "is not an object")
        return parse_occurrence(row, zone=self._zone, busy=self._busy)

    def _find_raw(self, remote_id: RemoteId) -> dict[str, Any] | None:
        """The live event as Google shows it, or None if it is cancelled or does not exist."""
        try:
            raw = self._transport.request("GET", self._event_url(remote_id), route=_EVENT).body
        except NotFound:
            self._list.must_be_visible()  # a calendar that we may not see hides its events, it did not lose them
            return None
        if raw.get("kind") != "calendar#event":
            raise ProviderUnavailable(f"google GET {_EVENT}: not an event")
        return None if is_cancelled(raw) else raw

    def _already_there(self, key: WriteKey) -> RemoteEvent:
        try:
            raw = self._transport.request("GET", self._event_url(event_id(key)), route=_EVENT).body
        except NotFound as error:
            # Google says that the id is taken and does not show it yet (Netflix/dispatch#165).
            raise WriteOutcomeUnknown("google: the event exists and is not visible yet") from error
        if is_cancelled(raw):
            raise Rejected("google: the key belonged to an event that has since been deleted")
        return parse_event(raw, zone=self._zone, busy=self._busy)

    def _written(self, answer: Answer, remote_id: RemoteId) -> RemoteEvent:
        try:
            event = parse_event(answer.body, zone=self._zone, busy=self._busy)
        except Malformed as error:
            # It happened; only its echo is unreadable, and refusing now would leave an event that nobody knows.
            raise WriteOutcomeUnknown(f"google: written, and the answer is unreadable ({error.field})") from error
        if event.remote_id != remote_id:
            raise WriteOutcomeUnknown("google: the answer to a write shows another event")
        return event


def _span(window: Interval) -> dict[str, str]:
    wide = window.widened(before=ZONE_SPREAD, after=ZONE_SPREAD)
    return {"timeMin": wide.start.isoformat(), "timeMax": wide.end.isoformat()}


def _concerns(change: Change, window: Interval) -> bool:
    return not isinstance(change, RemoteEvent) or change.interval.overlaps(window)


def _last_of_each(changes: Iterator[_Row]) -> list[_Row]:
    """One change for each id, the last one told; records without an id are all kept."""
    latest: dict[str | int, _Row] = {}
    for position, change in enumerate(changes):
        name = change.remote_id or position
        latest.pop(name, None)
        latest[name] = change
    return list(latest.values())
