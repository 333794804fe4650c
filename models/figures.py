"""Figures for those who watch and judge: how far proposals have come, and what the ledger believes. Frozen records only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, func, or_, select, true
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.failures import Alert
from models.ledger import Appointment, Decision, RemoteLink, Slot, Write
from models.proposals import FINAL_STATES, Proposal

EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ProposalFigure:
    """A proposal and, once decided, how. ``shown_at`` is when the last mirror showed it; None while one does not."""

    id: int
    key: str
    agent: str
    zone: str
    kind: str
    origin: str
    calendar_id: int | None
    remote_id: str | None
    remote_version: str | None
    state: str
    title: str
    starts_at: datetime | None
    ends_at: datetime | None
    created_at: datetime
    decided_at: datetime | None
    accepted: bool | None
    reason: str | None
    evidence: dict[str, Any]
    shown_at: datetime | None


def get_newest_proposal(session: Session) -> int:
    """The highest id given so far; 0 before the first."""
    return session.scalar(select(func.max(Proposal.id))) or 0


def list_proposals(session: Session, *, after: int, newest: int | None = None) -> list[ProposalFigure]:
    """Proposals with a higher id than ``after``, newest first; at most ``newest`` of them if given."""
    columns = (Proposal, Agent.slug, Agent.zone, Decision, _shown_at(), _has_open_copy())
    query = (
        select(*columns)
        .join(Agent, Agent.id == Proposal.agent_id)
        .outerjoin(Decision, Decision.proposal_id == Proposal.id)
    )
    rows = session.execute(query.where(Proposal.id > after).order_by(Proposal.id.desc()).limit(newest))
    return [
        _proposal_figure(
            proposal, decision, agent=(slug, zone), shown_at=None if still_due else finished_at or EARLIEST
        )
        for proposal, slug, zone, decision, finished_at, still_due in rows
    ]


def _copies() -> ColumnElement[bool]:
    """The following writes that carry a proposal's news: its own, and those that were open already and took it along."""
    shared = and_(
        Write.appointment_id == Decision.appointment_id,
        Write.created_at <= Decision.decided_at,
        or_(Write.finished_at.is_(None), Write.finished_at >= Decision.decided_at),
    )
    return and_(Write.action.in_(("copy", "mark")), or_(Write.proposal_id == Proposal.id, shared))


def _shown_at() -> ScalarSelect[datetime | None]:
    finished = select(func.max(Write.finished_at)).where(_copies())
    return finished.correlate(Proposal, Decision).scalar_subquery()


def _has_open_copy() -> ScalarSelect[int]:
    still_due = select(func.count(Write.id)).where(_copies(), Write.state == "due")
    return still_due.correlate(Proposal, Decision).scalar_subquery()


def _proposal_figure(
    proposal: Proposal, decision: Decision | None, *, agent: tuple[str, str], shown_at: datetime | None
) -> ProposalFigure:
    slug, zone = agent
    decided_at = decision.decided_at if decision else None
    return ProposalFigure(
        id=proposal.id,
        key=proposal.key,
        agent=slug,
        zone=zone,
        kind=proposal.kind,
        origin=proposal.origin,
        calendar_id=proposal.calendar_id,
        remote_id=proposal.remote_id,
        remote_version=proposal.remote_version,
        state=proposal.state,
        title=proposal.title,
        starts_at=proposal.starts_at,
        ends_at=proposal.ends_at,
        created_at=proposal.created_at,
        decided_at=decided_at,
        accepted=decision.accepted if decision else None,
        reason=decision.reason if decision else None,
        evidence=decision.evidence if decision else {},
        shown_at=max(decided_at, shown_at) if decided_at and shown_at else None,
    )


@dataclass(frozen=True, slots=True)
class BookingFigure:
    """A confirmed appointment and how it got where it is.

    ``placed_by`` is the origin of the decision that put it at its time ("master": a person moved it there by hand), and
    ``placed_at`` the moment up to which the master had been read for that decision.
    """

    id: int
    agent: str
    holds_slot: bool
    starts_at: datetime
    ends_at: datetime
    placed_by: str
    placed_at: datetime
    events: dict[int, str]


def list_bookings(
    session: Session, *, start: datetime, end: datetime, agent_id: int | None = None
) -> list[BookingFigure]:
    """Confirmed appointments that overlap ``[start, end)``, earliest first; one agent's, if given."""
    whose = true() if agent_id is None else Appointment.agent_id == agent_id
    rows = session.execute(
        select(Appointment, Agent.slug, Slot.state)
        .select_from(Appointment)
        .join(Agent, Agent.id == Appointment.agent_id)
        .outerjoin(Slot, Slot.id == Appointment.slot_id)
        .where(Appointment.state == "confirmed", Appointment.starts_at < end, Appointment.ends_at > start, whose)
        .order_by(Appointment.starts_at, Appointment.id)
    ).all()
    ids = [appointment.id for appointment, _, _ in rows]
    events, placed = _events_of(session, ids), _placements_of(session, ids)
    return [
        BookingFigure(
            id=row.id,
            agent=slug,
            holds_slot=slot in {"held", "booked"},
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            placed_by=placed.get(row.id, (row.origin, row.created_at))[0],
            placed_at=placed.get(row.id, (row.origin, row.created_at))[1],
            events=events.get(row.id, {}),
        )
        for row, slug, slot in rows
    ]


