"""RabbitMQ in the place of Valkey: the whole stack decides, and goes on after the broker was killed."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import requests
from pydantic import SecretStr

from workers.settings import Settings
from workers.up import Running, running

# Debian's program on the PATH changes to a user of its own, whose files these are not.
SERVER = shutil.which("rabbitmq-server", path=f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}")
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=3)

pytestmark = pytest.mark.skipif(SERVER is None, reason="rabbitmq-server is not installed")


@dataclass
class Rabbit:
    """A server of its own, with nothing of a machine's own RabbitMQ: files, ports, node name."""

    folder: Path
    ports: list[int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.ports[0]}//"

    def start(self) -> None:
        (self.folder / "plugins").write_text("[].")
        amqp, distribution, epmd = map(str, self.ports)
        told = {"NODENAME": f"watertight-{amqp}@localhost", "NODE_PORT": amqp, "DIST_PORT": distribution}
        told |= {
            "NODE_IP_ADDRESS": "127.0.0.1",
            "MNESIA_BASE": str(self.folder),
            "LOG_BASE": str(self.folder),
            "LOGS": "-",
        }
        told |= {"ENABLED_PLUGINS_FILE": str(self.folder / "plugins"), "CONF_ENV_FILE": "/dev/null"}
        env = os.environ | {f"RABBITMQ_{name}": value for name, value in told.items()}
        env |= {"ERL_EPMD_PORT": epmd, "ERL_EPMD_ADDRESS": "127.0.0.1", "HOME": str(self.folder)}
        assert SERVER is not None
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([SERVER], env=env, stdout=log, stderr=log, start_new_session=True)
        until(self.answers, "RabbitMQ")

    def answers(self) -> bool:
        with socket.socket() as client:
            client.settimeout(1)
            return client.connect_ex(("127.0.0.1", self.ports[0])) == 0

    def kill(self) -> None:
        """With all that it has started; epmd, which leaves its parent, is known by its port."""
        if self.process is None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        for one in psutil.process_iter(["name", "environ"]):
            if one.info["name"] == "epmd" and (one.info["environ"] or {}).get("ERL_EPMD_PORT") == str(self.ports[2]):
                one.kill()
        self.process = None


def until(condition: Callable[[], bool], what: str, *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after {seconds} s"
        time.sleep(0.1)


@contextmanager
def rabbit(folder: Path) -> Iterator[Rabbit]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    server = Rabbit(folder, ports)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def book(run: Running, hour: int) -> str:
    """The state of a booking after at most half a minute."""
    start = START + timedelta(hours=hour)
    body = {
        "agent": "dana",
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=30)).isoformat(),
        "title": "Demo",
    }
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    answer = requests.post(f"{run.web}/api/proposals?wait=30", json=body, headers=headers, timeout=60)
    return str(answer.json()["state"])


def test_the_whole_stack_works_with_rabbitmq(tmp_path: Path) -> None:
    with rabbit(tmp_path) as server:
        settings = Settings(state_dir=tmp_path / "state").model_copy(
            update={"broker_url": SecretStr(server.url), "resume_every": 1.0}
        )
        with running(settings, log=lambda _name, _line: None) as run:
            try:
                assert [book(run, hour) for hour in range(4)] == ["settled"] * 4
                assert book(run, 0) == "refused"
                server.kill()
                server.start()
                until(lambda: book(run, 5) in {"settled", "refused"}, "decision after the broker is back")
                until(lambda: run.supervisor.pids().keys() >= {"commit", "new", "beat"}, "stack that is whole")
            finally:
                run.sessions.kw["bind"].dispose()
