"""The TPM that a device proved to have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import types

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Devices have a column for it; those that are there proved none."""
    op.add_column("devices", sa.Column("tpm", types.Json(), nullable=True))
