"""A migration among workers that go on: it gives way to them, and it never does half."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Thread

import alembic.command
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from models.migrate import MIGRATION_LOCK, MigrationBlockedError, _config, differences, upgrade
from models.session import make_engine
from tests.integration.commands import Commands, typed
from workers.embedded import EmbeddedPostgres

NEWEST = "0006"
VERSION = text("SELECT version_num FROM alembic_version")
READ = text("SELECT count(*) FROM alerts")
NEW_COLUMN = text(
    "SELECT count(*) FROM information_schema.columns WHERE table_name = 'beat_jobs' AND column_name = 'ran_at'"
)


def url(postgres: EmbeddedPostgres, role: str, *, database: str) -> str:
    return postgres.url(role).replace("/watertight?", f"/{database}?")


@pytest.fixture
def before(postgres: EmbeddedPostgres, own_database: str) -> Iterator[Engine]:
    """A database as the release before had it, with a job that beat has fired."""
    engine = create_engine(url(postgres, "postgres", database=own_database))
    with engine.begin() as connection:
        alembic.command.downgrade(_config(connection), "0004")
        row = "INSERT INTO beat_jobs (name, task, every_seconds, next_slot, last_slot) VALUES ('A', 'A', 60, now(), now())"
        connection.execute(text(row))
    yield engine
    engine.dispose()


def state(engine: Engine) -> tuple[object, object]:
    with engine.connect() as connection:
        return connection.scalar(VERSION), connection.scalar(NEW_COLUMN)


def test_a_migration_gives_way_to_a_long_transaction_and_says_so(before: Engine) -> None:
    with before.connect() as report:
        report.execute(READ)
        pid = report.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(MigrationBlockedError, match=rf"process {pid} of PostgreSQL .* nothing was changed"):
            upgrade(before, tries=2, pause=lambda _: None)
    assert state(before) == ("0004", 0)


def test_whoever_stood_behind_it_goes_first_and_then_it_succeeds(before: Engine) -> None:
    pauses: list[float] = []
    with before.connect() as report, before.connect() as reader:
        report.execute(READ)

        def pause(seconds: float) -> None:
            reader.execute(text("SET lock_timeout = '50ms'"))
            assert reader.scalar(READ) == 0, "the migration stands in nobody's way while it waits"
            reader.rollback()
            report.rollback()
            pauses.append(seconds)

        upgrade(before, pause=pause)
    assert pauses == [2.0]
    with before.connect() as connection:
        assert differences(connection) == []
        assert connection.scalar(text("SELECT ran_at = last_slot FROM beat_jobs")), "no job looks dead after an upgrade"


def test_it_waits_for_another_that_migrates(before: Engine) -> None:
    with before.connect() as other:
        other.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        thread = Thread(target=upgrade, args=[before])
        thread.start()
        until(before, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        assert state(before) == ("0004", 0)
        other.rollback()
        thread.join(60)
    assert state(before) == (NEWEST, 1)


def test_of_two_who_block_each_other_it_gives_way(before: Engine) -> None:
    """A worker has locked the tables in another order: it would be a deadlock, and must not be the worker's."""
    with before.connect() as worker:
        worker.execute(READ)
        thread = Thread(target=upgrade, args=[before])
        thread.start()
        until(before, "SELECT count(*) FROM pg_locks WHERE relation = 'alerts'::regclass AND NOT granted")
        worker.execute(text("SET lock_timeout = '5s'"))
        worker.execute(text("UPDATE beat_jobs SET last_slot = now()"))
        worker.commit()
        thread.join(60)
    assert state(before) == (NEWEST, 1)


LETTER = """
    INSERT INTO dead_letters (task, reference, branch, code, excerpt, attempts)
    VALUES ('T', gen_random_uuid(), 'bug', 'bug', '', 1)
"""
ALERT = "INSERT INTO alerts (cause, code, severity) VALUES (gen_random_uuid(), 'c', 'warning')"
WORK = (  # each in one transaction, in the order in which the code does it
    (LETTER, "SELECT pg_sleep(0.01)", ALERT),
    (
        "SELECT count(*) FROM beat_jobs",
        "UPDATE beat_jobs SET last_slot = now() WHERE name = 'A'",
        "SELECT pg_sleep(0.01)",
    ),
    ("SELECT count(*) FROM calendars JOIN agents ON agents.id = agent_id", "SELECT count(*) FROM alerts"),
)


def test_workers_go_on_while_it_runs(before: Engine, postgres: EmbeddedPostgres, own_database: str) -> None:
    app = make_engine(url(postgres, "watertight_app", database=own_database))
    over, errors = Event(), list[SQLAlchemyError]()

    def work(statements: Sequence[str]) -> None:
        while not over.is_set():
            try:
                with app.begin() as connection:
                    for statement in statements:
                        connection.execute(text(statement))
            except SQLAlchemyError as error:
                errors.append(error)

    threads = [Thread(target=work, args=[statements]) for statements in WORK]
    for thread in threads:
        thread.start()
    try:
        until(before, "SELECT count(*) > 10 FROM alerts")
        upgrade(before)
        with before.connect() as connection:
            count = connection.scalar(READ) or 0
        until(before, f"SELECT count(*) > {count + 10} FROM alerts")  # noqa: S608 - a number
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
        app.dispose()
    assert errors == []
    assert state(before) == (NEWEST, 1)


def until(engine: Engine, query: str) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with engine.connect() as connection:
            if connection.scalar(text(query)):
                return
        time.sleep(0.02)
    pytest.fail(query)


@pytest.fixture
def watertight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Commands]:
    with typed(monkeypatch, capsys, state_dir=tmp_path) as commands:
        yield commands


def test_the_command_says_it_in_one_sentence(
    before: Engine, watertight: Commands, postgres: EmbeddedPostgres, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.migrate.upgrade.__kwdefaults__", {"to": "head", "tries": 1, "pause": time.sleep})
    with before.connect() as report:
        report.execute(READ)
        answer = watertight("migrate", DATABASE_URL=url(postgres, "postgres", database=own_database))
    assert (answer.code, answer.err.count("\n")) == (1, 1), answer
    assert answer.err.startswith("watertight: the tables are in use, and the migration has given way: process ")
