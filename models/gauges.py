"""What a monitoring system asks every few seconds: what stands in the tables now, and how decisions and copies went so far.

Plain SQL: all gauges are one statement, and the past is counted once. Labels are kinds, codes, roles and providers; a slug
stands only at drift, whose number per agent is what people act on (P12). None is called ``job`` or ``instance``: these are
Prometheus's own, and it would rename ours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

STATEMENT_SECONDS = 2
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)  # seconds
SETTLED_MINUTES = 5  # no transaction lives that long, so below what is as old no row can still appear


@dataclass(frozen=True, slots=True)
class Gauge:
    """A figure: ``sql`` gives a column for each label, and then the value."""

    name: str
    help: str
    labels: tuple[str, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a gauge."""

    name: str
    labels: tuple[str, ...]
    value: float


GAUGES = (
    Gauge(
        "watertight_read_age_seconds",
        "Age of the oldest picture that a job has of any calendar of this role, of those not stopped for a person.",
        ("task", "role"),
        """SELECT task, role, max(extract(epoch FROM clock_timestamp() - coalesce(read_at, created_at)))
        FROM calendars CROSS JOIN (VALUES ('new', 'NewAppointmentSync'), ('cancel', 'CancellationSync'), ('update', 'UpdateSync'))
            AS jobs (job, task)
        LEFT JOIN cursors ON cursors.calendar_id = calendars.id AND cursors.job = jobs.job
        WHERE stopped_code IS NULL GROUP BY task, role""",
    ),
    Gauge(
        "watertight_calendars",
        "Calendars: read as planned, put off by a job because they keep failing, or stopped for a person.",
        ("state",),
        """SELECT states.state, count(found.state) FROM (VALUES ('read'), ('put_off'), ('stopped')) AS states (state)
        LEFT JOIN (SELECT CASE WHEN stopped_code IS NOT NULL THEN 'stopped' WHEN EXISTS (SELECT FROM cursors
            WHERE calendar_id = calendars.id AND not_before > clock_timestamp()) THEN 'put_off' ELSE 'read' END AS state
            FROM calendars) AS found USING (state) GROUP BY states.state""",
    ),
    Gauge(
        "watertight_channels",
        "Push channels: healthy, or not to be relied on, so that their calendars are polled.",
        ("provider", "state"),
        """SELECT provider, CASE WHEN channels.remote_id IS NOT NULL AND expires_at > clock_timestamp() AND unannounced < 2
            THEN 'healthy' ELSE 'unhealthy' END AS state, count(*)
        FROM channels JOIN calendars ON calendars.id = calendar_id GROUP BY provider, state""",
    ),
    Gauge(
        "watertight_proposals_open",
        "Proposals that are not decided yet.",
        (),
        "SELECT count(*) FROM proposals WHERE state NOT IN ('settled', 'refused')",
    ),
    Gauge(
        "watertight_writes_due",
        "Changes at vendors that are still to be made.",
        (),
        "SELECT count(*) FROM writes WHERE state = 'due'",
    ),
    Gauge(
        "watertight_oldest_due_seconds",
        "For how long the oldest proposal or write has been due and is not done.",
        ("what",),
        """SELECT 'proposal', coalesce(max(extract(epoch FROM clock_timestamp() - not_before)), 0) FROM proposals
            WHERE state NOT IN ('settled', 'refused') AND not_before <= clock_timestamp()
        UNION ALL SELECT 'write', coalesce(max(extract(epoch FROM clock_timestamp() - not_before)), 0) FROM writes
            WHERE state = 'due' AND not_before <= clock_timestamp()""",
    ),
    Gauge(
        "watertight_decision_age_seconds",
        "Time since the last decision.",
        (),
        """SELECT * FROM (SELECT extract(epoch FROM clock_timestamp() - decided_at) FROM decisions ORDER BY id DESC LIMIT 1) AS newest""",
    ),
    Gauge(
        "watertight_holds",
        "Times that are kept for visitors at this moment.",
        (),
        "SELECT count(*) FROM slots WHERE held_by IS NOT NULL AND held_until > clock_timestamp()",
    ),
    Gauge(
        "watertight_dead_letters",
        "Runs that gave up and are not settled, by task and error code.",
        ("task", "code"),
        "SELECT task, code, count(*) FROM dead_letters WHERE state = 'open' GROUP BY task, code",
    ),
    Gauge(
        "watertight_alerts",
        "Open alerts.",
        ("severity", "code"),
        "SELECT severity, code, count(*) FROM alerts WHERE resolved_at IS NULL GROUP BY severity, code",
    ),
    Gauge(
        "watertight_notices",
        "Messages about alerts that are not delivered: due, or given up.",
        ("state",),
        """SELECT states.state, count(notices.id) FROM (VALUES ('due'), ('failed')) AS states (state)
        LEFT JOIN notices USING (state) GROUP BY states.state""",
    ),
    Gauge(
        "watertight_bypass_attempts",
        "Attempts to write round the commit task whose alert is still open (P3). Anything but 0 is an emergency.",
        (),
        "SELECT coalesce(sum(times), 0) FROM alerts WHERE code = 'master_check_bypassed' AND resolved_at IS NULL",
    ),
    Gauge(
        "watertight_drift",
        "Differences between ledger, master and mirrors that the newest readable audit of an agent found (P2).",
        ("agent",),
        """SELECT slug, drift FROM agents CROSS JOIN LATERAL (SELECT drift FROM audits
            WHERE agent_id = agents.id AND state <> 'unreadable' ORDER BY audited_at DESC LIMIT 1) AS newest""",
    ),
    Gauge(
        "watertight_audit_age_seconds",
        "Time since the newest readable audit of the agent for whom it is the longest.",
        (),
        """SELECT age FROM (SELECT max(extract(epoch FROM clock_timestamp() - at)) AS age FROM agents CROSS JOIN LATERAL (SELECT max(audited_at) AS at
            FROM audits WHERE agent_id = agents.id AND state <> 'unreadable') AS newest) AS oldest WHERE age IS NOT NULL""",
    ),
    Gauge(
        "watertight_job_age_seconds",
        "Time since a worker last ended a run of this job; where none ever did, since it was first due.",
        ("task",),
        """SELECT name, greatest(extract(epoch FROM clock_timestamp() - coalesce(ran_at,
            (SELECT min(fired_at) FROM beat_fires WHERE beat_fires.name = beat_jobs.name), next_slot)), 0)
        FROM beat_jobs WHERE enabled""",
    ),
    Gauge(
        "watertight_slot_age_seconds",
        "Time since beat last fired this job.",
        ("task",),
        "SELECT name, extract(epoch FROM clock_timestamp() - last_slot) FROM beat_jobs WHERE enabled AND last_slot IS NOT NULL",
    ),
    Gauge(
        "watertight_job_period_seconds",
        "Time between two runs of a job, as it is set now; a paused job is missing.",
        ("task",),
        "SELECT name, every_seconds FROM beat_jobs WHERE enabled",
    ),
    Gauge(
        "watertight_jobs_paused",
        "Jobs that somebody has paused.",
        (),
        "SELECT count(*) FROM beat_jobs WHERE NOT enabled",
    ),
)


