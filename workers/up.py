"""``watertight up``: the whole stack as children of one program, described in ``run.json`` while it runs (design §7)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from pydantic import SecretStr

from models.listings import list_calendars
from models.migrate import upgrade
from models.session import Sessions, make_engine, make_sessions, transaction
from workers import programs
from workers.agents_file import read_agents, store_agents
from workers.doors import kept_key
from workers.embedded import Embedded, Stack
from workers.programs import Address
from workers.settings import EMULATED_HOSTS_FILE, EMULATED_KEY_FILE, LOOPBACK_URL, RUN_FILE, Settings, with_emulators
from workers.supervisor import Log, Program, Supervisor, stop_leftovers
from workers.telemetry import METRICS_DIRECTORY, empty_metrics
from workers.web.loopback import is_loopback_url
from workers.wiring import APP_ROLE

READY_SECONDS = 90.0
AGENTS = Path(__file__).with_name("agents.yaml")


@dataclass(frozen=True, slots=True)
class Running:
    """The stack while it runs. ``settings`` are resolved: they reach its database, broker and vendors as they are."""

    settings: Settings
    stack: Stack
    web: str
    flower: str
    emulators: dict[str, str]
    sessions: Sessions
    embedded: Embedded
    supervisor: Supervisor

    def keep(self) -> None:
        """Revive an embedded server that died, and keep ``run.json`` true. To be called about once a second."""
        self.embedded.start()
        self._describe()

    def processes(self) -> dict[str, int]:
        return {**self.embedded.pids(), **self.supervisor.pids()}

    def _describe(self) -> None:
        description = {
            "web": self.web,
            "flower": self.flower,
            "emulators": self.emulators,
            "processes": self.processes(),
            "database_url": self.stack.database_url,
            "commit_database_url": self.stack.commit_database_url,
            "owner_database_url": self.stack.owner_url,
            "broker_url": self.stack.broker_url,
        }
        content = json.dumps(description, indent=2)
        file = self.settings.state_dir / RUN_FILE
        if not file.exists() or file.read_text(encoding="utf-8") != content:
            _write_private(file, content)  # it holds the broker's password


@contextlib.contextmanager
def running(settings: Settings, *, log: Log) -> Iterator[Running]:
    """Start everything, describe it when all of it is ready, and stop it at the end.

    Raises:
        EmbeddedError, NotReady, OSError, SettingsError: one sentence each for the person who started it.
    """
    embedded = Embedded(settings.state_dir, given=_given(settings), broker_url=_secret(settings.broker_url))
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(embedded.stop)
        stack = embedded.start()
        stop_leftovers(settings.state_dir)
        (settings.state_dir / RUN_FILE).unlink(missing_ok=True)
        _migrate(stack)
        emulated = _emulated(settings)
        web, flower = Address.choose(settings.web_port), Address.choose(settings.flower_port)
        settings = _reachable(_resolved(settings, stack, emulated), web)
        sessions = make_sessions(make_engine(stack.database_url, role=APP_ROLE))
        if len(emulated) == len(programs.EMULATED):
            _populate(sessions)
        settings = opened(settings, emulated)
        supervisor = Supervisor(_all(settings, stack, emulated, web, flower), state_dir=settings.state_dir, log=log)
        cleanup.callback(supervisor.stop)
        supervisor.start()
        supervisor.wait_ready(READY_SECONDS)
        _connect_app(settings, emulated)
        urls = {name: address.url for name, address in emulated.items()}
        run = Running(settings, stack, web.url, flower.url, urls, sessions, embedded, supervisor)
        cleanup.callback((settings.state_dir / RUN_FILE).unlink, missing_ok=True)
        run.keep()
        yield run


def _all(
    settings: Settings, stack: Stack, emulated: dict[str, Address], web: Address, flower: Address
) -> list[Program]:
    env = programs.environment(settings, stack) | {METRICS_DIRECTORY: str(empty_metrics(settings.state_dir))}
    emulators = [programs.emulator(name, address=address, settings=settings) for name, address in emulated.items()]
    others = [programs.web(web, env), programs.flower(settings, flower, env), programs.beat(settings, env)]
    return [*emulators, *programs.workers(settings, stack, env), *others]


def _given(settings: Settings) -> Stack | None:
    """The real database, where one is set."""
    if settings.database_url is None:
        return None
    return Stack(
        owner_url=settings.owner_database(),
        database_url=settings.database(),
        commit_database_url=settings.commit_database(),
        broker_url="",
    )


def _migrate(stack: Stack) -> None:
    engine = make_engine(stack.owner_url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()


def _emulated(settings: Settings) -> dict[str, Address]:
    """An address for every vendor that has no real credentials."""
    real = settings.reading_credentials()
    return {name: Address.choose() for name in programs.EMULATED if getattr(real, name) is None}


def _resolved(settings: Settings, stack: Stack, emulated: dict[str, Address]) -> Settings:
    """The same settings with every address filled in."""
    update: dict[str, object] = {
        "database_url": SecretStr(stack.database_url),
        "commit_database_url": SecretStr(stack.commit_database_url),
        "owner_database_url": SecretStr(stack.owner_url),
        "broker_url": SecretStr(stack.broker_url),
    }
    if "google" in emulated:
        _make_google_key(settings.state_dir / EMULATED_KEY_FILE)
    if "calcom" in emulated:
        _make_calcom_keys(settings.state_dir / EMULATED_HOSTS_FILE)
    urls = {name: address.url for name, address in emulated.items()}
    return with_emulators(settings.model_copy(update=update), urls)


def opened(settings: Settings, emulated: Collection[str]) -> Settings:
    """The same settings, with the API open to this machine where no calendar is real and nobody else is told our address."""
    playground = set(emulated) >= set(programs.EMULATED) and is_loopback_url(settings.public_url)
    return settings.model_copy(update={"api_open": settings.api_open or playground})


def _reachable(settings: Settings, web: Address) -> Settings:
    """The same settings with our own address where none is set, which emulators reach, and a key for what is pushed."""
    update: dict[str, object] = {}
    if settings.public_url == LOOPBACK_URL:
        update["public_url"] = web.url
    if settings.webhook_key is None:
        update["webhook_key"] = SecretStr(kept_key(settings.state_dir))
    return settings.model_copy(update=update)


def _connect_app(settings: Settings, emulated: dict[str, Address]) -> None:
    """What is done by hand at HubSpot: the app's webhooks lead to us. Forgotten by an emulator that dies: it is polled then."""
    secret = _secret(settings.hubspot_client_secret)
    if "hubspot" in emulated and secret is not None:
        target = {"url": f"{settings.public_url.rstrip('/')}/webhooks/hubspot", "secret": secret}
        requests.post(f"{emulated['hubspot'].url}/_control/webhook", json=target, timeout=10).raise_for_status()


def _make_google_key(file: Path) -> None:
    """A key file such as Google hands out, made once; the emulator believes any."""
    if not file.exists():
        from workers.emulate import make_google_key  # noqa: PLC0415 - only the embedded world needs it

        _write_private(file, json.dumps(make_google_key()))


def _make_calcom_keys(file: Path) -> None:
    """Each host of the embedded world has a key alone, since Cal.com counts 120 requests a minute for each key."""
    if not file.exists():
        hosts = [
            one.remote for agent in read_agents(AGENTS).agents for one in agent.calendars if one.provider == "calcom"
        ]
        _write_private(file, json.dumps({"*": "cal_emulated"} | {host: f"cal_test_{host}" for host in hosts}))


def _write_private(file: Path, content: str) -> None:
    """All of it or nothing, and for nobody else's eyes."""
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(content, encoding="utf-8")
    fresh.replace(file)


def _populate(sessions: Sessions) -> None:
    """A new state directory comes with three agents."""
    with transaction(sessions) as session:
        known = list_calendars(session)
    if not known:
        store_agents(sessions, read_agents(AGENTS))


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
