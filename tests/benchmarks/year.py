"""A year of an agent's history, made by SQL, and how PostgreSQL means to answer what the code asks of it.

Counts are those of a busy salesperson: so many appointments, each from an event on the mirror, shown on three calendars, every
sixth cancelled, every eighth moved, every tenth wish refused; two private events a day; an audit an hour. What Prune deletes is
there for twice the time for which it is kept, so that there is something to delete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from tests.benchmarks.fleet import SEED

# One row for each appointment that ever was: ``p`` numbers them, ``at`` is when it is, ``made`` when it was asked for.
WISHES = """
CREATE TEMP TABLE wishes AS
    SELECT row_number() OVER (ORDER BY n, agents.id) AS p, agents.id AS agent, n, random() AS luck,
        date_trunc('hour', now()) - interval '335 days' + n * (interval '365 days' / :per) AS at,
        date_trunc('hour', now()) - interval '335 days' + n * (interval '365 days' / :per) - interval '10 days' AS made,
        (SELECT id FROM calendars WHERE agent_id = agents.id AND role = 'master') AS master,
        (SELECT id FROM calendars WHERE agent_id = agents.id AND role = 'mirror') AS mirror,
        (SELECT id FROM calendars WHERE agent_id = agents.id AND role = 'source') AS source,
        n % 10 = 0 AS refused, n % 6 = 1 AS cancelled, n % 8 = 2 AS moved
    FROM agents, generate_series(1, :per) AS n;
ANALYZE wishes;
INSERT INTO proposals (id, key, agent_id, kind, origin, calendar_id, remote_id, remote_version, starts_at, ends_at, title, attendees, state, not_before, created_at, decided_at)
    SELECT p, md5('book' || p), agent, 'book', 'mirror', mirror, 'mirror-event-' || p, '"1"', at, at + interval '30 minutes', 'A meeting about something',
        '[{"name": "Somebody Else", "email": "somebody@customer.example"}]', CASE WHEN refused THEN 'refused' ELSE 'settled' END, made, made, made + interval '1 s' FROM wishes;
INSERT INTO slots (id, agent_id, during, state, version, changed_at)
    SELECT p, agent, tstzrange(at, at + interval '30 minutes'), CASE WHEN cancelled THEN 'free' ELSE 'booked' END, 3, made FROM wishes WHERE NOT refused;
INSERT INTO appointments (id, agent_id, proposal_id, slot_id, origin, state, version, starts_at, ends_at, title, attendees, created_at, changed_at)
    SELECT p, agent, p, p, 'mirror', CASE WHEN cancelled THEN 'cancelled' ELSE 'confirmed' END, 1, at, at + interval '30 minutes', 'A meeting about something',
        '[{"name": "Somebody Else", "email": "somebody@customer.example"}]', made, made FROM wishes WHERE NOT refused;
INSERT INTO proposals (id, key, agent_id, kind, origin, calendar_id, remote_id, remote_version, appointment_id, starts_at, ends_at, title, attendees, state, not_before, created_at, decided_at)
    SELECT (SELECT max(p) FROM wishes) + row_number() OVER (ORDER BY p), md5('more' || p), agent, CASE WHEN cancelled THEN 'cancel' ELSE 'move' END, 'mirror', mirror, 'mirror-event-' || p,
        '"2"', p, at, at + interval '30 minutes', 'A meeting about something', '[]', 'settled', made, made + interval '1 day', made + interval '1 day 1 s'
    FROM wishes WHERE (cancelled OR moved) AND NOT refused;
INSERT INTO decisions (proposal_id, accepted, reason, evidence, appointment_id, decided_at)
    SELECT id, state = 'settled', CASE WHEN state = 'settled' THEN 'accepted' ELSE 'slot_taken' END,
        jsonb_build_object('step', 'check', 'read_at', decided_at, 'events', '[]'::jsonb, 'calendar', calendar_id, 'window', jsonb_build_array(starts_at, ends_at)),
        CASE WHEN state = 'settled' THEN coalesce(appointment_id, id) END, decided_at FROM proposals ORDER BY id;
INSERT INTO remote_links (appointment_id, calendar_id, remote_id, version, updated, starts_at, ends_at, title, attendees, ours, gone)
    SELECT p, kind.calendar, kind.name || '-event-' || p, 'W/"DwAAABYAAAC"', made, at, at + interval '30 minutes', 'A meeting about something', '[]', kind.name <> 'mirror', cancelled
    FROM wishes, LATERAL (VALUES ('master', master), ('mirror', mirror), ('source', source)) AS kind (name, calendar) WHERE NOT refused;
