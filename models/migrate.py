"""Bring a database to the newest tables and grants."""

from __future__ import annotations

from pathlib import Path

import alembic.command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from models.base import Base

MIGRATION_LOCK = 7_002


def upgrade(engine: Engine) -> None:
    """Run every missing migration, one process at a time. ``engine`` connects as the owner of the tables."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        alembic.command.upgrade(_config(connection), "head")


def differences(connection: Connection) -> list[object]:
    """Where the models and the migrated tables disagree; empty when they agree."""
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
