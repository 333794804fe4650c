"""Alembic's entry: runs on the connection that ``models.migrations.upgrade`` hands over."""

from __future__ import annotations

from alembic import context

from models import agents, audits, failures, feeds, ledger, operations, proposals, push, schedule, tokens
from models.base import Base

TABLES_COME_FROM = (agents, audits, failures, feeds, ledger, operations, proposals, push, schedule, tokens)

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True, compare_server_default=False)
with context.begin_transaction():
    context.run_migrations()
