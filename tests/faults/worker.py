"""The fork server: imports everything once, then forks a real Celery worker for whoever asks (``python -m tests.faults.worker``).

One JSON object a line: orders on standard input, one answer each on standard output. Its workers are its children, so it is
the one that can say how each of them ended. When its input closes, it ends those that still live.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self

import psycopg
from celery.bin import celery as _command
from sqlalchemy.orm import configure_mappers

from sync import boundaries
from sync.boundaries import Boundary
from workers import cancellations, commit, new_appointments, updates, upkeep  # noqa: F401 - what a worker can run
from workers.app import app

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Watch:
    """Notes every boundary in a file, and ends or stops its own process at some of them."""

    def __init__(self, trace: str, ends: dict[str, str]) -> None:
        """``ends`` says what happens at which passing: ``{"commit.checked#1": "kill"}``."""
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._ends = ends
        self._passed: Counter[Boundary] = Counter()

    def __call__(self, boundary: Boundary) -> None:
        self._passed[boundary] += 1
        passing = f"{boundary}#{self._passed[boundary]}"
        os.write(self._trace, f"{passing}\n".encode())
        if end := self._ends.get(passing):
            os.kill(os.getpid(), SIGNALS[end])


class _AnyDatetime(type):
    """Moments made before the clock was set are moments too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def set_clock(ahead: float) -> None:
    """Let this process believe that it is ``ahead`` seconds later: all of our modules and Celery's, though not the vendors'
    clients, whose tokens would be refused before anything is decided.
    """
    if not ahead:
        return

    class WrongDatetime(datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=ahead)

        @classmethod
        def utcnow(cls) -> Self:
            return cls.now(UTC).replace(tzinfo=None)

    for name, module in list(sys.modules.items()):
        ours = name.partition(".")[0] in {"sync", "models", "workers", "celery", "kombu"}
        if ours and getattr(module, "datetime", None) is datetime:
            setattr(module, "datetime", WrongDatetime)  # noqa: B010 - no type checker knows what these modules have


def work(order: dict[str, Any]) -> None:
    """Be a worker until told to stop. Nothing is connected yet, so nothing is shared with the parent."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, target in enumerate((nothing, log, log)):
        os.dup2(target, number)
    set_clock(order["ahead"])
    boundaries.watch(Watch(order["trace"], order["ends"]))
    told = (
        "-P",
        "solo",
        "-Q",
        order["queues"],
        "-n",
        f"{order['name']}@%h",
        "-l",
        "INFO",
        "--include",
        "workers.commit",
    )
    app.worker_main(["worker", *told, "--without-gossip", "--without-mingle", "--without-heartbeat"])


def start(order: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid:
        return {"pid": pid}
    status = 1
    try:
        work(order)
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(pid: int, seconds: float) -> dict[str, Any]:
    """Until the worker ends or stops; how it did."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if found and os.WIFSTOPPED(status):
            return {"stopped": os.WSTOPSIG(status)}
        if found:
            return {"ended": os.waitstatus_to_exitcode(status)}
        left = deadline - time.monotonic()
        if left <= 0:
            return {"alive": pid}
        signal.sigtimedwait({signal.SIGCHLD}, left)


PRELOADED = (psycopg, _command)  # imported when first used, they cost every fork two thirds of its start


def warm_up() -> None:
    """What every worker does before it connects to anything."""
    app.loader.import_default_modules()
    app.finalize()
    configure_mappers()
    gc.collect()
    gc.freeze()  # else the first collection in every fork copies all of the parent's pages


def end(alive: set[int]) -> dict[str, Any]:
    """Of all workers that still live; how many there were."""
    number = len(alive)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    alive.clear()
    return {"ended": number}


def serve() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    warm_up()
    alive: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = wait(order["wait"], order["seconds"])
            alive -= {order["wait"]} if "ended" in answer else set()
        elif "end" in order:
            answer = end(alive)
        else:
            answer = start(order)
            alive.add(answer["pid"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    end(alive)


if __name__ == "__main__":
    serve()
