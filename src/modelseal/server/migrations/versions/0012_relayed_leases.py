"""Which relay holds the codes of leases made ahead, and what it and the devices said of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import types

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table; of leases that are there already none was made for a relay."""
    op.add_column("prepared_leases", sa.Column("relayed", sa.Boolean(), nullable=True))
    op.create_table(
        "relayed_leases",
        sa.Column("license_id", sa.String(length=64), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("base", sa.String(length=64), nullable=False),
        sa.Column("relay", sa.String(length=64), nullable=False),
        sa.Column("places", types.Json(), nullable=False),
        sa.Column("ends_at", types.Instant(), nullable=False),
        sa.Column("given_at", types.Instant(), nullable=False),
        sa.Column("told_at", types.Instant(), nullable=True),
        sa.Column("closed_at", types.Instant(), nullable=True),
        sa.Column("released", sa.Integer(), nullable=False),
        sa.Column("shown", sa.Integer(), nullable=False),
        sa.Column("shown_at", types.Instant(), nullable=True),
        sa.Column("settled_at", types.Instant(), nullable=True),
        sa.Column("found", types.Json(), nullable=True),
        sa.PrimaryKeyConstraint(
            "license_id", "device_id", "base", "relay", name=op.f("pk_relayed_leases")
        ),
    )
    op.create_index(op.f("ix_relayed_leases_relay"), "relayed_leases", ["relay"], unique=False)
