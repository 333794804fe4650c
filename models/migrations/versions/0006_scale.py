"""What many agents and years need: since when nothing has changed in a calendar, so that quiet ones are read less often, and
indexes for what was looked for from end to end: the decisions of an appointment, and holds that run out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """``now()`` is the same for all rows, so none is rewritten: the lock is there for a moment only."""
    op.add_column(
        "cursors", sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    )
    op.create_index("ix_slots_held_until", "slots", ["held_until"], postgresql_where="held_until is not null")
    op.create_index(
        "ix_decisions_appointment", "decisions", ["appointment_id"], postgresql_where="appointment_id is not null"
    )


def downgrade() -> None:
    op.drop_index("ix_decisions_appointment", table_name="decisions")
    op.drop_index("ix_slots_held_until", table_name="slots")
    op.drop_column("cursors", "changed_at")
