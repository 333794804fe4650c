"""Incidents and their alerts, as the watch and the console read them. Frozen records only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.failures import Alert, Incident

NEW_AT_ONCE = 5_000
NAMING = (
    *("task", "reference", "job", "suspect", "queue", "messages", "oldest_seconds", "form", "appointment", "agent"),
    *("call", "process"),
)


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert; ``provider``, ``role`` and ``agent`` (a slug) are known where it is about a calendar."""

    id: int
    incident_id: int | None
    cause: str
    code: str
    severity: str
    calendar_id: int | None
    provider: str | None
    role: str | None
    agent: str | None
    times: int
    opened_at: datetime
    last_seen: datetime
    resolved_at: datetime | None
    detail: dict[str, Any]

    @property
    def about(self) -> str:
        """In a few words, for people; nothing where its code says it all."""
        if self.agent is not None:
            return f"calendar {self.calendar_id} ({self.agent}, {self.provider} {self.role})"
        return ", ".join(f"{key.replace('_', ' ')} {self.detail[key]}" for key in NAMING if key in self.detail)


@dataclass(frozen=True, slots=True)
class IncidentRecord:
    """An incident that has not been resolved. ``open_alerts`` counts the alerts of one calendar once."""

    id: int
    key: str
    code: str
    severity: str
    opened_at: datetime
    told_at: datetime | None
    told_severity: str | None
    told_count: int
    most: int
    open_alerts: int
    newest_at: datetime | None
    last_closed_at: datetime | None


def list_new_alerts(session: Session) -> list[AlertRecord]:
    """Open alerts that belong to no incident yet, oldest first."""
    query = _alerts().where(Alert.incident_id.is_(None), Alert.resolved_at.is_(None))
    return [_alert(*row) for row in session.execute(query.order_by(Alert.id).limit(NEW_AT_ONCE))]


def list_incident_alerts(session: Session, incident_id: int, *, limit: int) -> list[AlertRecord]:
    """Its alerts: open ones first, the newest of each first."""
    query = _alerts().where(Alert.incident_id == incident_id)
    return [
        _alert(*row)
        for row in session.execute(query.order_by(Alert.resolved_at.is_not(None), Alert.id.desc()).limit(limit))
    ]


def find_alert(session: Session, alert_id: int) -> AlertRecord | None:
    row = session.execute(_alerts().where(Alert.id == alert_id)).one_or_none()
    return None if row is None else _alert(*row)


def list_incidents(session: Session) -> list[IncidentRecord]:
    """Those that have not been resolved, oldest first."""
    matter = func.coalesce(Alert.calendar_id, -Alert.id)  # a calendar that several jobs miss is one
    counted = func.count(matter.distinct()).filter(Alert.resolved_at.is_(None))
    rows = session.execute(
        select(Incident, counted, func.max(Alert.opened_at), func.max(Alert.resolved_at))
        .outerjoin(Alert, Alert.incident_id == Incident.id)
        .where(Incident.resolved_at.is_(None))
        .group_by(Incident.id)
        .order_by(Incident.id)
    )
    return [
        IncidentRecord(
            id=row.id,
            key=row.key,
            code=row.code,
            severity=row.severity,
            opened_at=row.opened_at,
            told_at=row.told_at,
            told_severity=row.told_severity,
            told_count=row.told_count,
            most=row.most,
            open_alerts=count,
            newest_at=newest,
            last_closed_at=closed,
        )
        for row, count, newest, closed in rows
    ]


def _alerts() -> Select[Alert, str, str, str]:
    return (
        select(Alert, Calendar.provider, Calendar.role, Agent.slug)
        .outerjoin(Calendar, Calendar.id == Alert.calendar_id)
        .outerjoin(Agent, Agent.id == Calendar.agent_id)
    )


def _alert(row: Alert, provider: str | None, role: str | None, slug: str | None) -> AlertRecord:
    return AlertRecord(
        id=row.id,
        incident_id=row.incident_id,
        cause=row.cause,
        code=row.code,
        severity=row.severity,
        calendar_id=row.calendar_id,
        provider=provider,
        role=role,
        agent=slug,
        times=row.times,
        opened_at=row.opened_at,
        last_seen=row.last_seen,
        resolved_at=row.resolved_at,
        detail=row.detail,
    )
