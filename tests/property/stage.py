"""One database for a whole run: emptied between the examples, with a clock of its own that only the test moves.

Every instant that the engine and the jobs compare comes from the database's ``clock_timestamp()``. Here that name finds a
function which counts calls instead of seconds, so leases and waits end when the test says so, and a seed replays.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from models.session import Sessions

EPOCH = datetime(2027, 3, 1, tzinfo=UTC)
TICKS_PER_SECOND = 1000  # one tick for each look at the clock

_CLOCK = """
CREATE SCHEMA clock;
CREATE SEQUENCE clock.ticks MINVALUE -1000000000000 START 1;
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  $$ SELECT timestamptz '2027-03-01 00:00:00+00' + nextval('clock.ticks') * interval '1 millisecond' $$;
GRANT USAGE ON SCHEMA clock TO PUBLIC;
GRANT USAGE ON SEQUENCE clock.ticks TO PUBLIC;
"""
_DEFAULTS = """
SELECT format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT clock.clock_timestamp()', table_name, column_name)
FROM information_schema.columns WHERE table_schema = 'public' AND column_default LIKE '%clock_timestamp()%'
"""
# Without statistics the planner never changes its mind in the middle of a run, nor with it the order of unordered rows.
_NO_VACUUM = """
SELECT format('ALTER TABLE %I SET (autovacuum_enabled = false)', table_name)
FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""
_TABLES = """
SELECT string_agg(quote_ident(table_name), ', ') FROM information_schema.tables
WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'
"""
_DATABASE = """
SELECT format('ALTER DATABASE %I SET search_path = clock, pg_catalog, public', current_database())
UNION ALL SELECT format('ALTER DATABASE %I SET synchronous_commit = off', current_database())
UNION ALL SELECT format('ALTER DATABASE %I SET jit = off', current_database())
"""

_PICTURE = {
    "appointments": "SELECT id, agent_id, proposal_id, origin, state, 'v' || version, starts_at::time, ends_at::time, title, 'slot', slot_id FROM appointments ORDER BY id",
    "links": "SELECT appointment_id, calendar_id, remote_id, version, ours, gone, starts_at::time, ends_at::time, title FROM remote_links ORDER BY 1, 2",
    "proposals": "SELECT p.id, p.agent_id, kind, p.origin, calendar_id, remote_id, remote_version, p.appointment_id, p.starts_at::time, p.ends_at::time, title, state, d.reason, d.appointment_id FROM proposals p LEFT JOIN decisions d ON d.proposal_id = p.id ORDER BY p.id",
    "writes": "SELECT id, proposal_id, calendar_id, appointment_id, action, remote_id, state, attempt, last_error_code, left(key, 6) FROM writes ORDER BY id",
    "sightings": "SELECT calendar_id, remote_id, version, blocks, deleted, starts_at::time, ends_at::time, title, left(key, 6) FROM sightings ORDER BY 1, 2",
    "calendars": "SELECT id, agent_id, remote, role, on_refusal, shows, stopped_code FROM calendars ORDER BY id",
}


@dataclass
class Stage:
    """Where all examples of a run play. ``counts`` tells afterwards what was played."""

    owner: psycopg.Connection[tuple[Any, ...]]
    app: Sessions
    commit: Sessions
    tables: str
    counts: Counter[str] = field(default_factory=Counter)
    announced: bool = False

    @contextlib.contextmanager
    def announcing(self) -> Iterator[None]:
        """Say at once that something broke: to find the shortest way there may take minutes."""
        try:
            yield
        except Exception as error:
            if not self.announced:
                sys.stderr.write(f"\nBroken after {self.counts['steps']} steps, looking for a shorter way: {error}\n")
                sys.stderr.writelines(f"{line}\n" for line in self.picture())
            self.announced = True
            raise

    def picture(self) -> Iterator[str]:
        """What the tables say, for whoever has to find out what broke."""
        for name, query in _PICTURE.items():
            yield f"-- {name}"
            for row in self.rows(query):
                yield " ".join("-" if value is None else str(value) for value in row)

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        return self.owner.execute(query, values).fetchall()

    def run(self, statement: str, **values: object) -> None:
        self.owner.execute(statement, values)

    def empty(self) -> None:
        """An empty database at the beginning of time."""
        self.run(f"TRUNCATE {self.tables} RESTART IDENTITY; SELECT setval('clock.ticks', 1)")

    def now(self) -> datetime:
        """The database's clock, without moving it."""
        [(ticks,)] = self.rows("SELECT last_value FROM clock.ticks")
        return EPOCH + timedelta(seconds=ticks / TICKS_PER_SECOND)

    def jump(self, seconds: float) -> None:
        """The database's clock is set forwards, or backwards."""
        self.run(
            "SELECT setval('clock.ticks', last_value + %(by)s) FROM clock.ticks", by=int(seconds * TICKS_PER_SECOND)
        )


def prepare(owner: psycopg.Connection[tuple[Any, ...]]) -> str:
    """Give a migrated database its clock; the answer is its tables, to be emptied."""
    owner.execute(_CLOCK)
    owner.execute("ALTER TABLE history DISABLE TRIGGER keep")  # it is emptied with the rest: nobody else may
    for query in (_DEFAULTS, _NO_VACUUM, _DATABASE):
        for (statement,) in owner.execute(query).fetchall():
            owner.execute(statement)
    [(tables,)] = owner.execute(_TABLES).fetchall()
    return str(tables)
