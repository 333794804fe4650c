"""What vendors push: one channel for each calendar, and every delivery once. A push is a hint and decides nothing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Channel(Base):
    """The push channel of one calendar. No secret stands here: each is derived from the key of ``WATERTIGHT_WEBHOOK_KEY``.

    ``remote_id`` is the vendor's name of it, null while there is none; ``previous_id`` still counts until
    ``previous_until``, because a new channel overlaps with the one that it replaces. ``url`` is where it leads.
    ``unannounced`` counts the reads in a row that found something of which no hint had told: a channel that is silent
    about changes is not healthy, whatever the vendor says about it.
    """

    __tablename__ = "channels"
    __table_args__ = (
        Index("ix_channels_remote", "remote_id", postgresql_where="remote_id is not null"),
        Index("ix_channels_previous", "previous_id", postgresql_where="previous_id is not null"),
    )

    calendar_id: Mapped[int] = mapped_column(ForeignKey("calendars.id"), primary_key=True)
    remote_id: Mapped[str | None]
    resource_id: Mapped[str] = mapped_column(default="", server_default="")
    url: Mapped[str] = mapped_column(default="", server_default="")
    opened_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    previous_id: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    last_hint_at: Mapped[datetime | None]
    unannounced: Mapped[int] = mapped_column(default=0, server_default="0")
    failures: Mapped[int] = mapped_column(default=0, server_default="0")
    not_before: Mapped[datetime | None]
    last_error_code: Mapped[str | None]


class Delivery(Base):
    """A push that was taken. ``key`` is made of what it is about, so the same one again is nothing new (P5)."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_received_at", "received_at"),)

    provider: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
