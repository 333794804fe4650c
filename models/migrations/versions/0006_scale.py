"""What many agents need: since when nothing has changed in a calendar, so that quiet ones are read less often."""

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


def downgrade() -> None:
    op.drop_column("cursors", "changed_at")
