"""The meetings of one account: kept under their owners, found by number, and known to the index only after a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from providers.hubspot.emulated_record import DATES, Refusal, Stamps, to_ms

NOBODY = "unassigned"
FIRST_NUMBER = 40_000_000_001

Record = dict[str, Any]


class _Entry(Protocol):
    id: str
    created_by: str
    deleted: bool
    data: Record


class _Store(Protocol):
    """``providers.emulation.Store``, as far as it is used here."""

    def put(self, calendar: str, event_id: str, data: Record, *, created_by: str, deleted: bool = False) -> _Entry: ...
    def get(self, calendar: str, event_id: str) -> _Entry | None: ...
    def entries(self, calendar: str) -> list[Any]: ...
    def calendars(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A record, and the properties under which the index knows it by now."""

    number: int
    index: Mapping[str, Any]
    record: Record


@dataclass(frozen=True, slots=True)
class _Late:
    """What the index still shows of a record, until then; nothing if it did not know the record."""

    until: float
    index: Mapping[str, Any] | None


class Account:
    """One HubSpot account. A meeting lies in the calendar of its owner and moves with it."""

    def __init__(self, store: _Store, *, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = now
        self._late: dict[str, _Late] = {}
        here = [(owner, entry) for owner in store.calendars() for entry in store.entries(owner) if _is_here(entry)]
        self._owners = {entry.id: owner for owner, entry in here}
        self.stamps = Stamps(entry.data for _, entry in here)
        self._last = max((int(entry.id) for _, entry in here), default=FIRST_NUMBER - 1)

    def next_number(self) -> int:
        self._last += 1
        return self._last

    def find(self, number: str) -> Record | None:
        """The record, archived or not."""
        owner = self._owners.get(number)
        entry = None if owner is None else self._store.get(owner, number)
        return None if entry is None else entry.data

    def get(self, number: str) -> Record:
        """The live record.

        Raises:
            Refusal: 404, there is none.
        """
        record = self.find(number)
        if record is None or record["archived"]:
            raise Refusal(404, "resource not found")
        return record

    def owner_of(self, number: str) -> str | None:
        return self._owners.get(number)

    def put(self, record: Record, *, created_by: str = "app", late: float = 0.0) -> Record:
        """Keep a record as it now is. For ``late`` seconds the index goes on showing what it was."""
        number, owner = str(record["_number"]), _owner(record)
        before = self._owners.get(number)
        if late and self._late_index(number) is None:
            known = self.find(number)
            self._late[number] = _Late(self._now() + late, None if known is None else index_of(known))
        if before is not None and before != owner:
            self._store.put(before, number, {**record, "_moved": True}, created_by=created_by, deleted=True)
        self._owners[number] = owner
        self._store.put(owner, number, record, created_by=created_by, deleted=bool(record["archived"]))
        return record

    def rows(self) -> Iterator[Row]:
        """What the search knows: nothing that is archived, and late changes as they were before."""
        for record in self.records():
            late = None if record["archived"] else self._late_index(record["_number"])
            index = index_of(record) if late is None else late.index
            if not record["archived"] and index is not None:
                yield Row(int(record["_number"]), index, record)

    def records(self) -> list[Record]:
        """All records in the order of their numbers."""
        found = (self.find(number) for number in self._owners)
        return sorted((record for record in found if record is not None), key=lambda record: int(record["_number"]))

    def _late_index(self, number: str) -> _Late | None:
        late = self._late.get(number)
        if late is not None and late.until <= self._now():
            del self._late[number]
            return None
        return late


def planted(record: Record, raw: Mapping[str, Any]) -> Record:
    """The record with ``raw`` written over it as it is, properties one by one; found under whatever still makes sense."""
    properties = raw.get("properties", {})
    merged = {**record["properties"], **properties} if isinstance(properties, dict) else properties
    return {**record, **raw, "properties": merged, "_index": {**record["properties"], **_sensible(properties)}}


def index_of(record: Record) -> Mapping[str, Any]:
    index: Mapping[str, Any] = record.get("_index") or record["properties"]
    return index


def _sensible(properties: object) -> dict[str, Any]:
    if not isinstance(properties, dict):
        return {}
    return {
        name: value
        for name, value in properties.items()
        if to_ms(value) is not None or (name not in DATES and isinstance(value, str))
    }


def _owner(record: Record) -> str:
    return str(index_of(record).get("hubspot_owner_id") or NOBODY)


def _is_here(entry: _Entry) -> bool:
    return not entry.data.get("_moved")
