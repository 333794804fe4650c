"""A plant to measure: PostgreSQL, Valkey, Outlook's emulator and commit workers, each a process of its own.

What is measured is told apart by CPU seconds of its processes too, which other work on the machine disturbs less than it
disturbs the clock.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from models.agents import Agent, Calendar
from models.session import Sessions, make_engine, make_sessions, transaction
from sync.domain import Interval, ProposalId
from sync.intake import Request, receive
from workers.embedded import EmbeddedPostgres, EmbeddedValkey, Stack
from workers.programs import Address, answers, environment
from workers.programs import workers as programs
from workers.settings import Settings, with_emulators

ROOT = Path(__file__).parents[2]
START = datetime(2030, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 600.0
TICK = os.sysconf("SC_CLK_TCK")


def until(look: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS, every: float = 0.02) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(every)


def cpu_seconds(pid: int) -> float:
    """Of a process and all its children, dead ones too."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(int(value) for value in stat[11:15]) / TICK
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return own + sum(cpu_seconds(int(child)) for child in children.read_text().split())


def hour(number: int) -> Interval:
    """One of as many hours as are needed, no two alike."""
    start = START + timedelta(hours=number)
    return Interval(start, start + timedelta(hours=1))


@dataclass
class Team:
    """Commit workers that run: one Celery worker with its pool."""

    process: subprocess.Popen[bytes]
    log: Path

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)


@dataclass
class Plant:
    """Servers that stay, and what is asked of the workers."""

    folder: Path
    database: str
    settings: Settings
    env: Mapping[str, str]
    owner: Engine
    app: Sessions
    emulator: str
    valkey: redis.Redis
    publisher: Celery
    asked: int = 0
    agents: list[str] = field(default_factory=list)

    def sql(self, statement: str, **values: object) -> list[Any]:
        with self.owner.begin() as connection:
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    def add_agents(self, count: int) -> None:
        """Each with a master and nothing else: what a decision costs, without its copies."""
        with transaction(self.app) as session:
            for _ in range(count):
                slug = f"agent-{len(self.agents)}"
                agent = Agent(slug=slug, zone="America/Chicago")
                agent.calendars = [Calendar(provider="outlook", remote=f"{slug}@example.com", role="master")]
                session.add(agent)
                self.agents.append(slug)

    def ask(self, count: int, *, hours: Sequence[Interval] = ()) -> list[ProposalId]:
        """So many bookings, each of its own hour of some agent (or of ``hours``), stored and not yet sent."""
        return [self._ask(hours[number] if hours else None) for number in range(count)]

    def _ask(self, interval: Interval | None) -> ProposalId:
        self.asked += 1
        agent = self.agents[0 if interval else self.asked % len(self.agents)]
        return receive(self.app, Request(f"bench-{self.asked}", agent, interval or hour(self.asked), "Bench")).id

    def send(self, proposals: Sequence[ProposalId]) -> None:
        for proposal in proposals:
            self.publisher.send_task("Commit", args=[f"proposal:{proposal}"])

    def send_noops(self, count: int) -> None:
        for _ in range(count):
            self.publisher.send_task("Noop", queue="commit")

    def await_decided(self) -> None:
        until(lambda: not self.sql(OPEN)[0][0], "all decided")

    def await_idle(self) -> None:
        """Nothing waits at the broker, and nothing is in hand."""
        until(lambda: not self.valkey.llen("commit") and not self.valkey.hlen("unacked"), "broker with nothing to do")

    def deadlocks(self) -> int:
        return int(self.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0])

    def slow(self, seconds: float) -> None:
        """Every answer of the vendor takes so long from now on."""
        control = f"{self.emulator}/_control/faults"
        urllib.request.urlopen(urllib.request.Request(control, method="DELETE"), timeout=120).close()  # noqa: S310 - loopback
        if seconds:
            fault = json.dumps({"kind": "latency", "times": None, "seconds": seconds}).encode()
            headers = {"Content-Type": "application/json"}
            asked = urllib.request.Request(control, data=fault, headers=headers, method="POST")  # noqa: S310 - loopback
            urllib.request.urlopen(asked, timeout=120).close()  # noqa: S310 - loopback

    @contextmanager
    def team(self, *, pool: str = "prefork", concurrency: int = 1) -> Iterator[Team]:
        """Commit workers, warm: they have decided something already."""
        log = self.folder / f"worker-{pool}-{concurrency}.log"
        options = [
            "--include",
            "workers.commit,tests.benchmarks.noop",
            "--pool",
            pool,
            "--concurrency",
            str(concurrency),
        ]
        command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", "commit", "-n", "commit@%h"]
        command += [*options, "--without-gossip", "--without-mingle"]
        with log.open("wb") as out, _process(command, self.env, out) as process:
            self.send(self.ask(4 * concurrency))
            self.await_decided()
            yield Team(process, log)


OPEN = "SELECT count(*) FROM proposals WHERE state NOT IN ('settled', 'refused')"


@contextmanager
def _process(command: Sequence[str], env: Mapping[str, str], out: Any = None) -> Iterator[subprocess.Popen[bytes]]:  # noqa: ANN401 - a file
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WATERTIGHT_")}
    process = subprocess.Popen(command, cwd=ROOT, env={**kept, **env}, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running(postgres: EmbeddedPostgres) -> Iterator[Plant]:
    """An empty plant without workers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="watertight-")))
        database = stack.enter_context(fresh_database(postgres, "bench"))
        owner, app, commit = (
            url_of(postgres, role, database) for role in ("postgres", "watertight_app", "watertight_commit")
        )
        emulator = stack.enter_context(outlook())
        valkey = stack.enter_context(EmbeddedValkey(folder))
        settings = with_emulators(
            Settings(
                state_dir=folder,
                database_url=SecretStr(app),
                commit_database_url=SecretStr(commit),
                broker_url=SecretStr(valkey.url()),
                log_level="warning",
            ),
            {"outlook": emulator},
        )
        told = Stack(owner, app, commit, valkey.url())
        (program,) = (one for one in programs(settings, told, environment(settings, told)) if one.name == "commit")
        owner_engine, app_engine = create_engine(owner), make_engine(app)
        stack.callback(owner_engine.dispose)
        stack.callback(app_engine.dispose)
        publisher = Celery("plant", broker=valkey.url(), set_as_current=False)
        publisher.config_from_object("celeryconfig")
        stack.enter_context(publisher)
        broker = stack.enter_context(redis.Redis.from_url(valkey.url()))
        plant = Plant(
            folder,
            database,
            settings,
            program.env,
            owner_engine,
            make_sessions(app_engine),
            emulator,
            broker,
            publisher,
        )
        plant.add_agents(20)
        yield plant


@contextmanager
def outlook() -> Iterator[str]:
    """Outlook's emulator as a process; its address."""
    address = Address.choose()
    command = (sys.executable, "-m", "workers.cli", "emulate", "outlook", "--port", str(address.port))
    with _process(command, {}, subprocess.DEVNULL):
        until(answers(f"{address.url}/_control/requests"), "an emulator", every=0.1)
        yield address.url


@contextmanager
def fresh_database(postgres: EmbeddedPostgres, name: str, *, template: str = "watertight") -> Iterator[str]:
    """A copy of another one to which nobody is connected."""
    admin = create_engine(url_of(postgres, "postgres", "postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield name
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def url_of(server: EmbeddedPostgres, role: str, database: str) -> str:
    return server.url(role).replace("/watertight?", f"/{database}?")
