"""Events taken out of the bin, push channels and their deliveries, tokens of the API, and when an agent can be booked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

USUAL_HOURS = '{"mon": ["09:00-17:00"], "tue": ["09:00-17:00"], "wed": ["09:00-17:00"], "thu": ["09:00-17:00"], "fri": ["09:00-17:00"]}'
BOUNDS = {
    "minimum_notice": "minimum_notice_minutes between 0 and 43200",
    "booking_days": "booking_days between 1 and 365",
    "appointment_minutes": "appointment_minutes between 5 and 1440",
}
APP, COMMIT = "watertight_app", "watertight_commit"


def upgrade() -> None:
    hours = sa.Column(
        "working_hours", postgresql.JSONB(astext_type=sa.Text()), server_default=USUAL_HOURS, nullable=False
    )
    op.add_column("agents", sa.Column("name", sa.String(), server_default="", nullable=False))
    op.add_column("agents", hours)
    for column, default in (("minimum_notice_minutes", "60"), ("booking_days", "30"), ("appointment_minutes", "30")):
        op.add_column("agents", sa.Column(column, sa.Integer(), server_default=default, nullable=False))
    for name, bound in BOUNDS.items():
        op.create_check_constraint(op.f(f"ck_agents_{name}"), "agents", bound)
    op.add_column("sightings", sa.Column("revived", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("cursors", sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True))
    _create_channels()
    _create_deliveries()
    _create_tokens()


def _create_channels() -> None:
    op.create_table(
        "channels",
        sa.Column("calendar_id", sa.Integer(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("resource_id", sa.String(), server_default="", nullable=False),
        sa.Column("url", sa.String(), server_default="", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("previous_id", sa.String(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_hint_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unannounced", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error_code", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_channels_calendar_id_calendars")),
        sa.PrimaryKeyConstraint("calendar_id", name=op.f("pk_channels")),
    )
    op.create_index("ix_channels_remote", "channels", ["remote_id"], postgresql_where="remote_id is not null")
    op.create_index("ix_channels_previous", "channels", ["previous_id"], postgresql_where="previous_id is not null")
    _grant("channels", "INSERT, UPDATE, DELETE")


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("provider", "key", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_received_at", "deliveries", ["received_at"])
    _grant("deliveries", "INSERT, DELETE")


def _create_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("per_minute between 1 and 100000", name=op.f("ck_api_tokens_per_minute")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_tokens_digest")),
        sa.UniqueConstraint("name", name=op.f("uq_api_tokens_name")),
    )
    _grant("api_tokens", "INSERT, UPDATE")
    op.execute(f"GRANT USAGE ON SEQUENCE api_tokens_id_seq TO {APP}")


def _grant(table: str, rights: str) -> None:
    op.execute(f"GRANT SELECT ON {table} TO {APP}, {COMMIT}")
    op.execute(f"GRANT {rights} ON {table} TO {APP}")


def downgrade() -> None:
    op.drop_table("api_tokens")
    op.drop_index("ix_deliveries_received_at", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_index("ix_channels_previous", table_name="channels", postgresql_where="previous_id is not null")
    op.drop_index("ix_channels_remote", table_name="channels", postgresql_where="remote_id is not null")
    op.drop_table("channels")
    op.drop_column("cursors", "hinted_at")
    op.drop_column("sightings", "revived")
    for name in BOUNDS:
        op.drop_constraint(op.f(f"ck_agents_{name}"), "agents", type_="check")
    for column in ("appointment_minutes", "booking_days", "minimum_notice_minutes", "working_hours", "name"):
        op.drop_column("agents", column)
