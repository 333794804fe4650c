"""From alerts to messages: gather alerts into incidents, and queue what people must be told about these."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.failures import Alert, Incident, Notice
from models.incidents import AlertRecord, IncidentRecord, list_incident_alerts, list_incidents, list_new_alerts
from models.session import database_now
from sync.catalogue import entry_of, severity_of
from sync.entry import Severity
from sync.incidents import IncidentView, NoticePlan, key_of, plan_notices
from sync.notices import Occasion, compose_body, compose_title

LOOKED_AT = 50  # alerts, of which several may be about one calendar


def tell(session: Session, *, runbook: str) -> int:
    """Gather new alerts, and queue a notice for whatever people must be told now; how many notices."""
    _gather(session)
    records = {record.id: record for record in list_incidents(session)}
    now = database_now(session)
    plan = plan_notices([_view(record) for record in records.values()], now)
    for notice in plan.notices:
        _queue(session, records[notice.incident_id], notice, now=now, runbook=runbook)
    for record in records.values():
        _follow(session, record, severity=plan.severities[record.id])
    if plan.over:
        session.execute(update(Incident).where(Incident.id.in_(plan.over)).values(resolved_at=now))
    return len(plan.notices)


def _gather(session: Session) -> None:
    """Every alert that belongs to nothing yet goes to the open incident of its key, which is made if there is none."""
    groups: dict[str, list[AlertRecord]] = {}
    for alert in list_new_alerts(session):
        key = key_of(alert.code, provider=alert.provider, task=alert.detail.get("task"))
        groups.setdefault(key, []).append(alert)
    for key, alerts in sorted(groups.items()):
        incident_id = _open(session, key, alerts)
        ids = [alert.id for alert in alerts]
        session.execute(update(Alert).where(Alert.id.in_(ids)).values(incident_id=incident_id))


def _open(session: Session, key: str, alerts: Iterable[AlertRecord]) -> int:
    """The open incident of this key; its code is that of the worst of its alerts, the first of them if several are."""
    worst = max(alerts, key=lambda alert: (severity_of(alert.code) == "critical", -alert.id))
    row = insert(Incident).values(key=key, code=worst.code, severity=severity_of(worst.code), opened_at=worst.opened_at)
    session.execute(row.on_conflict_do_nothing(index_elements=["key"], index_where=text("resolved_at is null")))
    return session.scalars(select(Incident.id).where(Incident.key == key, Incident.resolved_at.is_(None))).one()


def _view(record: IncidentRecord) -> IncidentView:
    return IncidentView(
        id=record.id,
        code=record.code,
        severity=_severity(record.severity),
        opened_at=record.opened_at,
        open_alerts=record.open_alerts,
        newest_at=record.newest_at or record.opened_at,
        last_closed_at=record.last_closed_at,
        told_at=record.told_at,
        told_severity=None if record.told_severity is None else _severity(record.told_severity),
        told_count=record.told_count,
    )


def _severity(stored: str) -> Severity:
    return "critical" if stored == "critical" else "warning"


def _queue(session: Session, record: IncidentRecord, plan: NoticePlan, *, now: datetime, runbook: str) -> None:
    occasion = _occasion(session, record, plan, now=now, runbook=runbook)
    session.add(
        Notice(
            incident_id=record.id,
            what=plan.what,
            severity=plan.severity,
            title=compose_title(occasion),
            body=compose_body(occasion),
        )
    )
    told = {"told_at": now, "told_severity": plan.severity, "told_count": plan.count}
    session.execute(update(Incident).where(Incident.id == record.id).values(**told))


def _occasion(session: Session, record: IncidentRecord, plan: NoticePlan, *, now: datetime, runbook: str) -> Occasion:
    alerts = list_incident_alerts(session, record.id, limit=LOOKED_AT)
    newest = alerts[0] if alerts else None
    return Occasion(
        what=plan.what,
        code=record.code,
        severity=plan.severity,
        count=plan.count,
        opened_at=record.opened_at,
        now=now,
        where=record.key.removeprefix(f"{entry_of(record.code).family}:"),
        affected=list(dict.fromkeys(alert.about for alert in alerts if alert.about)),
        detail={} if newest is None else newest.detail | {"alert": newest.id, "code": record.code},
        runbook=runbook,
        ended_at=record.last_closed_at,
    )


def _follow(session: Session, record: IncidentRecord, *, severity: Severity) -> None:
    """Keep how bad it is and how many it was at most, if that has changed."""
    if severity == record.severity and record.open_alerts <= record.most:
        return
    most = func.greatest(Incident.most, record.open_alerts)
    session.execute(update(Incident).where(Incident.id == record.id).values(severity=severity, most=most))
