"""What the meters of plans have counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import types

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table of usage."""
    op.create_table(
        "usage",
        sa.Column("license_id", sa.String(length=64), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("meter", sa.String(length=64), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("since", types.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("license_id", "device_id", "meter", name=op.f("pk_usage")),
    )
