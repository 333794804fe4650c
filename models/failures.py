"""What went wrong and needs somebody: runs that gave up, and the alerts they opened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class DeadLetter(Base):
    """A run that gave up, with what a replay needs. One open row per task, reference and code; repeats are counted.

    ``replayed``: somebody (``closed_by``) had it run again; ``solved``: what it was about came to an end by itself.
    """

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
    calendar_id: Mapped[int | None]
    excerpt: Mapped[str]
    attempts: Mapped[int]
    state: Mapped[str] = mapped_column(default="open", server_default="open")
    times: Mapped[int] = mapped_column(default=1, server_default="1")
    first_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]


class Attempt(Base):
    """One try that failed, whether or not others followed: what stands in a dead letter's story."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("ix_attempts_reference", "task", "reference", "failed_at"),
        Index("ix_attempts_failed_at", "failed_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    task: Mapped[str]
    reference: Mapped[str]
    number: Mapped[int]
    code: Mapped[str]
    excerpt: Mapped[str]
    failed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Incident(Base):
    """What people are told about: all open alerts of one ``key``, so that a vendor's outage is one message and not 500.

    ``told_*`` is what the last notice said; ``most`` the highest number of alerts that were open at once.
    """

    __tablename__ = "incidents"
    __table_args__ = (
        CheckConstraint("severity in ('warning', 'critical')", name="severity"),
        Index("uq_incidents_open", "key", unique=True, postgresql_where="resolved_at is null"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key: Mapped[str]
    code: Mapped[str]
    severity: Mapped[str]
    opened_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    told_at: Mapped[datetime | None]
    told_severity: Mapped[str | None]
    told_count: Mapped[int] = mapped_column(default=0, server_default="0")
    most: Mapped[int] = mapped_column(default=0, server_default="0")
    resolved_at: Mapped[datetime | None]


class Alert(Base):
    """Something a person must know, once per cause (P11)."""

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint("severity in ('warning', 'critical')", name="severity"),
        Index("uq_alerts_open", "cause", unique=True, postgresql_where="resolved_at is null"),
        Index("ix_alerts_incident_id", "incident_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    cause: Mapped[str]
    code: Mapped[str]
    severity: Mapped[str]
    calendar_id: Mapped[int | None]
    incident_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("incidents.id", ondelete="SET NULL"))
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    times: Mapped[int] = mapped_column(default=1, server_default="1")
    opened_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    resolved_at: Mapped[datetime | None]


class Notice(Base):
    """A message to people, kept until it is delivered: the outbox of alerts.

    ``reached`` are the places that have accepted it, by a digest of their URL: a second try passes them over.
    """

    __tablename__ = "notices"
    __table_args__ = (
        CheckConstraint("what in ('opened', 'grown', 'escalated', 'reminded', 'resolved', 'test')", name="what"),
        CheckConstraint("state in ('due', 'sent', 'failed')", name="state"),
        Index("ix_notices_due", "not_before", postgresql_where="state = 'due'"),
        Index("ix_notices_incident_id", "incident_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    incident_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("incidents.id", ondelete="CASCADE"))
    what: Mapped[str]
    severity: Mapped[str]
    title: Mapped[str]
    body: Mapped[str]
    state: Mapped[str] = mapped_column(default="due", server_default="due")
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    not_before: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_error: Mapped[str | None]
    reached: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default="[]")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    sent_at: Mapped[datetime | None]
