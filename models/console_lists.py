"""Reads for the console: what needs somebody, and what people did. Nothing here touches the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.agents import Agent
from models.audits import Audit
from models.failures import Alert, DeadLetter
from models.operations import Action

LIMIT = 200


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """All open alerts of one kind, so that 500 calendars are one line."""

    code: str
    severity: str
    number: int
    opened_at: datetime
    last_seen: datetime


def list_alert_groups(session: Session) -> list[AlertGroup]:
    """Critical ones first, then the newest."""
    rows = session.execute(
        select(Alert.code, Alert.severity, func.count(), func.min(Alert.opened_at), func.max(Alert.last_seen))
        .where(Alert.resolved_at.is_(None))
        .group_by(Alert.code, Alert.severity)
        .order_by(Alert.severity, func.max(Alert.last_seen).desc())  # "critical" is before "warning"
    )
    return [AlertGroup(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class AlertNow:
    """One open alert."""

    id: int
    cause: str
    code: str
    severity: str
    calendar_id: int | None
    detail: dict[str, Any]
    times: int
    opened_at: datetime
    last_seen: datetime


def list_open_alerts(session: Session, *, code: str | None = None) -> list[AlertNow]:
    """At most ``LIMIT``, critical ones first, then the newest."""
    query = select(Alert).where(Alert.resolved_at.is_(None)).order_by(Alert.severity, Alert.opened_at.desc())
    if code is not None:
        query = query.where(Alert.code == code)
    return [
        AlertNow(
            row.id,
            row.cause,
            row.code,
            row.severity,
            row.calendar_id,
            row.detail,
            row.times,
            row.opened_at,
            row.last_seen,
        )
        for row in session.scalars(query.limit(LIMIT))
    ]


def count_dead_letters(session: Session) -> dict[str, int]:
    """Open ones by code."""
    rows = session.execute(
        select(DeadLetter.code, func.count()).where(DeadLetter.state == "open").group_by(DeadLetter.code)
    )
    return {str(code): int(number) for code, number in rows}


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One comparison of the ledger with the calendars."""

    id: int
    state: str
    drift: int
    requests: int
    code: str | None
    audited_at: datetime
    repair_asked_by: str | None
    repaired_at: datetime | None
    repairs: int
    findings: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DriftNow:
    """An agent's newest audit; None where nobody ever compared."""

    agent: str
    audit: AuditRecord | None

    @property
    def repairable(self) -> int:
        """How many of its findings a repair would look at: two bookings on one another are for people."""
        findings = [] if self.audit is None or self.audit.state != "drift" else self.audit.findings
        return sum(1 for one in findings if one.get("confirmed") and one.get("what") != "overlap")


def list_drift(session: Session) -> list[DriftNow]:
    """Every agent: drift first, then what could not be read."""
    newest = select(Audit).distinct(Audit.agent_id).order_by(Audit.agent_id, Audit.audited_at.desc(), Audit.id.desc())
    audits = {row.agent_id: _audit(row) for row in session.scalars(newest)}
    found = [DriftNow(slug, audits.get(number)) for number, slug in session.execute(select(Agent.id, Agent.slug))]
    return sorted(found, key=lambda one: (_order(one.audit), one.agent))


def _order(audit: AuditRecord | None) -> int:
    return 2 if audit is None else {"drift": 0, "unreadable": 1, "clean": 3}.get(audit.state, 2)


def _audit(row: Audit) -> AuditRecord:
    return AuditRecord(
        id=row.id,
        state=row.state,
        drift=row.drift,
        requests=row.requests,
        code=row.code,
        audited_at=row.audited_at,
        repair_asked_by=row.repair_asked_by,
        repaired_at=row.repaired_at,
        repairs=row.repairs,
        findings=row.findings,
    )


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """What somebody did."""

    id: int
    done_at: datetime
    who: str
    via: str
    what: str
    about: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def list_actions(session: Session, *, before: int | None = None, limit: int = 100) -> list[ActionRecord]:
    """Newest first; ``before`` is the number of the last one of the page before."""
    query = select(Action).order_by(Action.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Action.id < before)
    return [
        ActionRecord(row.id, row.done_at, row.who, row.via, row.what, row.about, row.before, row.after)
        for row in session.scalars(query)
    ]
