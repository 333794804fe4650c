"""What AuditDrift found when it compared the ledger with the calendars of an agent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Audit(Base):
    """One comparison. ``findings`` hold ids and intervals only (P12), and since when each is known.

    What is found once may only be under way: it is ``suspect``. What an audit a while later finds again is ``drift``, and
    ``drift`` is how many these are. ``unreadable`` says that a calendar could not be read (``code``): nothing is known then,
    which is not the same as clean. ``appointments`` were compared, and ``requests`` calendars read for it. A repair was asked
    for by ``repair_asked_by`` at ``repaired_at``, of so many findings (``repairs``).
    """

    __tablename__ = "audits"
    __table_args__ = (
        CheckConstraint("state in ('clean', 'suspect', 'drift', 'unreadable')", name="state"),
        Index("ix_audits_agent", "agent_id", "audited_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"))
    state: Mapped[str]
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    drift: Mapped[int] = mapped_column(default=0, server_default="0")
    appointments: Mapped[int] = mapped_column(default=0, server_default="0")
    requests: Mapped[int] = mapped_column(default=0, server_default="0")
    code: Mapped[str | None]
    audited_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    repair_asked_by: Mapped[str | None]
    repaired_at: Mapped[datetime | None]
    repairs: Mapped[int] = mapped_column(default=0, server_default="0")
