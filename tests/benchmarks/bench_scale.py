"""What an agent costs in a minute, at a hundred, a thousand and ten thousand of them: it must not grow with their number.

Sizes: WATERTIGHT_SCALE_AGENTS (``100,300,1000``; in full ``100,1000,10000``), and WATERTIGHT_SCALE_MINUTES (10: every job's turn).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import psutil
import pytest
import redis
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from models.endings import list_old_pictures
from models.session import Sessions, transaction
from providers.memory import MemoryCalendars
from sync.hints import list_lost
from tests.benchmarks.conftest import Report
from tests.benchmarks.figures import Figure
from tests.benchmarks.fleet import Fleet, Meter, Spent
from workers import app as celery
from workers import commit, jobs
from workers.app import app
from workers.embedded_postgres import APP, COMMIT, OWNER, EmbeddedPostgres
from workers.embedded_valkey import EmbeddedValkey
from workers.wiring import Runtime, build, build_committing

AGENTS = [int(number) for number in os.environ.get("WATERTIGHT_SCALE_AGENTS", "100,300,1000").split(",")]
MINUTES = int(os.environ.get("WATERTIGHT_SCALE_MINUTES", "10"))
LARGE = int(os.environ.get("WATERTIGHT_SCALE_LARGE", "10000"))
PUBLIC_URL = "https://watertight.example"
FLAT = 0.10
SHARE_OF_PERIOD = 0.1

found: dict[int, Spent] = {}


@dataclass
class Bench:
    fleet: Fleet
    meter: Meter


@pytest.mark.parametrize("agents", AGENTS)
def test_scale(agents: int, bench: Bench, report: Report) -> None:
    """One minute to warm up, and then every job's turn."""
    fleet, meter = bench.fleet, bench.meter
    fleet.seed(agents, public_url=PUBLIC_URL)
    fleet.minute = 1
    fleet.live(meter)
    fleet.minute, meter.spent = 0, Spent()
    for _ in range(MINUTES):
        fleet.live(meter)
    assert_all_is_decided(fleet)
    found[agents] = meter.spent
    tell(agents, meter.spent, report)


def test_slots_of_a_large_fleet(bench: Bench, report: Report) -> None:
    """What beat's slots and the watch ask of the tables of ten thousand agents; nobody works the messages off."""
    bench.fleet.seed(LARGE, public_url=PUBLIC_URL)
    sessions = bench.fleet.sessions
    app.send_task("ReleaseHolds")  # the connection to the broker is made
    for task, every in PERIODS.items():
        began, cpu = time.perf_counter(), time.process_time()
        sent = app.tasks[task].apply().result
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        goal, what = f"≤ {every * SHARE_OF_PERIOD:g} s", f"slot of {task}, {LARGE:,} agents: {sent}"
        met = seconds <= every * SHARE_OF_PERIOD
        report(Figure("scale", what, seconds, "s", goal=goal, met=met, details={"cpu": cpu}))
    began = time.perf_counter()
    app.tasks["RenewSubscriptions"].apply()
    report(Figure("scale", f"RenewSubscriptions, {LARGE:,} agents, nothing due", time.perf_counter() - began, "s"))
    looks = {"old pictures (every 2 s)": list_old, "lost hints (every 60 s)": list_lost}
    for name, look in looks.items():
        seconds = statistics.median(timed(sessions, look) for _ in range(5))
        report(Figure("scale", f"look for {name}, {LARGE:,} agents", seconds * 1000, "ms"))


def list_old(session: Session) -> object:
    return list_old_pictures(session, limit_seconds=3600)


def timed(sessions: Sessions, look: Callable[[Session], object]) -> float:
    began = time.perf_counter()
    with transaction(sessions) as session:
        look(session)
    return time.perf_counter() - began


def assert_all_is_decided(one: Fleet) -> None:
    with one.owner.connect() as connection:
        undecided = "SELECT count(*) FROM proposals WHERE state NOT IN ('settled', 'refused')"
        letters = connection.execute(text("SELECT task, code FROM dead_letters")).all()
        assert (connection.execute(text(undecided)).scalar_one(), letters) == (0, [])


