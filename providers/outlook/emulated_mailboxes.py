"""What the emulated mailboxes do with events: keep, change, delete, and hide what is too fresh to be seen."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from providers.emulated_store import Store
from providers.outlook import emulated_delta as delta
from providers.outlook import emulated_events as events
from providers.outlook.emulated_events import GraphError
from providers.outlook.emulated_series import FORGOTTEN, Series, is_series


class Fault(Protocol):
    """``providers.emulation.Fault``."""

    seconds: float | None


Take = Callable[..., Fault | None]
"""The armed fault of one of the named kinds for the request at hand, counted as used."""

Notify = Callable[[str, str, str, str], None]
"""Tell the subscribers of a mailbox: mailbox, event id, etag, and created, updated or deleted."""

APP: Final = "app"
HUMAN: Final = "human"
VISIBLE_AFTER_SECONDS: Final = 5.0


class Mailboxes:
    """The default calendars of all mailboxes. Runs on one event loop, so nothing here is locked."""

    def __init__(self, store: Store, *, notify: Notify) -> None:
        self._store = store
        self._notify = notify
        self._last = datetime.now(UTC)
        self._series = Series(store)
        self._unseen: dict[tuple[str, str], float] = {}
        self._by_transaction = {
            (calendar, entry.data["transactionId"]): entry.id
            for calendar in store.calendars()
            for entry in store.entries(calendar)
            if entry.data.get("transactionId")
        }

    def create(self, mailbox: str, body: dict[str, Any], *, take: Take) -> tuple[int, dict[str, Any]]:
        """Status and event of a POST.

        Raises:
            GraphError: refused, or the ``transactionId`` was used before.
        """
        key = body.get("transactionId")
        if key and (mailbox, key) in self._by_transaction:
            return 200, self._repeated(mailbox, self._by_transaction[mailbox, key], take=take)
        event_id = new_id()
        data = events.new_event(body, event_id=event_id, mailbox=mailbox, now=self._now())
        if delay := take("delayed_visibility"):
            self._unseen[mailbox, event_id] = time.monotonic() + (delay.seconds or VISIBLE_AFTER_SECONDS)
        if take("doubled_create"):  # msgraph-sdk-powershell#2960
            self._keep(mailbox, twin := new_id(), {**data, "id": twin}, change="created", created_by=APP)
        before = self.live(mailbox)
        stored = self._keep(mailbox, event_id, data, change="created", created_by=APP)
        return 201, before[0] if before and take("other_event") else stored  # docs#7330

    def _repeated(self, mailbox: str, event_id: str, *, take: Take) -> dict[str, Any]:
        """What Graph makes of a used ``transactionId`` is reported in several ways; each is a fault kind."""
        entry = self._store.get(mailbox, event_id)
        if entry is not None and not entry.deleted and take("duplicate_transaction_echo"):
            return entry.data
        named = event_id not in self.hidden(mailbox) and not take("duplicate_transaction_without_id")
        status = 400 if take("duplicate_transaction_400") else 409
        raise GraphError(
            status,
            "ErrorDuplicateTransactionId",
            "Your request can't be completed. The TransactionId was already used to create a different event.",
            extra={"@event.existingEventId": event_id} if named else {},
        )

    def get(self, mailbox: str, event_id: str) -> dict[str, Any]:
        """Raises GraphError: 404, there is none or it is not visible yet."""
        entry = self._series.find(mailbox, event_id)
        if entry is None or entry.deleted or event_id in self.hidden(mailbox):
            raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        return entry.data

    def live(self, mailbox: str) -> list[dict[str, Any]]:
        """What a plain list shows: single events and the patterns of series."""
        hidden = self.hidden(mailbox)
        found = [entry for entry in self._store.entries(mailbox) if not entry.deleted and entry.id not in hidden]
        return [entry.data for entry in found if entry.data.get("type") != "exception"]

    def view(self, mailbox: str, window: tuple[datetime, datetime]) -> list[dict[str, Any]]:
        """What calendarView shows."""
        hidden = self.hidden(mailbox)
        return [data for data in self._series.view(mailbox, window) if data.get("id") not in hidden]

    def feed(self, mailbox: str, window: tuple[datetime, datetime]) -> Sequence[delta.Entry]:
        """What the change feed of a window tells, in the order of change."""
        return self._series.rows(mailbox, window)

    def occurrences(self, mailbox: str, event_id: str, window: tuple[datetime, datetime]) -> list[dict[str, Any]]:
        """Raises GraphError: 404, or 400 where it is not a series."""
        if not is_series(self.get(mailbox, event_id)):
            raise GraphError(400, "ErrorInvalidRequest", "Your request can't be completed: it is not a series.")
        return [data for data in self.view(mailbox, window) if data.get("seriesMasterId") == event_id]

    def hidden(self, mailbox: str) -> set[str]:
        now = time.monotonic()
        self._unseen = {key: until for key, until in self._unseen.items() if until > now}
        return {event_id for box, event_id in self._unseen if box == mailbox}

    def patch(
        self, mailbox: str, event_id: str, body: dict[str, Any], *, if_match: str | None, take: Take
    ) -> dict[str, Any]:
        """Raises GraphError: 404, 412 or a refused body."""
        data = self.get(mailbox, event_id)
        _require_tag(data, if_match, take=take)
        return self._change(mailbox, data, events.merged(_alone(data), body), created_by=APP)

    def delete(self, mailbox: str, event_id: str, *, if_match: str | None, take: Take) -> None:
        """Raises GraphError: 404 or 412."""
        data = self.get(mailbox, event_id)
        _require_tag(data, if_match, take=take)
        self._remove(mailbox, event_id, data)

    def type_in(self, mailbox: str, body: dict[str, Any], *, raw: dict[str, Any]) -> dict[str, Any]:
        """Create as a person does. ``raw`` alone is stored as it is; with a body it is laid over the event."""
        event_id = str(raw.get("id") or new_id())
        if not body:
            return self._put(mailbox, event_id, raw, change="created")
        body, raw = _with_recurrence(body, raw)
        data = events.new_event(body, event_id=event_id, mailbox=mailbox, now=self._now())
        return self._put(mailbox, event_id, {**self._stamped(mailbox, data), **raw}, change="created")

    def retype(self, mailbox: str, event_id: str, body: dict[str, Any], *, raw: dict[str, Any]) -> dict[str, Any]:
        """Change as a person does.

        Raises:
            KeyError: there is no such event.
        """
        data = self._for_person(mailbox, event_id)
        body, raw = _with_recurrence(body, raw)
        return self._change(mailbox, data, {**events.merged(_alone(data), body), "id": event_id}, raw=raw)

    def throw_away(self, mailbox: str, event_id: str) -> dict[str, Any]:
        """Delete as a person does.

        Raises:
            KeyError: there is no such event.
        """
        data = self._for_person(mailbox, event_id)
        self._remove(mailbox, event_id, data)
        return data

    def _for_person(self, mailbox: str, event_id: str) -> dict[str, Any]:
        entry = self._series.find(mailbox, event_id)
        if entry is None or entry.deleted:
            raise KeyError(event_id)
        return entry.data

    def _change(
        self,
        mailbox: str,
        old: dict[str, Any],
        new: dict[str, Any],
        *,
        raw: dict[str, Any] | None = None,
        created_by: str = HUMAN,
    ) -> dict[str, Any]:
        """Keep a new state; a series that gets other times overrules what was changed by itself, another end does not."""
        kept = self._keep(mailbox, new["id"], new, change="updated", created_by=created_by, raw=raw)
        if is_series(old) and _times(old) != _times(kept):
            self._forget(mailbox, self._series.exceptions_of(mailbox, old["id"]))
        self._touch_series(mailbox, kept)
        return kept

    def _forget(self, mailbox: str, exceptions: Sequence[delta.Entry]) -> None:
        for entry in exceptions:
            self._store.put(mailbox, entry.id, {**entry.data, "type": FORGOTTEN}, created_by=HUMAN, deleted=True)

    def _touch_series(self, mailbox: str, data: dict[str, Any]) -> None:
        """What happens to one occurrence is a change of its series, and nothing else is told (docs#5520)."""
        series = self._store.get(mailbox, str(data.get("seriesMasterId")))
        if series is not None and not series.deleted and is_series(series.data):
            self._keep(mailbox, series.id, series.data, change="updated", created_by=series.created_by)

    def _keep(
        self,
        mailbox: str,
        event_id: str,
        data: dict[str, Any],
        *,
        change: str,
        created_by: str,
        raw: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        if key := data.get("transactionId"):
            self._by_transaction[mailbox, key] = event_id
        stamped = {**self._stamped(mailbox, data), **(raw or {})}
        self._store.put(mailbox, event_id, stamped, created_by=created_by)
        self._notify(mailbox, event_id, str(stamped.get("@odata.etag")), change)
        return stamped

    def _put(self, mailbox: str, event_id: str, data: dict[str, Any], *, change: str) -> dict[str, Any]:
        self._store.put(mailbox, event_id, data, created_by=HUMAN)
        self._notify(mailbox, event_id, str(data.get("@odata.etag")), change)
        return data

    def _remove(self, mailbox: str, event_id: str, data: dict[str, Any]) -> None:
        if is_series(data):
            exceptions = self._series.exceptions_of(mailbox, event_id)
            self._forget(mailbox, [entry for entry in exceptions if not entry.deleted])
        self._store.put(mailbox, event_id, data, created_by=HUMAN, deleted=True)
        self._notify(mailbox, event_id, str(data.get("@odata.etag")), "deleted")
        self._touch_series(mailbox, data)

    def _stamped(self, mailbox: str, data: dict[str, Any]) -> dict[str, Any]:
        return events.stamped(data, seq=self._store.seq(mailbox) + 1, now=self._now())

    def _now(self) -> datetime:
        """Grows with every call, so two states of an event never carry the same time."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last


def _times(data: dict[str, Any]) -> tuple[object, ...]:
    return (data.get("recurrence") or {}).get("pattern"), data.get("start"), data.get("end")


def _with_recurrence(body: dict[str, Any], raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recurrence that a person gives with an event is typed, not planted."""
    if not raw.get("recurrence"):
        return body, raw
    rest = {name: value for name, value in raw.items() if name != "recurrence"}
    return {**body, "recurrence": raw["recurrence"]}, rest


def _alone(data: dict[str, Any]) -> dict[str, Any]:
    """An occurrence that gets a state of its own becomes an exception."""
    return {**data, "type": "exception"} if data.get("type") == "occurrence" else data


def new_id() -> str:
    """As long and as case-sensitive as Graph's."""
    return f"AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{uuid.uuid4().hex}AAA="


def _require_tag(data: dict[str, Any], if_match: str | None, *, take: Take) -> None:
    """Users also met 412 for a fresh tag (Analog#475)."""
    stale = if_match not in {None, "*", data.get("@odata.etag")}
    if stale or take("transient_412"):
        raise GraphError(412, "ErrorIrresolvableConflict", "The send or update operation could not be performed.")
