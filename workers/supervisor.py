"""Child processes: started, watched, started again, and ended without leaving orphans.

A child gets a session of its own, so a terminal's Ctrl-C reaches only the supervisor, which then stops the children in
order. On Linux the kernel also sends SIGTERM to a child whose supervisor was killed; whatever escapes that is found at
the next start by ``stop_leftovers``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import IO, Self

import psutil

RECORD = "processes.json"
MARK = "WATERTIGHT_SUPERVISOR"  # in the environment of every child and grandchild: the state directory it belongs to
TAIL_LINES = 20
HOPELESS_DEATHS = 3  # before it was ever ready
STOP_SECONDS = 20.0
TICK_SECONDS = 0.1
# Asks the kernel for SIGTERM at the parent's death, then becomes the program: preexec_fn would do it in our process, but
# is unsafe with threads (Python 3.12 warns). Python itself ignores SIGPIPE; the program shall not inherit that.
GUARD = """\
import ctypes, os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the supervisor has gone")
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]} cannot be run: {error.strerror}")
"""
Log = Callable[[str, str], None]


class NotReady(Exception):
    """The program ``name`` did not get ready; ``lines`` are the last it wrote."""

    def __init__(self, name: str, *, reason: str, lines: Sequence[str]) -> None:
        super().__init__("\n".join([f"{name} {reason}" + ("; its last lines:" if lines else ""), *lines]))
        self.name = name
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. ``env`` is laid over our own environment; ``ready`` is polled and may raise OSError for "not yet"."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    ready: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before a dead child is started again: doubled each time, forgotten once it stayed up for ``steady``."""

    first: float = 0.5
    longest: float = 10.0
    steady: float = 60.0

    def after(self, previous: float | None, *, uptime: float) -> float:
        return self.first if previous is None or uptime >= self.steady else min(self.longest, previous * 2)


class Supervisor:
    """Keeps ``programs`` running until ``stop``, which gives them ``grace`` seconds.

    ``log`` gets every line with its program's name, from several threads.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        state_dir: Path,
        log: Log,
        backoff: Backoff = Backoff(),
        grace: float = 20.0,
    ) -> None:
        self._state_dir = state_dir.resolve()
        self._children = [_Child(program, mark=str(self._state_dir), log=log) for program in programs]
        self._backoff = backoff
        self._grace = grace
        self._lock = threading.Lock()  # held while a child is born or buried
        self._stopping = False
        self._spawned = threading.Event()
        self._finished = threading.Event()
        # The kernel's death signal follows the thread that made the child, so one thread makes them all and lives longest.
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Every program has been started afterwards; see ``wait_ready``."""
        self._watcher.start()
        self._spawned.wait()

    def wait_ready(self, timeout: float) -> None:
        """Every program runs and says that it is ready. Raises: NotReady for one that is not in time, or keeps dying."""
        deadline = time.monotonic() + timeout
        for child in self._children:
            while not (ready := child.is_ready()) and child.deaths < HOPELESS_DEATHS and time.monotonic() < deadline:
                time.sleep(TICK_SECONDS)
            if not ready:
                reason = "keeps ending" if child.deaths >= HOPELESS_DEATHS else f"was not ready within {timeout:g} s"
                raise NotReady(child.program.name, reason=reason, lines=tuple(child.tail))

    def pids(self) -> dict[str, int]:
        """The programs that run just now."""
        with self._lock:
            running = [child for child in self._children if not child.has_ended()]
            return {child.program.name: child.process.pid for child in running if child.process}

    def stop(self) -> None:
        """No child runs afterwards: SIGTERM in reverse order of the programs, then SIGKILL after the grace."""
        with self._lock:
            self._stopping = True
        for child in reversed(self._children):
            child.ask_to_stop()
        until(lambda: all(child.has_ended() for child in self._children), seconds=self._grace)
        for child in self._children:
            child.bury()
        self._finished.set()
        with suppress(RuntimeError):  # never started
            self._watcher.join()
        (self._state_dir / RECORD).unlink(missing_ok=True)

    def _watch(self) -> None:
        while not self._finished.wait(TICK_SECONDS if self._spawned.is_set() else 0):
            with self._lock:
                if not self._stopping and [child for child in self._children if child.tend(self._backoff)]:
                    self._record()
            self._spawned.set()

    def _record(self) -> None:
        processes = [child.process for child in self._children if child.process]
        records = [{"pid": process.pid, "created": psutil.Process(process.pid).create_time()} for process in processes]
        with suppress(OSError):  # a full disk must not end the supervision; the mark in the environment remains
            fresh = self._state_dir / f"{RECORD}.new"
            fresh.write_text(json.dumps(records))
            fresh.replace(self._state_dir / RECORD)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(slots=True)
