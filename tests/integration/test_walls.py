"""Somebody tries to go round the commit task, at each of the four walls: stopped, and one critical alert says who and how (P3)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from models.listings import list_alerts
from models.session import make_engine, make_sessions, transaction
from sync.domain import EventDraft, RemoteId, WriteKey
from sync.errors import CredentialReadOnly
from tests.fixtures.google.serving import service_account
from tests.integration.vendors import Vendors, VendorWorld, serving_both
from tests.integration.world import World, at
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
    assert (result.returncode, result.stdout) == (1, "")
    assert "MasterCheckBypassed" in result.stderr
    [(code, severity, call, process)] = alerts(database_url)
    assert (code, severity, process) == ("master_check_bypassed", "critical", "-c")
    assert call.startswith("import sync.commit")


def test_an_engine_that_was_loaded_before_is_noticed(database_url: str) -> None:
    result = intrude(database_url, "json", before="import sync.commit.engine")
    assert (result.returncode, result.stdout) == (1, "")
    assert alerts(database_url) == [("master_check_bypassed", "critical", "import sync.commit", "-c")]


def test_everything_else_can_be_loaded(database_url: str) -> None:
    assert intrude(database_url, "workers.upkeep").stdout == "in\n"
    assert alerts(database_url) == []


@pytest.fixture
def runtime(database_url: str, vendors: Vendors, tmp_path: Path) -> Iterator[Runtime]:
    """A job worker's, with the credentials of one."""
    (tmp_path / EMULATED_KEY_FILE).write_text(__import__("json").dumps(service_account()))
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
    verb = statement.split()[0]
    call = f"{verb} (permission denied for table {table})"
    assert alerts(database_url) == [("master_check_bypassed", "critical", call, process_name())]


@pytest.mark.parametrize("provider", ["outlook", "google"])
@pytest.mark.parametrize("call", ["create", "update", "delete"])
def test_the_vendor_refuses_a_credential_that_may_only_read(
    runtime: Runtime, world: World, vendors: Vendors, database_url: str, provider: str, call: str
) -> None:
    """Somebody has got past the refusing writer, and holds a real one."""
    theirs = VendorWorld(world.app, world.commit_sessions, connected=vendors.connect())
    theirs.employ_as(vendors, slug="eve")
    hands = theirs.hands["eve-master" if provider == "outlook" else "eve-mirror"]
    theirs_event = hands.put(at(10))
    ref = theirs.ref("eve-master" if provider == "outlook" else "eve-mirror")
    adapter = runtime.calendars.reader(ref)
    version = adapter.find_event(theirs_event)
    assert version is not None
    with pytest.raises(CredentialReadOnly):
        act(adapter, call, theirs_event, version.version)
    assert hands.only().interval == at(10)
    [(code, severity, said, process)] = alerts(database_url)
    assert (code, severity, process) == ("master_check_bypassed", "critical", process_name())
    assert said.endswith(f"at {provider}")


def act(adapter: object, call: str, event: RemoteId, version: str) -> None:
    writer: dict[str, object] = {"create": ((DRAFT,), {"key": WriteKey("k")}), "update": ((event, DRAFT), {"version": version}), "delete": ((event,), {"version": version})}  # fmt: skip
    args, kwargs = writer[call]  # type: ignore[misc]
    getattr(adapter, call)(*args, **kwargs)
