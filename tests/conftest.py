"""Real servers for every tier: one PostgreSQL for a test process, one database for a test."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from models.migrate import upgrade
from models.session import Sessions, make_engine, make_sessions
from workers.embedded import EmbeddedPostgres

_numbers = itertools.count(1)


class OneStack(LoadScopeScheduling):  # type: ignore[misc]
    """All of tests/e2e on one worker, which starts one stack for them; every other test wherever there is room.

    The marker ``xdist_group`` would say the same, but xdist 3.8.0 does not get it through to pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("tests/e2e/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneStack:
    return OneStack(config, log)


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


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of an empty, migrated database of this test's own."""
    name = f"test_{next(_numbers)}"
    admin = create_engine(
        _url(postgres, "postgres", database="postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE watertight"))
    yield name
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def owner_engine(postgres: EmbeddedPostgres, database: str) -> Iterator[Engine]:
    engine = create_engine(_url(postgres, "postgres", database=database))
    yield engine
    engine.dispose()


@pytest.fixture
def app_sessions(postgres: EmbeddedPostgres, database: str) -> Iterator[Sessions]:
    """Sessions as every process but the commit worker has them."""
    yield from _sessions(_url(postgres, "watertight_app", database=database))


@pytest.fixture
def commit_sessions(postgres: EmbeddedPostgres, database: str) -> Iterator[Sessions]:
    """Sessions as the commit worker has them."""
    yield from _sessions(_url(postgres, "watertight_commit", database=database))


def _sessions(url: str) -> Iterator[Sessions]:
    engine = make_engine(url)
    yield make_sessions(engine)
    engine.dispose()


def _url(server: EmbeddedPostgres, role: str, *, database: str) -> str:
    return server.url(role).replace("/watertight?", f"/{database}?")
