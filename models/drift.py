"""What an audit asks of the ledger besides its bookings: what is under way, and which events writes of ours made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ARRAY, ColumnElement, String, and_, any_, cast, exists, func, or_, select
from sqlalchemy.orm import Session

from models.agents import Agent
from models.audits import Audit
from models.ledger import Decision, Write
from models.proposals import FINAL_STATES, Proposal


@dataclass(frozen=True, slots=True)
class OpenWork:
    """Appointments, and events by calendar, about which something is undecided or unwritten."""

    appointments: frozenset[int]
    events: frozenset[tuple[int, str]]


def list_open_work(session: Session, agent_id: int) -> OpenWork:
    """What is under way for the agent: until it is done, calendars may differ."""
    undecided = session.execute(
        select(Proposal.appointment_id, Proposal.calendar_id, Proposal.remote_id).where(
            Proposal.agent_id == agent_id, Proposal.state.not_in(FINAL_STATES)
        )
    ).all()
    writes = session.execute(
        select(Write.appointment_id, Write.calendar_id, Write.remote_id)
        .join(Proposal, Proposal.id == Write.proposal_id)
        .where(or_(Write.agent_id == agent_id, Proposal.agent_id == agent_id), Write.state == "due")
    ).all()
    rows = [*undecided, *writes]
    return OpenWork(
        frozenset(row.appointment_id for row in rows if row.appointment_id is not None),
        frozenset((row.calendar_id, row.remote_id) for row in rows if row.calendar_id is not None and row.remote_id),
    )


def list_judged(session: Session, calendar_id: int, remote_ids: Collection[str]) -> set[str]:
    """Those of these events of a calendar about which a proposal was decided."""
    decided = exists().where(Decision.proposal_id == Proposal.id)
    rows = session.scalars(
        select(Proposal.remote_id).where(
            Proposal.calendar_id == calendar_id,
            Proposal.remote_id == any_(cast(list(remote_ids), ARRAY(String))),
            Proposal.kind != "repair",
            decided,
        )
    )
    return {remote_id for remote_id in rows if remote_id is not None}


def find_newest_audit(session: Session, agent_id: int) -> Audit | None:
    return session.scalars(
        select(Audit).where(Audit.agent_id == agent_id).order_by(Audit.audited_at.desc(), Audit.id.desc()).limit(1)
    ).one_or_none()


def list_due_agents(session: Session, *, every: timedelta, again: timedelta) -> list[int]:
    """Agents whose last audit is older than ``every``, or than ``again`` where it found something; longest ago first."""
    newest = select(func.max(Audit.id)).where(Audit.agent_id == Agent.id).correlate(Agent).scalar_subquery()
    rows = session.execute(
        select(Agent.id)
        .outerjoin(Audit, Audit.id == newest)
        .where(or_(Audit.id.is_(None), _older(every), and_(Audit.state != "clean", _older(again))))
        .order_by(Audit.audited_at.nulls_first(), Agent.id)
    )
    return [agent_id for (agent_id,) in rows]


def _older(age: timedelta) -> ColumnElement[bool]:
    return Audit.audited_at <= func.clock_timestamp() - age


def list_newest_audits(session: Session) -> list[tuple[str, Audit]]:
    """The last audit of every agent that was audited, by slug."""
    newest = select(func.max(Audit.id)).group_by(Audit.agent_id).scalar_subquery()
    rows = session.execute(
        select(Agent.slug, Audit)
        .join(Agent, Agent.id == Audit.agent_id)
        .where(Audit.id.in_(newest))
        .order_by(Agent.slug)
    )
    return [(slug, audit) for slug, audit in rows]
