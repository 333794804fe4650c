"""Real servers and real workers for the fault tests: what a worker leaves behind survives it.

PostgreSQL and Valkey are processes, the vendors' emulators threads of the test process, and a worker is a fork of
``tests.faults.worker`` that is told where they are by ``WATERTIGHT_*``, as in production.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text

from providers.emulation import build_app
from providers.google.emulator import GoogleEmulator
from providers.outlook.emulator import OutlookEmulator
from sync.commit.engine import CommitEngine
from sync.detect import Detector
from tests.fixtures.google.serving import service_account, serving
from workers.embedded import EmbeddedPostgres, EmbeddedValkey, Stack
from workers.programs import environment
from workers.programs import workers as programs
from workers.settings import EMULATED_KEY_FILE, Settings, with_emulators
from workers.wiring import Runtime, build, build_committing

ROOT = Path(__file__).parents[2]
QUEUES = ("new", "cancel", "update", "commit", "upkeep")
WAIT_SECONDS = 30.0
BEAT_SECONDS = 1.0

Message = tuple[str, tuple[object, ...]]
"""A task's name and its arguments."""


def until(
    look: Callable[[], object], what: str, *, seconds: float = WAIT_SECONDS, beat: Callable[[], object] = lambda: None
) -> None:
    """Look until it is so, and ``beat`` every second."""
    upcoming = time.monotonic() + BEAT_SECONDS
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        if time.monotonic() > upcoming:
            beat()
            upcoming = time.monotonic() + BEAT_SECONDS
        time.sleep(0.005)


