"""Cal.com API v2: the bookings of one host.

What this vendor cannot do is told, not papered over: a booking's title and length stay as they are, a new time is a new
booking with a new uid, and the guest is mailed about every write.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from providers.calcom.answers import classify
from providers.calcom.api import BookingApi
from providers.calcom.booker import Booker
from providers.calcom.chains import Chains, Raw, since
from providers.calcom.cursor import dump_cursor, parse_cursor
from providers.calcom.listing import ENDED, EVERYTHING, LIVE, read_list
from providers.calcom.payloads import (
    is_gone,
    is_hosted_by,
    parse_change,
    parse_event,
    successor_of,
    uid_of,
)
from providers.calcom.webhooks import Webhooks
from providers.gates import UNLIMITED, Limits
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
from sync.errors import Malformed, NotFound

# The list compares both ends of a booking with the window, so one that only overlaps is found by asking for more.
EVERYBODY_ELSE = "*"  # among the keys by host

LONGEST_BOOKING = timedelta(days=1)  # of an event type, in the vendor's own form


@dataclass(frozen=True, slots=True)
class CalcomCredentials:
    """One key for everybody, or one for each host by ``ref.remote`` and ``*`` for the others. ``base_url`` includes ``/v2``.

    ``event_types`` names, by host, the event type under which ``create`` books; without it nothing can be created.
    """

    key: str | Mapping[str, str] = field(repr=False)
    base_url: str = "https://api.cal.com/v2"
    event_types: Mapping[str, int] = field(default_factory=dict)

    def key_of(self, ref: CalendarRef) -> str:
        """The key for a calendar.

        Raises:
            NotFound: there is none.
        """
        if isinstance(self.key, str):
            return self.key
        names = (ref.remote.casefold(), EVERYBODY_ELSE)
        keys = {name.casefold(): key for name, key in self.key.items()}
        found = next((keys[name] for name in names if name in keys), None)
        if found is None:
            raise NotFound(f"calcom: no key for calendar {ref.id}")
        return found


class CalcomService:
    """Hands out calendars; one transport for each key, whichever threads ask."""

    def __init__(
        self,
        credentials: CalcomCredentials,
        *,
        guard: Callable[[], None] = no_guard,
        refused: Callable[[str], None] = nobody,
        limits: Limits = UNLIMITED,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        self._credentials = credentials
        self._limits = limits
        self._connect = functools.partial(
            Transport, "calcom", classify=classify, guard=guard, refused=refused, timeout=timeout
        )
        self._transports: dict[str, Transport] = {}
        self._lock = threading.Lock()

    def calendar(self, ref: CalendarRef) -> CalcomCalendar:
        """The adapter of a calendar.

        Raises:
            NotFound: there is no key for it.
        """
        transport = self._transport(self._credentials.key_of(ref))
        api = BookingApi(transport, base_url=self._credentials.base_url)
        types = {name.casefold(): number for name, number in self._credentials.event_types.items()}
        hooks = Webhooks(transport, base_url=self._credentials.base_url)
        return CalcomCalendar(ref, api=api, webhooks=hooks, event_type=types.get(ref.remote.casefold()))

    def _transport(self, key: str) -> Transport:
        with self._lock:
            known = self._transports.get(key)
            if known is None:
                gate = self._limits.gate("calcom", app="key", account=key)
                known = self._transports[key] = self._connect(auth=StaticToken(key), gate=gate)
            return known


class CalcomCalendar:
    """``sync.ports.CalendarAdapter`` for the bookings that one person hosts, named by username or e-mail address."""

    def __init__(self, ref: CalendarRef, *, api: BookingApi, webhooks: Webhooks, event_type: int | None) -> None:
        self._ref = ref
        self._api = api
        self._webhooks = webhooks
        self._booker = Booker(ref, api=api, event_type=event_type)
        self._chains = Chains(api, remote=ref.remote)

    # Reading

    def read_changes(self, cursor: str | None, *, window: Interval, job: Job | None = None) -> ChangeSet:
        """``job`` chooses the lists, as ``_since`` says. A removal stands after the booking that took over."""
        rows, odd, mark = self._whole(window) if cursor is None else self._since(parse_cursor(cursor), job)
        heirs = {uid for raw in rows.values() if (uid := successor_of(raw)) is not None}
        changes = [change for raw in [*self._chains.complete(rows).values(), *odd] if (change := self._change(raw))]
        if cursor is None:
            gone = {change.remote_id for change in changes if isinstance(change, Removal)}
            changes = [change for change in changes if _concerns(change, window, heirs=heirs, gone=gone)]
        changes.sort(key=lambda change: isinstance(change, Removal))
        return ChangeSet(tuple(changes), dump_cursor(mark), full=cursor is None)

    def read_window(self, window: Interval) -> Sequence[RemoteEvent]:
        rows = read_list(self._api, _span(window), views=(*LIVE, *ENDED), counted=True).rows
        events = (self._live(row) for row in rows)
        return [event for event in events if event is not None and event.interval.overlaps(window)]

    def find_event(self, remote_id: RemoteId) -> RemoteEvent | None:
        raw = self._api.find(remote_id)
        if raw is None or not is_hosted_by(raw, self._ref.remote):
            return None
        newest = self._chains.newest(raw)
        return None if newest is None else parse_event(newest, ref=self._ref)

    def find_by_key(self, key: WriteKey) -> RemoteEvent | None:
        return self._booker.find_by_key(key)

    # Writing

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        return self._booker.create(draft, key=key)

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        return self._booker.update(remote_id, draft, version=version)

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        self._booker.delete(remote_id, version=version)

    # Push

    def subscribe(self, *, url: str, secret: str, expires: datetime) -> Subscription:
        return self._webhooks.open(url=url, secret=secret, expires=expires)

    def renew(self, subscription: Subscription, *, url: str, secret: str, expires: datetime) -> Subscription:
        return self._webhooks.renew(subscription, url=url, secret=secret, expires=expires)

    def unsubscribe(self, subscription: Subscription) -> None:
        self._webhooks.close(subscription)

    # Helpers

    def _whole(self, window: Interval) -> tuple[dict[RemoteId, Raw], list[object], datetime]:
        """By creation, the one order in which no row ever moves."""
        rows = read_list(self._api, {**_span(window), "sortCreated": "asc"}, views=EVERYTHING, counted=True)
        return rows.by_uid(), _odd(rows.rows), rows.asked_at

    def _since(self, moment: datetime, job: Job | None) -> tuple[dict[RemoteId, Raw], list[object], datetime]:
        """What changed since, and what was created since: a booking never changed has no ``updatedAt`` to be found by.

        NEW leaves out what is cancelled or past, since nothing is booked from it. CANCEL and UPDATE read every view: the
        booking that took over comes in the same page and need not be asked for; the second list only if it does not.
        """
        views = LIVE if job is Job.NEW else EVERYTHING
        changed = read_list(self._api, {"afterUpdatedAt": since(moment), "sortUpdatedAt": "asc"}, views=views)
        rows, odd = changed.by_uid(), _odd(changed.rows)
        if job in (None, Job.NEW) or self._chains.has_orphans(rows):
            created = read_list(self._api, {"afterCreatedAt": since(moment), "sortCreated": "asc"}, views=views)
            rows, odd = rows | created.by_uid(), odd + [row for row in _odd(created.rows) if row not in odd]
        return rows, odd, changed.asked_at

    def _change(self, raw: object) -> Change | None:
        return parse_change(raw, ref=self._ref)

    def _live(self, row: object) -> RemoteEvent | None:
        """A row of a list of live bookings; None if others host it, or if it has been cancelled meanwhile."""
        if not isinstance(row, dict):
            raise Malformed("data", "is not an object")
        if not is_hosted_by(row, self._ref.remote) or is_gone(row):
            return None
        return parse_event(row, ref=self._ref)


def _span(window: Interval) -> dict[str, str]:
    wide = window.widened(before=LONGEST_BOOKING, after=LONGEST_BOOKING)
    return {"afterStart": since(wide.start), "beforeEnd": since(wide.end)}


def _odd(rows: Sequence[object]) -> list[object]:
    """What no uid names: to be quarantined."""
    return [row for row in rows if not isinstance(row, dict) or uid_of(row) is None]


def _concerns(change: Change, window: Interval, *, heirs: set[RemoteId], gone: set[RemoteId]) -> bool:
    """Whether a full read tells it: it lies in the window, or took over from what the read says is gone."""
    if not isinstance(change, RemoteEvent) or change.interval.overlaps(window):
        return True
    return change.remote_id in heirs or change.replaces in gone
