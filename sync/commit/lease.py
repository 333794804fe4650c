"""The lease on a write: kept with every step, and ended once. Whoever has lost it changes nothing any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Update, func, select, update
from sqlalchemy.orm import Session

from models.ledger import Write
from models.proposals import Proposal
from models.session import UNSEEN
from sync.commit.order import LEASE_SECONDS, Order
from sync.errors import Contention

_LEASED = func.clock_timestamp() + timedelta(seconds=LEASE_SECONDS)


def progress(session: Session, order: Order, *, state: str, **values: Any) -> None:  # noqa: ANN401 - columns of Write
    """Record a step and take the lease anew, if this worker still holds it. One statement.

    Raises:
        Contention: another worker took over (the fence moved on); nothing was changed.
    """
    # The proposal's row is locked first, then its write's, as all do who lock both: else two of them deadlock.
    turn = select(Proposal.id).where(Proposal.id == order.proposal_id).with_for_update(key_share=True).cte("turn")
    own = _own(order.write_id, order.fence).where(Write.proposal_id == turn.c.id)
    held = own.values(**values, leased_until=_LEASED).returning(Write.proposal_id).cte("held")
    step = update(Proposal).where(Proposal.id == held.c.proposal_id).values(state=state).returning(Proposal.id)
    if session.execute(step, execution_options=UNSEEN).first() is None:
        raise _lost(order.write_id, order.fence)


def hold_on(session: Session, write_id: int, fence: int) -> None:
    """Take the lease anew, if this worker still holds it.

    Raises:
        Contention: another worker took over (the fence moved on); nothing was changed.
    """
    held = _own(write_id, fence).values(leased_until=_LEASED).returning(Write.id)
    if session.execute(held, execution_options=UNSEEN).first() is None:
        raise _lost(write_id, fence)


def _own(write_id: int, fence: int) -> Update:
    """An update of the write, as long as it is in the hands of whoever has this fence."""
    return update(Write).where(Write.id == write_id, Write.fence == fence, Write.state == "due")


def _lost(write_id: int, fence: int) -> Contention:
    return Contention(f"write {write_id}: fence {fence} is no longer the newest")


@dataclass(frozen=True, slots=True)
class Finished:
    """What a write leaves behind: the slot that it holds, and what was read on the way."""

    slot_id: int | None
    evidence: dict[str, Any]


def finish(session: Session, order: Order, *, state: str) -> Finished:
    """End the write under its fence."""
    ended = _own(order.write_id, order.fence).values(state=state, finished_at=func.clock_timestamp(), leased_until=None)
    row = session.execute(ended.returning(Write.slot_id, Write.evidence), execution_options=UNSEEN).one_or_none()
    if row is None:
        raise _lost(order.write_id, order.fence)
    return Finished(row.slot_id, row.evidence)
