"""Bring a database to the newest tables and grants, also while workers use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from models.base import Base

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATION_LOCK = 7_002
TURN_SECONDS = 10  # for another process that migrates, at each try; this wait holds up nobody
# Whoever wants a table's lock holds up all who come after it. So we wait for less than they are willing to (LOCK_SECONDS),
# and for less than the server's deadlock_timeout of a second: of two who block each other, it is we who give way.
TABLE_MILLISECONDS = 800
BREATH_SECONDS = 2.0  # between two tries: those who stood behind us go first
TRIES = 30

BLOCKERS = text("""
    SELECT pid, round(extract(epoch FROM clock_timestamp() - xact_start)) AS seconds FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        AND backend_type = 'client backend'
    ORDER BY xact_start LIMIT 1
""")


class MigrationBlockedError(Exception):
    """Others kept the tables for too long; nothing was changed."""


def upgrade(
    engine: Engine, *, to: str = "head", tries: int = TRIES, pause: Callable[[float], object] = time.sleep
) -> None:
    """Run every missing migration, one process at a time. ``engine`` connects as the owner of the tables.

    All or nothing, in one transaction. Where a table is in use for longer than a moment, we let the others go first and try
    again. So a migration should take its tables in the order in which the code does, or busy workers may never let it
    through. ``pause`` waits between tries (seconds).

    Raises:
        MigrationBlockedError: the tables were never free; names the oldest transaction.
    """
    for left in reversed(range(tries)):
        try:
            with engine.begin() as connection:
                _run(connection, to=to)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable | DeadlockDetected):
                raise
            if not left:
                raise MigrationBlockedError(_sentence(engine)) from None
            pause(BREATH_SECONDS)
        else:
            return


def _run(connection: Connection, *, to: str) -> None:
    import alembic.command  # noqa: PLC0415 - every command of the command line would load it

    connection.execute(text(f"SET LOCAL lock_timeout = '{TURN_SECONDS}s'"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_MILLISECONDS}ms'"))
    alembic.command.upgrade(_config(connection), to)


def _sentence(engine: Engine) -> str:
    """What a person can do about it, who may not know the database."""
    with engine.connect() as connection:
        oldest = connection.execute(BLOCKERS).one_or_none()
    who = f"process {oldest.pid} of PostgreSQL has been in a transaction for {oldest.seconds} s; " if oldest else ""
    again = "nothing was changed, so end that transaction or wait, and run it again"
    return f"the tables are in use, and the migration has given way: {who}{again}"


def differences(connection: Connection) -> list[object]:
    """Where the models and the migrated tables disagree; empty when they agree."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - as above
    from alembic.migration import MigrationContext  # noqa: PLC0415 - as above

    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata))


def _config(connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
