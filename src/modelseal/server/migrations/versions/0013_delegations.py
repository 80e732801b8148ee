"""What relays may give of a license by themselves, and the seats that wait for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import types

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_WAITING = "reserved > 0"


def upgrade() -> None:
    """Makes the table; no seat of any license is reserved."""
    op.add_column(
        "licenses",
        sa.Column("reserved", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.create_table(
        "delegations",
        sa.Column("license_id", sa.String(length=64), nullable=False),
        sa.Column("relay", sa.String(length=64), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("delegation_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("renewals", sa.Integer(), nullable=False),
        sa.Column("seats_spent", sa.Integer(), nullable=False),
        sa.Column("renewals_spent", sa.Integer(), nullable=False),
        sa.Column("reserved", sa.Integer(), nullable=False),
        sa.Column("overdrawn", sa.Integer(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("issued_at", types.Instant(), nullable=False),
        sa.Column("ends_at", types.Instant(), nullable=False),
        sa.Column("status_list", sa.Integer(), nullable=False),
        sa.Column("status_idx", sa.Integer(), nullable=False),
        sa.Column("status_value", sa.SmallInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("license_id", "relay", name=op.f("pk_delegations")),
        sa.UniqueConstraint("relay", name=op.f("uq_delegations_relay")),
        sa.UniqueConstraint(
            "status_list", "status_idx", name=op.f("uq_delegations_status_list_status_idx")
        ),
    )
    op.create_index(
        op.f("ix_delegations_ends_at"), "delegations", ["ends_at"], unique=False,
        sqlite_where=sa.text(_WAITING), postgresql_where=sa.text(_WAITING),
    )  # fmt: skip
