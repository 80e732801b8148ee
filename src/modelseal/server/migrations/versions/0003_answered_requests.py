"""Which signed requests were answered, so that one that arrives twice proves nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table of answered requests."""
    op.create_table(
        "answered_requests",
        sa.Column("question", sa.LargeBinary(length=16), nullable=False),
        sa.Column("request", sa.LargeBinary(length=16), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("question", "request", name=op.f("pk_answered_requests")),
    )
