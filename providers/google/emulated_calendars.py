"""What the emulated calendars do with events: keep, change, cancel, and hide what is too fresh to be seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from providers.emulated_store import Entry, Store
from providers.google.emulated_event import (
    Refusal,
    Stamps,
    cancelled,
    changed,
    must_be_valid,
    must_be_valid_id,
    new_event,
    new_id,
    replaced,
)
from providers.google.emulated_person import Typed, typed_body
from providers.google.emulated_series import Row, Series, instances, is_series, must_be_readable, place_in_series

Window = tuple[datetime, datetime]

Notify = Callable[[str], None]
"""Tell the channels of a calendar that something changed."""

Take = Callable[..., Any]
"""The armed fault of one of the named kinds for the request at hand, counted as used."""


class Action(Protocol):
    """``providers.emulation.HumanAction``."""

    @property
    def action(self) -> str: ...
    @property
    def id(self) -> str | None: ...
    @property
    def event(self) -> Typed: ...
    @property
    def raw(self) -> dict[str, Any] | None: ...


class Calendars:
    """All calendars of one emulator. Runs on one event loop, so nothing here is locked."""

    def __init__(self, store: Store, *, notify: Notify) -> None:
        self._store = store
        self._notify = notify
        self._series = Series(store)
        self._stamps = Stamps(entry.data for calendar in store.calendars() for entry in store.entries(calendar))
        self._hidden: dict[tuple[str, str], float] = {}

    # Reading

    def find(self, calendar: str, event_id: str) -> Entry:
        """Raises Refusal: 404, there is none or it is not visible yet."""
        entry = self._series.find(calendar, event_id)
        if entry is None or self._is_hidden(calendar, event_id):
            raise Refusal(404, "notFound", "Not Found")
        return entry

    def visible(self, calendar: str) -> tuple[list[Entry], int]:
        """All entries that may be seen, and the number of the last change that may."""
        entries = self._store.entries(calendar)
        hidden = [entry.seq for entry in entries if self._is_hidden(calendar, entry.id)]
        upto = min([self._store.seq(calendar) + 1, *hidden]) - 1
        return [entry for entry in entries if entry.seq not in hidden], upto

    def expanded(self, calendar: str, rows: list[Entry], *, window: Window | None) -> list[Row]:
        """``rows`` with the instances of every series in its place."""
        return self._series.expanded(calendar, rows, window=window)

    def live(self, calendar: str, *, window: Window) -> list[dict[str, Any]]:
        """Every event and every instance that is not cancelled."""
        rows = self.expanded(calendar, self._store.entries(calendar), window=window)
        return [row.data for row in rows if not row.deleted]

    def instances_of(self, calendar: str, event_id: str, *, window: Window | None) -> list[dict[str, Any]]:
        """Raises Refusal: 404, or 400 where it is not a series."""
        entry = self.find(calendar, event_id)
        if entry.deleted or not is_series(entry.data):
            raise Refusal(400, "invalid", "The requested event is not recurring.")
        found = (self._series.find(calendar, each["id"]) for each in instances(entry.data, window))
        return [each.data for each in found if each is not None and not each.deleted]

    # Writing

    def insert(self, calendar: str, body: dict[str, Any], *, take: Take) -> dict[str, Any]:
        """Raises Refusal: 400, or 409 for an id that is or was in use."""
        event_id = body.get("id") or new_id()
        must_be_valid_id(event_id)
        must_be_valid(body)
        if self._store.get(calendar, event_id) is not None:  # a deleted one as well: ids stay reserved for ever
            raise Refusal(409, "duplicate", "The requested identifier already exists.")
        data = new_event(calendar, body, event_id=event_id, stamp=self._stamps.next())
        must_be_readable(data)
        if fault := take("delayed_visibility"):
            self._hidden[calendar, event_id] = time.monotonic() + (fault.seconds or 1.0)
        return self._put(calendar, event_id, data)

    def change(
        self,
        calendar: str,
        event_id: str,
        body: dict[str, Any],
        *,
        how: str,
        tag: str | None,
        take: Take,
    ) -> dict[str, Any]:
        """Raises Refusal: 400, 403 for a deleted event (google-api-python-client#846), 404 or 412."""
        entry = self.find(calendar, event_id)
        _must_match(tag, entry, take=take)
        if entry.deleted:
            raise Refusal(403, "forbidden", "Forbidden")
        merge = replaced if how == "PUT" else changed
        data = {**merge(calendar, entry.data, body, stamp=self._stamps.next()), **place_in_series(entry.data)}
        must_be_valid(data)
        must_be_readable(data)
        return self._put(calendar, event_id, data)

    def delete(self, calendar: str, event_id: str, *, tag: str | None, take: Take) -> None:
        """Raises Refusal: 404, 410 or 412."""
        entry = self.find(calendar, event_id)
        if entry.deleted:
            raise Refusal(410, "deleted", "Resource has been deleted")
        _must_match(tag, entry, take=take)
        self._put(calendar, event_id, cancelled(entry.data, stamp=self._stamps.next()), deleted=True)

    def act(self, calendar: str, action: Action) -> dict[str, Any]:
        """What a person does; ``raw`` is laid over the event as it is.

        Raises:
            KeyError: there is no such event.
        """
        raw = action.raw or {}
        if action.action == "create":
            event_id = action.id or raw.get("id") or new_id()
            data = new_event(calendar, typed_body(action.event), event_id=event_id, stamp=self._stamps.next())
            return self._put(calendar, event_id, {**data, **raw}, created_by="human")
        entry = self._series.find(calendar, action.id or "")
        if entry is None or entry.deleted:
            raise KeyError(action.id)
        if action.action == "delete":
            return self._put(calendar, entry.id, cancelled(entry.data, stamp=self._stamps.next()), deleted=True)
        data = changed(calendar, entry.data, typed_body(action.event), stamp=self._stamps.next())
        return self._put(calendar, entry.id, {**data, **raw})

    def _put(
        self, calendar: str, event_id: str, data: dict[str, Any], *, created_by: str = "app", deleted: bool = False
    ) -> dict[str, Any]:
        before = self._store.get(calendar, event_id)
        entry = self._store.put(calendar, event_id, data, created_by=created_by, deleted=deleted)
        self._series.settle(calendar, before.data if before else None, entry)
        self._notify(calendar)
        return entry.data

    def _is_hidden(self, calendar: str, event_id: str) -> bool:
        return self._hidden.get((calendar, event_id), 0.0) > time.monotonic()


def shown_instances(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The one page of events.instances."""
    return {"kind": "calendar#events", "etag": f'"i{len(found)}"', "timeZone": "UTC", "items": found}


def _must_match(tag: str | None, entry: Entry, *, take: Take) -> None:
    if tag is not None and (tag not in (entry.data.get("etag"), "*") or take("transient_412")):
        raise Refusal(412, "conditionNotMet", "Precondition Failed", location="If-Match")
