"""The wait until a row's next try: begun when a try failed, and ended early when a person has put right what was wrong."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from models.ledger import FOLLOWING, Write
from models.proposals import FINAL_STATES, Proposal
from models.session import database_now
from sync.commit.copy_order import CopyOrder
from sync.commit.order import Order
from sync.errors import WatertightError


def put_back(
    session: Session, order: Order | CopyOrder, error: WatertightError, *, seconds: float, **fresh: str
) -> bool:
    """Give up the lease, and leave the row alone for a while; False if somebody else has it."""
    held = session.execute(
        update(Write)
        .where(Write.id == order.write_id, Write.fence == order.fence, Write.state == "due")
        .values(
            **fresh,
            not_before=database_now(session) + timedelta(seconds=seconds),
            leased_until=None,
            last_error_code=error.code,
        )
        .returning(Write.id)
    )
    return held.first() is not None


def hurry(session: Session, name: str, number: int) -> None:
    """Let the wait of ``proposal`` or ``write`` with this number be over. Who works on it under a lease is left alone."""
    now = func.clock_timestamp()
    write = update(Write).where(Write.state == "due", Write.not_before > now)
    if name == "write":
        session.execute(write.where(Write.id == number).values(not_before=now))
        return
    waiting = (Proposal.id == number, Proposal.state.not_in(FINAL_STATES), Proposal.not_before > now)
    session.execute(update(Proposal).where(*waiting).values(not_before=now))
    session.execute(write.where(Write.proposal_id == number, Write.action.not_in(FOLLOWING)).values(not_before=now))
