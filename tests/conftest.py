"""Real servers for every tier: one PostgreSQL for a test process, one database for a test."""

from __future__ import annotations

import gc
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from models.migrate import upgrade
from models.session import Sessions, make_engine, make_sessions
from workers.embedded import EmbeddedPostgres

_numbers = itertools.count(1)


# The whole of a test process stays until its end: collecting it again and again cost a sixth of its time.
gc.set_threshold(20_000, 20, 50)

# What takes longest comes first, so that no worker is left alone with it in the end. The others follow by their number of tests.
FIRST = (
    "tests/e2e/",
    "tests/browser/test_booking_page.py",
    "tests/faults/test_crash_matrix.py",
    "tests/integration/test_people_on_the_master.py",
    "tests/integration/test_commit_crashes.py",
    "tests/integration/test_commit_chains.py",
    "tests/integration/test_commit_move.py",
    "tests/integration/test_unknown_outcomes.py",
    "tests/integration/test_hints.py",
    "tests/browser/test_console.py",
    "tests/integration/test_commit_echo.py",
    "tests/integration/test_sync_by_hand.py",
    "tests/integration/test_embedded.py",
    "tests/integration/test_verdict.py",
    "tests/integration/test_rabbitmq.py",
    "tests/integration/test_watch.py",
    "tests/property/test_machine.py",
)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests on one worker, which starts the servers of its module once; and all of tests/e2e on one, with one stack.

    The marker ``xdist_group`` would say the same, but xdist 3.8.0 does not get it through to pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "tests/e2e/" if nodeid.startswith("tests/e2e/") else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = next((scope for scope in FIRST if scope in self.workqueue), None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The server, with a migrated template database named ``watertight``.

    In a directory of its own: pytest's shared one is closed to other accounts, the server's too, by every new session.
    """
    with (
        tempfile.TemporaryDirectory(prefix="watertight-") as folder,
        EmbeddedPostgres(Path(folder), durable=False) as server,
    ):
        engine = create_engine(server.url(), poolclass=NullPool)
        upgrade(engine)
        yield server


@dataclass(frozen=True)
class Shared:
    """One database for many tests, with connections that stay: to make both anew costs more than most tests do."""

    name: str
    owner: Engine
    app: Engine
    commit: Engine

    def empty(self) -> None:
        """As it was migrated. Whoever forgot to end a transaction is ended first."""
        with self.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if connection.execute(text(FORGOTTEN)).all():
                self._forget_connections()
            connection.execute(text(EMPTYING))

    def _forget_connections(self) -> None:
        """Some of those in the pools are no longer connected to anything."""
        for engine in (self.app, self.commit):
            engine.dispose()


FORGOTTEN = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
"""
# One statement, since every test begins with it. Without triggers: history is append-only.
EMPTYING = """
    DO $$ DECLARE statement text; BEGIN
        SET LOCAL session_replication_role = replica;
        FOR statement IN
            SELECT format('DELETE FROM %I', tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
            UNION ALL SELECT format('ALTER SEQUENCE %I RESTART', sequencename) FROM pg_sequences WHERE last_value IS NOT NULL
        LOOP EXECUTE statement; END LOOP;
    END $$
"""


@pytest.fixture(scope="session")
def shared(postgres: EmbeddedPostgres) -> Iterator[Shared]:
    name = _create(postgres, "shared")
    owner = create_engine(_url(postgres, "postgres", database=name))
    app, commit = (make_engine(_url(postgres, f"watertight_{role}", database=name)) for role in ("app", "commit"))
    for engine in (app, commit):
        engine.pool._pre_ping = False  # the server does not go away, and each transaction would ask whether it has
    yield Shared(name, owner, app, commit)
    for engine in (owner, app, commit):
        engine.dispose()


@pytest.fixture
def database(shared: Shared) -> str:
    """The name of a migrated database that is empty at the beginning of the test."""
    shared.empty()
    return shared.name


@pytest.fixture
def own_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """One that the test may change as it likes."""
    name = _create(postgres, f"test_{next(_numbers)}")
    yield name
    with _admin(postgres).connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def owner_engine(shared: Shared, database: str) -> Engine:
    assert database == shared.name
    return shared.owner


@pytest.fixture
def app_sessions(shared: Shared, database: str) -> Sessions:
    """Sessions as every process but the commit worker has them."""
    assert database == shared.name
    return make_sessions(shared.app)


@pytest.fixture
def commit_sessions(shared: Shared, database: str) -> Sessions:
    """Sessions as the commit worker has them."""
    assert database == shared.name
    return make_sessions(shared.commit)


def _create(server: EmbeddedPostgres, name: str) -> str:
    with _admin(server).connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE watertight"))
    return name


def _admin(server: EmbeddedPostgres) -> Engine:
    return create_engine(
        _url(server, "postgres", database="postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )


def _url(server: EmbeddedPostgres, role: str, *, database: str) -> str:
    return server.url(role).replace("/watertight?", f"/{database}?")
