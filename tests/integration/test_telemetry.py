"""What a web process and a worker send and write about themselves: traces, errors, check-ins, logs, their own metrics."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from providers.emulation import build_app
from providers.google.emulator import GoogleEmulator
from providers.outlook.emulator import OutlookEmulator
from sync.channels import Kept
from tests.fixtures.google.serving import service_account, serving
from tests.integration.collector import Collector, collecting
from tests.integration.pushing import KEY
from tests.integration.served import ROOT, Web, migrated, serve
from workers.embedded import EmbeddedPostgres, EmbeddedValkey
from workers.settings import Settings, with_emulators
from workers.wiring import build

DANA = "dana@example.com"
MASTER, MIRROR, BROKEN = 1, 2, 3
TITLE = "Secret cellar"
ROWS = """
    INSERT INTO calendars (id, agent_id, provider, remote, role)
    SELECT row.id, agents.id, row.provider, row.remote, row.role FROM agents, (VALUES
        (1, 'outlook', 'dana@example.com', 'master'), (2, 'google', 'dana@example.com', 'mirror'),
        (3, 'google', 'nobody@example.com', 'source')
    ) AS row (id, provider, remote, role)
"""
JOBS = (
    "INSERT INTO beat_jobs (name, task, every_seconds, next_slot) VALUES ('ResumeCommits', 'ResumeCommits', 90, now())"
)
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)


@dataclass
class Watched:
    """A web process and a worker for every queue, with real vendors' emulators; and who is told about them."""

    web: Web
    worker_log: Path
    metrics: str
    collector: Collector
    google: GoogleEmulator
    broker_url: str

    def send(self, task: str, *args: object) -> None:
        """As beat does."""
        from workers.app import app  # noqa: PLC0415 - the address of the broker comes with the call

        with app.connection_for_write(self.broker_url) as connection:
            app.send_task(task, args=list(args), connection=connection)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.worker_log.read_text().splitlines() if line.startswith("{")]


def wait_for(look: Callable[[], Any], what: str, *, seconds: float = 60) -> Any:  # noqa: ANN401 - whatever was looked for
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"after {seconds} s still no {what}"
        time.sleep(0.05)
    return found


@contextmanager
def working(folder: Path, env: dict[str, str]) -> Iterator[Path]:
    """A Celery worker for all queues; the answer is its log."""
    log = folder / "worker.log"
    options = ("-Q", "new,cancel,update,commit,upkeep", "-n", "all@%h", "-P", "threads", "-c", "3", "--without-mingle")
    command = (sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--include", "workers.commit", *options)
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=out, stderr=out)
    try:
        wait_for((folder / "heartbeats" / "all").exists, "heartbeat")
        yield log
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def watched(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    outlook, google = OutlookEmulator(), GoogleEmulator()
    (folder / "google-service-account.json").write_text(json.dumps(service_account()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with ExitStack() as stack:
        urls = {"outlook": outlook, "google": google}
        at = {name: stack.enter_context(serving(build_app(one))) for name, one in urls.items()}
        collector = stack.enter_context(collecting())
        valkey = stack.enter_context(EmbeddedValkey(tmp_path_factory.mktemp("valkey")))
        database = stack.enter_context(migrated(postgres, "watched"))
        commit = database.replace("watertight_app", "watertight_commit")
        told = {
            "WEBHOOK_KEY": KEY,
            "OTLP_ENDPOINT": collector.url,
            "SENTRY_DSN": f"{collector.url.replace('//', '//key@')}/1",
            "BROKER_URL": valkey.url(),
            "OUTLOOK_BASE_URL": f"{at['outlook']}/v1.0",
        }
        env = {f"WATERTIGHT_{name}": value for name, value in told.items()} | {"OTEL_BSP_SCHEDULE_DELAY": "200"}
        web = stack.enter_context(serve(folder, database_url=database, **env))
        engine = create_engine(postgres.url().replace("/watertight?", "/watched?"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(ROWS))
            connection.execute(text(JOBS))
        run = {"web": web.url, "database_url": database, "commit_database_url": commit, "broker_url": valkey.url()}
        (folder / "run.json").write_text(json.dumps(run | {"emulators": at}))
        settings = Settings.model_validate(
            {"state_dir": folder, "database_url": database, "public_url": web.url, "webhook_key": KEY}
        )
        runtime = build(with_emulators(settings, at))
        assert runtime.channels().keep_all(seconds=60) == Kept(done=3)
        runtime.sessions.kw["bind"].dispose()
        own = {"WATERTIGHT_STATE_DIR": str(folder), "WATERTIGHT_METRICS_PORT": str(port)}
        log = stack.enter_context(working(folder, env | own | {"WATERTIGHT_PUBLIC_URL": web.url}))
        yield Watched(web, log, f"http://127.0.0.1:{port}/metrics", collector, google, valkey.url())
