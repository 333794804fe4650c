"""PostgreSQL can answer what the code asks by way of indexes, however much history there is.

The real code runs, and each of its statements is planned as if reading a table from end to end were forbidden. ``make bench``
looks at the plans over a whole year of a hundred agents (tests/benchmarks/bench_year.py).
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from models.session import Sessions
from providers.memory import MemoryCalendars
from tests.benchmarks.questions import Asked
from tests.benchmarks.year import Plans, seed
from workers.settings import Settings

# What stays few by Prune, and is counted as a whole for people or metrics.
FEW = {"alerts", "incidents", "notices", "dead_letters", "actions", "beat_fires"}


def test_no_statement_has_to_read_a_table_of_the_past_from_end_to_end(
    owner_engine: Engine, app_sessions: Sessions, commit_sessions: Sessions, tmp_path: Path
) -> None:
    seed(owner_engine, agents=4, per=20, days=14)
    plans = Plans()
    with plans.collecting(app_sessions.kw["bind"], commit_sessions.kw["bind"]):
        Asked(app_sessions, commit_sessions, MemoryCalendars(), Settings(state_dir=tmp_path)).everything()
    assert len(plans.statements) > 100, "most of what the code asks"
    assert [str(scan) for scan in plans.without_index(owner_engine) if scan.table not in FEW] == []
