"""One workbench for every implementation of the calendar ports: a person's hands, and one way to make each call fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

import pytest

from sync.domain import EventDraft, Interval, RemoteEvent, RemoteId, WriteKey
from sync.ports import CalendarAdapter

NINE = datetime(2027, 3, 8, 15, tzinfo=UTC)
WINDOW = Interval(NINE - timedelta(days=1), NINE + timedelta(days=3))
RETRY_AFTER_SECONDS = 7
KEY = WriteKey("0b0c0d0e0f0a0b0c0d0e0f0a0b0c0d0e")


class Can(StrEnum):
    """What an implementation can do. What it lacks by its nature it declares, with the reason; its tests are left out."""

    CREATE = "create"
    MOVE = "move"
    STRETCH = "change the length of an event"
    RETITLE = "retitle"
    FREE = "show an event that takes no time"
    KEEP_ID = "keep the id of what moves"
    DELETE = "delete"
    TELL_ONCE = "tell each change once"
    EXPIRE = "let cursors expire"


class Trouble(StrEnum):
    """What happens to a call, and to every repetition of it until ``heal``."""

    LIMITED = "rate limited, Retry-After 7"
    ERROR = "500"
    UNAVAILABLE = "503"
    HTML = "a page with 200"
    EMPTY = "nothing with 200"
    TRUNCATED = "half a body"
    ERROR_IN_OK = "200 with an error inside"
    SILENCE = "no answer in time"
    UNHEARD = "the write is stored, and the answer is a 504"
    OTHER_EVENT = "the answer to a creation shows another event"
    REVOKED = "the credential is revoked"
    FORBIDDEN = "403"
    READ_ONLY = "a credential that may only read"


class Bench(Protocol):
    """One fresh calendar. ``calendar`` is our client of it; the rest are a person's hands and the vendor's bad day."""

    lacks: Mapping[Can, str]

    @property
    def calendar(self) -> CalendarAdapter: ...

    def put(self, interval: Interval, title: str = "Dentist") -> RemoteId: ...

    def retitle(self, remote_id: RemoteId, title: str) -> None: ...

    def remove(self, remote_id: RemoteId) -> None: ...

    def plant_malformed(self) -> RemoteId:
        """A record that cannot be understood, at nine."""
        ...

    def titles(self) -> list[str]:
        """What a person sees, in no order."""
        ...

    def expire_cursors(self) -> None: ...

    def in_trouble(self, trouble: Trouble, call: str) -> CalendarAdapter:
        """Our client when ``call`` (a method of the port) meets ``trouble``."""
        ...

    def heal(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Implementation:
    """``opened`` starts what many benches need, once; it hands out a maker of benches."""

    name: str
    opened: Callable[[], AbstractContextManager[Callable[[], Bench]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What calls are made with: a foreign event, a cursor from before it, and an event that our key made, if it can be."""

    foreign: RemoteEvent
    cursor: str


def need(bench: Bench, *abilities: Can) -> None:
    """Leave a test out for an implementation that declares to lack what it is about."""
    for ability in abilities:
        if ability in bench.lacks:
            pytest.skip(f"cannot {ability}: {bench.lacks[ability]}")


def hours(start: float, end: float) -> Interval:
    """An interval in hours after nine."""
    return Interval(NINE + timedelta(hours=start), NINE + timedelta(hours=end))


def draft(start: float = 5, *, title: str = "Showing", blocks: bool = True) -> EventDraft:
    return EventDraft(hours(start, start + 1), title, body="by watertight", blocks=blocks)


def prepare(bench: Bench) -> Prepared:
    cursor = bench.calendar.read_changes(None, window=WINDOW).cursor
    found = bench.calendar.find_event(bench.put(hours(0, 1)))
    assert found is not None
    return Prepared(found, cursor)


Call = Callable[[CalendarAdapter, Prepared], object]

READS: dict[str, Call] = {
    "read_changes": lambda calendar, known: calendar.read_changes(known.cursor, window=WINDOW),
    "read_changes in full": lambda calendar, _: calendar.read_changes(None, window=WINDOW),
    "read_window": lambda calendar, _: calendar.read_window(WINDOW),
    "find_event": lambda calendar, known: calendar.find_event(known.foreign.remote_id),
    "find_by_key": lambda calendar, _: calendar.find_by_key(KEY),
}
WRITES: dict[str, Call] = {
    "create": lambda calendar, _: calendar.create(draft(), key=KEY),
    "update": lambda calendar, known: calendar.update(
        known.foreign.remote_id, draft(title="Moved"), version=known.foreign.version
    ),
    "delete": lambda calendar, known: calendar.delete(known.foreign.remote_id, version=known.foreign.version),
}
NEEDS = {"create": Can.CREATE, "update": Can.MOVE, "delete": Can.DELETE}
CALLS = READS | WRITES
