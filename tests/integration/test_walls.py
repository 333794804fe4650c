"""Somebody tries to go round the commit task, at each of the four walls: stopped, and one critical alert says who and how (P3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from models.listings import list_alerts
from models.session import make_engine, make_sessions, transaction
from sync.domain import CalendarRef, EventDraft, Role, WriteKey
from sync.errors import CredentialReadOnly
from sync.ports import CalendarWriter
from tests.fixtures.google.serving import service_account
from tests.integration.vendors import Vendors, VendorWorld, serving_both
from tests.integration.world import at
from workers.embedded import EmbeddedPostgres
from workers.settings import EMULATED_KEY_FILE, Settings, with_emulators
from workers.walls import process_name
from workers.wiring import Runtime, build

ROOT = Path(__file__).parents[2]
DRAFT = EventDraft(at(10), "Secret cellar")
# What every process but the commit worker does first; then somebody loads the engine.
INTRUDER = """
from workers.app import runtime
from workers.walls import forbid_engine, reporter
{before}
forbid_engine(reporter(runtime().sessions))
import {module}
print("in")
"""


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with serving_both() as both:
        yield both


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, database: str) -> str:
    return postgres.url("watertight_app").replace("/watertight?", f"/{database}?")


def alerts(url: str) -> list[tuple[str, str, str, str]]:
    """Code, severity, call and process of each."""
    engine = make_engine(url)
    with transaction(make_sessions(engine)) as session:
        rows = list_alerts(session)
    engine.dispose()
    assert "Secret cellar" not in str(rows)
    return [(row["code"], row["severity"], row["detail"]["call"], row["detail"]["process"]) for row in rows]


def intrude(url: str, module: str, *, before: str = "") -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("WATERTIGHT_")}
    code = INTRUDER.format(module=module, before=before)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env | {"WATERTIGHT_DATABASE_URL": url}, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


@pytest.mark.parametrize("module", ["sync.commit.engine", "workers.commit", "sync.commit"])
def test_the_engine_cannot_be_loaded_elsewhere(database_url: str, module: str) -> None:
    result = intrude(database_url, module)
    assert (result.returncode, result.stdout.endswith("in\n")) == (1, False)
    assert "MasterCheckBypassed" in result.stderr
    [(code, severity, call, process)] = alerts(database_url)
    assert (code, severity, process) == ("master_check_bypassed", "critical", "-c")
    assert call.startswith("import sync.commit")


def test_an_engine_that_was_loaded_before_is_noticed(database_url: str) -> None:
    result = intrude(database_url, "json", before="import sync.commit.engine")
    assert (result.returncode, result.stdout.endswith("in\n")) == (1, False)
    assert alerts(database_url) == [("master_check_bypassed", "critical", "import sync.commit", "-c")]


def test_everything_else_can_be_loaded(database_url: str) -> None:
    assert intrude(database_url, "workers.upkeep").stdout.endswith("in\n")
    assert alerts(database_url) == []


@pytest.fixture
def runtime(database_url: str, vendors: Vendors, tmp_path: Path) -> Iterator[Runtime]:
    """A job worker's, with the credentials of one."""
    (tmp_path / EMULATED_KEY_FILE).write_text(json.dumps(service_account()))
    settings = Settings(_env_file=None, state_dir=tmp_path, database_url=SecretStr(database_url))
    runtime = build(with_emulators(settings, {"outlook": vendors.outlook.url, "google": vendors.google_url}))
    yield runtime
    runtime.sessions.kw["bind"].dispose()


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE slots SET state = 'free'", "slots"),
        ("DELETE FROM writes", "writes"),
        ("INSERT INTO history (agent_id) VALUES (1)", "history"),
        ("UPDATE proposals SET title = 'Secret cellar'", "proposals"),
    ],
)
def test_the_database_refuses_and_tells(runtime: Runtime, database_url: str, statement: str, table: str) -> None:
    for _ in range(2):
        with pytest.raises(ProgrammingError), transaction(runtime.sessions) as session:
            session.execute(text(statement))
    verb = statement.split(maxsplit=1)[0]
    call = f"{verb} (permission denied for table {table})"
    assert alerts(database_url) == [("master_check_bypassed", "critical", call, process_name())]


@pytest.mark.parametrize("name", ["eve-master", "eve-mirror"])
@pytest.mark.parametrize("call", ["create", "update", "delete"])
def test_the_vendor_refuses_a_credential_that_may_only_read(
    runtime: Runtime, vendors: Vendors, database_url: str, name: str, call: str
) -> None:
    """Somebody has got past the refusing writer, and holds a real one."""
    world = VendorWorld(runtime.sessions, runtime.sessions)
    world.employ(vendors, slug="eve")
    hands = world.hands[name]
    hands.put(at(10))
    event, provider = hands.only(), "outlook" if name == "eve-master" else "google"
    ref = CalendarRef(world.ids[name], "eve", provider, hands.mailbox, Role.MIRROR, "UTC")
    adapter = cast("CalendarWriter", runtime.calendars.reader(ref))
    calls: dict[str, Callable[[], object]] = {
        "create": lambda: adapter.create(DRAFT, key=WriteKey("k")),
        "update": lambda: adapter.update(event.remote_id, DRAFT, version=event.version),
        "delete": lambda: adapter.delete(event.remote_id, version=event.version),
    }
    with pytest.raises(CredentialReadOnly):
        calls[call]()
    assert hands.events() == [event]
    [(code, severity, said, process)] = alerts(database_url)
    assert (code, severity, process) == ("master_check_bypassed", "critical", process_name())
    assert said.endswith(f"at {provider}")
