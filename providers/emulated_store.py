"""The calendars of one emulator: each event as the vendor's JSON with a change number, journalled to a file."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Entry:
    """One event of one calendar. ``seq`` grows with every change in the calendar; ``data`` is the vendor's JSON."""

    id: str
    seq: int
    created_by: str
    deleted: bool
    data: dict[str, Any]


class Store:
    """All calendars of one emulator, journalled to a file so that a restart remembers them."""

    def __init__(self, journal: Path | None = None) -> None:
        self._calendars: dict[str, dict[str, Entry]] = defaultdict(dict)
        self._seq: Counter[str] = Counter()
        self._journal = None
        if journal is not None:
            self._replay(journal)
            self._journal = journal.open("a", encoding="utf-8")

    def put(
        self, calendar: str, event_id: str, data: dict[str, Any], *, created_by: str, deleted: bool = False
    ) -> Entry:
        """Store a new state of an event; ``created_by`` counts only for the first."""
        known = self._calendars[calendar].get(event_id)
        self._seq[calendar] += 1
        entry = Entry(event_id, self._seq[calendar], known.created_by if known else created_by, deleted, data)
        self._calendars[calendar][event_id] = entry
        if self._journal is not None:
            self._journal.write(json.dumps({"calendar": calendar, **asdict(entry)}) + "\n")
            self._journal.flush()
        return entry

    def get(self, calendar: str, event_id: str) -> Entry | None:
        return self._calendars[calendar].get(event_id)

    def entries(self, calendar: str) -> list[Entry]:
        """All entries, deleted ones too, in the order of their last change."""
        return sorted(self._calendars[calendar].values(), key=lambda entry: entry.seq)

    def since(self, calendar: str, seq: int) -> list[Entry]:
        return [entry for entry in self.entries(calendar) if entry.seq > seq]

    def seq(self, calendar: str) -> int:
        return self._seq[calendar]

    def calendars(self) -> list[str]:
        return sorted(self._calendars)

    def _replay(self, journal: Path) -> None:
        if not journal.exists():
            return
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a killed run may be half written; its request was never answered
            calendar = row.pop("calendar")
            entry = Entry(**row)
            self._calendars[calendar][entry.id] = entry
            self._seq[calendar] = max(self._seq[calendar], entry.seq)