def tell(agents: int, spent: Spent, report: Report) -> None:
    least = min(AGENTS)
    for what, unit, value_of in FIGURES:
        value, floor = value_of(spent) / agents / MINUTES, value_of(found[least]) / least / MINUTES
        report(
            Figure(
                "scale",
                f"{what} per agent-minute, {agents:,} agents",
                value,
                unit,
                floor=floor if agents != least else None,
                floor_is=f"with {least:,} agents" if agents != least else "",
                goal=f"± {FLAT:.0%}" if agents != least else "",
                met=value <= floor * (1 + FLAT) if agents != least else None,
                details={"cpu": dict(spent.cpu), "messages": dict(spent.messages)},
            )
        )
    for task, every in PERIODS.items():
        runs = [(seconds, sent) for name, seconds, sent in spent.fan_out if name == task]
        longest, sent = max(runs, default=(0.0, 0))
        goal = f"≤ {every * SHARE_OF_PERIOD:g} s"
        what = f"fan-out of {task}, {agents:,} agents, slowest of {len(runs)}"
        report(
            Figure(
                "scale",
                what,
                longest,
                "s",
                goal=goal,
                met=longest <= every * SHARE_OF_PERIOD,
                details={"messages": sent},
            )
        )


PERIODS = {"NewAppointmentSync": 60.0, "CancellationSync": 120.0, "UpdateSync": 600.0}
FIGURES: tuple[tuple[str, str, Callable[[Spent], float]], ...] = (
    ("CPU of workers and beat's tasks", "ms", lambda spent: spent.cpu["python"] * 1000),
    ("CPU of PostgreSQL", "ms", lambda spent: spent.cpu["postgres"] * 1000),
    ("CPU of the broker", "ms", lambda spent: spent.cpu["valkey"] * 1000),
    ("SQL statements", "", lambda spent: spent.statements),
    ("transactions", "", lambda spent: spent.transactions),
    ("vendor calls", "", lambda spent: spent.vendor_calls),
    ("messages", "", lambda spent: spent.messages.total()),
)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
def bench(
    postgres: EmbeddedPostgres, own_database: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """A database of its own, and this process's tasks wired to it and to a vendor in memory."""
    urls = {role: postgres.url(role).replace("/watertight?", f"/{own_database}?") for role in (OWNER, APP, COMMIT)}
    owner, vendor = create_engine(urls[OWNER]), MemoryCalendars()
    broker = redis.Redis.from_url(valkey.url(), decode_responses=True)
    broker.flushall()
    reading, writing = wired(urls, valkey, vendor, monkeypatch)
    engines = [reading.sessions.kw["bind"], writing.sessions.kw["bind"]]
    with Meter(lambda: burnt(postgres, valkey), engines, vendor, lambda: committed(owner)) as meter:
        yield Bench(Fleet(owner, reading.sessions, vendor, broker), meter)
    for engine in [owner, *engines]:
        engine.dispose()
    broker.close()


def wired(
    urls: Mapping[str, str], valkey: EmbeddedValkey, vendor: MemoryCalendars, monkeypatch: pytest.MonkeyPatch
) -> tuple[Runtime, Runtime]:
    """The real wiring, but for the vendor."""
    environment = {
        "STATE_DIR": str(valkey._folder.parent),
        "DATABASE_URL": urls[APP],
        "COMMIT_DATABASE_URL": urls[COMMIT],
        "BROKER_URL": valkey.url(),
        "PUBLIC_URL": PUBLIC_URL,
        "WEBHOOK_KEY": "k" * 32,
        "LOG_LEVEL": "ERROR",
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"WATERTIGHT_{name}", value)
    celery.settings.cache_clear()
    settings = celery.settings()
    celery.app.conf.broker_url = valkey.url()
    celery.app._after_fork()  # forgets the connections to the broker of another module
    celery.app.loader.import_default_modules()
    reading, writing = build(settings), build_committing(settings)
    reading = replace(reading, calendars=vendor, subscribers=vendor)
    writing = replace(writing, calendars=vendor, subscribers=vendor)
    monkeypatch.setattr(celery, "_runtime", lambda _pid: reading)
    monkeypatch.setattr(celery, "_committing_runtime", lambda _pid: writing)
    monkeypatch.setattr(jobs, "SPREAD", 0.0)  # nobody waits here for the middle of a period
    commit.engine.cache_clear()
    return reading, writing


def burnt(postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> dict[str, float]:
    """CPU seconds of the two servers; a backend that has ended stays counted with its parent."""
    return {"postgres": _seconds(postgres.pid), "valkey": _seconds(valkey.pid)}


def _seconds(pid: int | None) -> float:
    total = 0.0
    server = psutil.Process(pid)
    for process in [server, *server.children(recursive=True)]:
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def committed(owner: Engine) -> int:
    with owner.connect() as connection:
        query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        return int(connection.execute(text(query)).scalar_one())
