"""Signed attestation results, and the policies they were given by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import types

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes both tables."""
    op.create_table(
        "attestation_results",
        sa.Column("license_id", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("results", types.Json(), nullable=False),
        sa.PrimaryKeyConstraint("license_id", "event_id", name=op.f("pk_attestation_results")),
    )
    index = op.f("ix_attestation_results_event_id")
    op.create_index(index, "attestation_results", ["event_id"], unique=True)
    op.create_table(
        "appraisal_policies",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_appraisal_policies")),
    )
