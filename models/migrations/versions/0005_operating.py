"""What operations need: runs of beat's jobs, attempts, incidents and notices, audits, people who sign in, and what they did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

APP, COMMIT = "watertight_app", "watertight_commit"
NOW = sa.text("clock_timestamp()")
JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.add_column("beat_jobs", sa.Column("ran_at", _moment(), nullable=True))
    _widen_failures()
    _create_attempts()
    _create_incidents()
    _create_notices()
    _create_audits()
    _create_people()


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _widen_failures() -> None:
    op.add_column("dead_letters", sa.Column("calendar_id", sa.Integer(), nullable=True))
    op.add_column("dead_letters", sa.Column("closed_at", _moment(), nullable=True))
    op.add_column("dead_letters", sa.Column("closed_by", sa.String(), nullable=True))
    op.add_column("alerts", sa.Column("calendar_id", sa.Integer(), nullable=True))
    op.add_column("alerts", sa.Column("incident_id", sa.BigInteger(), nullable=True))


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("excerpt", sa.String(), nullable=False),
        sa.Column("failed_at", _moment(), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_reference", "attempts", ["task", "reference", "failed_at"])
    op.create_index("ix_attempts_failed_at", "attempts", ["failed_at"])
    _grant("attempts", "INSERT, DELETE", to=f"{APP}, {COMMIT}")


def _create_incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("opened_at", _moment(), server_default=NOW, nullable=False),
        sa.Column("told_at", _moment(), nullable=True),
        sa.Column("told_severity", sa.String(), nullable=True),
        sa.Column("told_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("resolved_at", _moment(), nullable=True),
        sa.CheckConstraint("severity in ('warning', 'critical')", name=op.f("ck_incidents_severity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index("uq_incidents_open", "incidents", ["key"], unique=True, postgresql_where="resolved_at is null")
    op.create_foreign_key(
        op.f("fk_alerts_incident_id_incidents"), "alerts", "incidents", ["incident_id"], ["id"], ondelete="SET NULL"
    )
    op.create_index("ix_alerts_incident_id", "alerts", ["incident_id"])
    _grant("incidents", "INSERT, UPDATE, DELETE")


def _create_notices() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="due", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", _moment(), server_default=NOW, nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("reached", JSON, server_default="[]", nullable=False),
        sa.Column("created_at", _moment(), server_default=NOW, nullable=False),
        sa.Column("sent_at", _moment(), nullable=True),
        sa.CheckConstraint(
            "what in ('opened', 'grown', 'escalated', 'reminded', 'resolved', 'test')", name=op.f("ck_notices_what")
        ),
        sa.CheckConstraint("state in ('due', 'sent', 'failed')", name=op.f("ck_notices_state")),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_notices_incident_id_incidents"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
    )
    op.create_index("ix_notices_due", "notices", ["not_before"], postgresql_where="state = 'due'")
    op.create_index("ix_notices_incident_id", "notices", ["incident_id"])
    _grant("notices", "INSERT, UPDATE, DELETE")


def _create_audits() -> None:
    op.create_table(
        "audits",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("findings", JSON, server_default="[]", nullable=False),
        sa.Column("drift", sa.Integer(), server_default="0", nullable=False),
        sa.Column("requests", sa.Integer(), server_default="0", nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("audited_at", _moment(), server_default=NOW, nullable=False),
        sa.Column("repair_asked_by", sa.String(), nullable=True),
        sa.Column("repaired_at", _moment(), nullable=True),
        sa.Column("repairs", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("state in ('clean', 'drift', 'unreadable')", name=op.f("ck_audits_state")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_audits_agent_id_agents")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audits")),
    )
    op.create_index("ix_audits_agent", "audits", ["agent_id", "audited_at"])
    _grant("audits", "INSERT, UPDATE, DELETE")
    op.execute(f"GRANT UPDATE ON audits TO {COMMIT}")


def _create_people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("password", sa.String(), nullable=False),
        sa.Column("created_at", _moment(), server_default=NOW, nullable=False),
        sa.Column("disabled_at", _moment(), nullable=True),
        sa.CheckConstraint("role in ('viewer', 'operator')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "logins",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _moment(), server_default=NOW, nullable=False),
        sa.Column("last_used_at", _moment(), server_default=NOW, nullable=False),
        sa.Column("expires_at", _moment(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_logins_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_logins")),
    )
    op.create_index("ix_logins_user_id", "logins", ["user_id"])
    op.create_table(
        "actions",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("done_at", _moment(), server_default=NOW, nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("before", JSON, nullable=True),
        sa.Column("after", JSON, nullable=True),
        sa.CheckConstraint("via in ('cli', 'console')", name=op.f("ck_actions_via")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
    )
    op.create_index("ix_actions_done_at", "actions", ["done_at"])
    _grant("users", "INSERT, UPDATE")
    _grant("logins", "INSERT, UPDATE, DELETE")
    _grant("actions", "INSERT")


def _grant(table: str, rights: str, *, to: str = APP) -> None:
    op.execute(f"GRANT SELECT ON {table} TO {APP}, {COMMIT}")
    op.execute(f"GRANT {rights} ON {table} TO {to}")
    if table != "logins":
        op.execute(f"GRANT USAGE ON SEQUENCE {table}_id_seq TO {to}")


def downgrade() -> None:
    for index, table in (("ix_actions_done_at", "actions"), ("ix_logins_user_id", "logins")):
        op.drop_index(index, table_name=table)
        op.drop_table(table)
    op.drop_table("users")
    op.drop_table("audits")
    op.drop_index("ix_alerts_incident_id", table_name="alerts")
    op.drop_column("alerts", "incident_id")
    op.drop_column("alerts", "calendar_id")
    op.drop_table("notices")
    op.drop_table("incidents")
    op.drop_table("attempts")
    for column in ("closed_by", "closed_at", "calendar_id"):
        op.drop_column("dead_letters", column)
    op.drop_column("beat_jobs", "ran_at")
