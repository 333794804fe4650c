"""What the emulated mailboxes do with events: keep, change, delete, and hide what is too fresh to be seen."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from providers.outlook import emulated_delta as delta
from providers.outlook import emulated_events as events
from providers.outlook.emulated_events import GraphError


class Store(Protocol):
    """``providers.emulation.Store``, which only an emulator proper may import."""

    def put(
        self, calendar: str, event_id: str, data: dict[str, Any], *, created_by: str, deleted: bool = False
    ) -> delta.Entry: ...
    def get(self, calendar: str, event_id: str) -> delta.Entry | None: ...
    def entries(self, calendar: str) -> Sequence[delta.Entry]: ...
    def seq(self, calendar: str) -> int: ...
    def calendars(self) -> Sequence[str]: ...


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
        entry = self._store.get(mailbox, event_id)
        if entry is None or entry.deleted or event_id in self.hidden(mailbox):
            raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        return entry.data

    def live(self, mailbox: str) -> list[dict[str, Any]]:
        hidden = self.hidden(mailbox)
        found = [entry for entry in self._store.entries(mailbox) if not entry.deleted and entry.id not in hidden]
        return [entry.data for entry in found]

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
        return self._keep(mailbox, event_id, events.merged(data, body), change="updated", created_by=APP)

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
        data = events.new_event(body, event_id=event_id, mailbox=mailbox, now=self._now())
        return self._put(mailbox, event_id, {**self._stamped(mailbox, data), **raw}, change="created")

    def retype(self, mailbox: str, event_id: str, body: dict[str, Any], *, raw: dict[str, Any]) -> dict[str, Any]:
        """Change as a person does.

        Raises:
            KeyError: there is no such event.
        """
        data = events.merged(self._for_person(mailbox, event_id), body)
        return self._put(
            mailbox, event_id, {**self._stamped(mailbox, {"id": event_id, **data}), **raw}, change="updated"
        )

    def throw_away(self, mailbox: str, event_id: str) -> dict[str, Any]:
        """Delete as a person does.

        Raises:
            KeyError: there is no such event.
        """
        data = self._for_person(mailbox, event_id)
        self._remove(mailbox, event_id, data)
        return data

    def _for_person(self, mailbox: str, event_id: str) -> dict[str, Any]:
        entry = self._store.get(mailbox, event_id)
        if entry is None or entry.deleted:
            raise KeyError(event_id)
        return entry.data

    def _keep(
        self, mailbox: str, event_id: str, data: dict[str, Any], *, change: str, created_by: str
    ) -> dict[str, Any]:
        if key := data.get("transactionId"):
            self._by_transaction[mailbox, key] = event_id
        stamped = self._stamped(mailbox, data)
        self._store.put(mailbox, event_id, stamped, created_by=created_by)
        self._notify(mailbox, event_id, stamped["@odata.etag"], change)
        return stamped

    def _put(self, mailbox: str, event_id: str, data: dict[str, Any], *, change: str) -> dict[str, Any]:
        self._store.put(mailbox, event_id, data, created_by=HUMAN)
        self._notify(mailbox, event_id, str(data.get("@odata.etag")), change)
        return data

    def _remove(self, mailbox: str, event_id: str, data: dict[str, Any]) -> None:
        self._store.put(mailbox, event_id, data, created_by=HUMAN, deleted=True)
        self._notify(mailbox, event_id, str(data.get("@odata.etag")), "deleted")

    def _stamped(self, mailbox: str, data: dict[str, Any]) -> dict[str, Any]:
        return events.stamped(data, seq=self._store.seq(mailbox) + 1, now=self._now())

    def _now(self) -> datetime:
        """Grows with every call, so two states of an event never carry the same time."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last


def new_id() -> str:
    """As long and as case-sensitive as Graph's."""
    return f"AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{uuid.uuid4().hex}AAA="


def _require_tag(data: dict[str, Any], if_match: str | None, *, take: Take) -> None:
    """Users also met 412 for a fresh tag (Analog#475)."""
    stale = if_match not in {None, "*", data.get("@odata.etag")}
    if stale or take("transient_412"):
        raise GraphError(412, "ErrorIrresolvableConflict", "The send or update operation could not be performed.")
