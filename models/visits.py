"""What the booking page knows of a visitor: the hold, by its secret, and the booking that was asked for with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.feeds import Cursor
from models.ledger import Slot
from models.proposals import Proposal


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """A hold that somebody asked for. ``seconds_left`` is None where nothing is kept: not yet, not any more, or never."""

    proposal_id: int
    agent: str
    starts_at: datetime
    ends_at: datetime
    seconds_left: float | None


def find_hold(session: Session, secret: str) -> HoldRecord | None:
    """The hold whose secret this is."""
    left = func.extract("epoch", Slot.held_until - func.clock_timestamp())
    row = session.execute(
        select(Proposal.id, Agent.slug, Proposal.starts_at, Proposal.ends_at, left)
        .join(Agent, Agent.id == Proposal.agent_id)
        .outerjoin(Slot, Slot.held_by == Proposal.id)
        .where(Proposal.kind == "hold", Proposal.hold == secret)
    ).one_or_none()
    if row is None or row[2] is None or row[3] is None:
        return None
    seconds = float(row[4] or 0)
    return HoldRecord(row[0], row[1], row[2], row[3], seconds if seconds > 0 else None)


def find_newest_read(session: Session, agent: str) -> datetime | None:
    """When any job last read the agent's master: whichever it was, it stored all the changes that it saw."""
    return session.scalar(
        select(func.max(Cursor.read_at))
        .join(Calendar, Calendar.id == Cursor.calendar_id)
        .join(Agent, Agent.id == Calendar.agent_id)
        .where(Agent.slug == agent, Calendar.role == "master")
    )


def find_request(session: Session, agent: str, key: str) -> int | None:
    """The proposal that was made for this agent with the key."""
    return session.scalar(
        select(Proposal.id)
        .join(Agent, Agent.id == Proposal.agent_id)
        .where(Proposal.key == f"request:{key}", Agent.slug == agent)
    )
