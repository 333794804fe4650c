"""What must not end a worker: a task that ends its process, and a broker that goes away while a task is in flight."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.extra import Extra, extra_worker
from tests.e2e.load import keep_figures
from tests.e2e.stack import Stack, wait_for
from workers.embedded import EmbeddedValkey

pytestmark = pytest.mark.timeout(300)

DOWN_SECONDS = 4.0  # with fewer, celery 5.7.0 sometimes survives
TASK_SECONDS = 3.0
CALM_SECONDS = 3.0  # a redelivered poison ran 21 times in 10 s: a second run would show at once


def test_a_message_that_kills_its_process_runs_once_and_is_reported_once(stack: Stack, tmp_path: Path) -> None:
    """Redelivered, it would kill one process after the other, and nobody would be told (celeryconfig.py)."""
    with extra_worker(stack, tmp_path) as extra:
        extra.send("tests.die", "poison")
        letters = wait_for(lambda: [one for one in stack.dead_letters() if one["task"] == "tests.die"], "dead letter")
        extra.send("tests.sleep", "harmless", 0)
        wait_for(lambda: extra.runs()["end harmless"], "run of the next message")
        time.sleep(CALM_SECONDS)
        assert extra.runs() == {"die poison": 1, "begin harmless": 1, "end harmless": 1}
        assert extra.lives
        letters = [one for one in stack.dead_letters() if one["task"] == "tests.die"]
        alerts = [one for one in stack.alerts() if one["detail"].get("task") == "tests.die"]
        assert [(one["reference"], one["excerpt"], one["times"]) for one in letters] == [
            ("poison", "WorkerLostError", 1)
        ]
        assert [(one["cause"], one["times"]) for one in alerts] == [("task:tests.die:poison:bug", 1)]
        keep_figures("poison message", runs=extra.runs()["die poison"], dead_letters=1, alerts=1, worker_lives=True)


def test_a_worker_outlives_a_broker_that_goes_while_a_task_is_in_flight(stack: Stack, tmp_path: Path) -> None:
    """celery 5.7.0 does not: its worker ends with "Unrecoverable error: AttributeError" (docs/adr/0003)."""
    with EmbeddedValkey(tmp_path) as broker, extra_worker(stack, tmp_path, broker_url=broker.url()) as extra:
        extra.send("tests.sleep", "in flight", TASK_SECONDS)
        wait_for(lambda: extra.runs()["begin in flight"], "task in flight")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        time.sleep(DOWN_SECONDS)
        broker.start()
        back = time.monotonic()
        assert extra.lives, last_words(extra)
        extra.send("tests.sleep", "next", 0)
        wait_for(lambda: extra.runs()["end next"] or not extra.lives, "run of the next message")
        assert extra.lives, last_words(extra)
        keep_figures(
            "task in flight while the broker is away",
            outage_seconds=DOWN_SECONDS,
            next_run_seconds=round(time.monotonic() - back, 2),
            runs=extra.runs()["begin in flight"],
        )
        assert extra.runs() == dict.fromkeys(["begin in flight", "end in flight", "begin next", "end next"], 1)
        assert "Unrecoverable error" not in extra.log.read_text()


def last_words(extra: Extra) -> str:
    return extra.log.read_text()[-2000:]
