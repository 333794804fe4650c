"""Holds, appointments that change their agent, and an append-only history of slots and appointments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REMEMBER = """
CREATE FUNCTION watertight_remember() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  cause text := current_setting('watertight.cause', true);
  actor text := current_setting('watertight.actor', true);
BEGIN
  IF coalesce(cause, '') = '' OR coalesce(actor, '') = '' THEN
    RAISE EXCEPTION '% on % names no cause: the agent''s lock was not taken', TG_OP, TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation', HINT = 'By hand: SELECT set_config(''watertight.cause'', ''why'', false), set_config(''watertight.actor'', ''who'', false)';
  END IF;
  INSERT INTO history (agent_id, left_agent_id, subject, subject_id, actor, cause, before, after)
  VALUES (
    CASE TG_OP WHEN 'DELETE' THEN OLD.agent_id ELSE NEW.agent_id END,
    CASE WHEN TG_OP = 'UPDATE' AND OLD.agent_id <> NEW.agent_id THEN OLD.agent_id END,
    rtrim(TG_TABLE_NAME, 's'),
    CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END,
    actor, cause,
    CASE TG_OP WHEN 'INSERT' THEN NULL ELSE to_jsonb(OLD) END,
    CASE TG_OP WHEN 'DELETE' THEN NULL ELSE to_jsonb(NEW) END
  );
  RETURN NULL;
END $$
"""
KEEP = """
CREATE FUNCTION watertight_keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'history is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$
"""
REMEMBERED = ("slots", "appointments")
KINDS = {
    "writes": ("action", "'create', 'update', 'delete', 'copy', 'mark'", "'hold'"),
    "proposals": ("kind", "'book', 'move', 'cancel'", "'hold'"),
}


def upgrade() -> None:
    for table, (column, known, new) in KINDS.items():
        _allow(table, column, f"{known}, {new}")
    op.add_column("proposals", sa.Column("hold", sa.String(), nullable=True))
    op.add_column("proposals", sa.Column("hold_seconds", sa.Integer(), nullable=True))
    op.create_check_constraint(
        op.f("ck_proposals_hold"),
        "proposals",
        "kind <> 'hold' or (hold is not null and hold_seconds between 1 and 3600)",
    )
    op.create_index("uq_proposals_hold", "proposals", ["hold"], unique=True, postgresql_where="kind = 'hold'")
    op.add_column("slots", sa.Column("held_by", sa.BigInteger(), nullable=True))
    op.add_column("slots", sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(op.f("fk_slots_held_by_proposals"), "slots", "proposals", ["held_by"], ["id"])
    op.create_check_constraint(
        op.f("ck_slots_hold"),
        "slots",
        "(held_by is null) = (held_until is null) and (held_by is null or state = 'held')",
    )
    op.create_index("uq_slots_held_by", "slots", ["held_by"], unique=True, postgresql_where="held_by is not null")
    _create_history()


def _create_history() -> None:
    op.create_table(
        "history",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("agent_id", sa.BigInteger(), nullable=False),
        sa.Column("left_agent_id", sa.BigInteger(), nullable=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("subject in ('slot', 'appointment')", name=op.f("ck_history_subject")),
        sa.CheckConstraint("before is not null or after is not null", name=op.f("ck_history_change")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    op.create_index("ix_history_agent", "history", ["agent_id", "at"])
    op.create_index("ix_history_left", "history", ["left_agent_id"], postgresql_where="left_agent_id is not null")
    op.create_index("ix_history_subject", "history", ["subject", "subject_id", "id"])
    op.create_index("ix_history_cause", "history", ["cause"])
    op.execute(REMEMBER)
    op.execute(KEEP)
    for table in REMEMBERED:
        op.execute(
            f"CREATE TRIGGER remember AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION watertight_remember()"
        )
    op.execute(
        "CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON history EXECUTE FUNCTION watertight_keep_history()"
    )
    op.execute("GRANT SELECT ON history TO watertight_app, watertight_commit")


def _allow(table: str, column: str, values: str) -> None:
    name = f"ck_{table}_{column}"
    op.drop_constraint(op.f(name), table, type_="check")
    op.create_check_constraint(op.f(name), table, f"{column} in ({values})")


def downgrade() -> None:
    for table in REMEMBERED:
        op.execute(f"DROP TRIGGER remember ON {table}")
    op.drop_table("history")
    op.execute("DROP FUNCTION watertight_remember()")
    op.execute("DROP FUNCTION watertight_keep_history()")
    op.drop_index("uq_slots_held_by", table_name="slots", postgresql_where="held_by is not null")
    op.drop_constraint(op.f("ck_slots_hold"), "slots", type_="check")
    op.drop_constraint(op.f("fk_slots_held_by_proposals"), "slots", type_="foreignkey")
    op.drop_column("slots", "held_until")
    op.drop_column("slots", "held_by")
    op.drop_index("uq_proposals_hold", table_name="proposals", postgresql_where="kind = 'hold'")
    op.drop_constraint(op.f("ck_proposals_hold"), "proposals", type_="check")
    op.drop_column("proposals", "hold_seconds")
    op.drop_column("proposals", "hold")
    for table, (column, known, _) in KINDS.items():
        _allow(table, column, known)
