"""What became of proposals, for those who asked: they wait for it, look it up, or page through it. Frozen records only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from models.agents import Agent
from models.ledger import Decision, Slot
from models.proposals import FINAL_STATES, Proposal


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A proposal as it stands. ``held_until`` is that of a hold which still is one."""

    id: int
    agent: str
    kind: str
    state: str
    starts_at: datetime | None
    ends_at: datetime | None
    reason: str | None
    evidence: dict[str, Any]
    appointment_id: int | None
    held_until: datetime | None


def find_decision(session: Session, proposal_id: int) -> DecisionRecord | None:
    row = session.execute(_decisions().where(Proposal.id == proposal_id)).one_or_none()
    return None if row is None else _record(row)


def list_decisions(
    session: Session, *, limit: int, before: int | None = None, agent: str | None = None, state: str | None = None
) -> list[DecisionRecord]:
    """At most ``limit`` proposals with a lower id than ``before``, newest first."""
    query = _decisions().order_by(Proposal.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Proposal.id < before)
    if agent is not None:
        query = query.where(Agent.slug == agent)
    if state is not None:
        query = query.where(Proposal.state == state)
    return [_record(row) for row in session.execute(query)]


def find_agent(session: Session, slug: str) -> int | None:
    """The agent's id."""
    return session.scalar(select(Agent.id).where(Agent.slug == slug))


def list_decided(session: Session, proposal_ids: Collection[int]) -> set[int]:
    """Those of the proposals that will not change any more."""
    final = Proposal.id.in_(proposal_ids), Proposal.state.in_(FINAL_STATES)
    return set(session.scalars(select(Proposal.id).where(*final)))


def _decisions() -> Select[Proposal, str, Decision, datetime | None]:
    return (
        select(Proposal, Agent.slug, Decision, Slot.held_until)
        .join(Agent, Agent.id == Proposal.agent_id)
        .outerjoin(Decision, Decision.proposal_id == Proposal.id)
        .outerjoin(Slot, Slot.held_by == Proposal.id)
    )


def _record(row: Row[Proposal, str, Decision, datetime | None]) -> DecisionRecord:
    proposal, agent, decision, held_until = row
    return DecisionRecord(
        id=proposal.id,
        agent=agent,
        kind=proposal.kind,
        state=proposal.state,
        starts_at=proposal.starts_at,
        ends_at=proposal.ends_at,
        reason=decision.reason if decision else None,
        evidence=decision.evidence if decision else {},
        appointment_id=decision.appointment_id if decision else proposal.appointment_id,
        held_until=held_until,
    )
