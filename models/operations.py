"""People who operate watertight: who may sign in to the console, and what they did there or by command."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class User(Base):
    """Somebody who may sign in. ``password`` is a salted hash and says by which parameters it was made."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("name"), CheckConstraint("role in ('viewer', 'operator')", name="role"))

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    password: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    disabled_at: Mapped[datetime | None]


class Login(Base):
    """A browser that has signed in, by the SHA-256 of the secret in its cookie."""

    __tablename__ = "logins"
    __table_args__ = (Index("ix_logins_user_id", "user_id"),)

    digest: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    expires_at: Mapped[datetime]


class Action(Base):
    """What somebody did to the running system (``schedule.pause``), to what, and what it was before and after.

    Append-only: only Prune deletes, and the database refuses it what is younger than a quarter of a year.
    """

    __tablename__ = "actions"
    __table_args__ = (CheckConstraint("via in ('cli', 'console')", name="via"), Index("ix_actions_done_at", "done_at"))

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    done_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    who: Mapped[str]
    via: Mapped[str]
    what: Mapped[str]
    about: Mapped[str]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