def read_gauges(session: Session) -> list[Reading]:
    """Every gauge, in one statement."""
    rows = session.execute(text(_ALL)).all()
    return [Reading(name, tuple(map(str, labels)), float(value)) for name, labels, value in rows]


def _selection(gauge: Gauge) -> str:
    columns = [f"c{number}" for number in range(len(gauge.labels))]
    labels = ", ".join(f"{column}::text" for column in columns)
    names = ", ".join([*columns, "value"])
    return f"SELECT '{gauge.name}', ARRAY[{labels}]::text[], value::float8 FROM ({gauge.sql}) AS g ({names})"  # noqa: S608


_ALL = " UNION ALL ".join(map(_selection, GAUGES))


def bound_statements(session: Session) -> None:
    """In this transaction no statement takes longer than a scrape can wait."""
    session.execute(text(f"SELECT set_config('statement_timeout', '{STATEMENT_SECONDS}s', true)"))


@dataclass(frozen=True, slots=True)
class History:
    """Something that happens once to each row: ``rows`` counts by labels and bucket, ``settled`` tells how far that is final."""

    rows: str
    settled: str


DECIDED = History(
    rows="""SELECT kind, reason, width_bucket(seconds, CAST(:bounds AS float8[])), count(*), sum(seconds)
        FROM (SELECT kind, reason, greatest(extract(epoch FROM decisions.decided_at - created_at), 0)::float8 AS seconds
            FROM decisions JOIN proposals ON proposals.id = proposal_id
            WHERE decisions.id > :after AND decisions.id <= :upto) AS took GROUP BY 1, 2, 3""",
    settled="""SELECT max(id) FROM decisions
        WHERE id > :after AND decided_at < clock_timestamp() - make_interval(mins => :minutes)""",
)
REFLECTED = History(
    rows="""SELECT provider, '', width_bucket(seconds, CAST(:bounds AS float8[])), count(*), sum(seconds)
        FROM (SELECT provider, greatest(extract(epoch FROM finished_at - writes.created_at), 0)::float8 AS seconds
            FROM writes JOIN calendars ON calendars.id = calendar_id WHERE writes.id > :after AND writes.id <= :upto
            AND action = 'copy' AND state = 'done') AS took GROUP BY 1, 2, 3""",
    settled="""SELECT least(max(id) FILTER (WHERE created_at < clock_timestamp() - make_interval(mins => :minutes)),
            min(id) FILTER (WHERE state = 'due') - 1) FROM writes WHERE id > :after""",
)
NEWEST = 2**62


@dataclass(slots=True)
class Tally:
    """Counts of what has happened, by (label, label, bucket), and the seconds that it took, by (label, label)."""

    counts: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    seconds: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.counts.update(other.counts)
        self.seconds.update(other.seconds)


class Chronicle:
    """Counts a history without reading all of it each time: what is final is counted once and remembered.

    What is pruned later stays counted for as long as this object lives. Not thread-safe.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._final = Tally()
        self._upto = 0

    def read(self, session: Session) -> Tally:
        """All that ever happened."""
        settled = session.scalar(text(self._history.settled), {"after": self._upto, "minutes": SETTLED_MINUTES})
        if settled is not None and settled > self._upto:
            self._final.add(self._between(session, self._upto, settled))
            self._upto = settled
        total = Tally()
        total.add(self._final)
        total.add(self._between(session, self._upto, NEWEST))
        return total

    def _between(self, session: Session, after: int, upto: int) -> Tally:
        found = Tally()
        rows = session.execute(text(self._history.rows), {"after": after, "upto": upto, "bounds": list(BOUNDS)})
        for first, second, bucket, count, seconds in rows:
            found.counts[first, second, bucket] += count
            found.seconds[first, second] += seconds
        return found
