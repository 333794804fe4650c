"""The lease on a write: kept with every step, and ended once. Whoever has lost it changes nothing any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Update, bindparam, func, select, update
from sqlalchemy.orm import Session

from models.ledger import Write
from models.proposals import Proposal
from models.session import UNSEEN
from sync.commit.order import LEASE_SECONDS, Order
from sync.errors import Contention

_LEASED = func.clock_timestamp() + timedelta(seconds=LEASE_SECONDS)
# The write, as long as it is in the hands of whoever has this fence.
_OWN = update(Write).where(Write.id == bindparam("write"), Write.fence == bindparam("held_fence"), Write.state == "due")
_HOLD_ON = _OWN.values(leased_until=_LEASED).returning(Write.id)
_FINISH = _OWN.values(state=bindparam("new_state"), finished_at=func.clock_timestamp(), leased_until=None).returning(
    Write.slot_id, Write.evidence
)


@cache
def _step(columns: frozenset[str]) -> Update:
    """The next step of a proposal, and these columns of its write."""
    # The proposal's row is locked first, then its write's, as all do who lock both: else two of them deadlock.
    turn = select(Proposal.id).where(Proposal.id == bindparam("proposal")).with_for_update(key_share=True).cte("turn")
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in columns}
    own = _OWN.where(Write.proposal_id == turn.c.id).values(**values, leased_until=_LEASED)
    held = own.returning(Write.proposal_id).cte("held")
    return (
        update(Proposal).where(Proposal.id == held.c.proposal_id).values(state=bindparam("step")).returning(Proposal.id)
    )


def progress(session: Session, order: Order, *, state: str, **values: Any) -> None:  # noqa: ANN401 - columns of Write
    """Record a step and take the lease anew, if this worker still holds it. One statement.

    Raises:
        Contention: another worker took over (the fence moved on); nothing was changed.
    """
    told = {f"new_{name}": value for name, value in values.items()} | {"proposal": order.proposal_id, "step": state}
    own = {"write": order.write_id, "held_fence": order.fence}
    if session.execute(_step(frozenset(values)), told | own, execution_options=UNSEEN).first() is None:
        raise _lost(order.write_id, order.fence)


def hold_on(session: Session, write_id: int, fence: int) -> None:
    """Take the lease anew, if this worker still holds it.

    Raises:
        Contention: another worker took over (the fence moved on); nothing was changed.
    """
    held = session.execute(_HOLD_ON, {"write": write_id, "held_fence": fence}, execution_options=UNSEEN)
    if held.first() is None:
        raise _lost(write_id, fence)


def _lost(write_id: int, fence: int) -> Contention:
    return Contention(f"write {write_id}: fence {fence} is no longer the newest")


@dataclass(frozen=True, slots=True)
class Finished:
    """What a write leaves behind: the slot that it holds, and what was read on the way."""

    slot_id: int | None
    evidence: dict[str, Any]


def finish(session: Session, order: Order, *, state: str) -> Finished:
    """End the write under its fence."""
    own = {"write": order.write_id, "held_fence": order.fence}
    row = session.execute(_FINISH, own | {"new_state": state}, execution_options=UNSEEN).one_or_none()
    if row is None:
        raise _lost(order.write_id, order.fence)
    return Finished(row.slot_id, row.evidence)
