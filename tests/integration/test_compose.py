"""docker-compose.yml: accepted by docker-compose, and every command in it runs as it is written there, outside of a container."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.integration.served import migrated
from workers import health
from workers.app import HEARTBEATS
from workers.embedded import EmbeddedPostgres, EmbeddedValkey
from workers.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
RUNNING = [name for name in OURS if name != "migrate"]
WRITING = {"watertight_commit_database_url", "watertight_outlook_commit_client_secret", "google_writing.json"}
BIN = Path(sys.executable).parent


@dataclass
class Stack:
    env: dict[str, str]
    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        env = self.env | {"WATERTIGHT_STATE_DIR": str(self.folder / name)}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                self.words(OURS[name]["command"]), cwd=self.folder, env=env, stdout=log, stderr=log
            )

    def is_healthy(self, name: str) -> bool:
        """By the health check of the file."""
        kind, *command = OURS[name]["healthcheck"]["test"]
        assert kind == "CMD"
        env = self.env | {"WATERTIGHT_STATE_DIR": str(self.folder / name)}
        done = subprocess.run(self.words(command), cwd=self.folder, env=env, capture_output=True, check=False)
        return done.returncode == 0

    def words(self, command: list[str]) -> list[str]:
        """A container has its ports to itself, a test has not; and its programs are on its PATH."""
        ports = {"8000": str(self.port("web")), "5555": str(self.port("flower"))}
        program, *arguments = [ports.get(word, word) for word in command]
        return [str(BIN / program), *arguments]

    def port(self, name: str) -> int:
        file = self.folder / f"{name}.port"
        if not file.exists():
            file.write_text(str(_free_port()))
        return int(file.read_text())

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]


def _free_port() -> int:
    """Of those that the system gives to nobody by itself: what starts seconds later still finds it free."""
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    message = "no free port"
    raise AssertionError(message)


@pytest.fixture(scope="module")
def stack(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("compose")
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as valkey, migrated(postgres, "compose") as database:
        secrets = {
            "DATABASE_URL": database,
            "COMMIT_DATABASE_URL": postgres.url("watertight_commit").replace("/watertight?", "/compose?"),
            "OWNER_DATABASE_URL": postgres.url().replace("/watertight?", "/compose?"),
            "BROKER_URL": valkey.url(),
            "FLOWER_USERS": "ops:a-password-for-flower",
            "FLOWER_ADDRESS": "127.0.0.1",
            "WEBHOOK_KEY": "a-key-of-at-least-thirty-two-characters",
        }
        env = os.environ | {f"WATERTIGHT_{name}": value for name, value in secrets.items()}
        stack = Stack(env, folder)
        yield stack
        for process in stack.running.values():
            process.kill()
            process.wait(20)


def test_every_command_runs_as_written_is_healthy_and_ends_in_order(stack: Stack) -> None:
    done = subprocess.run(
        stack.words(OURS["migrate"]["command"]), cwd=stack.folder, env=stack.env, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in RUNNING:
        stack.start(name)
    for name in RUNNING:
        deadline = time.monotonic() + 120
        while not stack.is_healthy(name):
            assert stack.running[name].poll() is None, stack.log(name)
            assert time.monotonic() < deadline, stack.log(name)
            time.sleep(0.5)
    assert_shut(f"http://127.0.0.1:{stack.port('flower')}")
    for name in RUNNING:
        stack.running[name].send_signal(signal.SIGTERM)
    for name in RUNNING:
        grace = int(OURS[name]["stop_grace_period"].removesuffix("s"))
        assert stack.running[name].wait(grace) in {0, -signal.SIGTERM}, stack.log(name)


def assert_shut(flower: str) -> None:
    """Flower shows nothing to whoever has no password."""
    pages = ("/", "/tasks", "/workers", "/api/tasks", "/api/workers")
    assert {path: requests.get(flower + path, timeout=10).status_code for path in pages} == dict.fromkeys(pages, 401)
    assert requests.get(f"{flower}/tasks", auth=("ops", "wrong"), timeout=10).status_code == 401
    assert requests.get(f"{flower}/tasks", auth=("ops", "a-password-for-flower"), timeout=10).status_code == 200


def test_what_has_ended_is_not_healthy(stack: Stack) -> None:
    stale = stack.folder / "new" / "heartbeats" / "new"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.touch()
    os.utime(stale, (0, 0))
    assert [name for name in ("new", "web", "flower") if stack.is_healthy(name)] == []


def test_a_health_check_says_what_is_wrong(stack: Stack) -> None:
    for arguments, code, said in (
        (["never"], 1, "never has never said that it is alive here"),
        (["web", str(stack.port("nobody"))], 1, "does not answer"),
        ([], 2, "usage"),
        (["../../etc/passwd"], 2, "usage"),
        (["web", "x"], 2, "usage"),
    ):
        command = [sys.executable, "-m", "workers.health", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=stack.env, capture_output=True, text=True, check=False)
        assert (done.returncode, said in done.stderr) == (code, True), done


def test_heartbeats_are_where_workers_write_them() -> None:
    assert f'"{HEARTBEATS}"' in Path(health.__file__).read_text(encoding="utf-8")


def test_what_may_write_is_with_the_commit_worker_alone() -> None:
    holders = {name for name, service in OURS.items() if WRITING & set(service.get("secrets", ()))}
    assert holders == {"commit"}
    assert [name for name in OURS if "watertight_owner_database_url" in OURS[name].get("secrets", ())] == ["migrate"]


def test_every_service_is_bounded_checked_and_not_root() -> None:
    for name, service in OURS.items():
        assert {"mem_limit", "read_only", "cap_drop", "init"} <= service.keys(), name
        assert name == "migrate" or {"healthcheck", "stop_grace_period"} <= service.keys(), name
    assert "USER watertight" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert int(OURS["commit"]["stop_grace_period"].removesuffix("s")) > 80  # the hard time limit of a commit


def test_every_setting_in_the_file_exists() -> None:
    known = {f"WATERTIGHT_{name.upper()}" for name in Settings.model_fields}
    told = {
        word for service in OURS.values() for word in service.get("environment", {}) if word.startswith("WATERTIGHT_")
    }
    secrets = {name.upper() for name in COMPOSE["secrets"] if name.startswith("watertight_")}
    assert told | secrets <= known


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    done = subprocess.run(
        [program, "-f", str(ROOT / "docker-compose.yml"), "config"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    assert services.keys() == COMPOSE["services"].keys()


def test_the_image_brings_all_that_is_locked_but_the_embedded_servers() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        "pyproject.toml",
        "README.md",
        "requirements.lock",
        "celeryconfig.py",
        "models",
        "sync",
        "providers",
        "workers",
    }
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
    assert all(name in dockerfile for name in copied)
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "\npixeltable-pgserver==" in locked
    assert "\nvalkeylite==" in locked