INSERT INTO writes (key, agent_id, calendar_id, proposal_id, appointment_id, appointment_version, action, remote_id, remote_version, slot_id, state, attempt, not_before, fence, evidence, created_at, finished_at)
    SELECT md5('write' || p || kind.name), agent, kind.calendar, p, p, 1, kind.action, kind.name || '-event-' || p, 'W/"DwAAABYAAAC"', p, 'done', 1, made, 1,
        jsonb_build_object('read_at', made, 'verified_at', made), made, made + interval '1 s'
    FROM wishes, LATERAL (VALUES ('master', master, 'create'), ('source', source, 'copy')) AS kind (name, calendar, action) WHERE NOT refused;
INSERT INTO sightings (calendar_id, remote_id, version, updated, starts_at, ends_at, blocks, deleted, title, attendees, key, seen_at)
    SELECT kind.calendar, kind.name || '-event-' || p, 'W/"DwAAABYAAAC"', made, at, at + interval '30 minutes', NOT cancelled, cancelled, 'A meeting about something', '[]',
        CASE WHEN kind.name <> 'mirror' THEN md5('write' || p || kind.name) END, made
    FROM wishes, LATERAL (VALUES ('master', master), ('mirror', mirror), ('source', source)) AS kind (name, calendar) WHERE NOT refused OR kind.name = 'mirror';
INSERT INTO sightings (calendar_id, remote_id, version, updated, starts_at, ends_at, blocks, title, seen_at)
    SELECT calendars.id, 'private-' || n, 'W/"DwAAABYAAAC"', now() - interval '365 days' + n * interval '12 hours', now() - interval '365 days' + n * interval '12 hours',
        now() - interval '365 days' + n * interval '12 hours' + interval '1 hour', true, 'Something private', now() - interval '366 days' + n * interval '12 hours'
    FROM calendars, generate_series(1, 2 * CAST(:days AS int)) AS n WHERE role = 'master';
INSERT INTO history (at, agent_id, subject, subject_id, actor, cause, before, after)
    SELECT slots.changed_at, slots.agent_id, 'slot', slots.id, 'mirror', 'proposal:' || slots.id, CASE step WHEN 2 THEN to_jsonb(slots) END, to_jsonb(slots) FROM slots, generate_series(1, 2) AS step
    UNION ALL SELECT changed_at, agent_id, 'appointment', id, 'mirror', 'proposal:' || id, NULL, to_jsonb(appointments) FROM appointments ORDER BY 1;
INSERT INTO deliveries (provider, key, received_at)
    SELECT 'google', md5('push' || agents.id || '-' || n) || md5('' || n), now() - n * (interval '14 days' / (14 * 60)) FROM agents, generate_series(1, 14 * 60 * CAST(:days AS int) / 365) AS n;
INSERT INTO attempts (task, reference, number, code, excerpt, failed_at)
    SELECT 'UpdateSync.calendar', '' || calendars.id, 1, 'provider_unavailable', 'HTTP 503 from the vendor', now() - n * interval '6 hours' FROM calendars, generate_series(1, 240 * CAST(:days AS int) / 365) AS n;
INSERT INTO audits (agent_id, state, findings, drift, appointments, requests, audited_at)
    SELECT agents.id, 'clean', '[]', 0, 30, 3, now() - n * interval '1 hour' FROM agents, generate_series(1, 60 * 24 * CAST(:days AS int) / 365) AS n ORDER BY n DESC;
INSERT INTO beat_jobs (name, task, every_seconds, next_slot, last_slot, ran_at)
    SELECT name, name, every, now() + interval '1 minute', now(), now() FROM (VALUES ('NewAppointmentSync', 60), ('CancellationSync', 120), ('UpdateSync', 600),
        ('ResumeCommits', 10), ('ReleaseHolds', 10), ('RenewSubscriptions', 60), ('AuditDrift', 300), ('Prune', 3600)) AS jobs (name, every);
INSERT INTO beat_fires (name, slot, fired_at)
    SELECT name, at, at FROM beat_jobs, generate_series(now() - interval '14 days' * :days / 365, now(), make_interval(secs => every_seconds)) AS at;
INSERT INTO incidents (id, key, code, severity, opened_at, told_at, most, resolved_at)
    SELECT n, 'incident-' || n, 'picture_old', 'warning', now() - n * interval '2 hours', now(), 3, CASE WHEN n > 3 THEN now() - n * interval '2 hours' + interval '1 hour' END
    FROM generate_series(1, 12 * CAST(:days AS int)) AS n;
INSERT INTO alerts (cause, code, severity, calendar_id, incident_id, opened_at, last_seen, resolved_at)
    SELECT 'picture:' || n || '-' || m, 'picture_old', 'warning', m, n, now() - n * interval '2 hours', now() - n * interval '2 hours', CASE WHEN n > 3 THEN now() - n * interval '2 hours' + interval '1 hour' END
    FROM generate_series(1, 12 * CAST(:days AS int)) AS n, generate_series(1, 3) AS m;
INSERT INTO notices (incident_id, what, severity, title, body, state, created_at, sent_at)
    SELECT n, 'opened', 'warning', 'Pictures are old', 'What happened, and what you can do', 'sent', now() - n * interval '2 hours', now() FROM generate_series(1, 12 * CAST(:days AS int)) AS n;
