"""Reads over the ledger for those who may not import it. Only frozen records leave this module."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, exists, func, or_, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.base import is_among_the
from models.ledger import FOLLOWING, Appointment, Decision, RemoteLink, Slot, Write
from models.proposals import FINAL_STATES, Proposal

# Built once: every read that finds something asks these.
_LIVE = and_(
    ~RemoteLink.gone,
    Appointment.state == "confirmed",
    Appointment.agent_id == Calendar.agent_id,  # one that went to another agent is only waiting to be taken off
)
_LINKS = (
    select(
        RemoteLink.remote_id,
        RemoteLink.updated,
        RemoteLink.starts_at,
        RemoteLink.ends_at,
        RemoteLink.title,
        RemoteLink.attendees,
        RemoteLink.gone,
        _LIVE,
    )
    .join(Appointment)
    .join(Calendar, Calendar.id == RemoteLink.calendar_id)
    .where(RemoteLink.calendar_id == bindparam("calendar"), is_among_the(RemoteLink.remote_id, "ids"))
)
_WRITES = select(Write.key, Write.remote_id, Write.state).where(
    Write.calendar_id == bindparam("calendar"),
    is_among_the(Write.key, "write_keys"),
    Write.action.in_(("create", "copy")),
)
_OVERTAKEN = select(Decision.proposal_id).where(
    is_among_the(Decision.proposal_id, "ids"),
    Decision.reason.in_(("stale", "gone")),
    Decision.evidence["step"].astext.in_(("claim", "follow")),
)


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A remote event that carries an appointment, or once did, and what was last agreed about it.

    ``gone``: the event is no more. ``live``: the appointment stands, with the agent whose calendar this is.
    """

    remote_id: str
    updated: datetime
    starts_at: datetime
    ends_at: datetime
    title: str
    attendees: list[dict[str, Any]]
    gone: bool
    live: bool


def list_links(session: Session, calendar_id: int, remote_ids: Collection[str]) -> list[LinkRecord]:
    """The links of these events of a calendar."""
    return [LinkRecord(*row) for row in session.execute(_LINKS, {"calendar": calendar_id, "ids": list(remote_ids)})]


def list_linked_after(session: Session, calendar_id: int, moment: datetime) -> set[str]:
    """Events of this calendar that were agreed to end after ``moment``."""
    return set(
        session.scalars(
            select(RemoteLink.remote_id).where(
                RemoteLink.calendar_id == calendar_id, RemoteLink.ends_at > moment, ~RemoteLink.gone
            )
        )
    )


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """A write of ours by its key. ``vain`` says that it came to nothing, so an event it made should not exist."""

    key: str
    remote_id: str | None
    vain: bool


def list_writes(session: Session, calendar_id: int, keys: Collection[str]) -> dict[str, WriteRecord]:
    """Writes of ours that may have made an event on this calendar, by key."""
    rows = session.execute(_WRITES, {"calendar": calendar_id, "write_keys": list(keys)})
    return {
        key: WriteRecord(key, remote_id, vain=state == "failed" or (state == "done" and remote_id is None))
        for key, remote_id, state in rows
    }


def list_overtaken(session: Session, proposal_ids: Collection[int]) -> set[int]:
    """Those of the proposals whose event had changed before anybody judged it, so that they settled nothing."""
    return set(session.scalars(_OVERTAKEN, {"ids": list(proposal_ids)}))


@dataclass(frozen=True, slots=True)
class AppointmentRecord:
    """A confirmed appointment and the events that carry it, by calendar."""

    id: int
    agent: str
    origin: str
    version: int
    starts_at: datetime
    ends_at: datetime
    title: str
    events: dict[int, str]


def list_appointments(session: Session, *, ending_after: datetime | None = None) -> list[AppointmentRecord]:
    """All confirmed appointments, earliest first."""
    query = select(Appointment, Agent.slug).join(Agent).where(Appointment.state == "confirmed")
    if ending_after is not None:
        query = query.where(Appointment.ends_at > ending_after)
    rows = session.execute(query.order_by(Appointment.starts_at, Appointment.id)).all()
    links = session.scalars(
        select(RemoteLink).where(RemoteLink.appointment_id.in_([row.id for row, _ in rows]), ~RemoteLink.gone)
    ).all()
    events: dict[int, dict[int, str]] = {}
    for link in links:
        events.setdefault(link.appointment_id, {})[link.calendar_id] = link.remote_id
    return [
        AppointmentRecord(
            row.id, slug, row.origin, row.version, row.starts_at, row.ends_at, row.title, events.get(row.id, {})
        )
        for row, slug in rows
    ]


