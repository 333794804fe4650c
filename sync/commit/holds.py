"""A visitor's hold: time kept for one who is in the middle of booking, until a moment of the database's clock."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.ledger import Slot
from models.proposals import Proposal
from models.session import database_now, lock_agents
from sync.boundaries import Boundary, cross
from sync.commit import slots
from sync.commit.outcome import Outcome, Skipped, Written
from sync.domain import Kind


def keep(session: Session, slot: Slot, proposal: Proposal) -> None:
    """Leave the slot held for the visitor who asked."""
    until = database_now(session) + timedelta(seconds=proposal.hold_seconds or 0)
    slots.change(session, slot, hold=slots.Hold(proposal.id, until))


def find_own(session: Session, proposal: Proposal) -> Slot | None:
    """The slot that is held for whoever made this proposal: only the holder knows the secret that it names."""
    if proposal.hold is None:
        return None
    return session.scalars(
        select(Slot)
        .join(Proposal, Proposal.id == Slot.held_by)
        .where(Proposal.kind == Kind.HOLD.value, Proposal.hold == proposal.hold, Slot.agent_id == proposal.agent_id)
    ).one_or_none()


def end_expired(session: Session, taken: list[Slot]) -> list[Slot]:
    """Free those of the slots whose hold has run out, though nobody came by yet; the answer is the others."""
    if not any(slot.held_until for slot in taken):
        return taken
    now = database_now(session)
    expired = [slot for slot in taken if slot.held_until is not None and slot.held_until <= now]
    for slot in expired:
        slots.change(session, slot, state="free")
    return [slot for slot in taken if slot not in expired]


def release_expired(session: Session, proposal_id: int) -> Outcome:
    """End the hold of this proposal if its time has come. A hold that was converted meanwhile is none any more."""
    agent_id = session.scalar(select(Slot.agent_id).where(Slot.held_by == proposal_id))
    if agent_id is None:
        return Skipped("not held any more")
    lock_agents(session, [agent_id], cause=f"hold:{proposal_id}", actor="expiry")
    slot = session.scalars(
        select(Slot).where(Slot.held_by == proposal_id, Slot.held_until <= func.clock_timestamp()).with_for_update()
    ).one_or_none()
    if slot is None:
        return Skipped("not due yet, or not held any more")
    slots.change(session, slot, state="free")
    cross(Boundary.RELEASING)
    return Written("the hold ran out")