class _Child:
    """One program and, unless it waits for its next start, its process."""

    program: Program
    mark: str
    log: Log
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None
    started: float = 0.0
    due: float = 0.0
    delay: float | None = None
    deaths: int = 0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def tend(self, backoff: Backoff) -> bool:
        """Start the program if it is due, bury it if it has died; whether anything changed."""
        if self.process is None and time.monotonic() >= self.due:
            self._spawn(backoff)
        elif self.process is not None and self.has_ended():
            uptime = time.monotonic() - self.started
            code = self.bury()
            cause = f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"
            self._plan(f"ended with {cause} after {uptime:.1f} s", backoff=backoff)
        else:
            return False
        return True

    def _plan(self, cause: str, *, backoff: Backoff) -> None:
        self.deaths += 1
        self.delay = backoff.after(self.delay, uptime=time.monotonic() - self.started)
        self.due = time.monotonic() + self.delay
        self._say(f"{cause}; starting again in {self.delay:g} s")

    def _spawn(self, backoff: Backoff) -> None:
        guard = (sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid())) if sys.platform == "linux" else ()
        command = (*guard, *self.program.command)
        env = {**os.environ, **self.program.env, MARK: self.mark}
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen(  # noqa: S603  our own programs
                command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=env, start_new_session=True
            )
        except OSError as error:  # out of processes or memory: the watcher must live on
            self._plan(f"cannot be started: {error.strerror}", backoff=backoff)
            return
        self.reader = threading.Thread(target=self._read, args=[self.process.stdout], daemon=True)
        self.reader.start()

    def is_ready(self) -> bool:
        with suppress(OSError):
            return not self.has_ended() and (self.program.ready is None or self.program.ready())
        return False

    def has_ended(self) -> bool:
        """Looks without collecting the exit code: until ``bury``, nobody else can get the number of the process."""
        process = self.process  # the watcher may bury it meanwhile
        return process is None or is_gone(process.pid)

    def ask_to_stop(self) -> None:
        if self.process:
            os.kill(self.process.pid, signal.SIGTERM)  # Popen.terminate might collect the exit code: see has_ended

    def bury(self) -> int:
        """End what is left of the child's session; the exit code."""
        if self.process is None:
            return 0
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        if self.reader:
            self.reader.join(timeout=1)
        self.process = None
        return code

    def _read(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                self._say(line.decode(errors="replace").rstrip())

    def _say(self, line: str) -> None:
        self.tail.append(line)
        with suppress(Exception):  # a broken log must not stop the reading: the child would block on a full pipe
            self.log(self.program.name, line)


def stop_leftovers(state_dir: Path) -> None:
    """End all that a killed supervisor left. Under the state lock and before ``start``: living children would count too."""
    end_processes([*_marked(str(state_dir.resolve())), *_recorded(state_dir / RECORD)], polite=signal.SIGTERM)
    (state_dir / RECORD).unlink(missing_ok=True)


def _marked(mark: str) -> Iterator[psutil.Process]:
    ourselves = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    others = (one for one in psutil.process_iter(["environ"]) if one.pid not in ourselves)
    return (one for one in others if (one.info["environ"] or {}).get(MARK) == mark)


def _recorded(record: Path) -> Iterator[psutil.Process]:
    """By number and birth, so that a stranger who got the number later is left alone."""
    with suppress(OSError, ValueError, LookupError, TypeError):  # half written: the mark remains
        for entry in json.loads(record.read_text()):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(entry["pid"])
                if abs(process.create_time() - entry["created"]) < 1:
                    yield from (process, *process.children(recursive=True))


def end_processes(processes: Sequence[psutil.Process], *, polite: int, seconds: float = STOP_SECONDS) -> None:
    """Ask those without a parent among them to stop, wait for all, kill the rest: none of them runs afterwards."""
    pids = {process.pid for process in processes}
    for process in set(processes):
        with suppress(psutil.NoSuchProcess):
            if process.ppid() not in pids:
                process.send_signal(polite)
    if not until(lambda: all(map(is_gone, processes)), seconds=seconds):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        until(lambda: all(map(is_gone, processes)), seconds=STOP_SECONDS)


def is_gone(process: psutil.Process | int) -> bool:
    """Ended, even if its exit code was not collected (in a container often nobody ever does)."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(process) if isinstance(process, int) else process
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def until(done: Callable[[], bool], *, seconds: float) -> bool:
    """Wait for ``done`` for at most ``seconds``; its last answer."""
    deadline = time.monotonic() + seconds
    while not (finished := done()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return finished
