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
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from modelseal.server.store import packing
from modelseal.server.store.types import Id, Instant, Json, Second, Word

DEVICE_STATES = ("active", "returned", "replaced", "revoked")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id(name: str, **kwargs: Any) -> Column[str]:
    return Column(name, String(64), **kwargs)


def _where(held: str, *columns: str, unique: bool = False) -> Index:
    """An index of the rows for which ``held`` is true."""
    return Index(
        None, *columns, unique=unique, sqlite_where=text(held), postgresql_where=text(held)
    )


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
    Column("license_id", Id("lic"), primary_key=True),
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
    Column("reserved", Integer, nullable=False, server_default=text("0")),
)
devices = Table(
    "devices",
    metadata,
    # Wide columns first: PostgreSQL aligns each to its size.
    Column("seq", BigInteger, nullable=False),
    Column("asked_seq", BigInteger),
    Column("lease_seq", BigInteger),
    Column("lease_iat", Second),
    Column("lease_exp", Second),
    Column("renew_after_at", Second),
    Column("license_iat", Second),
    Column("activated_at", Second, nullable=False),
    Column("last_contact_at", Second),
    Column("ended_at", Second),
    Column("free_at", Second),
    Column("prior_until", Second),
    Column("status_list", Integer, nullable=False),
    Column("status_idx", Integer, nullable=False),
    Column("seat_no", Integer),
    Column("license_rev", Integer, nullable=False),
    Column("drift", Integer),
    Column("state", Word(*DEVICE_STATES), nullable=False),
    Column("enforcement", Word("software", "hardware", "online"), nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("status_value", SmallInteger, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("bound", Boolean, nullable=False),
    Column("license_id", Id("lic"), primary_key=True),
    Column("key_mark", LargeBinary(packing.MARK_BYTES), primary_key=True),
    Column("device_id", Id("dev"), nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("traits", LargeBinary, nullable=False),
    Column("presented", LargeBinary),
    Column("question", LargeBinary(packing.MARK_BYTES), nullable=False),
    Column("recipient", LargeBinary(packing.MARK_BYTES)),
    Column("under", LargeBinary(packing.MARK_BYTES)),
    Column("lease_id", Id("lea")),
    Column("prev", Id("lea")),
    Column("last_jti", Id("lea")),
    Column("event_id", Id("evt"), nullable=False),
    Column("answer", Json),
    Column("label", String(64)),
    Column("bundle", String(64)),
    Column("reason", String(512)),
    Column("tpm", Json),
    UniqueConstraint("status_list", "status_idx"),
    Index(None, "device_id", unique=True),
    _where("seat_no IS NOT NULL", "license_id", "seat_no", unique=True),
    _where("free_at IS NOT NULL", "license_id", "free_at"),
)
"""Found by id and, within a license, by a mark of its key. ``store.devices`` says which columns
are empty where others say the same. ``store.seats`` is about ``seat_no``, ``free_at`` and
``prior_until``; only seats that were given back or float are in the index of ``free_at``. The key
alone is an index of all rows of a license: no guess of a planner makes it read them for one.
"""

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
    Column("relayed", Boolean),
)

relayed_leases = Table(
    "relayed_leases",
    metadata,
    _id("license_id", primary_key=True),
    _id("device_id", primary_key=True),
    _id("base", primary_key=True),
    _id("relay", primary_key=True, index=True),
    Column("places", Json, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("given_at", Instant, nullable=False),
    Column("told_at", Instant),
    Column("closed_at", Instant),
    Column("released", Integer, nullable=False),
    Column("shown", Integer, nullable=False),
    Column("shown_at", Instant),
    Column("settled_at", Instant),
    Column("found", Json),
)

delegations = Table(
    "delegations",
    metadata,
    _id("license_id", primary_key=True),
    _id("relay", primary_key=True),
    _id("device_id", nullable=False),
    _id("delegation_id", nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("seats", Integer, nullable=False),
    Column("renewals", Integer, nullable=False),
    Column("seats_spent", Integer, nullable=False),
    Column("renewals_spent", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
    Column("overdrawn", Integer, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("status_list", Integer, nullable=False),
    Column("status_idx", Integer, nullable=False),
    Column("status_value", SmallInteger, nullable=False),
    _id("event_id", nullable=False),
    UniqueConstraint("relay"),
    UniqueConstraint("status_list", "status_idx"),
    _where("reserved > 0", "ends_at"),
)
"""What each relay may give by itself; ``store.delegations``."""

answered_requests = Table(
    "answered_requests",
    metadata,
    Column("question", LargeBinary(16), primary_key=True),
    Column("request", LargeBinary(16), primary_key=True),
    Column("signed_at", BigInteger, nullable=False),
)

release_nonces = Table(
    "release_nonces",
    metadata,
    Column("nonce", LargeBinary(32), primary_key=True),
    _id("device_id", nullable=False, index=True),
    Column("server_key", String(64), nullable=False),
    Column("ends_at", Instant, nullable=False, index=True),
    Column("used_at", Instant),
)

attestation_results = Table(
    "attestation_results",
    metadata,
    _id("license_id", primary_key=True),
    _id("event_id", primary_key=True),
    Column("results", Json, nullable=False),
    Index(None, "event_id", unique=True),
)
"""Signed verdicts beside their events; erased with the customer."""

appraisal_policies = Table(
    "appraisal_policies",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
"""Every policy that a verdict was given by."""

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
    Column("person", String(64)),
    Column("idle_seconds", Integer),
    Column("used_at", Instant),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("at", Instant, nullable=False, index=True),
)
"""ID tokens that were used: each opens one session."""

webhooks = Table(
    "webhooks",
    metadata,
    _id("webhook_id", primary_key=True),
    Column("url", String(2048), nullable=False),
    Column("label", String(64), nullable=False),
    Column("kinds", Json, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    _id("event_id", nullable=False),
)

webhook_kinds = Table(
    "webhook_kinds",
    metadata,
    Column("kind", String(64), primary_key=True),
    _id("webhook_id", primary_key=True),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    _id("webhook_id", primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("ends_at", Instant),
)

webhook_messages = Table(
    "webhook_messages",
    metadata,
    _id("webhook_id", primary_key=True),
    _id("event_id", primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Instant),
    Column("tried_at", Instant),
    Column("status", Integer),
    Column("failure", String(64)),
    Column("delivered_at", Instant),
    Column("given_up_at", Instant),
    Index(None, "webhook_id", "due_at"),
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
