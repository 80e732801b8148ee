"""Leases made ahead for devices without a network, each under a code."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table of prepared leases."""
    op.create_table(
        "prepared_leases",
        sa.Column("license_id", sa.String(length=64), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lease_id", sa.String(length=64), nullable=False),
        sa.Column("prev", sa.String(length=64), nullable=False),
        sa.Column("base", sa.String(length=64), nullable=False),
        sa.Column("starts_at", types.Instant(), nullable=False),
        sa.Column("renew_after_at", types.Instant(), nullable=False),
        sa.Column("ends_at", types.Instant(), nullable=False),
        sa.Column("plan_id", sa.String(length=64), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("asked", types.Json(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("given_at", types.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("license_id", "device_id", "seq", name=op.f("pk_prepared_leases")),
    )
