"""Devices, their seats and licenses in as few bytes as they take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from modelseal.license.claims import TraitDigest
from modelseal.server.store import packing, types

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STEP = 500
_STATES = ("active", "returned", "replaced", "revoked")
_ENFORCEMENT = ("software", "hardware", "online")
_SECOND = 1_000_000
_MARK = 16
_CONSTRAINTS = {
    "devices": ("pk_devices", "uq_devices_status_list_status_idx"),
    "licenses": ("pk_licenses", "uq_licenses_key_hash"),
    "seats": ("pk_seats",),
}
_INDEXES = {
    "devices": ("ix_devices_device_id", "ix_devices_license_id_jkt"),
    "licenses": ("ix_licenses_customer_id",),
    "seats": (),
}
_KEYS = {
    "devices": ("license_id", "device_id"),
    "licenses": ("license_id",),
    "seats": ("license_id", "seat_no"),
}
Row = dict[str, Any]


def upgrade() -> None:
    """The three tables are made anew; every row is kept, and what it answers."""
    for name, make in (("licenses", _licenses), ("seats", _seats), ("devices", _devices)):
        old = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(name)]
        _set_aside(name)
        table = make()
        _carry(name, old, table, _PACKED[name])
        op.drop_table(f"{name}_before")
    op.create_index("ix_licenses_customer_id", "licenses", ["customer_id"], unique=False)
    op.create_index("ix_devices_device_id", "devices", ["device_id"], unique=True)


def _set_aside(name: str) -> None:
    for index in _INDEXES[name]:
        op.drop_index(index, name)
    if op.get_bind().dialect.name == "postgresql":  # names of constraints are the whole schema's
        for known in _CONSTRAINTS[name]:
            op.execute(f"ALTER TABLE {name} RENAME CONSTRAINT {known} TO {known}_before")
    op.rename_table(name, f"{name}_before")


def _carry(name: str, columns: list[str], into: sa.Table, packed: Callable[[Row], Row]) -> None:
    """A page at a time: memory stays the same for any number of rows."""
    bind = op.get_bind()
    bare = sa.table(into.name, *(sa.column(column.name) for column in into.columns))
    for page in _pages(f"{name}_before", columns, _KEYS[name]):
        bind.execute(sa.insert(bare), [packed(row) for row in page])


def _pages(name: str, columns: list[str], key: tuple[str, ...]) -> Iterator[list[Row]]:
    bare = sa.table(name, *(sa.column(column) for column in columns))
    keys = [bare.c[column] for column in key]
    query = sa.select(bare).order_by(*keys).limit(STEP)
    page = [dict(row._mapping) for row in op.get_bind().execute(query)]
    while page:
        yield page
        after = [page[-1][column] for column in key]
        further = query.where(sa.tuple_(*keys) > sa.tuple_(*after))
        page = [dict(row._mapping) for row in op.get_bind().execute(further)]


def _license(row: Row) -> Row:
    return {**row, "license_id": packing.pack_id(row["license_id"], "lic")}


def _seat(row: Row) -> Row:
    return {**_license(row), "device_id": packing.pack_id(row["device_id"], "dev")}


def _device(row: Row) -> Row:
    traits, presented = _traits(row["traits"]), _traits(row["presented"])
    last = None if row["last_jti"] == row["lease_id"] else _id(row["last_jti"], "lea")
    same = row["lease_id"] is not None and row["lease_seq"] == row["seq"]
    kept = ("label", "held", "bound", "drift", "level", "status_list", "status_idx",
            "status_value", "seat_no", "seq", "bundle", "license_rev", "license_iat",
            "activated_at", "last_contact_at", "ended_at", "reason", "tpm")  # fmt: skip
    return {
        **{name: row[name] for name in kept},
        **_answer(row),
        "license_id": packing.pack_id(row["license_id"], "lic"),
        "device_id": packing.pack_id(row["device_id"], "dev"),
        "event_id": packing.pack_id(row["event_id"], "evt"),
        "key_mark": packing.mark(row["jkt"], _MARK),
        "key": packing.pack_key(row["jkt"], json.loads(row["jwk"])),
        "state": _STATES.index(row["state"]),
        "enforcement": _ENFORCEMENT.index(row["enforcement"]),
        "traits": traits,
        "presented": None if presented == traits else presented,
        "question": packing.question(row["nonce"], _MARK) if row["nonce"] else b"",
        "lease_id": _id(row["lease_id"], "lea"),
        "last_jti": last,
        "lease_seq": None if same else row["lease_seq"],
        "lease_iat": _second(row["lease_iat"]),
        "lease_exp": _second(row["lease_exp"]),
    }


def _answer(row: Row) -> Row:
    """What is needed to give the last lease again: its claims as they were kept, until the next."""
    known: Mapping[str, Any] = json.loads(row["answer"] or "{}")
    answer: dict[str, Any] = {}
    found: Row = dict.fromkeys(
        ("asked_seq", "recipient", "plan_id", "plan_version", "prev", "renew_after_at")
    )
    if "lease" in known:
        answer["whole"] = {"lease": known["lease"], "license": known.get("license")}
        found["asked_seq"] = known.get("asked_seq")
        found["recipient"] = packing.mark(known["recipient"], _MARK)
        if "hardware" in known:
            answer["hardware"] = {"jwk": known["hardware"]}
        if known.get("event_id") != row["event_id"]:
            answer["event_id"] = known.get("event_id")
    if "returned" in known:
        answer["returned"] = known["returned"]
    found["answer"] = json.dumps(answer) if answer else None
    return found


def _traits(stored: str) -> bytes:
    return packing.pack_traits(msgspec.json.decode(stored, type=list[TraitDigest]))


def _id(text: str | None, prefix: str) -> bytes | None:
    return None if text is None else packing.pack_id(text, prefix)


def _second(at: int | None) -> int | None:
    return None if at is None else at // _SECOND


_PACKED: Mapping[str, Callable[[Row], Row]] = {
    "licenses": _license,
    "seats": _seat,
    "devices": _device,
}


def _licenses() -> sa.Table:
    return op.create_table(
        "licenses",
        sa.Column("license_id", types.Id("lic"), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("plan_id", sa.String(length=64), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=True),
        sa.Column("metadata", types.Json(), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("starts_at", types.Instant(), nullable=True),
        sa.Column("ends_at", types.Instant(), nullable=True),
        sa.Column("period_seconds", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=512), nullable=True),
        sa.Column("rev", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.Column("changed_at", types.Instant(), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("license_id", name="pk_licenses"),
        sa.UniqueConstraint("key_hash", name="uq_licenses_key_hash"),
    )


def _seats() -> sa.Table:
    return op.create_table(
        "seats",
        sa.Column("license_id", types.Id("lic"), nullable=False),
        sa.Column("seat_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("device_id", types.Id("dev"), nullable=False),
        sa.Column("free_at", types.Instant(), nullable=True),
        sa.Column("prior_until", types.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("license_id", "seat_no", name="pk_seats"),
        sqlite_with_rowid=False,
    )


def _devices() -> sa.Table:
    return op.create_table(
        "devices",
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("asked_seq", sa.BigInteger(), nullable=True),
        sa.Column("lease_seq", sa.BigInteger(), nullable=True),
        sa.Column("lease_iat", sa.BigInteger(), nullable=True),
        sa.Column("lease_exp", sa.BigInteger(), nullable=True),
        sa.Column("renew_after_at", sa.BigInteger(), nullable=True),
        sa.Column("license_iat", types.Instant(), nullable=True),
        sa.Column("activated_at", types.Instant(), nullable=False),
        sa.Column("last_contact_at", types.Instant(), nullable=False),
        sa.Column("ended_at", types.Instant(), nullable=True),
        sa.Column("status_list", sa.Integer(), nullable=False),
        sa.Column("status_idx", sa.Integer(), nullable=False),
        sa.Column("seat_no", sa.Integer(), nullable=True),
        sa.Column("license_rev", sa.Integer(), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=True),
        sa.Column("drift", sa.Integer(), nullable=False),
        sa.Column("state", types.Word(*_STATES), nullable=False),
        sa.Column("enforcement", types.Word(*_ENFORCEMENT), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("status_value", sa.SmallInteger(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("bound", sa.Boolean(), nullable=False),
        sa.Column("license_id", types.Id("lic"), nullable=False),
        sa.Column("key_mark", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device_id", types.Id("dev"), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("traits", sa.LargeBinary(), nullable=False),
        sa.Column("presented", sa.LargeBinary(), nullable=True),
        sa.Column("question", sa.LargeBinary(length=16), nullable=False),
        sa.Column("recipient", sa.LargeBinary(length=16), nullable=True),
        sa.Column("lease_id", types.Id("lea"), nullable=True),
        sa.Column("prev", types.Id("lea"), nullable=True),
        sa.Column("last_jti", types.Id("lea"), nullable=True),
        sa.Column("plan_id", types.Id("pln"), nullable=True),
        sa.Column("event_id", types.Id("evt"), nullable=False),
        sa.Column("answer", types.Json(), nullable=True),
        sa.Column("label", sa.String(length=64), nullable=True),
        sa.Column("bundle", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=512), nullable=True),
        sa.Column("tpm", types.Json(), nullable=True),
        sa.PrimaryKeyConstraint("license_id", "key_mark", name="pk_devices"),
        sa.UniqueConstraint("status_list", "status_idx", name="uq_devices_status_list_status_idx"),
    )
