"""Which rows are deleted when they are old, and which tables are never pruned. A table stands in one of the two lists.

The ledger stays: a proposal is decided once and keeps its evidence (P4), and the log of changes rebuilds a calendar as of any
past instant. One person's data is erased there on request, not by age (docs/security.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.session import Sessions, transaction

BATCH_ROWS = 1_000  # in one statement: no lock is held for long, and no worker waits
MOST_STATEMENTS = 300  # in one run; the rest is for the next

log = structlog.get_logger(__name__)


class Keep(StrEnum):
    """What is kept for a time of its own."""

    DELIVERIES = "deliveries"
    FIRES = "fires"
    ATTEMPTS = "attempts"
    FAILURES = "failures"
    ALERTS = "alerts"
    AUDITS = "audits"
    ACTIONS = "actions"
    UNREADABLE = "unreadable"
    SIGHTINGS = "sightings"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which rows of ``table`` may go. ``where`` is SQL about the row ``old`` and the instant ``:before``."""

    table: str
    keep: Keep | None  # None: at once
    where: str


PRUNED = (
    Rule("deliveries", Keep.DELIVERIES, "old.received_at < :before"),
    Rule("beat_fires", Keep.FIRES, "old.fired_at < :before"),
    Rule(
        "attempts",
        Keep.ATTEMPTS,
        """old.failed_at < :before AND NOT EXISTS (
            SELECT FROM dead_letters AS open
            WHERE open.state = 'open' AND open.task = old.task AND open.reference = old.reference)""",
    ),
    Rule("dead_letters", Keep.FAILURES, "old.state <> 'open' AND coalesce(old.closed_at, old.last_seen) < :before"),
    Rule("alerts", Keep.ALERTS, "old.resolved_at < :before"),
    Rule(  # that of an incident goes before it; what was never delivered is no use any more once it is over
        "notices",
        Keep.ALERTS,
        """old.created_at < :before AND CASE WHEN old.incident_id IS NULL THEN old.state <> 'due' ELSE EXISTS (
            SELECT FROM incidents WHERE incidents.id = old.incident_id AND incidents.resolved_at < :before) END""",
    ),
    Rule(
        "incidents",
        Keep.ALERTS,
        """old.resolved_at < :before
            AND NOT EXISTS (SELECT FROM notices WHERE notices.incident_id = old.id)
            AND NOT EXISTS (SELECT FROM alerts WHERE alerts.incident_id = old.id AND alerts.resolved_at IS NULL)""",
    ),
    Rule(
        "audits",
        Keep.AUDITS,
        """old.audited_at < :before AND (old.repair_asked_by IS NULL OR old.repaired_at IS NOT NULL) AND EXISTS (
            SELECT FROM audits AS newer
            WHERE newer.agent_id = old.agent_id AND (newer.audited_at, newer.id) > (old.audited_at, old.id))""",
    ),
    Rule("actions", Keep.ACTIONS, "old.done_at < :before"),
    Rule("logins", None, "old.expires_at < :before"),
    Rule("quarantine", Keep.UNREADABLE, "old.last_seen < :before"),
    Rule("unreadable_submissions", Keep.UNREADABLE, "old.last_seen < :before"),
    Rule(  # one without interval was never seen alive: its event may lie ahead, but nobody tells of its creation so late
        "sightings",
        Keep.SIGHTINGS,
        """old.seen_at < :before AND coalesce(old.ends_at, old.seen_at) < :before
            AND NOT EXISTS (SELECT FROM proposals AS made
                WHERE made.calendar_id = old.calendar_id AND made.remote_id = old.remote_id)
            AND NOT EXISTS (SELECT FROM remote_links AS link
                WHERE link.calendar_id = old.calendar_id AND link.remote_id = old.remote_id)
            AND NOT EXISTS (SELECT FROM sightings AS heir
                WHERE heir.calendar_id = old.calendar_id AND heir.replaces = old.remote_id)""",
    ),
)

KEPT = {
    "agents": "few, and everything refers to them",
    "calendars": "few, and everything refers to them",
    "cursors": "three for each calendar",
    "channels": "one for each calendar",
    "api_tokens": "few, and a revoked one stays revoked",
    "users": "few, and actions name them",
    "beat_jobs": "one for each job",
    "proposals": "a proposal is decided once: its key must be known for ever (P4, P5)",
    "decisions": "they are the evidence (P4)",
    "appointments": "the ledger",
    "slots": "the ledger: a version must never be given twice",
    "remote_links": "a copy that the ledger has forgotten would be taken for somebody else's (P2)",
    "writes": "an event with the key of a forgotten write would be taken for somebody else's (P2)",
    "history": "append-only: what every calendar was at any past instant",
}


@dataclass(slots=True)
class Pruned:
    """Rows deleted by table, the tables where it failed with the first error, and whether there is more for the next run."""

    rows: dict[str, int] = field(default_factory=dict)
    failed: dict[str, SQLAlchemyError] = field(default_factory=dict)
    more: bool = False

    def sentence(self) -> str:
        """For people: ``deliveries 12, attempts 3; more next time``."""
        counts = ", ".join(f"{table} {rows}" for table, rows in self.rows.items() if rows) or "nothing is old"
        failed = f"; failed: {', '.join(self.failed)}" if self.failed else ""
        return counts + failed + ("; more next time" if self.more else "")


def prune(
    sessions: Sessions,
    keep: Mapping[Keep, timedelta],
    *,
    rows: int = BATCH_ROWS,
    statements: int = MOST_STATEMENTS,
) -> Pruned:
    """Delete what is old, in turn a batch of every table, so that none waits behind a long one; one that fails is left out."""
    done, waiting = Pruned(), list(PRUNED)
    for _ in range(statements):
        if not waiting:
            break
        rule = waiting.pop(0)
        try:
            deleted = _delete(sessions, rule, older=keep[rule.keep] if rule.keep else timedelta(0), rows=rows)
        except SQLAlchemyError as error:
            log.error("prune.failed", table=rule.table, error=type(error).__name__)  # noqa: TRY400 - a text may quote rows
            done.failed[rule.table] = error
            continue
        done.rows[rule.table] = done.rows.get(rule.table, 0) + deleted
        if deleted == rows:
            waiting.append(rule)
    done.more = bool(waiting)
    return done


def _delete(sessions: Sessions, rule: Rule, *, older: timedelta, rows: int) -> int:
    """One batch. The condition stands in it twice: a row that changes while we wait for its lock is judged again."""
    statement = f"""
        DELETE FROM {rule.table} AS old
        WHERE ctid = ANY(ARRAY(SELECT ctid FROM {rule.table} AS old WHERE {rule.where} LIMIT :rows)) AND {rule.where}
        RETURNING 1
    """  # noqa: S608 - the rules above
    with transaction(sessions) as session:
        before = session.execute(text("SELECT clock_timestamp() - :older"), {"older": older}).scalar_one()
        return len(session.execute(text(statement), {"before": before, "rows": rows}).all())


def unlisted(tables: Sequence[str]) -> list[str]:
    """Those of which nobody has said whether they are pruned, or kept and why; and those that are said to be both."""
    pruned = {rule.table for rule in PRUNED}
    return sorted((set(tables) - pruned - KEPT.keys()) | (pruned & KEPT.keys()))