@dataclass
class Worker:
    """A running worker. ``passed`` lists the boundaries that it has passed, each with the number of the passing."""

    pid: int
    trace: Path
    log: Path
    _ask: Callable[[Mapping[str, object]], dict[str, Any]]

    def passed(self) -> list[str]:
        return self.trace.read_text(encoding="utf-8").split() if self.trace.exists() else []

    def wait(self, *, seconds: float = WAIT_SECONDS) -> dict[str, int]:
        """How it ended or stopped; a worker that did neither in time fails the test."""
        answer = self._ask({"wait": self.pid, "seconds": seconds})
        assert "alive" not in answer, f"still works after {self.passed()}:\n{self.log.read_text()[-3000:]}"
        return answer

    def die(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == {"ended": -signal.SIGKILL}

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """Must have lived until now, without a bug. A warm shutdown takes seconds, and is for the tests of the whole stack."""
        assert '"task.bug"' not in self.log.read_text(), self.log.read_text()[-3000:]
        assert self._ask({"wait": self.pid, "seconds": 0}) == {"alive": self.pid}, self.log.read_text()[-3000:]
        self.die()


class ForkServer:
    """The handle of ``tests.faults.worker``."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WATERTIGHT_")}
        self._folder = folder
        self._numbers = itertools.count(1)
        self._log = (folder / "fork-server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker"], cwd=ROOT, env={**kept, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )  # fmt: skip

    def start(
        self, *, queues: Sequence[str] = QUEUES, ends: Mapping[str, str] | None = None, ahead: float = 0
    ) -> Worker:
        """A new worker; ``ends`` as ``tests.faults.worker.Watch`` takes it, ``ahead`` by how many seconds its clock is wrong."""
        name = f"worker-{next(self._numbers)}"
        trace, log = self._folder / f"{name}.trace", self._folder / f"{name}.log"
        told = {"name": name, "trace": str(trace), "log": str(log), "queues": ",".join(queues), "ends": ends or {}}
        return Worker(self._ask({**told, "ahead": ahead})["pid"], trace, log, self._ask)

    def end_all(self) -> None:
        self._ask({"end": True})

    def _ask(self, order: Mapping[str, object]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline() or "{}")
        assert answer, (self._folder / "fork-server.log").read_text()[-3000:]
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
        self._log.close()


@dataclass
class Rig:
    """Everything that outlives a worker."""

    folder: Path
    settings: Settings
    outlook: OutlookEmulator
    google: GoogleEmulator
    owner: Engine
    runtime: Runtime
    committing: Runtime
    broker: redis.Redis
    publisher: Celery
    workers: ForkServer
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def engine(self) -> CommitEngine:
        return CommitEngine(self.committing.sessions, self.committing.calendars, rand=lambda: 0.0)

    @property
    def detector(self) -> Detector:
        return self.runtime.detector()

    def sql(self, statement: str, **values: object) -> list[Any]:
        """As the owner, for looking and for turning back clocks."""
        cause = "SELECT set_config('watertight.cause', 'test', true), set_config('watertight.actor', 'test', true)"
        with self.owner.begin() as connection:
            connection.execute(text(cause))
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    def publish(self, messages: Sequence[Message], *, retries: int = 0) -> None:
        """As ``workers.nudge`` and beat do, or as a task that has tried before."""
        for name, arguments in messages:
            self.publisher.send_task(name, args=list(arguments), retries=retries)

    def is_idle(self) -> bool:
        """Nothing waits at the broker, and nothing is in hand: what a task sends it sends before it is acknowledged."""
        return not any(self.broker.llen(queue) for queue in QUEUES) and not self.broker.hlen("unacked")

    def drain(self, *, seconds: float = WAIT_SECONDS, beat: Sequence[Message] = ()) -> None:
        """Until the workers have done all they were told, and every second ``beat``.

        Between queue and hand a message is nowhere for a moment.
        """
        looks: deque[bool] = deque(maxlen=3)

        def settled() -> bool:
            looks.append(self.is_idle())
            return len(looks) == looks.maxlen and all(looks)

        until(settled, "broker with nothing to do", seconds=seconds, beat=lambda: self.publish(beat))

    def run(self, messages: Sequence[Message]) -> None:
        """A worker that does this, with all that follows from it."""
        worker = self.workers.start()
        self.publish(messages)
        self.drain()
        worker.end()

    def forget_messages(self) -> None:
        """What a dead worker had in hand would come back after minutes; whoever recovers must not need it."""
        self.broker.flushdb()


@contextmanager
def running(postgres: EmbeddedPostgres, database: str, folder: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        outlook, google = OutlookEmulator(), GoogleEmulator()
        urls = {"outlook": stack.enter_context(serving(build_app(outlook)))}
        urls |= {"google": stack.enter_context(serving(build_app(google)))}
        valkey = stack.enter_context(EmbeddedValkey(folder))
        owner, app, commit = (
            _url(postgres, role, database) for role in ("postgres", "watertight_app", "watertight_commit")
        )
        (folder / EMULATED_KEY_FILE).write_text(json.dumps(service_account()), encoding="utf-8")
        settings = with_emulators(
            Settings(
                state_dir=folder,
                database_url=SecretStr(app),
                commit_database_url=SecretStr(commit),
                broker_url=SecretStr(valkey.url()),
            ),
            urls,
        )
        told = Stack(owner, app, commit, valkey.url())
        (program,) = (one for one in programs(settings, told, environment(settings, told)) if one.name == "commit")
        workers = ForkServer(folder, program.env)
        stack.callback(workers.close)
        owner_engine = create_engine(owner)
        stack.callback(owner_engine.dispose)
        runtime, committing = build(settings), build_committing(settings)
        for one in (runtime, committing):
            stack.callback(one.sessions.kw["bind"].dispose)
        broker = stack.enter_context(redis.Redis.from_url(valkey.url()))
        publisher = stack.enter_context(_publisher(valkey.url()))
        yield Rig(folder, settings, outlook, google, owner_engine, runtime, committing, broker, publisher, workers)


def _url(server: EmbeddedPostgres, role: str, database: str) -> str:
    return server.url(role).replace("/watertight?", f"/{database}?")


def _publisher(broker_url: str) -> Celery:
    """Sends what ``workers.app`` would, with the same settings, without being the process's current application."""
    publisher = Celery("rig", broker=broker_url, set_as_current=False)
    publisher.config_from_object("celeryconfig")
    publisher.conf.task_send_sent_event = False
    return publisher
