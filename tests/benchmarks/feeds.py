"""A vendor's emulator as a process, with a calendar that is full from the beginning."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from providers.emulation import HumanAction, HumanEvent
from workers.emulate import LOADERS
from workers.programs import Address

FULL, EMPTY = "dana@example.com", "warm@example.com"
AHEAD = timedelta(days=55)


@dataclass
class Feed:
    provider: str
    url: str
    events: Sequence[str]  # ids, by time

    def act(self, action: str, numbers: Sequence[int]) -> None:
        """A person changes or deletes these."""
        for number in numbers:
            body: dict[str, Any] = {"action": action, "calendar": FULL, "id": self.events[number]}
            if action == "change":
                body["event"] = {"title": "Changed", "start": _iso(-1 - number), "end": _iso(-number)}
            requests.post(f"{self.url}/_control/events", json=body, timeout=30).raise_for_status()

    def asked(self) -> int:
        """How many requests were made about the calendar so far; those for tokens and about others are not."""
        books = requests.get(f"{self.url}/_control/requests", timeout=30).json()
        return int(books["by_mailbox"].get(FULL, 0))


@contextlib.contextmanager
def feed(provider: str, folder: Path, *, events: int) -> Iterator[Feed]:
    """``events`` events in the next 55 days, with what people usually fill in."""
    journal = folder / f"{provider}-{events}.jsonl"
    ids = _filled(provider, journal, events)
    address = Address.choose()
    command = [sys.executable, "-m", "workers.cli", "emulate", provider, "--port", str(address.port)]
    with subprocess.Popen([*command, "--journal", str(journal)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()  # it says where it listens
            yield Feed(provider, address.url, ids)
        finally:
            process.terminate()


def _filled(provider: str, journal: Path, count: int) -> list[str]:
    emulator = LOADERS[provider](None)
    step = AHEAD / count
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    made: list[str] = []
    for number in range(count):
        start = (first + number * step).replace(microsecond=0)
        event = HumanEvent(
            start=start,
            end=start + timedelta(minutes=5),
            title=f"Viewing {number}, Main Street",
            attendees=["buyer@example.com", f"seller{number % 50}@example.com"],
        )
        made.append(str(emulator.act(HumanAction(action="create", calendar=FULL, event=event))["id"]))
    rows = (json.dumps({"calendar": FULL, **asdict(entry)}) for entry in emulator.store.entries(FULL))
    journal.write_text("\n".join([*rows, ""]), encoding="utf-8")
    return made


def _iso(number: int) -> str:
    """A free quarter of an hour near the end of the window."""
    base = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=58)
    return (base + number * timedelta(minutes=15)).isoformat()
