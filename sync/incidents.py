"""When people are told about an incident, and of what: a storm is one message, and so is what only flickers. Pure.

An incident is all open alerts of one key. Its life: opened → told → perhaps told again (grown, escalated, reminded) → its
last alert closes and stays closed for a while → resolved, which is told too if anything was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sync.catalogue import entry_of
from sync.entry import Severity

GATHER = timedelta(seconds=5)  # a storm is given this long to be one message
STAYS_CLOSED = timedelta(seconds=30)  # whatever comes back sooner was never over
GROWN = 10  # times as many as people were told of
FURTHER = timedelta(minutes=10)  # between messages about further ones that each need somebody
REMIND = timedelta(hours=4)

What = Literal["opened", "grown", "escalated", "reminded", "resolved"]


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An open incident with its alerts counted. ``last_closed_at`` is of its newest alert to close, None before the first.

    ``told_*`` is what the last message said; None and 0 before the first. ``newest_at`` is when its newest alert opened.
    """

    id: int
    code: str
    severity: Severity
    opened_at: datetime
    open_alerts: int
    newest_at: datetime
    last_closed_at: datetime | None = None
    told_at: datetime | None = None
    told_severity: Severity | None = None
    told_count: int = 0


@dataclass(frozen=True, slots=True)
class NoticePlan:
    """A message to people; after ``resolved`` there is no other about this incident."""

    incident_id: int
    what: What
    severity: Severity
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``severities`` are those of every incident as of now; ``over`` are the incidents that have come to an end."""

    notices: tuple[NoticePlan, ...]
    severities: dict[int, Severity]
    over: tuple[int, ...]


def key_of(code: str, *, provider: str | None, task: str | None) -> str:
    """Alerts of one kind at one vendor, or of one kind in one task, are told together."""
    return f"{entry_of(code).family}:{provider or task or ''}"


def plan_notices(incidents: Iterable[IncidentView], now: datetime) -> Plan:
    """What people must be told now, at most one message for each incident."""
    views = list(incidents)
    severities = {view.id: _severity(view, now) for view in views}
    over = tuple(view.id for view in views if _is_over(view, now))
    planned = [(view, _what(view, severities[view.id], now)) for view in views]
    notices = tuple(
        NoticePlan(view.id, what, severities[view.id], view.open_alerts or view.told_count)
        for view, what in planned
        if what is not None
    )
    return Plan(notices, severities, over)


def escalates_at(code: str, opened_at: datetime) -> datetime | None:
    """When a warning with this code becomes critical if it lasts."""
    after = entry_of(code).escalates_after
    return None if after is None else opened_at + timedelta(seconds=after)


def _severity(view: IncidentView, now: datetime) -> Severity:
    """It never falls while the incident lasts; and what flickers for long lasts."""
    due = escalates_at(view.code, view.opened_at)
    lasts = view.open_alerts > 0 and due is not None and due <= now
    return "critical" if lasts or view.severity == "critical" else "warning"


def _is_over(view: IncidentView, now: datetime) -> bool:
    return view.open_alerts == 0 and now >= (view.last_closed_at or view.opened_at) + STAYS_CLOSED


def _what(view: IncidentView, severity: Severity, now: datetime) -> What | None:
    if view.open_alerts == 0:
        return "resolved" if view.told_at is not None and _is_over(view, now) else None
    if view.told_at is None:
        return "opened" if now >= view.opened_at + GATHER else None
    if severity == "critical" and view.told_severity == "warning":
        return "escalated"
    if view.open_alerts >= GROWN * max(view.told_count, 1) or _has_further(view, now):
        return "grown"
    if severity == "critical" and now >= view.told_at + REMIND:
        return "reminded"
    return None


def _has_further(view: IncidentView, now: datetime) -> bool:
    if view.told_at is None or not entry_of(view.code).one_by_one:
        return False
    return view.newest_at > view.told_at and now >= view.told_at + FURTHER
