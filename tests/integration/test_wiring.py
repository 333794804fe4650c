"""Who gets what: only the commit process has writers, and everybody else's fail loudly (P3)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from models.listings import list_alerts
from models.session import refuse_inside_transaction, transaction
from sync.domain import CalendarId, CalendarRef, EventDraft, Interval, RemoteId, Role, WriteKey
from sync.errors import MasterCheckBypassed
from sync.ports import CalendarWriter
from workers.embedded import EmbeddedPostgres
from workers.settings import Settings
from workers.walls import RefusingWriter, process_name
from workers.wiring import Runtime, build, build_committing

REF = CalendarRef(CalendarId(7), "dana", "google", "dana@example.test", Role.MASTER, "America/Chicago")
DRAFT = EventDraft(Interval(datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1)), "Secret cellar")


@pytest.fixture
def settings(postgres: EmbeddedPostgres, database: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in list(os.environ):
        if name.startswith("WATERTIGHT_"):
            monkeypatch.delenv(name)
    for name, role in (("DATABASE_URL", "watertight_app"), ("COMMIT_DATABASE_URL", "watertight_commit")):
        monkeypatch.setenv(f"WATERTIGHT_{name}", postgres.url(role).replace("/watertight?", f"/{database}?"))
    return Settings()


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    runtime = build(settings)
    yield runtime
    runtime.sessions.kw["bind"].dispose()


def calls(writer: CalendarWriter) -> Iterator[str]:
    for name, call in (
        ("create", lambda: writer.create(DRAFT, key=WriteKey("k"))),
        ("update", lambda: writer.update(RemoteId("e"), DRAFT, version="1")),
        ("delete", lambda: writer.delete(RemoteId("e"), version="1")),
    ):
        with pytest.raises(MasterCheckBypassed, match=f"{name} on calendar 7"):
            call()
        yield name


def test_a_write_outside_the_commit_task_fails_and_opens_one_critical_alert_each(runtime: Runtime) -> None:
    for _ in range(2):
        assert list(calls(runtime.calendars.writer(REF))) == ["create", "update", "delete"]
    with transaction(runtime.sessions) as session:
        alerts = list_alerts(session)
    assert {(one["code"], one["severity"], one["times"]) for one in alerts} == {
        ("master_check_bypassed", "critical", 2)
    }
    calls_made = [f"{name} on calendar 7" for name in ("create", "delete", "update")]
    assert sorted(one["cause"] for one in alerts) == [f"bypass:{process_name()}:{call}" for call in calls_made]
    assert "Secret cellar" not in str(alerts)


def test_the_refusing_writer_has_every_method_of_the_port() -> None:
    port = {name for name in vars(CalendarWriter) if not name.startswith("_")}
    assert {name for name in vars(RefusingWriter) if not name.startswith("_")} == port


@pytest.mark.parametrize("table", ["slots", "appointments", "writes", "decisions"])
def test_the_role_of_everybody_else_may_not_write_the_ledger(runtime: Runtime, table: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), transaction(runtime.sessions) as session:
        session.execute(text(f"DELETE FROM {table}"))  # noqa: S608


def test_an_owner_that_connects_is_reduced_to_the_role(
    settings: Settings, postgres: EmbeddedPostgres, database: str
) -> None:
    owner = postgres.url().replace("/watertight?", f"/{database}?")
    given = settings.model_validate({"database_url": owner, "commit_database_url": owner})
    for make, role in ((build, "watertight_app"), (build_committing, "watertight_commit")):
        runtime = make(given)
        with transaction(runtime.sessions) as session:
            assert session.scalar(text("SELECT current_user")) == role
            assert session.scalar(text("SHOW timezone")) == "UTC"
        runtime.sessions.kw["bind"].dispose()


def test_the_commit_process_gets_the_real_writer(settings: Settings) -> None:
    emulated = settings.model_copy(
        update={"outlook_tenant_id": "t", "outlook_client_id": "c", "outlook_client_secret": settings.database_url}
    )
    for make, is_refusing in ((build, True), (build_committing, False)):
        writer = make(emulated).calendars.writer(replace(REF, provider="outlook"))
        assert isinstance(writer, RefusingWriter) == is_refusing


def test_nothing_connects_before_it_is_used(settings: Settings) -> None:
    nowhere = "postgresql+psycopg://u@127.0.0.1:1/none"
    given = settings.model_validate({"database_url": nowhere, "commit_database_url": nowhere})
    assert build(given).detector()
    assert build_committing(given)


def test_no_vendor_is_asked_inside_a_transaction(runtime: Runtime) -> None:
    refuse_inside_transaction()
    with transaction(runtime.sessions), pytest.raises(RuntimeError, match="inside a database transaction"):
        refuse_inside_transaction()