INSERT INTO dead_letters (task, reference, code, branch, excerpt, attempts, calendar_id, state, first_seen, last_seen, closed_at)
    SELECT 'UpdateSync.calendar', '' || id, 'provider_unavailable', 'Transient', 'HTTP 503', 5, id, CASE WHEN n = 1 AND id < 4 THEN 'open' ELSE 'replayed' END, now() - n * interval '7 days', now() - n * interval '7 days', now() - n * interval '6 days'
    FROM calendars, generate_series(1, CAST(:days AS int) / 7) AS n;
INSERT INTO actions (done_at, who, via, what, about) SELECT now() - n * interval '12 hours', 'olga', 'cli', 'schedule.set', 'UpdateSync' FROM generate_series(1, 2 * CAST(:days AS int)) AS n;
SELECT setval('proposals_id_seq', (SELECT max(id) FROM proposals)), setval('slots_id_seq', (SELECT max(id) FROM slots)),
    setval('appointments_id_seq', (SELECT max(id) FROM appointments)), setval('incidents_id_seq', (SELECT max(id) FROM incidents))
"""
FEW = ("agents", "calendars", "cursors", "channels", "api_tokens", "users", "logins", "beat_jobs", "alembic_version")
SIZES = """
    SELECT relname, reltuples::bigint, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY pg_total_relation_size(oid) DESC
"""
WAYS = ("SELECT", "WITH", "UPDATE", "DELETE", "INSERT")


def seed(owner: Engine, *, agents: int, per: int, days: int = 365) -> None:
    """``per`` appointments for each agent, and everything else for ``days`` days of a year."""
    values: dict[str, Any] = {"agents": agents, "per": per, "days": days}
    with owner.begin() as connection:
        connection.execute(
            text("SET LOCAL session_replication_role = replica")
        )  # no triggers, and history as it would be
        for statement in f"{SEED.format(public_url='https://watertight.example')};{WISHES}".split(";\n"):
            if statement.strip():
                names = set(re.findall(r"(?<!:):([a-z]+)\b", statement))
                connection.execute(text(statement), {name: values[name] for name in names})
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


@dataclass(frozen=True, slots=True)
class TableSize:
    name: str
    rows: int
    table_bytes: int
    index_bytes: int


def sizes(owner: Engine) -> list[TableSize]:
    """The largest first."""
    with owner.connect() as connection:
        return [TableSize(*row) for row in connection.execute(text(SIZES))]


@dataclass(frozen=True, slots=True)
class Scan:
    """A table that is read from end to end: the estimated ``rows``, and the ``statement``."""

    table: str
    rows: int
    statement: str

    def __str__(self) -> str:
        return f"{self.table} ({self.rows} rows): {self.statement}"


@dataclass
class Plans:
    """Every distinct statement that the code sends, as PostgreSQL plans it with the very values that it was sent with."""

    statements: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def collecting(self, *engines: Engine) -> Iterator[None]:
        for engine in engines:
            event.listen(engine, "before_cursor_execute", self._keep)
        try:
            yield
        finally:
            for engine in engines:
                event.remove(engine, "before_cursor_execute", self._keep)

    def _keep(self, _connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        if statement.lstrip().upper().startswith(WAYS):
            self.statements.setdefault(statement, values)

    def scans(self, owner: Engine, *, least_rows: int) -> list[Scan]:
        """Sequential scans of tables that grow with time and have ``least_rows`` or more."""
        with owner.connect() as connection:
            known = connection.execute(text("SELECT relname, reltuples::bigint FROM pg_class"))
            rows = {str(name): int(count) for name, count in known}
            return [
                Scan(table, rows[table], re.sub(r"\s+", " ", statement))
                for statement, table in self._scanned(connection)
                if rows[table] >= least_rows
            ]

    def without_index(self, owner: Engine) -> list[Scan]:
        """What could not be answered by an index at all, however many rows there were."""
        with owner.connect() as connection:
            connection.execute(text("SET enable_seqscan = off"))
            return [Scan(table, 0, re.sub(r"\s+", " ", statement)) for statement, table in self._scanned(connection)]

    def _scanned(self, connection: Connection) -> Iterator[tuple[str, str]]:
        for statement, values in self.statements.items():
            for table in _scanned(_plan(connection, statement, values)):
                if table not in FEW:
                    yield statement, table


def _plan(connection: Connection, statement: str, values: Any) -> dict[str, Any]:  # noqa: ANN401 - a driver's
    one = values[0] if isinstance(values, list) else values
    connection.commit()  # what was set stays set
    plans: list[dict[str, Any]] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", one).scalar_one()
    connection.rollback()
    return dict(plans[0]["Plan"])


def _scanned(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for below in node.get("Plans", ()):
        yield from _scanned(below)