def _events_of(session: Session, ids: list[int]) -> dict[int, dict[int, str]]:
    events: dict[int, dict[int, str]] = {}
    for link in session.scalars(select(RemoteLink).where(RemoteLink.appointment_id.in_(ids), ~RemoteLink.gone)):
        events.setdefault(link.appointment_id, {})[link.calendar_id] = link.remote_id
    return events


def _placements_of(session: Session, ids: list[int]) -> dict[int, tuple[str, datetime]]:
    """By appointment, the last decision that put it at the time it has: its origin, and when the master was last read."""
    rows = session.execute(
        select(Decision, Proposal.origin)
        .join(Proposal, Proposal.id == Decision.proposal_id)
        .join(Appointment, Appointment.id == Decision.appointment_id)
        .where(
            Decision.appointment_id.in_(ids),
            Decision.reason == "accepted",
            Proposal.starts_at == Appointment.starts_at,
            Proposal.ends_at == Appointment.ends_at,
        )
        .order_by(Decision.id)
    )
    placed = ((decision.appointment_id, origin, _read_at(decision)) for decision, origin in rows)
    return {number: (origin, read_at) for number, origin, read_at in placed if number is not None}


def _read_at(decision: Decision) -> datetime:
    """When the master was read for this decision; one that follows the master has no reading of its own."""
    read_at = decision.evidence.get("read_at")
    return datetime.fromisoformat(read_at) if isinstance(read_at, str) else decision.decided_at


def list_judged_events(session: Session) -> set[tuple[int, str]]:
    """Every event, by calendar and remote id, about which a proposal has been decided."""
    rows = session.execute(
        select(Proposal.calendar_id, Proposal.remote_id)
        .where(Proposal.calendar_id.is_not(None), Proposal.state.in_(FINAL_STATES))
        .distinct()
    )
    return {(calendar_id, remote_id) for calendar_id, remote_id in rows if calendar_id is not None and remote_id}


def list_wished_times(session: Session, agent: str, *, start: datetime) -> list[tuple[datetime, datetime]]:
    """Every time after ``start`` that was ever proposed for the agent, whatever came of it."""
    rows = session.execute(
        select(Proposal.starts_at, Proposal.ends_at)
        .join(Agent, Agent.id == Proposal.agent_id)
        .where(Agent.slug == agent, Proposal.ends_at > start)
        .distinct()
    )
    return [(starts_at, ends_at) for starts_at, ends_at in rows if starts_at is not None and ends_at is not None]


@dataclass(frozen=True, slots=True)
class WorkFigure:
    """How much was ever asked, decided and written. Two equal figures mean that nothing happened in between."""

    proposals: int
    decisions: int
    written: int


def count_work(session: Session) -> WorkFigure:
    counts = (
        session.scalar(select(func.count()).select_from(Proposal)),
        session.scalar(select(func.count()).select_from(Decision)),
        session.scalar(select(func.count()).select_from(Write).where(Write.state != "due")),
    )
    return WorkFigure(*(count or 0 for count in counts))


def list_unfinished(session: Session, *, limit: int) -> list[str]:
    """What is still open, oldest first: reference, kind, state, and the last error if there was one."""
    proposals = session.scalars(
        select(Proposal).where(Proposal.state.not_in(FINAL_STATES)).order_by(Proposal.id).limit(limit)
    )
    writes = session.scalars(select(Write).where(Write.state == "due").order_by(Write.id).limit(limit))
    named = [f"proposal:{row.id} {row.kind} {row.state}, attempt {row.attempt}" for row in proposals]
    named += [
        f"write:{row.id} {row.action}, attempt {row.attempt}, {row.last_error_code or 'no error'}" for row in writes
    ]
    return named[:limit]


def count_open_alerts(session: Session) -> dict[str, int]:
    """Open alerts by code."""
    rows = session.execute(select(Alert.code, func.count()).where(Alert.resolved_at.is_(None)).group_by(Alert.code))
    return {str(code): int(number) for code, number in rows}


def list_stopped_calendars(session: Session) -> list[str]:
    """Calendars that wait for a person, as ``agent provider: code``."""
    rows = session.execute(
        select(Agent.slug, Calendar.provider, Calendar.stopped_code)
        .join(Agent)
        .where(Calendar.stopped_code.is_not(None))
    )
    return [f"{slug} {provider}: {code}" for slug, provider, code in rows]
