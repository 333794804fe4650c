"""The HTTP application as a process of its own, with a database of its own."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from workers.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
keys = itertools.count()


@dataclass
class Web:
    url: str
    log: Path
    pid: int = 0

    def post(self, body: object, *, key: str | None = None) -> requests.Response:
        key = key or f"key-{next(keys)}"
        return requests.post(f"{self.url}/api/proposals", json=body, headers={"Idempotency-Key": key}, timeout=20)


@contextmanager
def serve(folder: Path, *, database_url: str, **settings: str) -> Iterator[Web]:
    """``settings`` are environment variables in full."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    told = {"DATABASE_URL": database_url, "BROKER_URL": "redis://127.0.0.1:1/0", "STATE_DIR": str(folder)}
    told |= {"PUBLIC_URL": url, "API_OPEN": "true", "WATCH_SECONDS": "0"}
    env = os.environ | {f"WATERTIGHT_{name}": value for name, value in told.items()} | settings
    command = [sys.executable, "-m", "uvicorn", "--factory", "workers.web.app:serve", "--port", str(port)]
    log = folder / "web.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--no-access-log"], cwd=ROOT, env=env, stdout=out, stderr=out)
    web = Web(url, log, process.pid)
    try:
        deadline = time.monotonic() + 60
        while not answers(web) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        yield web
    finally:
        process.terminate()
        process.wait(20)


def answers(web: Web) -> bool:
    try:
        return requests.get(f"{web.url}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


@contextmanager
def migrated(postgres: EmbeddedPostgres, name: str) -> Iterator[str]:
    """The URL of a database in which dana is an agent, for the role of every process but the commit worker."""
    admin = create_engine(postgres.url().replace("/watertight?", "/postgres?"), poolclass=NullPool)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE watertight"))
        owner = create_engine(postgres.url().replace("/watertight?", f"/{name}?"), poolclass=NullPool)
        with owner.begin() as inside:
            inside.execute(text("INSERT INTO agents (slug, zone) VALUES ('dana', 'America/Chicago')"))
        yield postgres.url("watertight_app").replace("/watertight?", f"/{name}?")
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
