"""Recurring events as the emulator shows them: instances, exceptions, and what is gone.

A series is stored as Google keeps it, one event with ``recurrence``; its instances are worked out when they are asked
for. Stored beside it are those that were changed or cancelled by themselves, under the ids that Google gives them
(``series_20270308T150000Z``), and what a change of the series took away: lists tell of both (Event.status).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from providers.emulated_series import MOST, day_around, far_from, instant_of, occurrences
from providers.emulated_store import Entry, Store
from providers.google.emulated_event import Refusal, span

Window = tuple[datetime, datetime]


class Row(Protocol):
    @property
    def seq(self) -> float: ...
    @property
    def deleted(self) -> bool: ...
    @property
    def data(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Instance:
    """A row that is not stored. ``seq`` lies between the change before that of its series and that one."""

    seq: float
    data: dict[str, Any]
    deleted: bool = False


def is_series(data: Mapping[str, Any]) -> bool:
    return bool(data.get("recurrence"))


def place_in_series(data: Mapping[str, Any]) -> dict[str, Any]:
    """What no write can take from an instance; empty for all other events."""
    return {name: data[name] for name in ("recurringEventId", "originalStartTime") if name in data}


def must_be_readable(data: Mapping[str, Any]) -> None:
    """Refuse a rule that nobody can read.

    Raises:
        Refusal: 400 invalid.
    """
    if not is_series(data):
        return
    try:
        list(instances(data))
    except (KeyError, TypeError, ValueError):
        raise Refusal(400, "invalid", "Invalid recurrence rule.") from None


def instances(data: Mapping[str, Any], window: Window | None = None) -> Iterable[dict[str, Any]]:
    """The instances that overlap ``window``; without one, those of the first two years."""
    both = span(dict(data))
    if both is None:
        return
    zone = None if "date" in data["start"] else ZoneInfo(data["start"].get("timeZone") or "UTC")
    first = both[0].astimezone(zone or UTC).replace(tzinfo=None)
    start, end = window or (both[0], far_from(both[0]))
    length = both[1] - both[0]
    for wall in occurrences(data["recurrence"], first=first, zone=zone, length=length, start=start, end=end):
        yield _instance(data, instant_of(wall, zone), instant_of(wall, zone) + length, zone=zone)


def _instance(data: Mapping[str, Any], start: datetime, end: datetime, *, zone: ZoneInfo | None) -> dict[str, Any]:
    suffix = f"{start:%Y%m%dT%H%M%SZ}" if zone else f"{start:%Y%m%d}"
    shown = {name: value for name, value in data.items() if name != "recurrence"}
    begins, ends = (_end(each, zone) for each in (start, end))
    own = {"id": f"{data['id']}_{suffix}", "recurringEventId": data["id"], "originalStartTime": begins}
    return {**shown, **own, "start": begins, "end": ends}


def _end(instant: datetime, zone: ZoneInfo | None) -> dict[str, str]:
    if zone is None:
        return {"date": instant.date().isoformat()}
    return {"dateTime": instant.astimezone(zone).isoformat().replace("+00:00", "Z"), "timeZone": zone.key}


def as_series(rows: Iterable[Entry]) -> list[Entry]:
    """``rows`` as they are listed without ``singleEvents``: series, and only those instances that differ from theirs."""
    return [row for row in rows if not _was_taken_away(row)]


class Series:
    """All series of one emulator."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def expanded(self, calendar: str, rows: Iterable[Entry], *, window: Window | None) -> list[Row]:
        """``rows`` with instances in place of their series, as ``singleEvents=true`` asks for."""
        found: dict[str, Row] = {}
        for row in rows:
            if not is_series(row.data):
                found[row.id] = row
        for row in rows:
            if is_series(row.data) and not row.deleted:
                for number, data in enumerate(instances(row.data, window), start=1):
                    if not self._has_own_state(calendar, data["id"]):
                        found[data["id"]] = Instance(row.seq - 1 + number / (MOST + 1), data)
        return sorted(found.values(), key=lambda row: row.seq)

    def find(self, calendar: str, event_id: str) -> Entry | None:
        """The event as it is stored, or an instance of a series."""
        stored = self._store.get(calendar, event_id)
        if stored is not None and not _was_taken_away(stored):
            return stored
        series = self._store.get(calendar, event_id.rpartition("_")[0])
        if series is None or series.deleted or not is_series(series.data):
            return stored
        around = day_around(event_id.rpartition("_")[2][:8])
        data = next((each for each in instances(series.data, around) if each["id"] == event_id), None)
        return Entry(event_id, series.seq, series.created_by, deleted=False, data=data) if data else stored

    def settle(self, calendar: str, before: Mapping[str, Any] | None, after: Entry) -> None:
        """Note which instances a change of their series took away; what was changed by itself goes with them."""
        if before is None or not is_series(before):
            return
        kept = set() if after.deleted or not is_series(after.data) else {each["id"] for each in instances(after.data)}
        for each in instances(before):
            stored = self._store.get(calendar, each["id"])
            if each["id"] not in kept and not (stored and stored.deleted):
                names = ("kind", "id", "recurringEventId", "originalStartTime")
                stamp = {name: after.data[name] for name in ("etag", "updated")}
                gone = {**{name: each[name] for name in names}, **stamp, "status": "cancelled"}
                self._store.put(calendar, each["id"], gone, created_by=after.created_by, deleted=True)

    def _has_own_state(self, calendar: str, event_id: str) -> bool:
        stored = self._store.get(calendar, event_id)
        return stored is not None and not _was_taken_away(stored)


def _was_taken_away(entry: Entry) -> bool:
    """By a change of the series, which another change may undo. A person who cancels an instance leaves its times."""
    return entry.deleted and "recurringEventId" in entry.data and "start" not in entry.data
