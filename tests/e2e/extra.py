"""A worker of our own application that a test starts beside the stack, for the tasks of tests/e2e/poison.py."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

import celeryconfig
from tests.e2e.stack import ROOT, Stack, environment, wait_for

QUEUE = "poison"


@dataclass(frozen=True, slots=True)
class Extra:
    """The process, what its tasks wrote down, what it logged, and how to send it more."""

    process: subprocess.Popen[bytes]
    broker_url: str
    diary: Path
    log: Path

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def runs(self) -> Counter[str]:
        return Counter(self.diary.read_text().splitlines())

    def send(self, task: str, *arguments: object) -> None:
        """By name: the application that knows these tasks must not be imported here."""
        client = Celery("tests", broker=self.broker_url, set_as_current=False)
        client.conf.broker_transport_options = celeryconfig.broker_transport_options
        with client.connection_for_write() as connection:
            client.send_task(task, args=list(arguments), queue=QUEUE, connection=connection)


@contextmanager
def extra_worker(stack: Stack, folder: Path, *, broker_url: str | None = None) -> Iterator[Extra]:
    """As the commit worker: two processes. On the stack's broker, unless told of another."""
    broker_url = broker_url or str(stack.run["broker_url"])
    diary, log, name = folder / "diary", folder / "worker.log", f"poison-{uuid.uuid4().hex[:6]}"
    diary.touch()
    env = environment(stack.state_dir, BROKER_URL=broker_url) | {"POISON_DIARY": str(diary)}
    options = ("-Q", QUEUE, "-n", f"{name}@%h", "-P", "prefork", "-c", "2", "--without-gossip", "--without-mingle")
    command = [sys.executable, "-m", "celery", "-A", "tests.e2e.poison", "worker", *options]
    with log.open("ab") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    try:
        wait_for((stack.state_dir / "heartbeats" / name).exists, "heartbeat of the extra worker")
        yield Extra(process, broker_url, diary, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
