"""What reading a calendar costs: the first time, when nothing changed, when ten events changed, and when ten are gone.

Our detector in a process of its own, over HTTP against the emulators as processes, into a real database; beside vdirsyncer
0.21.0 with a CalDAV server and as many events. WATERTIGHT_EVENTS: sizes of the calendar (1000,10000).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from providers.google.listing import PAGE_ROWS
from providers.outlook.client import DELTA_PAGE_ROWS, WINDOW_PAGE_ROWS
from tests.benchmarks import vdirsyncer
from tests.benchmarks.conftest import Report
from tests.benchmarks.feeds import EMPTY, FULL, Feed, feed
from tests.benchmarks.figures import Figure
from workers.embedded import EmbeddedPostgres, EmbeddedValkey
from workers.emulate import make_google_key
from workers.settings import EMULATED_KEY_FILE

SIZES = tuple(int(size) for size in os.environ.get("WATERTIGHT_EVENTS", "1000,10000").split(","))
TOUCHED = 10
PROVIDERS = ("outlook", "google")
WARM, MEASURED = 1, 2
ROLE = {"outlook": "master", "google": "mirror"}
FIRST, SAME, CHANGED, GONE = PHASES = ("first read", "nothing changed", "10 changed", "10 deleted")

Cost = dict[str, float]


@dataclass(frozen=True)
class Site:
    """Where our process finds everything."""

    env: dict[str, str]
    feed: Feed

    def run(self, job: str, calendar: int = MEASURED) -> Cost:
        before = self.feed.asked()
        command = [sys.executable, "-m", "tests.benchmarks.one_run", job, str(calendar), str(WARM)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | self.env)
        told: Cost = json.loads(done.stdout.splitlines()[-1])
        return told | {"requests": self.feed.asked() - before}


@contextlib.contextmanager
def site(postgres: EmbeddedPostgres, name: str, folder: Path, provider: str, *, events: int) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        valkey = stack.enter_context(EmbeddedValkey(folder))
        url = stack.enter_context(_populated(postgres, name, provider))
        found = stack.enter_context(feed(provider, folder, events=events))
        key = folder / EMULATED_KEY_FILE
        key.write_text(json.dumps(make_google_key()))
        told = {
            "DATABASE_URL": url,
            "BROKER_URL": valkey.url(),
            "STATE_DIR": str(folder),
            "OUTLOOK_TENANT_ID": "t",
            "OUTLOOK_CLIENT_ID": "c",
            "OUTLOOK_CLIENT_SECRET": "s",
            "OUTLOOK_BASE_URL": f"{found.url}/v1.0",
            "OUTLOOK_LOGIN_URL": found.url,
            "GOOGLE_SERVICE_ACCOUNT_FILE": str(key),
            "GOOGLE_BASE_URL": f"{found.url}/calendar/v3",
            "GOOGLE_TOKEN_URI": f"{found.url}/token",
        }
        yield Site({f"WATERTIGHT_{name}": value for name, value in told.items()}, found)


@contextlib.contextmanager
def _populated(postgres: EmbeddedPostgres, name: str, provider: str) -> Iterator[str]:
    """The address of a database with an agent, the measured calendar, and another one to warm up with."""
    engine = create_engine(postgres.url().replace("/watertight?", f"/{name}?"), poolclass=NullPool)
    rows = "INSERT INTO agents (id, slug, zone) VALUES (1, 'dana', 'America/Chicago'), (2, 'warm', 'America/Chicago')"
    calendars = (
        "INSERT INTO calendars (id, agent_id, provider, remote, role) VALUES (:id, :agent, :provider, :remote, :role)"
    )
    with engine.begin() as connection:
        connection.execute(text(rows))
        for number, agent, remote in ((MEASURED, 1, FULL), (WARM, 2, EMPTY)):
            told = {"id": number, "agent": agent, "provider": provider, "remote": remote, "role": ROLE[provider]}
            connection.execute(text(calendars), told)
    yield postgres.url("watertight_app").replace("/watertight?", f"/{name}?")


def ours(postgres: EmbeddedPostgres, name: str, folder: Path, provider: str, *, events: int) -> dict[str, Cost]:
    """Each phase by the job whose affair it is; every job has a cursor of its own, so all three read it first."""
    with site(postgres, name, folder, provider, events=events) as here:
        found = {FIRST: here.run("new")}
        for job in ("update", "cancel"):
            here.run(job)
        found[SAME] = here.run("new")
        here.feed.act("change", range(TOUCHED))
        found[CHANGED] = here.run("update")
        here.run("cancel")
        here.feed.act("delete", range(TOUCHED, 2 * TOUCHED))
        found[GONE] = here.run("cancel")
    expected = {FIRST: events, SAME: 0, CHANGED: TOUCHED, GONE: TOUCHED}
    assert {phase: cost["read"] for phase, cost in found.items()} == expected
    assert [found[phase]["proposed"] for phase in PHASES] == list(expected.values()), "what was read is proposed"
    return found


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment for all runs; without a registry there is nothing to compare with, and the run says so."""
    try:
        return vdirsyncer.install(tmp_path_factory.mktemp("vdirsyncer") / "venv")
    except vdirsyncer.AwayError as error:
        pytest.skip(f"vdirsyncer cannot be measured beside: {error}")


