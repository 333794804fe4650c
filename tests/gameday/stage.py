"""A whole stack on which things are broken on purpose and nothing is brought back unless the drill says so."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TypeVar

import psutil
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models.listings import list_calendars
from models.queries import list_open
from models.session import transaction
from tests.badday.outcome import control
from tests.badday.traffic import Traffic
from workers.diary import Diary
from workers.supervisor import is_gone
from workers.up import Running

ROOT = Path(__file__).parents[2]
TICK_SECONDS = 0.5
MOST_OPEN = 40  # proposals and writes; then people wait
COMMAND_SECONDS = 120.0
ON_THE_MASTER = ("burst", "outlook")  # who types over a booking there alerts people, rightly, until they settle it

T = TypeVar("T")


@dataclass(slots=True)
class Stage:
    """The stack, and whoever uses it. While ``servers_away``, nobody brings PostgreSQL or Valkey back."""

    run: Running
    diary: Diary = field(default_factory=Diary)
    servers_away: bool = False
    is_full: bool = False

    # Time passes here only: whoever waits keeps the stack alive

    def tick(self) -> None:
        if not self.servers_away:
            self.run.keep()
        try:
            with transaction(self.run.sessions) as session:
                self.is_full = sum(list_open(session)) > MOST_OPEN
        except OperationalError:
            self.is_full = True
        time.sleep(TICK_SECONDS)

    def wait(self, done: Callable[[], object], *, seconds: float) -> bool:
        """Until ``done``, or so many seconds; whether it was."""
        deadline = time.monotonic() + seconds
        while not (found := bool(done())) and time.monotonic() < deadline:
            self.tick()
        return found

    def while_(self, work: Callable[[], T]) -> T:
        """The result of ``work``, done in a thread while this one keeps the stack alive."""
        future: Future[T] = Future()
        Thread(target=_fulfil, args=(future, work), daemon=True).start()
        self.wait(future.done, seconds=math.inf)
        return future.result()

    # Servers and programs

    def stop_broker(self) -> None:
        """As a crash does; and its disk is lost with it."""
        self.servers_away = True
        _kill(self.run.embedded.pids()["valkey"])
        for kept in (self.run.settings.state_dir / "valkey").glob("appendonly*"):
            shutil.rmtree(kept)

    def stop_database(self) -> None:
        """As an administrator does: every session is ended."""
        self.servers_away = True
        pid = self.run.embedded.pids()["postgres"]
        os.kill(pid, signal.SIGINT)
        _await_end(pid)

    def start_servers(self) -> None:
        self.run.embedded.start()
        self.servers_away = False

    def hold(self, name: str, *, by: signal.Signals) -> None:
        """End a program, and keep the supervisor from starting it again."""
        supervisor = self.run.supervisor
        child = next(one for one in supervisor._children if one.program.name == name)
        assert child.process is not None
        if by is not signal.SIGKILL:
            os.kill(child.process.pid, by)  # outside of the lock: a warm stop takes a while
            _await_end(child.process.pid)
        with supervisor._lock:
            child.bury()
            child.due = math.inf

    def let_go(self, name: str) -> None:
        child = next(one for one in self.run.supervisor._children if one.program.name == name)
        child.delay, child.due = None, 0.0

    def kill_children(self, name: str) -> None:
        """The processes that a worker has forked, as the kernel does when memory is short."""
        for child in psutil.Process(self.run.supervisor.pids()[name]).children():
            child.kill()

    # Vendors and people

    def arm(self, provider: str, **fault: object) -> None:
        control("POST", f"{self.run.emulators[provider]}/_control/faults", {"times": None, **fault})

    def heal(self, provider: str) -> None:
        control("DELETE", f"{self.run.emulators[provider]}/_control/faults")

    def people(self, *, seed: int, pace: float) -> Traffic:
        with transaction(self.run.sessions) as session:
            calendars = list_calendars(session)
        return Traffic(
            self.run,
            calendars,
            diary=self.diary,
            seed=seed,
            pace=pace,
            is_full=lambda: self.is_full,
            without=ON_THE_MASTER,
        )

    def commits(self, proposal: int) -> bool:
        """Whether a commit worker has this proposal in hand."""
        leased = text("SELECT count(*) FROM writes WHERE proposal_id = :id AND leased_until > clock_timestamp()")
        with transaction(self.run.sessions) as session:
            return bool(session.scalar(leased, {"id": proposal}))

    def command(self, line: str) -> str:
        """Paste a command of the runbook; its last line.

        Raises:
            AssertionError: it failed.
        """
        program, *arguments = shlex.split(line)
        assert program == "watertight", line
        env = {**os.environ, "WATERTIGHT_STATE_DIR": str(self.run.settings.state_dir)}
        ran = self.while_(
            lambda: subprocess.run(
                [sys.executable, "-m", "workers.cli", *arguments],
                cwd=ROOT,
                env=env,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        )
        assert ran.returncode == 0, f"{line}: {ran.stdout[-1000:]}{ran.stderr[-1000:]}"
        return (ran.stdout.strip().splitlines() or [""])[-1]


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
        future.set_exception(error)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _await_end(pid)


def _await_end(pid: int) -> None:
    while not is_gone(pid):
        time.sleep(0.05)