def find_owner(session: Session, appointment_id: int) -> int | None:
    """The id of the agent who has the appointment."""
    return session.scalar(select(Appointment.agent_id).where(Appointment.id == appointment_id))


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """A proposal with its decision and evidence, as ``watertight explain`` and the API show it."""

    id: int
    agent: str
    kind: str
    origin: str
    calendar: str | None
    state: str
    starts_at: datetime | None
    ends_at: datetime | None
    created_at: datetime
    decided_at: datetime | None
    accepted: bool | None
    reason: str | None
    evidence: dict[str, Any]
    appointment_id: int | None
    held_until: datetime | None
    writes: list[dict[str, Any]]


def find_proposal(session: Session, proposal_id: int) -> ProposalRecord | None:
    """The proposal with its story, or None."""
    row = session.execute(
        select(Proposal, Agent.slug, Calendar, Decision)
        .join(Agent, Agent.id == Proposal.agent_id)
        .outerjoin(Calendar, Calendar.id == Proposal.calendar_id)
        .outerjoin(Decision, Decision.proposal_id == Proposal.id)
        .where(Proposal.id == proposal_id)
    ).one_or_none()
    if row is None:
        return None
    proposal, slug, calendar, decision = row
    return ProposalRecord(
        id=proposal.id,
        agent=slug,
        kind=proposal.kind,
        origin=proposal.origin,
        calendar=f"{calendar.provider} {calendar.role}" if calendar else None,
        state=proposal.state,
        starts_at=proposal.starts_at,
        ends_at=proposal.ends_at,
        created_at=proposal.created_at,
        decided_at=proposal.decided_at,
        accepted=decision.accepted if decision else None,
        reason=decision.reason if decision else None,
        evidence=decision.evidence if decision else {},
        appointment_id=decision.appointment_id if decision else proposal.appointment_id,
        held_until=session.scalar(select(Slot.held_until).where(Slot.held_by == proposal.id)),
        writes=_writes_of(session, proposal.id),
    )


def _writes_of(session: Session, proposal_id: int) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Write, Calendar.provider, Calendar.role)
        .join(Calendar, Calendar.id == Write.calendar_id)
        .where(Write.proposal_id == proposal_id)
        .order_by(Write.id)
    )
    return [
        {
            "id": write.id,
            "calendar": f"{provider} {role}",
            "action": write.action,
            "state": write.state,
            "attempt": write.attempt,
            "fence": write.fence,
            "last_error_code": write.last_error_code,
            "finished_at": write.finished_at.isoformat() if write.finished_at else None,
        }
        for write, provider, role in rows
    ]


def list_due(session: Session, *, limit: int) -> list[str]:
    """References of proposals and following writes that somebody should work on now: due, and not under a lease."""
    now = func.clock_timestamp()
    free = or_(Write.leased_until.is_(None), Write.leased_until < now)
    busy = exists().where(
        and_(Write.proposal_id == Proposal.id, Write.action.not_in(FOLLOWING), or_(~free, Write.not_before > now))
    )
    proposals = session.scalars(
        select(Proposal.id)
        .where(Proposal.state.not_in(FINAL_STATES), Proposal.not_before <= now, ~busy)
        .order_by(Proposal.not_before, Proposal.id)
        .limit(limit)
    )
    writes = session.scalars(
        select(Write.id)
        .where(Write.state == "due", Write.not_before <= now, free, Write.action.in_(FOLLOWING))
        .order_by(Write.not_before, Write.id)
        .limit(limit)
    )
    return [f"proposal:{row}" for row in proposals] + [f"write:{row}" for row in writes]


def list_expired_holds(session: Session, *, limit: int) -> list[str]:
    """References of visitors' holds that have run out."""
    rows = session.scalars(
        select(Slot.held_by).where(Slot.held_until <= func.clock_timestamp()).order_by(Slot.held_until).limit(limit)
    )
    return [f"hold:{row}" for row in rows]


def list_open(session: Session) -> tuple[int, int]:
    """How many proposals are undecided, and how many following writes are still due."""
    proposals = session.scalar(select(func.count()).select_from(Proposal).where(Proposal.state.not_in(FINAL_STATES)))
    writes = session.scalar(select(func.count()).select_from(Write).where(Write.state == "due"))
    return proposals or 0, writes or 0


def count_decisions(session: Session, *, after_proposal: int = 0) -> dict[str, int]:
    """Decisions by reason, of proposals with a higher id."""
    rows = session.execute(
        select(Decision.reason, func.count()).where(Decision.proposal_id > after_proposal).group_by(Decision.reason)
    )
    return {str(reason): int(number) for reason, number in rows}
