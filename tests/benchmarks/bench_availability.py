"""How soon ``GET /api/agents/{slug}/availability`` answers: 60 days of one agent whose calendars hold 2,000 events.

At the real web process over loopback, one question after another, beside a bare FastAPI route whose answer is as long,
asked in turns. WATERTIGHT_SIGHTINGS and WATERTIGHT_QUESTIONS for other sizes.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.benchmarks import bare
from tests.benchmarks.conftest import Report
from tests.benchmarks.figures import Figure
from tests.benchmarks.http_load import Answers, request, send
from tests.integration.served import Web, migrated, serve
from workers.embedded import EmbeddedPostgres

SIGHTINGS = int(os.environ.get("WATERTIGHT_SIGHTINGS", "2000"))
QUESTIONS = int(os.environ.get("WATERTIGHT_QUESTIONS", "500"))
TURNS = 5
DAYS = 60
GOAL_MS = 20.0

# Half of it on the master, half on a mirror which shows the same; every fifth is an occurrence of a series, one in ten is free
# time, one in twenty is gone. They begin today and go on as long as 60 days; most of the hours of a week are left.
FILL = text("""
    INSERT INTO sightings (calendar_id, remote_id, version, updated, starts_at, ends_at, blocks, deleted, title, attendees, series_id)
    SELECT 1 + number % 2, 'event-' || number, '1', now(), start, start + interval '20 minutes', number % 10 <> 3,
        number % 20 = 7, 'Viewing ' || number, '[{"name": "A buyer", "email": "buyer@example.com"}]',
        CASE WHEN number % 5 = 0 THEN 'series-' || number % 50 END
    FROM generate_series(0, :count - 1) AS number,
        LATERAL (SELECT date_trunc('hour', now()) + (number / 2) * interval '1 day' * :days / (:count / 2) AS start) AS at
""")
CALENDARS = """
    INSERT INTO calendars (id, agent_id, provider, remote, role) SELECT row.id, agents.id, row.provider, 'dana', row.role
    FROM agents, (VALUES (1, 'outlook', 'master'), (2, 'google', 'mirror')) AS row (id, provider, role)
"""
CURSORS = "INSERT INTO cursors (calendar_id, job, read_at) SELECT 1, job, now() FROM unnest(ARRAY['new', 'cancel', 'update']) AS job"
BOOKS_FAR_AHEAD = "UPDATE agents SET booking_days = 61, minimum_notice_minutes = 0"
# A year of appointments; those of the window stand on the master too.
SLOTS = """
    INSERT INTO slots (agent_id, during, state, version)
    SELECT agents.id, tstzrange(start, start + interval '20 minutes'), CASE WHEN number % 4 = 0 THEN 'free' ELSE 'booked' END, 1
    FROM agents, generate_series(-1500, 299) AS number,
        LATERAL (SELECT date_trunc('hour', now()) + number * interval '5 hours' AS start) AS at
"""


@pytest.fixture
def web(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Web]:
    with migrated(postgres, "availability") as database:
        owner = create_engine(postgres.url().replace("/watertight?", "/availability?"), poolclass=NullPool)
        with owner.begin() as connection:
            for statement in (BOOKS_FAR_AHEAD, CALENDARS, CURSORS):
                connection.execute(text(statement))
            connection.execute(FILL, {"count": SIGHTINGS, "days": DAYS})
            connection.execute(
                text("SET LOCAL session_replication_role = replica")
            )  # no triggers: nobody decided these
            connection.execute(text(SLOTS))
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        with serve(tmp_path, database_url=database) as web:
            yield web


def test_availability_of_two_months(web: Web, report: Report) -> None:
    window = f"from={_iso(0)}&to={_iso(DAYS)}"
    ours = request(web.url, "GET", f"/api/agents/dana/availability?{window}")
    length = send(web.url, [ours] * 20, senders=1).bytes
    found, floor = Answers(), Answers()
    with bare.serving() as other:
        nothing = request(other.url, "GET", f"/bytes/{length}")
        for _ in range(TURNS):
            _add(found, send(web.url, [ours] * (QUESTIONS // TURNS), senders=1))
            _add(floor, send(other.url, [nothing] * (QUESTIONS // TURNS), senders=1))
    assert found.statuses == floor.statuses == {200: QUESTIONS // TURNS * TURNS}
    p99, least = (each.percentile(0.99) * 1000 for each in (found, floor))
    details = {"p50": statistics.median(found.seconds) * 1000, "floor_p50": statistics.median(floor.seconds) * 1000}
    details |= {"bytes": length, "sightings": SIGHTINGS, "questions": len(found.seconds)}
    name = "a bare FastAPI route, as many bytes"
    report(Figure("availability", "60 days, p50", details["p50"], "ms", details["floor_p50"], name, details=details))
    goal = f"≤ {GOAL_MS:.0f} ms"
    report(Figure("availability", "60 days, p99", p99, "ms", least, name, goal, met=p99 <= GOAL_MS, details=details))


def _add(all_of_it: Answers, more: Answers) -> None:
    all_of_it.seconds += more.seconds
    all_of_it.statuses += more.statuses


def _iso(days: int) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
