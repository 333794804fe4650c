"""Tables and indexes after a year of a hundred agents, what Prune takes away, and how the hot statements are planned then.

WATERTIGHT_YEAR_AGENTS (100) and WATERTIGHT_YEAR_APPOINTMENTS (1,200 for each agent) for others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from models.session import Sessions, make_engine, make_sessions
from providers.memory import MemoryCalendars
from sync.pruning import prune
from tests.benchmarks.conftest import Report
from tests.benchmarks.figures import Figure
from tests.benchmarks.questions import Asked
from tests.benchmarks.year import Plans, TableSize, seed, sizes
from workers.embedded_postgres import APP, COMMIT, OWNER, EmbeddedPostgres
from workers.settings import Settings

AGENTS = int(os.environ.get("WATERTIGHT_YEAR_AGENTS", "100"))
PER = int(os.environ.get("WATERTIGHT_YEAR_APPOINTMENTS", "1200"))
LEAST_ROWS = 10_000
SHOWN = 8  # tables
RUNS = 50  # of Prune at most: one takes 300 batches


@pytest.fixture
def owner(postgres: EmbeddedPostgres, own_database: str) -> Iterator[Engine]:
    engine = create_engine(_url(postgres, OWNER, own_database))
    yield engine
    engine.dispose()


@pytest.fixture
def connected(postgres: EmbeddedPostgres, own_database: str) -> Iterator[tuple[Sessions, Sessions]]:
    engines = [make_engine(_url(postgres, role, own_database)) for role in (APP, COMMIT)]
    yield make_sessions(engines[0]), make_sessions(engines[1])
    for engine in engines:
        engine.dispose()


def _url(postgres: EmbeddedPostgres, role: str, database: str) -> str:
    return postgres.url(role).replace("/watertight?", f"/{database}?")


def test_a_year(owner: Engine, connected: tuple[Sessions, Sessions], report: Report, tmp_path: Path) -> None:
    app, commit = connected
    settings = Settings(state_dir=tmp_path)
    seed(owner, agents=AGENTS, per=PER)
    tell_prune(app, owner, settings, report)
    tell_sizes(sizes(owner), report)
    plans = Plans()
    with plans.collecting(app.kw["bind"], commit.kw["bind"]):
        Asked(app, commit, MemoryCalendars(), settings).everything()
    scans = [str(scan) for scan in plans.scans(owner, least_rows=LEAST_ROWS)]
    for scan in scans:
        print(scan)  # noqa: T201 - the table has no room for a statement
    what = f"statements with a sequential scan of {LEAST_ROWS:,} rows or more, of {len(plans.statements)}"
    report(Figure("year", what, len(scans), "", goal="0", met=not scans, details={"scans": scans}))


def tell_prune(app: Sessions, owner: Engine, settings: Settings, report: Report) -> None:
    """Until nothing is old; then the space is given back for the sizes that follow."""
    began, deleted = time.perf_counter(), 0
    for _ in range(RUNS):
        pruned = prune(app, settings.kept)
        deleted += sum(pruned.rows.values())
        if not pruned.more:
            break
    seconds = time.perf_counter() - began
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM FULL"))
        connection.execute(text("ANALYZE"))
    report(
        Figure(
            "year", f"Prune, {deleted:,} rows that were old", deleted / seconds, "rows/s", details={"seconds": seconds}
        )
    )


def tell_sizes(found: list[TableSize], report: Report) -> None:
    """Per agent and year; slots that beat fired do not grow with agents."""
    mine = [table for table in found if table.name != "beat_fires"]
    total = sum(table.table_bytes + table.index_bytes for table in mine)
    index = sum(table.index_bytes for table in mine)
    rows = {
        table.name: {"rows": table.rows, "table": table.table_bytes, "indexes": table.index_bytes} for table in found
    }
    what = f"tables and indexes per agent-year ({PER:,} appointments)"
    report(Figure("year", what, total / AGENTS / 1e6, "MB", details={"tables": rows, "index_share": index / total}))
    for table in mine[:SHOWN]:
        size = (table.table_bytes + table.index_bytes) / AGENTS / 1e6
        share = table.index_bytes / (table.table_bytes + table.index_bytes)
        report(
            Figure(
                "year", f"{table.name}: {table.rows / AGENTS:,.0f} rows per agent-year, indexes {share:.0%}", size, "MB"
            )
        )
