"""Which processes make up the stack, and what each is told (design §8)."""

from __future__ import annotations

import http.client
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from workers import flower as how_flower
from workers.app import HEARTBEATS
from workers.credential_settings import CredentialSettings
from workers.embedded import Stack
from workers.settings import Settings
from workers.supervisor import Program
from workers.telemetry import METRICS_DIRECTORY
from workers.web.loopback import is_loopback

LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - loopback is among them
JOB_PERIODS = ("new_every", "cancel_every", "update_every")
PERIODS = (*JOB_PERIODS, "resume_every", "release_every", "renew_every", "audit_every", "prune_every")
AUDIT = ("audit_agent_every", "audit_reads", "audit_confirm_seconds", "audit_repair")
TOLD = (*PERIODS, *AUDIT, "job_threads", "push_days", "poll_factor")
EMULATED = ("outlook", "google", "hubspot", "calcom")


@dataclass(frozen=True, slots=True)
class Address:
    """A port of ours on loopback, chosen once, so that a restarted child comes back where its clients look for it."""

    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @classmethod
    def choose(cls, wanted: int = 0) -> Address:
        """The wanted port, or any free one for 0.

        Raises:
            OSError: the wanted port is taken.
        """
        try:
            with socket.create_server((LOOPBACK, wanted)) as listener:
                return cls(listener.getsockname()[1])
        except OSError as error:
            raise OSError(f"port {wanted} on {LOOPBACK} cannot be used: {error.strerror}") from None


def environment(settings: Settings, stack: Stack) -> dict[str, str]:
    """What every child is told: where things are, and the periods. What may write is told to the commit worker alone."""
    told = {
        "STATE_DIR": str(settings.state_dir.resolve()),
        "DATABASE_URL": stack.database_url,
        "COMMIT_DATABASE_URL": "",
        "OWNER_DATABASE_URL": "",
        "BROKER_URL": stack.broker_url,
        "LOG_LEVEL": settings.log_level,
        "API_OPEN": str(settings.api_open),
        "PUBLIC_URL": settings.public_url,
        "WEBHOOK_KEY": _plain(settings.webhook_key),
        "FLOWER_USERS": "",  # Flower's alone
        "METRICS_PORT": "0",  # the web process shows what all of them count
    }
    for name in TOLD:
        told[name.upper()] = str(getattr(settings, name))
    for name in CredentialSettings.model_fields:
        told[name.upper()] = "" if _may_write(name) else _plain(getattr(settings, name))
    return {f"WATERTIGHT_{name}": value for name, value in told.items()}


def _may_write(setting: str) -> bool:
    """Whether it belongs to a credential set that may write calendars."""
    return "_commit_" in setting


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")


def emulator(provider: str, *, address: Address, settings: Settings) -> Program:
    """One vendor's emulator, its calendars journalled in the state directory."""
    journal = settings.state_dir.resolve() / "emulators" / f"{provider}.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    command = (provider, "--port", str(address.port), "--journal", str(journal))
    ready = answers(f"{address.url}/_control/requests")
    return Program(f"emulator-{provider}", (sys.executable, "-m", "workers.emulate", *command), {}, ready)


def workers(settings: Settings, stack: Stack, env: dict[str, str]) -> list[Program]:
    """One worker per queue group: threads for the jobs, which wait for networks, and prefork for commits."""
    threads = str(settings.job_threads)
    jobs = [
        _worker(queue, settings, env, "--pool", "threads", "--concurrency", threads)
        for queue in ("new", "cancel", "update")
    ]
    upkeep = _worker("upkeep", settings, env, "--pool", "threads", "--concurrency", "3")
    told = {"COMMIT_DATABASE_URL": stack.commit_database_url}
    told |= {
        name.upper(): _plain(getattr(settings, name)) for name in CredentialSettings.model_fields if _may_write(name)
    }
    committing = env | {f"WATERTIGHT_{name}": value for name, value in told.items()}
    processes = str(settings.commit_processes)
    options = ("--include", "workers.commit", "--pool", "prefork", "--concurrency", processes)
    commit = _worker("commit", settings, committing, *options)
    return [commit, *jobs, upkeep]


def beat(settings: Settings, env: dict[str, str]) -> Program:
    return Program("beat", _celery("beat", "--pidfile="), env, _alive("beat", settings))


def flower(settings: Settings, address: Address, env: dict[str, str]) -> Program:
    """Raises: SettingsError, it would be open to strangers."""
    command = how_flower.command(settings, port=address.port)
    told = {name: value for name, value in env.items() if name != METRICS_DIRECTORY} | how_flower.environment(settings)
    everywhere = settings.flower_address in EVERYWHERE or is_loopback(settings.flower_address)
    host = LOOPBACK if everywhere else settings.flower_address
    return Program("flower", command, told, answers(f"http://{host}:{address.port}/healthcheck"))


def web(address: Address, env: dict[str, str]) -> Program:
    command = (sys.executable, "-m", "uvicorn", "--factory", "workers.web.app:serve")
    options = ("--host", LOOPBACK, "--port", str(address.port), "--no-access-log", "--log-level", "warning")
    return Program("web", (*command, *options), env, answers(f"{address.url}/healthz"))


def answers(url: str) -> Callable[[], bool]:
    """Ready when the address answers 200."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 - our own http address
                return bool(response.status == 200)  # noqa: PLR2004 - OK
        except (OSError, http.client.HTTPException):  # also one that has accepted, and then says nothing for a second
            return False

    return ready


def _worker(queue: str, settings: Settings, env: dict[str, str], *options: str) -> Program:
    command = _celery("worker", "-Q", queue, "-n", f"{queue}@%h", "--without-gossip", "--without-mingle", *options)
    return Program(queue, command, env, _alive(queue, settings))


def _celery(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "celery", "-A", "workers.app", *arguments)


def _alive(name: str, settings: Settings) -> Callable[[], bool]:
    """Ready when the heartbeat file is younger than this run."""
    file: Path = settings.state_dir.resolve() / HEARTBEATS / name
    since = time.time()
    return lambda: file.exists() and file.stat().st_mtime >= since
