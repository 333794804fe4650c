"""Tasks that no product should have, for a worker that a test starts: ``celery -A tests.e2e.poison worker -Q poison``.

The test itself must not import this: it changes the one application, whose queues other tests look at.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import celeryconfig
from workers.app import app

QUEUE = "poison"
DIARY = Path(os.environ["POISON_DIARY"])

# A queue of its own, so that no worker of the stack meets these tasks; missing queues are refused on purpose.
app.conf.task_queues = {**celeryconfig.task_queues, QUEUE: {"exchange": QUEUE, "binding_key": QUEUE}}


def write_down(word: str) -> None:
    """What was run is counted here: nothing that the worker itself believes."""
    with DIARY.open("a", encoding="utf-8") as file:
        file.write(f"{word}\n")


def die(name: str) -> None:
    """As the kernel ends a process that takes too much memory."""
    write_down(f"die {name}")
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(name: str, seconds: float) -> None:
    write_down(f"begin {name}")
    time.sleep(seconds)
    write_down(f"end {name}")


app.task(name="tests.die")(die)
app.task(name="tests.sleep")(sleep)
