"""From a person's change at a vendor to the master and the mirrors: with pushes, and with polling alone.

The whole stack of ``watertight up``, once for each, with the periods below; figures are seconds. The emulators push at once, so
this is our own part of the lag. Takes about two minutes (WATERTIGHT_CHANGES for more or fewer changes).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from rich.console import Console
from rich.table import Table

from models.listings import list_calendars
from models.session import transaction
from workers.settings import Settings
from workers.up import Running, running

CHANGES = int(os.environ.get("WATERTIGHT_CHANGES", "20"))
PERIODS = {"new_every": 20.0, "cancel_every": 20.0, "update_every": 20.0, "resume_every": 5.0, "renew_every": 2.0}
READY_SECONDS, MOST_SECONDS = 90.0, 120.0
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=3)
NOBODY = {"public_url": "http://127.0.0.1:1", "poll_factor": 1.0}  # pushes go nowhere, and nothing is expected of them
KINDS: dict[str, dict[str, object]] = {"with pushes": {}, "polling alone": NOBODY}

found: dict[str, list[tuple[float, float]]] = {}


@pytest.mark.parametrize("kind", KINDS)
def test_lag(kind: str, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state").model_copy(update=PERIODS | {"webhook_key": None})
    with running(settings.model_copy(update=KINDS[kind]), log=lambda _name, _line: None) as run:
        try:
            await_ready(run, pushes=kind == "with pushes")
            found[kind] = list(measure(run))
        finally:
            run.sessions.kw["bind"].dispose()
    assert len(found[kind]) == CHANGES
    report()


def await_ready(run: Running, *, pushes: bool) -> None:
    """Every calendar has been read by every job, and, with pushes, every channel is open."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        assert time.monotonic() < deadline, "never ready"
        with transaction(run.sessions) as session:
            rows = list_calendars(session)
        told = [row.push is not None and row.push.healthy for row in rows if row.provider != "hubspot"]
        if all(len(row.read_at) == len(("new", "cancel", "update")) for row in rows) and (all(told) or not pushes):
            return
        run.keep()
        time.sleep(0.2)


def measure(run: Running) -> Iterator[tuple[float, float]]:
    """Seconds until the master, and until the mirror too, show what dana typed into Google or booked at Cal.com."""
    with transaction(run.sessions) as session:
        remotes = {row.provider: row.remote for row in list_calendars(session) if row.agent == "dana"}
    for number in range(CHANGES):
        provider = ("google", "calcom")[number % 2]
        start = START + timedelta(hours=number)
        title = f"Change {number}"
        event = {"start": start.isoformat(), "end": (start + timedelta(minutes=30)).isoformat(), "title": title}
        body = {"action": "create", "calendar": remotes[provider], "event": event}
        began = time.monotonic()
        requests.post(f"{run.emulators[provider]}/_control/events", json=body, timeout=20).raise_for_status()
        places = [("outlook", remotes["outlook"])] + [("google", remotes["google"])] * (provider != "google")
        seconds = [await_shown(run, *place, start=start, began=began) for place in places]
        yield seconds[0], max(seconds)


def await_shown(run: Running, provider: str, calendar: str, *, start: datetime, began: float) -> float:
    """Until the vendor itself shows an event of ours that begins then."""
    shown = f"{start:%Y-%m-%dT%H:%M}"
    while time.monotonic() - began < MOST_SECONDS:
        state = requests.get(f"{run.emulators[provider]}/_control/state", timeout=20).json()
        rows = state["calendars"].get(calendar, [])
        if any(row["created_by"] != "human" and row["start"].get("dateTime", "").startswith(shown) for row in rows):
            return time.monotonic() - began
        time.sleep(0.05)
        run.keep()
    raise AssertionError(f"{provider} shows nothing after {MOST_SECONDS} s")


def report() -> None:
    table = Table("changes", "master p50", "master p99", "everywhere p50", "everywhere p99", title="lag in seconds")
    for kind, pairs in found.items():
        master, everywhere = zip(*pairs, strict=True)
        table.add_row(kind, *(f"{value:.2f}" for seconds in (master, everywhere) for value in percentiles(seconds)))
    table.caption = f"{CHANGES} changes; every job polls every {PERIODS['new_every']:.0f} s"
    Console().print(table)


def percentiles(seconds: tuple[float, ...]) -> tuple[float, float]:
    return statistics.median(seconds), sorted(seconds)[min(len(seconds) - 1, int(0.99 * len(seconds)))]
