"""What went wrong and needs somebody: runs that gave up, and the alerts they opened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class DeadLetter(Base):
    """A run that gave up, with what a replay needs. One open row per task, reference and code; repeats are counted."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        CheckConstraint("state in ('open', 'replayed', 'solved')", name="state"),
        Index("uq_dead_letters_open", "task", "reference", "code", unique=True, postgresql_where="state = 'open'"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    task: Mapped[str]
    reference: Mapped[str]
    branch: Mapped[str]
    code: Mapped[str]
    excerpt: Mapped[str]
    attempts: Mapped[int]
    state: Mapped[str] = mapped_column(default="open", server_default="open")
    times: Mapped[int] = mapped_column(default=1, server_default="1")
    first_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Alert(Base):
    """Something a person must know, once per cause (P11)."""

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint("severity in ('warning', 'critical')", name="severity"),
        Index("uq_alerts_open", "cause", unique=True, postgresql_where="resolved_at is null"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    cause: Mapped[str]
    code: Mapped[str]
    severity: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    times: Mapped[int] = mapped_column(default=1, server_default="1")
    opened_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    resolved_at: Mapped[datetime | None]
