"""Events that replace others, jobs that back off by themselves, reads that may lose, an agent's own rules of busy."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sightings", sa.Column("replaces", sa.String(), nullable=True))
    op.add_column("sightings", sa.Column("series_id", sa.String(), nullable=True))
    op.create_index(
        "ix_sightings_replaces", "sightings", ["calendar_id", "replaces"], postgresql_where="replaces is not null"
    )
    op.add_column("cursors", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
    op.add_column("cursors", sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cursors", sa.Column("may_lose", sa.Boolean(), server_default="false", nullable=False))
    op.add_column(
        "agents",
        sa.Column("counts_as_busy", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
    )
    _create_unreadable()


def _create_unreadable() -> None:
    now = sa.text("clock_timestamp()")
    op.create_table(
        "unreadable_submissions",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("form", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unreadable_submissions")),
        sa.UniqueConstraint("form", "digest", name=op.f("uq_unreadable_submissions_form")),
    )
    for role in ("watertight_app", "watertight_commit"):
        op.execute(f"GRANT SELECT ON unreadable_submissions TO {role}")
    op.execute("GRANT INSERT, UPDATE, DELETE ON unreadable_submissions TO watertight_app")
    op.execute("GRANT USAGE ON SEQUENCE unreadable_submissions_id_seq TO watertight_app")


def downgrade() -> None:
    op.drop_table("unreadable_submissions")
    op.drop_column("agents", "counts_as_busy")
    op.drop_column("cursors", "may_lose")
    op.drop_column("cursors", "not_before")
    op.drop_column("cursors", "failures")
    op.drop_index("ix_sightings_replaces", table_name="sightings", postgresql_where="replaces is not null")
    op.drop_column("sightings", "series_id")
    op.drop_column("sightings", "replaces")
