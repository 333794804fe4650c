"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


APP, COMMIT = "watertight_app", "watertight_commit"
PROPOSED = "agents, calendars, cursors, sightings, quarantine, dead_letters, alerts, beat_jobs, beat_fires"
DECIDED = "slots, appointments, remote_links, writes, decisions"


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("buffer_before_minutes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("buffer_after_minutes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'", name=op.f("ck_agents_slug")),
        sa.CheckConstraint("buffer_after_minutes between 0 and 1440", name=op.f("ck_agents_buffer_after")),
        sa.CheckConstraint("buffer_before_minutes between 0 and 1440", name=op.f("ck_agents_buffer_before")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("slug", name=op.f("uq_agents_slug")),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("severity in ('warning', 'critical')", name=op.f("ck_alerts_severity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index("uq_alerts_open", "alerts", ["cause"], unique=True, postgresql_where="resolved_at is null")
    op.create_table(
        "beat_fires",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("name", "slot", name=op.f("pk_beat_fires")),
    )
    op.create_table(
        "beat_jobs",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("every_seconds", sa.Double(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("next_slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_slot", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_by", sa.String(), server_default="defaults", nullable=False),
        sa.CheckConstraint("every_seconds > 0", name=op.f("ck_beat_jobs_every")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_beat_jobs")),
        sa.UniqueConstraint("name", name=op.f("uq_beat_jobs_name")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("branch", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("excerpt", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), server_default="open", nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "first_seen", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("state in ('open', 'replayed', 'solved')", name=op.f("ck_dead_letters_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index(
        "uq_dead_letters_open",
        "dead_letters",
        ["task", "reference", "code"],
        unique=True,
        postgresql_where="state = 'open'",
    )
    op.create_table(
        "calendars",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("remote", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("on_refusal", sa.String(), server_default="mark", nullable=False),
        sa.Column("shows", sa.String(), server_default="title", nullable=False),
        sa.Column("stopped_code", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("on_refusal in ('mark', 'leave', 'delete')", name=op.f("ck_calendars_on_refusal")),
        sa.CheckConstraint("role in ('master', 'mirror', 'source')", name=op.f("ck_calendars_role")),
        sa.CheckConstraint("shows in ('title', 'busy')", name=op.f("ck_calendars_shows")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_calendars_agent_id_agents")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendars")),
        sa.UniqueConstraint("provider", "remote", name=op.f("uq_calendars_provider_remote")),
    )
    op.create_index(
        "uq_calendars_one_master", "calendars", ["agent_id"], unique=True, postgresql_where="role = 'master'"
    )
    op.create_table(
        "slots",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("agent_id", sa.BigInteger(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(agent_id, agent_id, '[]')"), "&&"),
            (sa.column("during"), "&&"),
            where=sa.text("state in ('held', 'booked')"),
            using="gist",
            name="ex_slots_no_overlap",
        ),
        sa.CheckConstraint("state in ('free', 'held', 'booked')", name=op.f("ck_slots_state")),
        sa.CheckConstraint(
            "not isempty(during) and lower(during) is not null and upper(during) is not null",
            name=op.f("ck_slots_during"),
        ),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_slots_agent_id_agents")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slots")),
    )
    op.create_index("ix_slots_agent_during", "slots", ["agent_id", "during"], unique=False)
    op.create_table(
        "cursors",
        sa.Column("calendar_id", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("job in ('new', 'cancel', 'update')", name=op.f("ck_cursors_job")),
        sa.CheckConstraint("window_end > window_start", name=op.f("ck_cursors_window")),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_cursors_calendar_id_calendars")),
        sa.PrimaryKeyConstraint("calendar_id", "job", name=op.f("pk_cursors")),
    )
    op.create_table(
        "proposals",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("calendar_id", sa.Integer(), nullable=True),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("remote_version", sa.String(), nullable=True),
        sa.Column("appointment_id", sa.BigInteger(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("attendees", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("slot_version", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), server_default="pending", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "not_before", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind = 'cancel' or (starts_at is not null and ends_at > starts_at)", name=op.f("ck_proposals_interval")
        ),
        sa.CheckConstraint("kind in ('book', 'move', 'cancel')", name=op.f("ck_proposals_kind")),
        sa.CheckConstraint(
            "state in ('pending', 'claimed', 'checked', 'written', 'verified', 'undone', 'settled', 'refused')",
            name=op.f("ck_proposals_state"),
        ),
        sa.CheckConstraint("(calendar_id is null) = (remote_id is null)", name=op.f("ck_proposals_origin_event")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_proposals_agent_id_agents")),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_proposals_calendar_id_calendars")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
        sa.UniqueConstraint("key", name=op.f("uq_proposals_key")),
    )
    op.create_index(
        "ix_proposals_appointment",
        "proposals",
        ["appointment_id"],
        unique=False,
        postgresql_where="appointment_id is not null",
    )
    op.create_index(
        "ix_proposals_open",
        "proposals",
        ["not_before"],
        unique=False,
        postgresql_where="state not in ('settled', 'refused')",
    )
    op.create_index(
        "ix_proposals_origin",
        "proposals",
        ["calendar_id", "remote_id"],
        unique=False,
        postgresql_where="calendar_id is not null",
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("calendar_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("raw", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "first_seen", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_quarantine_calendar_id_calendars")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint("calendar_id", "digest", name=op.f("uq_quarantine_calendar_id_digest")),
    )
    op.create_table(
        "sightings",
        sa.Column("calendar_id", sa.Integer(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocks", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("attendees", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint(
            "deleted or (starts_at is not null and ends_at > starts_at)", name=op.f("ck_sightings_interval")
        ),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_sightings_calendar_id_calendars")),
        sa.PrimaryKeyConstraint("calendar_id", "remote_id", name=op.f("pk_sightings")),
    )
    op.create_index(
        "ix_sightings_busy",
        "sightings",
        ["calendar_id", "starts_at", "ends_at"],
        unique=False,
        postgresql_where="not deleted and blocks",
    )
    op.create_index(
        "ix_sightings_key", "sightings", ["calendar_id", "key"], unique=False, postgresql_where="key is not null"
    )
    op.create_table(
        "appointments",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("proposal_id", sa.BigInteger(), nullable=False),
        sa.Column("slot_id", sa.BigInteger(), nullable=True),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="confirmed", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("attendees", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("state in ('confirmed', 'cancelled')", name=op.f("ck_appointments_state")),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_appointments_interval")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_appointments_agent_id_agents")),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposals.id"], name=op.f("fk_appointments_proposal_id_proposals")),
        sa.ForeignKeyConstraint(["slot_id"], ["slots.id"], name=op.f("fk_appointments_slot_id_slots")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appointments")),
    )
    op.create_index(
        "ix_appointments_agent",
        "appointments",
        ["agent_id", "starts_at"],
        unique=False,
        postgresql_where="state = 'confirmed'",
    )
    op.create_index(
        "uq_appointments_slot",
        "appointments",
        ["slot_id"],
        unique=True,
        postgresql_where="state = 'confirmed' and slot_id is not null",
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("proposal_id", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("appointment_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "decided_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["appointment_id"], ["appointments.id"], name=op.f("fk_decisions_appointment_id_appointments")
        ),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposals.id"], name=op.f("fk_decisions_proposal_id_proposals")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("proposal_id", name=op.f("uq_decisions_proposal_id")),
    )
    op.create_table(
        "remote_links",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("appointment_id", sa.BigInteger(), nullable=False),
        sa.Column("calendar_id", sa.Integer(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("attendees", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("ours", sa.Boolean(), nullable=False),
        sa.Column("gone", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_remote_links_interval")),
        sa.ForeignKeyConstraint(
            ["appointment_id"], ["appointments.id"], name=op.f("fk_remote_links_appointment_id_appointments")
        ),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_remote_links_calendar_id_calendars")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remote_links")),
        sa.UniqueConstraint("appointment_id", "calendar_id", name=op.f("uq_remote_links_appointment_id_calendar_id")),
        sa.UniqueConstraint("calendar_id", "remote_id", name=op.f("uq_remote_links_calendar_id_remote_id")),
    )
    op.create_table(
        "writes",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("calendar_id", sa.Integer(), nullable=False),
        sa.Column("proposal_id", sa.BigInteger(), nullable=False),
        sa.Column("appointment_id", sa.BigInteger(), nullable=True),
        sa.Column("appointment_version", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("remote_version", sa.String(), nullable=True),
        sa.Column("slot_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("state", sa.String(), server_default="due", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "not_before", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error_code", sa.String(), nullable=True),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("action in ('create', 'update', 'delete', 'copy', 'mark')", name=op.f("ck_writes_action")),
        sa.CheckConstraint("state in ('due', 'done', 'superseded', 'failed')", name=op.f("ck_writes_state")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_writes_agent_id_agents")),
        sa.ForeignKeyConstraint(
            ["appointment_id"], ["appointments.id"], name=op.f("fk_writes_appointment_id_appointments")
        ),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_writes_calendar_id_calendars")),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposals.id"], name=op.f("fk_writes_proposal_id_proposals")),
        sa.ForeignKeyConstraint(["slot_id"], ["slots.id"], name=op.f("fk_writes_slot_id_slots")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_writes")),
        sa.UniqueConstraint("key", name=op.f("uq_writes_key")),
        sa.UniqueConstraint("proposal_id", "calendar_id", name=op.f("uq_writes_proposal_id_calendar_id")),
    )
    op.create_index(
        "ix_writes_appointment",
        "writes",
        ["appointment_id"],
        unique=False,
        postgresql_where="appointment_id is not null",
    )
    op.create_index("ix_writes_due", "writes", ["not_before"], unique=False, postgresql_where="state = 'due'")
    op.create_index(
        "uq_writes_open_copy",
        "writes",
        ["appointment_id", "calendar_id"],
        unique=True,
        postgresql_where="state = 'due' and action = 'copy'",
    )
    grant()


def grant() -> None:
    """Who may write what (design 5.4). The roles belong to the cluster, so they may exist already."""
    for role in (APP, COMMIT):
        op.execute(
            f"""
            DO $$ BEGIN
              IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this cluster was first
            END $$
            """
        )
        op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        op.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        op.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
        op.execute(f"GRANT INSERT, UPDATE, DELETE ON {PROPOSED} TO {role}")
        op.execute(f"GRANT INSERT ON proposals TO {role}")
    op.execute(f"GRANT UPDATE ON proposals TO {COMMIT}")
    op.execute(f"GRANT INSERT, UPDATE, DELETE ON {DECIDED} TO {COMMIT}")


def downgrade() -> None:
    op.drop_index("uq_writes_open_copy", table_name="writes", postgresql_where="state = 'due' and action = 'copy'")
    op.drop_index("ix_writes_due", table_name="writes", postgresql_where="state = 'due'")
    op.drop_index("ix_writes_appointment", table_name="writes", postgresql_where="appointment_id is not null")
    op.drop_table("writes")
    op.drop_table("remote_links")
    op.drop_table("decisions")
    op.drop_index(
        "uq_appointments_slot",
        table_name="appointments",
        postgresql_where="state = 'confirmed' and slot_id is not null",
    )
    op.drop_index("ix_appointments_agent", table_name="appointments", postgresql_where="state = 'confirmed'")
    op.drop_table("appointments")
    op.drop_index("ix_sightings_key", table_name="sightings", postgresql_where="key is not null")
    op.drop_index("ix_sightings_busy", table_name="sightings", postgresql_where="not deleted and blocks")
    op.drop_table("sightings")
    op.drop_table("quarantine")
    op.drop_index("ix_proposals_origin", table_name="proposals", postgresql_where="calendar_id is not null")
    op.drop_index("ix_proposals_open", table_name="proposals", postgresql_where="state not in ('settled', 'refused')")
    op.drop_index("ix_proposals_appointment", table_name="proposals", postgresql_where="appointment_id is not null")
    op.drop_table("proposals")
    op.drop_table("cursors")
    op.drop_index("ix_slots_agent_during", table_name="slots")
    op.drop_table("slots")
    op.drop_index("uq_calendars_one_master", table_name="calendars", postgresql_where="role = 'master'")
    op.drop_table("calendars")
    op.drop_index("uq_dead_letters_open", table_name="dead_letters", postgresql_where="state = 'open'")
    op.drop_table("dead_letters")
    op.drop_table("beat_jobs")
    op.drop_table("beat_fires")
    op.drop_index("uq_alerts_open", table_name="alerts", postgresql_where="resolved_at is null")
    op.drop_table("alerts")
    op.drop_table("agents")