def theirs(folder: Path, python: Path, *, events: int) -> dict[str, Cost]:
    with vdirsyncer.peer(folder, python) as found:
        found.fill(events)
        found.sync("discover")
        costs = {FIRST: found.sync(), SAME: found.sync()}
        for number in range(TOUCHED):
            found.put(number, "Changed")
        costs[CHANGED] = found.sync()
        for number in range(TOUCHED, 2 * TOUCHED):
            found.remove(number)
        costs[GONE] = found.sync()
        assert len(list((folder / "near").iterdir())) == events - TOUCHED, "it brought everything"
    return costs


def least(provider: str, phase: str, events: int) -> tuple[int, str]:
    """How many requests the vendor's protocol takes, and why."""
    if phase == GONE and provider == "outlook":
        return 1 + TOUCHED, "1, and 1 for each deletion, which Graph may tell without cause"
    if phase != FIRST:
        return 1, "1"
    if provider == "google":
        return math.ceil(events / PAGE_ROWS), "pages"
    pages = math.ceil(events / DELTA_PAGE_ROWS), math.ceil(events / WINDOW_PAGE_ROWS)
    return sum(pages), f"{pages[0]} pages of the feed, {pages[1]} of the calendar, as the feed may leave out series"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_reading(
    provider: str, postgres: EmbeddedPostgres, request: pytest.FixtureRequest, tmp_path: Path, report: Report
) -> None:
    measured: dict[int, dict[str, Cost]] = {}
    for events in SIZES:
        folder = tmp_path / str(events)
        folder.mkdir()
        name = f"sync_{provider}_{events}"
        _create(postgres, name)
        measured[events] = ours(postgres, name, folder, provider, events=events)
        for phase in PHASES:
            _tell_requests(report, provider, phase, events, measured[events][phase])
    _tell_costs(report, provider, measured, peers(request))


_peers: dict[int, dict[str, Cost]] = {}


def peers(request: pytest.FixtureRequest) -> dict[int, dict[str, Cost]]:
    """vdirsyncer's costs by size, measured once."""
    if not _peers:
        python = request.getfixturevalue("interpreter")
        root = request.getfixturevalue("tmp_path_factory").mktemp("caldav")
        for events in SIZES:
            folder = root / str(events)
            folder.mkdir()
            _peers[events] = theirs(folder, python, events=events)
    return _peers


def _create(postgres: EmbeddedPostgres, name: str) -> None:
    admin = create_engine(postgres.url().replace("/watertight?", "/postgres?"), poolclass=NullPool)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE watertight"))


def _tell_requests(report: Report, provider: str, phase: str, events: int, cost: Cost) -> None:
    floor, why = least(provider, phase, events)
    asked = cost["requests"]
    what = f"{provider}, {events:,} events, {phase}: requests"
    report(Figure("sync", what, asked, "", floor, why, "the least there is", asked <= floor, details=cost))


def _tell_costs(
    report: Report, provider: str, measured: dict[int, dict[str, Cost]], beside: dict[int, dict[str, Cost]]
) -> None:
    for events, phases in measured.items():
        for phase, cost in phases.items():
            other = beside[events][phase]
            what = f"{provider}, {events:,} events, {phase}"
            name = f"vdirsyncer, {other['requests']:.0f} requests"
            report(
                Figure(
                    "sync",
                    f"{what}: CPU",
                    cost["cpu_ms"],
                    "ms",
                    other["cpu_ms"],
                    name,
                    details=cost | {"beside": other},
                )
            )
            report(Figure("sync", f"{what}: memory", cost["peak_mib"], "MiB", other["peak_mib"], "vdirsyncer"))
