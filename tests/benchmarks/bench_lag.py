"""From a person's change at a vendor to the master and the mirrors: with pushes, and with polling alone.

The whole stack of ``watertight up``, once for each, with the periods below; figures are seconds. The emulators push at once, so
this is our own part of the lag. Takes about ten minutes (WATERTIGHT_CHANGES for more or fewer changes).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from models.listings import list_calendars
from models.session import transaction
from tests.benchmarks.conftest import Report
from tests.benchmarks.figures import Figure
from workers.settings import Settings
from workers.up import Running, running

CHANGES = int(os.environ.get("WATERTIGHT_CHANGES", "200"))
PERIODS = {"new_every": 20.0, "cancel_every": 20.0, "update_every": 20.0, "resume_every": 5.0, "renew_every": 2.0}
READY_SECONDS, MOST_SECONDS = 90.0, 120.0
GAP_SECONDS = 1.3  # between changes: every moment of a period comes up
LOOK_SECONDS = 0.05
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=3)
NOBODY = {"public_url": "http://127.0.0.1:1", "poll_factor": 1.0}  # pushes go nowhere, and nothing is expected of them
KINDS: dict[str, dict[str, object]] = {"with pushes": {}, "polling alone": NOBODY}


@pytest.mark.parametrize("kind", KINDS)
def test_lag(kind: str, tmp_path: Path, report: Report) -> None:
    settings = Settings(state_dir=tmp_path / "state").model_copy(update=PERIODS | {"webhook_key": None})
    with running(settings.model_copy(update=KINDS[kind]), log=lambda _name, _line: None) as run:
        try:
            await_ready(run, pushes=kind == "with pushes")
            found = list(measure(run))
        finally:
            run.sessions.kw["bind"].dispose()
    assert len(found) == CHANGES
    for place, seconds in zip(("master", "everywhere"), zip(*found, strict=True), strict=True):
        for name, value in percentiles(seconds).items():
            report(Figure("lag", f"{kind}: {place} {name}", value, "s", details={"changes": CHANGES, **PERIODS}))


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


@dataclass
class Change:
    """What a person typed at a vendor, and where it is still to appear."""

    start: datetime
    began: float
    awaited: set[tuple[str, str]]
    seconds: dict[str, float] = field(default_factory=dict)


def measure(run: Running) -> Iterator[tuple[float, float]]:
    """Seconds until the master, and until the mirror too, show what dana typed into Google or booked at Cal.com."""
    with transaction(run.sessions) as session:
        remotes = {row.provider: row.remote for row in list_calendars(session) if row.agent == "dana"}
    changes: list[Change] = []
    due = time.monotonic()
    while len(changes) < CHANGES or any(change.awaited for change in changes):
        if len(changes) < CHANGES and time.monotonic() >= due:
            changes.append(make(run, remotes, number=len(changes)))
            due += GAP_SECONDS
        look(run, [change for change in changes if change.awaited])
        run.keep()
        time.sleep(LOOK_SECONDS)
    return ((change.seconds["outlook"], max(change.seconds.values())) for change in changes)


def make(run: Running, remotes: dict[str, str], *, number: int) -> Change:
    provider = ("google", "calcom")[number % 2]
    start = START + timedelta(hours=number)
    event = {
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=30)).isoformat(),
        "title": f"Change {number}",
    }
    body = {"action": "create", "calendar": remotes[provider], "event": event}
    began = time.monotonic()
    requests.post(f"{run.emulators[provider]}/_control/events", json=body, timeout=20).raise_for_status()
    places = {"outlook", "google"} - {provider}
    return Change(start, began, {(place, remotes[place]) for place in places})


def look(run: Running, changes: list[Change]) -> None:
    """What the vendors themselves show by now of events that we wrote."""
    for place in {place for change in changes for place in change.awaited}:
        provider, calendar = place
        state = requests.get(f"{run.emulators[provider]}/_control/state", timeout=20).json()
        rows = state["calendars"].get(calendar, [])
        shown = {row["start"].get("dateTime", "")[:16] for row in rows if row["created_by"] != "human"}
        now = time.monotonic()
        for change in changes:
            assert now - change.began < MOST_SECONDS, f"{change.awaited} show nothing after {MOST_SECONDS} s"
            if place in change.awaited and f"{change.start:%Y-%m-%dT%H:%M}" in shown:
                change.awaited.discard(place)
                change.seconds[provider] = now - change.began


def percentiles(seconds: tuple[float, ...]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50": statistics.median(ordered), "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]}
