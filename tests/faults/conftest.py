"""One rig for all fault tests of a test process: starting it takes seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.faults.rig import Rig, running
from workers.embedded import EmbeddedPostgres


@pytest.fixture(scope="session")
def rig(postgres: EmbeddedPostgres) -> Iterator[Rig]:
    url = postgres.url().replace("/watertight?", "/postgres?")
    admin = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE faults TEMPLATE watertight"))
    with tempfile.TemporaryDirectory(prefix="watertight-") as folder, running(postgres, "faults", Path(folder)) as rig:
        yield rig
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE faults WITH (FORCE)"))


@pytest.fixture(autouse=True)
def no_worker_outlives_its_test(rig: Rig) -> Iterator[None]:
    """Else one failure, with its messages and its faults, would be the failure of whoever comes next."""
    yield
    rig.workers.end_all()
    rig.forget_messages()
    rig.outlook.faults.clear()
