"""Outlook calendars through Microsoft Graph v1.0: the default calendar of a mailbox, app-only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import tenacity

from providers.cursors import Place, read_place
from providers.gates import UNLIMITED, Limits
from providers.outlook import payloads
from providers.outlook.auth import ClientCredentialFlow, OutlookCredentials
from providers.outlook.paging import EndlessPages
from providers.outlook.push import HEADERS, PREFER, PushChannels, require_no_content
from providers.outlook.refusals import DuplicateKey, EventGone, classify
from providers.outlook.rounds import Round, asked, concerns, newest
from providers.outlook.series import must_tell_occurrences, series_of
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
    Removal,
    WriteKey,
)
from sync.errors import (
    CursorExpired,
    KeySpent,
    Malformed,
    ProviderUnavailable,
    WriteOutcomeUnknown,
)

__all__ = ["OutlookCalendar", "OutlookCredentials", "OutlookService"]

DELTA_PAGE_ROWS: Final = 200
WINDOW_PAGE_ROWS: Final = (
    500  # $top ≤ 1000; one page where possible, since pages by $skip shift under concurrent deletes
)
LOOKS: Final = 3
LOOK_AGAIN_SECONDS: Final = 0.4

_WITH_KEY: Final = {"$expand": f"singleValueExtendedProperties($filter=id eq '{payloads.KEY_PROPERTY}')"}

_EVENTS: Final = "/users/{user}/events"
_EVENT: Final = "/users/{user}/events/{id}"
_DELTA: Final = "/users/{user}/calendarView/delta"
_WINDOW: Final = "/users/{user}/calendarView"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class OutlookService:
    """All calendars that one app registration reaches: one token flow and one transport. Thread-safe."""

    def __init__(
        self,
        credentials: OutlookCredentials,
        *,
        guard: Callable[[], None] = no_guard,
        refused: Callable[[str], None] = nobody,
        limits: Limits = UNLIMITED,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._base_url = credentials.base_url.rstrip("/")
        self._clock = clock
        self._gate_of = functools.partial(limits.gate, "outlook", app=credentials.client_id)
        self._transport = Transport(
            "outlook",
            auth=ClientCredentialFlow(credentials),
            classify=classify,
            guard=guard,
            refused=refused,
            timeout=timeout,
        )

    def calendar(self, ref: CalendarRef) -> OutlookCalendar:
        transport = self._transport.behind(self._gate_of(account=ref.remote))
        return OutlookCalendar(ref, transport=transport, base_url=self._base_url, clock=self._clock)


class OutlookCalendar(PushChannels):
    """A ``sync.ports.CalendarAdapter``. ``ref.remote`` is the mailbox address; the calendar is its default one."""

    def __init__(self, ref: CalendarRef, *, transport: Transport, base_url: str, clock: Callable[[], datetime]) -> None:
        super().__init__(f"/users/{ref.remote}/events", transport=transport, base_url=base_url, clock=clock)
        self._zone, self._busy = ref.zone, ref.busy
        self._mailbox = f"{base_url}/users/{quote(ref.remote, safe='@')}"

    # Reading

    def read_changes(
        self,
        cursor: str | None,
        *,
        window: Interval,
        job: Job | None = None,  # noqa: ARG002 - the feed cannot be filtered by kind
    ) -> ChangeSet:
        """``cursor`` is a deltaLink, which has the window baked in (Graph: delta-query-events.md).

        Raises:
            CursorExpired: Graph has lost it, its pages do not end, it belongs to another base URL, or a series changed,
                since the feed does not tell which of its occurrences are gone.
        """
        if cursor is None:
            return self._read_full(window)
        place = read_place(cursor)
        if not self._pages.trusts(place.link):
            raise CursorExpired("outlook: a cursor of another base URL")
        try:
            rows, link = self._read_delta(place.link)
        except EndlessPages as error:
            raise CursorExpired(str(error)) from error
        must_tell_occurrences(rows, place)
        return ChangeSet(tuple(self._changes(rows)), str(place.moved(link)), full=False)

    def _read_full(self, window: Interval) -> ChangeSet:
        """A delta round, and from plain calendarView what the round left out, at times whole series (docs-contrib#7681).

        Rows become changes page by page: as the vendor's JSON they take several times the memory.
        """
        round_, series = Round(), set[str]()

        def told(page: list[object]) -> None:
            series.update(series_of(page))
            round_.tell(page, change=self._change)

        link = self._pages.each(
            f"{self._mailbox}/calendarView/delta", route=_DELTA, params=asked(window), headers=_in_pages(), take=told
        )
        self._pages.each(
            f"{self._mailbox}/calendarView",
            route=_WINDOW,
            params=_viewed(window),
            headers=HEADERS,
            take=functools.partial(round_.complete, change=self._change),
        )
        changes = (change for change in round_.changes(change=self._change) if concerns(change, window))
        return ChangeSet(tuple(changes), str(Place(_found(link)).moved(_found(link), seen=series)), full=True)

    def _read_delta(self, url: str) -> tuple[list[object], str]:
        read = self._pages.read(url, route=_DELTA, headers=_in_pages())
        return newest(read.rows), _found(read.delta_link)

    def _changes(self, rows: list[object]) -> Iterator[Change]:
        return (change for change in map(self._change, rows) if change is not None)

    def _change(self, row: object) -> Change | None:
        """One row as a change; a row that cannot stand by itself is read again. None for the pattern of a series."""
        remote_id = payloads.id_of(row)
        if remote_id and (payloads.is_removed(row) or payloads.is_stub(row)):
            # "Removed" may only mean "left the window", or be untrue (docs#6599, docs-contrib#72).
            try:
                row = self._get(RemoteId(remote_id))
            except EventGone:
                return Removal(RemoteId(remote_id))
        if payloads.is_series_master(row):
            return None
        return payloads.parse_change(row, zone=self._zone, busy=self._busy)

    def read_window(self, window: Interval) -> Sequence[RemoteEvent]:
        """From plain calendarView, which has none of the faults of the delta feed."""
        events = (payloads.parse_busy_row(row, zone=self._zone, busy=self._busy) for row in self._read_view(window))
        return [event for event in events if event is not None and event.interval.overlaps(window)]

    def _read_view(self, window: Interval) -> list[object]:
        return newest(
            self._pages.read(
                f"{self._mailbox}/calendarView", route=_WINDOW, params=_viewed(window), headers=HEADERS
            ).rows
        )

    def find_event(self, remote_id: RemoteId) -> RemoteEvent | None:
        try:
            row = self._get(remote_id)
        except EventGone:
            return None
        return None if payloads.is_cancelled(row) else payloads.parse_event(row, zone=self._zone, busy=self._busy)

    def find_by_key(self, key: WriteKey) -> RemoteEvent | None:
        """By our extended property, since ``transactionId`` cannot be searched for."""
        params = {**_WITH_KEY, "$filter": payloads.key_filter(key)}
        rows = self._pages.read(f"{self._mailbox}/events", route=_EVENTS, params=params, headers=HEADERS).rows
        live = [row for row in rows if not (payloads.is_cancelled(row) or payloads.is_copy(row, key=key))]
        for row in sorted(live, key=lambda row: payloads.age_order(row, key=key)):
            event = payloads.parse_event(row, zone=self._zone, busy=self._busy)
            if event.key == key:  # Graph compares the values without case
                return event
        return None

    def _get(self, remote_id: RemoteId) -> dict[str, Any]:
        answer = self._transport.request("GET", self._url(remote_id), route=_EVENT, params=_WITH_KEY, headers=HEADERS)
        return answer.body

    # Writing

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        """POST with ``transactionId``; a repetition is answered by an error, after which the event is looked up.

        Graph invites the attendees of ``draft``; without attendees nobody is mailed.

        Raises:
            WriteOutcomeUnknown: no answer; or Graph knows the key, names no event and shows none, as when its search
                lags behind. Call again with the same key.
            KeySpent: Graph names the event of this key and does not show it.
            Rejected: Graph refuses.
        """
        body = payloads.dump_draft(draft, key=key)
        try:
            answer = self._transport.request(
                "POST", f"{self._mailbox}/events", route=_EVENTS, json=body, headers=HEADERS, keyed=True
            )
        except DuplicateKey as duplicate:
            return self._existing(duplicate, key=key)
        created = self._written(answer)
        if created.key == key or (created.key is None and draft.is_shown_by(created)):
            return created
        raise WriteOutcomeUnknown("outlook: the answer to a POST shows another event")  # docs#7330

    def _existing(self, duplicate: DuplicateKey, *, key: WriteKey) -> RemoteEvent:
        looking = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(LOOKS),
            wait=tenacity.wait_fixed(LOOK_AGAIN_SECONDS),
            retry=tenacity.retry_if_result(lambda found: found is None),
            retry_error_callback=lambda _: None,
        )
        found: RemoteEvent | None = looking(self._look_for, duplicate.existing_id, key=key)
        if found is not None:
            return found
        if duplicate.existing_id is not None:
            raise KeySpent("outlook: the event of this key has been deleted, or does not show yet")
        raise WriteOutcomeUnknown("outlook: the key is taken, and its event is not visible yet")

    def _look_for(self, existing_id: str | None, *, key: WriteKey) -> RemoteEvent | None:
        found = self.find_event(RemoteId(existing_id)) if existing_id else None
        return found if found is not None and found.key == key else self.find_by_key(key)

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        """PATCH with If-Match. Attendees stay as they are, so nobody is mailed by naming them again."""
        body, headers = payloads.dump_change(self._noted(remote_id, draft)), {**HEADERS, "If-Match": version}
        answer = self._transport.request("PATCH", self._url(remote_id), route=_EVENT, json=body, headers=headers)
        updated = self._written(answer)
        if updated.remote_id != remote_id:
            raise WriteOutcomeUnknown("outlook: the answer to a PATCH shows another event")
        return updated

    def _noted(self, remote_id: RemoteId, draft: EventDraft) -> EventDraft:
        """A note goes before what the body says now; If-Match sees to it that this is still the newest."""
        if draft.note is None:
            return draft
        headers = {"Prefer": f'{HEADERS["Prefer"]}, outlook.body-content-type="text"'}
        raw = self._transport.request("GET", self._url(remote_id), route=_EVENT, headers=headers).body
        return replace(draft, body=draft.noted(payloads.description_of(raw)), note=None)

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        headers = {**HEADERS, "If-Match": version}
        try:
            answer = self._transport.request("DELETE", self._url(remote_id), route=_EVENT, headers=headers, empty=True)
        except EventGone:
            return
        require_no_content(answer, route=_EVENT)

    def _written(self, answer: Answer) -> RemoteEvent:
        try:
            return payloads.parse_event(answer.body, zone=self._zone, busy=self._busy)
        except Malformed as error:
            raise WriteOutcomeUnknown(f"outlook: {answer.status} to a write, with {error}") from error

    def _url(self, remote_id: RemoteId) -> str:
        return f"{self._mailbox}/events/{quote(remote_id, safe='')}"


def _viewed(window: Interval) -> dict[str, str]:
    return {**asked(window), "$top": str(WINDOW_PAGE_ROWS), **_WITH_KEY}


def _found(link: str | None) -> str:
    if link is None:
        raise ProviderUnavailable(f"outlook GET {_DELTA}: the last page has no deltaLink")
    return link


def _in_pages() -> dict[str, str]:
    return {"Prefer": f"{PREFER}, odata.maxpagesize={DELTA_PAGE_ROWS}"}
