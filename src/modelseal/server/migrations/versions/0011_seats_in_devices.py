"""A seat is a number in its device's row; devices in fewer bytes still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from modelseal.server.store import packing, types

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STEP = 500
_MARK = 8
_NEVER = -1
_STATES = ("active", "returned", "replaced", "revoked")
_ENFORCEMENT = ("software", "hardware", "online")
_CONSTRAINTS = ("pk_devices", "uq_devices_status_list_status_idx")
_MICROSECONDS, _HALF = 1_000_000, 1 << 31
_GONE = ("plan_id", "plan_version")
Row = dict[str, Any]


def upgrade() -> None:
    """Devices are made anew with their seats; every row is kept, and what it answers."""
    columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns("devices")]
    _set_aside()
    table = _devices()
    bare = sa.table("devices", *(sa.column(column.name) for column in table.columns))
    license_id, places, marks = b"", dict[bytes, Row](), set[bytes]()
    for page in _pages(columns):
        packed = []
        for row in page:
            if bytes(row["license_id"]) != license_id:
                license_id = bytes(row["license_id"])
                places, marks = _places(license_id), set()
            packed.append(_device(row, places, marks))
        op.get_bind().execute(sa.insert(bare), packed)
    op.drop_table("devices_before")
    op.drop_table("seats")
    op.create_index("ix_devices_device_id", "devices", ["device_id"], unique=True)
    for column, unique in (("seat_no", True), ("free_at", False)):
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_devices_license_id_{column}", "devices", ["license_id", column], unique=unique,
            sqlite_where=there, postgresql_where=there,
        )  # fmt: skip


def _set_aside() -> None:
    op.drop_index("ix_devices_device_id", "devices")
    if op.get_bind().dialect.name == "postgresql":  # names of constraints are the whole schema's
        for known in _CONSTRAINTS:
            op.execute(f"ALTER TABLE devices RENAME CONSTRAINT {known} TO {known}_before")
    op.rename_table("devices", "devices_before")


def _pages(columns: list[str]) -> Iterator[list[Row]]:
    """A page at a time: memory stays the same for any number of devices."""
    bare = sa.table("devices_before", *(sa.column(column) for column in columns))
    keys = [bare.c.license_id, bare.c.key_mark]
    query = sa.select(bare).order_by(*keys).limit(STEP)
    page = [dict(row._mapping) for row in op.get_bind().execute(query)]
    while page:
        yield page
        after = [page[-1]["license_id"], page[-1]["key_mark"]]
        further = query.where(sa.tuple_(*keys) > sa.tuple_(*after))
        page = [dict(row._mapping) for row in op.get_bind().execute(further)]


def _places(license_id: bytes) -> dict[bytes, Row]:
    """The seats of a license by their devices, numbered from 1 without a gap.

    Of several that name one device it is at the one it holds, else at the one it gave back last.
    """
    names = ("license_id", "seat_no", "device_id", "free_at", "prior_until")
    bare = sa.table("seats", *(sa.column(name) for name in names))
    query = sa.select(bare).where(bare.c.license_id == license_id).order_by(bare.c.seat_no)
    found: dict[bytes, Row] = {}
    for row in op.get_bind().execute(query):
        seat = dict(row._mapping)
        other = found.get(bytes(seat["device_id"]))
        if other is None or _later(seat, other):
            found[bytes(seat["device_id"])] = seat
    order = sorted(found.values(), key=lambda seat: int(seat["seat_no"]))
    return {
        bytes(seat["device_id"]): {
            "seat_no": number,
            "free_at": _short(seat["free_at"]),
            "prior_until": _short(seat["prior_until"]),
        }
        for number, seat in enumerate(order, 1)
    }


def _later(seat: Row, other: Row) -> bool:
    if other["free_at"] is None or seat["free_at"] is None:
        return other["free_at"] is not None
    return bool(seat["free_at"] > other["free_at"])


def _device(row: Row, places: dict[bytes, Row], marks: set[bytes]) -> Row:
    """``row`` as it is stored from now on. ``marks`` are those of its license so far."""
    seat = {"seat_no": None, "free_at": None, "prior_until": None}
    lease_seq = row["lease_seq"]
    if lease_seq is None and row["lease_id"] is not None:
        lease_seq = row["seq"]
    asked = _NEVER if row["asked_seq"] is None else row["asked_seq"]
    lease_iat, contact = _second(row["lease_iat"]), _short(row["last_contact_at"])
    mark = bytes(row["key_mark"])[:_MARK]
    if mark in marks:  # two keys that somebody made alike: the second one keeps its longer mark
        mark = bytes(row["key_mark"])
    marks.add(mark)
    return {
        **{name: value for name, value in row.items() if name not in _GONE},
        **(places.get(bytes(row["device_id"])) or seat),
        "key_mark": mark,
        "question": bytes(row["question"])[:_MARK],
        "recipient": None if row["recipient"] is None else bytes(row["recipient"])[:_MARK],
        "under": _under(row),
        "asked_seq": None if lease_seq is not None and asked == lease_seq - 1 else asked,
        "lease_iat": lease_iat,
        "lease_exp": _second(row["lease_exp"]),
        "renew_after_at": _second(row["renew_after_at"]),
        "license_iat": _short(row["license_iat"]),
        "activated_at": _short(row["activated_at"]),
        "last_contact_at": None if contact == lease_iat else contact,
        "ended_at": _short(row["ended_at"]),
        "drift": row["drift"] or None,
    }


def _under(row: Row) -> bytes | None:
    if row["plan_id"] is None:
        return None
    return packing.under(packing.unpack_id(bytes(row["plan_id"]), "pln"), row["plan_version"])


def _short(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds // _MICROSECONDS - _HALF


def _second(seconds: int | None) -> int | None:
    return None if seconds is None else seconds - _HALF


def _devices() -> sa.Table:
    return op.create_table(
        "devices",
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("asked_seq", sa.BigInteger(), nullable=True),
        sa.Column("lease_seq", sa.BigInteger(), nullable=True),
        sa.Column("lease_iat", types.Second(), nullable=True),
        sa.Column("lease_exp", types.Second(), nullable=True),
        sa.Column("renew_after_at", types.Second(), nullable=True),
        sa.Column("license_iat", types.Second(), nullable=True),
        sa.Column("activated_at", types.Second(), nullable=False),
        sa.Column("last_contact_at", types.Second(), nullable=True),
        sa.Column("ended_at", types.Second(), nullable=True),
        sa.Column("free_at", types.Second(), nullable=True),
        sa.Column("prior_until", types.Second(), nullable=True),
        sa.Column("status_list", sa.Integer(), nullable=False),
        sa.Column("status_idx", sa.Integer(), nullable=False),
        sa.Column("seat_no", sa.Integer(), nullable=True),
        sa.Column("license_rev", sa.Integer(), nullable=False),
        sa.Column("drift", sa.Integer(), nullable=True),
        sa.Column("state", types.Word(*_STATES), nullable=False),
        sa.Column("enforcement", types.Word(*_ENFORCEMENT), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("status_value", sa.SmallInteger(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("bound", sa.Boolean(), nullable=False),
        sa.Column("license_id", types.Id("lic"), nullable=False),
        sa.Column("key_mark", sa.LargeBinary(length=8), nullable=False),
        sa.Column("device_id", types.Id("dev"), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("traits", sa.LargeBinary(), nullable=False),
        sa.Column("presented", sa.LargeBinary(), nullable=True),
        sa.Column("question", sa.LargeBinary(length=8), nullable=False),
        sa.Column("recipient", sa.LargeBinary(length=8), nullable=True),
        sa.Column("under", sa.LargeBinary(length=8), nullable=True),
        sa.Column("lease_id", types.Id("lea"), nullable=True),
        sa.Column("prev", types.Id("lea"), nullable=True),
        sa.Column("last_jti", types.Id("lea"), nullable=True),
        sa.Column("event_id", types.Id("evt"), nullable=False),
        sa.Column("answer", types.Json(), nullable=True),
        sa.Column("label", sa.String(length=64), nullable=True),
        sa.Column("bundle", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=512), nullable=True),
        sa.Column("tpm", types.Json(), nullable=True),
        sa.PrimaryKeyConstraint("license_id", "key_mark", name="pk_devices"),
        sa.UniqueConstraint("status_list", "status_idx", name="uq_devices_status_list_status_idx"),
    )
