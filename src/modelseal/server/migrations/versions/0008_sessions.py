"""Sessions of people who signed in, and the ID tokens they spent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import types

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widens the table of tokens and makes the one of used ID tokens."""
    op.add_column("tokens", sa.Column("person", sa.String(length=64), nullable=True))
    op.add_column("tokens", sa.Column("idle_seconds", sa.Integer(), nullable=True))
    op.add_column("tokens", sa.Column("used_at", types.Instant(), nullable=True))
    op.create_table(
        "sign_ins",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", types.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sign_ins")),
    )
    op.create_index(op.f("ix_sign_ins_at"), "sign_ins", ["at"], unique=False)
