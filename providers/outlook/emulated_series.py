"""Series as the emulated mailboxes keep and show them (Graph: resources/event.md, event-delta.md).

Stored is the pattern, an event of type ``seriesMaster``; its occurrences are worked out when they are asked for. Stored
beside it are those that were changed or deleted by themselves. As users found (docs#4501, #5520, #6353), the change feed
repeats the series and all of its occurrences when anything about it changes, and does not mention those that are gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from providers.emulated_series import MOST, day_around, far_from, instant_of, occurrences
from providers.emulated_store import Entry, Store
from providers.outlook import emulated_events as events
from providers.outlook.emulated_pattern import rule_of

FORGOTTEN: Final = "forgotten"  # the type of an exception that its series has overruled
_OWN: Final = frozenset({"recurrence", "transactionId"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the change feed. Occurrences lie between the change before that of their series and that one."""

    id: str
    seq: float
    deleted: bool
    data: dict[str, Any]


def is_series(data: Mapping[str, Any]) -> bool:
    return data.get("type") == "seriesMaster" and bool(data.get("recurrence"))


def occurrences_of(
    data: Mapping[str, Any], window: tuple[datetime, datetime] | None = None
) -> Iterator[dict[str, Any]]:
    """Those that overlap ``window``; without one, those of the first two years.

    Raises:
        KeyError, TypeError, ValueError: the pattern cannot be read.
    """
    begins, ends = events.instants(data)
    zone = events.zone_info(data["recurrence"]["range"].get("recurrenceTimeZone") or "UTC")
    rule, length = rule_of(data["recurrence"], zone=zone), ends - begins
    first = begins.replace(tzinfo=None) if data.get("isAllDay") else begins.astimezone(zone).replace(tzinfo=None)
    start, end = window or (begins, far_from(begins))
    home = UTC if data.get("isAllDay") else zone  # days are dates, which no zone moves
    for wall in occurrences([rule], first=first, zone=home, length=length, start=start, end=end):
        at = instant_of(wall, home)
        shown = {name: value for name, value in data.items() if name not in _OWN}
        yield {
            **shown,
            "id": f"OID.{data['id']}.{wall:%Y-%m-%d}",
            "type": "occurrence",
            "seriesMasterId": data["id"],
            "recurrence": None,
            "originalStart": events.dump_time(at),
            "start": {"dateTime": events.wall(at), "timeZone": "UTC"},
            "end": {"dateTime": events.wall(at + length), "timeZone": "UTC"},
        }


class Series:
    """All series of one emulator."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, mailbox: str, event_id: str) -> Entry | None:
        """The event as it is stored, or an occurrence of a series."""
        stored = self._store.get(mailbox, event_id)
        if stored is not None and stored.data.get("type") != FORGOTTEN:
            return stored
        series = self._store.get(mailbox, event_id.removeprefix("OID.").rpartition(".")[0])
        if series is None or series.deleted or not is_series(series.data):
            return None
        around = day_around(event_id.rpartition(".")[2].replace("-", ""))
        data = next((each for each in occurrences_of(series.data, around) if each["id"] == event_id), None)
        return Entry(event_id, series.seq, series.created_by, deleted=False, data=data) if data else None

    def rows(self, mailbox: str, window: tuple[datetime, datetime]) -> list[Row]:
        """The change feed of ``window``: what lies outside is told as deleted (docs#6599)."""
        found: list[Row] = []
        for entry in self._store.entries(mailbox):
            if is_series(entry.data):
                found += self._series_rows(mailbox, entry, window)
            elif not self._goes_untold(mailbox, entry):
                gone = entry.deleted or not events.overlaps(entry.data, *window)
                found.append(Row(entry.id, entry.seq, gone, entry.data))
        return sorted(found, key=lambda row: row.seq)

    def view(self, mailbox: str, window: tuple[datetime, datetime]) -> list[dict[str, Any]]:
        """What calendarView lists: single events, occurrences and exceptions."""
        rows = self.rows(mailbox, window)
        return [row.data for row in rows if not row.deleted and row.data.get("type") != "seriesMaster"]

    def exceptions_of(self, mailbox: str, series_id: str) -> Sequence[Entry]:
        """What was changed or deleted by itself."""
        entries = self._store.entries(mailbox)
        return [
            each
            for each in entries
            if each.data.get("seriesMasterId") == series_id and self._is_of_series(mailbox, each)
        ]

    def _series_rows(self, mailbox: str, entry: Entry, window: tuple[datetime, datetime]) -> Iterator[Row]:
        inside = list(occurrences_of(entry.data, window))
        for number, data in enumerate(inside, start=1):
            stored = self._store.get(mailbox, data["id"])
            if stored is None or stored.data.get("type") == FORGOTTEN:
                yield Row(data["id"], entry.seq - 1 + number / (MOST + 2), entry.deleted, data)
        yield Row(entry.id, entry.seq, entry.deleted or not inside, entry.data)

    def _goes_untold(self, mailbox: str, entry: Entry) -> bool:
        """An occurrence that is gone; the feed repeats its series instead."""
        return entry.deleted and self._is_of_series(mailbox, entry)

    def _is_of_series(self, mailbox: str, entry: Entry) -> bool:
        series = self._store.get(mailbox, str(entry.data.get("seriesMasterId")))
        return series is not None and is_series(series.data)
