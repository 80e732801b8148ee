"""Nonces of attested key releases: one use, a short life, the same for every process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import types

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table of nonces."""
    op.create_table(
        "release_nonces",
        sa.Column("nonce", sa.LargeBinary(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("server_key", sa.String(length=64), nullable=False),
        sa.Column("ends_at", types.Instant(), nullable=False),
        sa.Column("used_at", types.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_release_nonces")),
    )
    for name in ("device_id", "ends_at"):
        index = op.f(f"ix_release_nonces_{name}")
        op.create_index(index, "release_nonces", [name], unique=False)
