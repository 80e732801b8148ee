"""Every table of the server. Migrations make them; a test holds both equal.

Ids and times come from the application. The license id leads the keys of what belongs to a
license, so that a database that shards by key keeps a license's rows together.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from modelseal.server.store.types import Instant, Json

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id(name: str, **kwargs: Any) -> Column[str]:
    return Column(name, String(64), **kwargs)


plans = Table(
    "plans",
    metadata,
    _id("plan_id", primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    _id("event_id", nullable=False),
)

plan_versions = Table(
    "plan_versions",
    metadata,
    _id("plan_id", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("terms", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
)

customers = Table(
    "customers",
    metadata,
    _id("customer_id", primary_key=True),
    Column("customer", String(254), unique=True),
    Column("created_at", Instant, nullable=False),
    Column("erased_at", Instant),
)

licenses = Table(
    "licenses",
    metadata,
    _id("license_id", primary_key=True),
    Column("key_hash", LargeBinary(32), nullable=False, unique=True),
    _id("plan_id", nullable=False),
    Column("plan_version", Integer, nullable=False),
    _id("customer_id", nullable=False, index=True),
    Column("label", String(64)),
    Column("metadata", Json, nullable=False),
    Column("seats", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("period_seconds", BigInteger),
    Column("reason", String(512)),
    Column("rev", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    _id("event_id", nullable=False),
)

devices = Table(
    "devices",
    metadata,
    _id("license_id", primary_key=True),
    _id("device_id", primary_key=True),
    Column("jkt", String(43), nullable=False),
    Column("jwk", Json, nullable=False),
    Column("label", String(64)),
    Column("state", String(16), nullable=False),
    Column("held", Boolean, nullable=False),
    Column("traits", Json, nullable=False),
    Column("presented", Json, nullable=False),
    Column("bound", Boolean, nullable=False),
    Column("drift", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("enforcement", String(16), nullable=False),
    Column("status_list", Integer, nullable=False),
    Column("status_idx", Integer, nullable=False),
    Column("status_value", Integer, nullable=False),
    Column("seat_no", Integer),
    Column("seq", BigInteger, nullable=False),
    Column("last_jti", String(64)),
    Column("answer", Json),
    _id("lease_id"),
    Column("lease_seq", BigInteger),
    Column("lease_iat", Instant),
    Column("lease_exp", Instant),
    Column("bundle", String(64)),
    Column("nonce", String(43), nullable=False),
    Column("license_rev", Integer, nullable=False),
    Column("license_iat", Instant),
    Column("activated_at", Instant, nullable=False),
    Column("last_contact_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("reason", String(512)),
    _id("event_id", nullable=False),
    UniqueConstraint("status_list", "status_idx"),
    Index(None, "device_id", unique=True),
    Index(None, "license_id", "jkt", unique=True),
)

seats = Table(
    "seats",
    metadata,
    _id("license_id", primary_key=True),
    Column("seat_no", Integer, primary_key=True),
    _id("device_id", nullable=False),
    Column("free_at", Instant),
    Column("prior_until", Instant),
)

spends = Table(
    "spends",
    metadata,
    _id("license_id", primary_key=True),
    _id("event_id", primary_key=True),
    Column("kind", String(32), primary_key=True),
    _id("device_id", nullable=False),
    Column("at", Instant, nullable=False),
    Index(None, "license_id", "kind", "at"),
)

usage = Table(
    "usage",
    metadata,
    _id("license_id", primary_key=True),
    _id("device_id", primary_key=True),
    Column("meter", String(64), primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("since", Instant, nullable=False),
)

trial_traits = Table(
    "trial_traits",
    metadata,
    _id("plan_id", primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("digest", BigInteger, primary_key=True),
    _id("license_id", primary_key=True),
    _id("device_id", nullable=False),
)

events = Table(
    "events",
    metadata,
    _id("event_id", primary_key=True),
    Column("at", Instant, nullable=False),
    Column("kind", String(64), nullable=False),
    _id("license_id"),
    _id("device_id"),
    _id("customer_id"),
    Column("reference", String(8), nullable=False, index=True),
    Column("decision", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("personal", Json),
    Index(None, "license_id", "event_id"),
    Index(None, "device_id", "event_id"),
    Index(None, "customer_id", "event_id"),
)

events_pending = Table("events_pending", metadata, _id("event_id", primary_key=True))

log_entries = Table(
    "log_entries",
    metadata,
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    _id("event_id", nullable=False, unique=True),
)

log_tiles = Table(
    "log_tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

log_heads = Table(
    "log_heads",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root_hash", LargeBinary(32), nullable=False),
    Column("at", Instant, nullable=False),
    Column("note", Text, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

elections = Table(
    "elections",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", Instant, nullable=False),
)

models = Table(
    "models",
    metadata,
    _id("record_id", primary_key=True),
    Column("product", String(64), nullable=False),
    Column("model", String(128), nullable=False),
    Column("release", BigInteger, nullable=False),
    Column("model_version", String(128), nullable=False),
    Column("name", String(512), nullable=False),
    Column("file_id", LargeBinary(32), nullable=False, unique=True),
    Column("blob_digest", String(64), nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("entitlements", Json, nullable=False),
    Column("published_at", Instant, nullable=False),
    Column("withdrawn_at", Instant),
    _id("event_id", nullable=False),
    UniqueConstraint("product", "model", "release"),
)

section_keys = Table(
    "section_keys",
    metadata,
    Column("file_id", LargeBinary(32), primary_key=True),
    Column("section", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),
)

bundles = Table(
    "bundles",
    metadata,
    Column("digest", String(64), primary_key=True),
    _id("license_id", nullable=False),
    _id("device_id", nullable=False, index=True),
    Column("ends_at", Instant, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

prepared_leases = Table(
    "prepared_leases",
    metadata,
    _id("license_id", primary_key=True),
    _id("device_id", primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _id("lease_id", nullable=False),
    _id("prev", nullable=False),
    _id("base", nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("renew_after_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    _id("plan_id", nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("asked", Json, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("given_at", Instant),
)

answered_requests = Table(
    "answered_requests",
    metadata,
    Column("question", LargeBinary(16), primary_key=True),
    Column("request", LargeBinary(16), primary_key=True),
    Column("signed_at", BigInteger, nullable=False),
)

tuf_metadata = Table(
    "tuf_metadata",
    metadata,
    Column("role", String(32), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

tuf_files = Table(
    "tuf_files",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    _id("token_id", primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("label", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("actor", String(64), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("at", Instant, nullable=False, index=True),
)

restores = Table(
    "restores",
    metadata,
    _id("restore_id", primary_key=True),
    Column("snapshot_at", Instant, nullable=False),
    Column("restored_at", Instant, nullable=False),
)
