"""The closed list of what can happen. Kinds are only ever added; a name never changes meaning."""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    """One act of the server. ``docs/spec/audit.md`` says what each one means."""

    # devices and leases
    DEVICE_ACTIVATED = "device_activated"
    DEVICE_REPLACED = "device_replaced"
    DEVICE_RETURNED = "device_returned"
    DEVICE_REVOKED = "device_revoked"
    DEVICE_UNBOUND = "device_unbound"
    DEVICE_REKEYED = "device_rekeyed"
    LEASE_RENEWED = "lease_renewed"
    LEASE_DENIED = "lease_denied"
    LEASE_ADOPTED = "lease_adopted"
    LEASE_RESPONDED = "lease_responded"
    LEASE_CODE_GIVEN = "lease_code_given"
    LEASES_MADE_AHEAD = "leases_made_ahead"
    KEYS_RELEASED = "keys_released"
    LICENSE_LOOKED_UP = "license_looked_up"
    TRIAL_STARTED = "trial_started"
    FORK_FOUND = "fork_found"
    FORK_HEALED = "fork_healed"
    EVIDENCE_APPRAISED = "evidence_appraised"
    # licenses and plans
    LICENSE_ISSUED = "license_issued"
    LICENSE_CHANGED = "license_changed"
    LICENSE_RENEWED = "license_renewed"
    LICENSE_SUSPENDED = "license_suspended"
    LICENSE_RESUMED = "license_resumed"
    LICENSE_REVOKED = "license_revoked"
    LICENSE_REKEYED = "license_rekeyed"
    PLAN_CREATED = "plan_created"
    PLAN_CHANGED = "plan_changed"
    # models, keys and trust
    MODEL_PUBLISHED = "model_published"
    MODEL_WITHDRAWN = "model_withdrawn"
    CATALOG_CHANGED = "catalog_changed"
    BUNDLE_STORED = "bundle_stored"
    KEY_ROTATED = "key_rotated"
    KEYS_REWRAPPED = "keys_rewrapped"
    TRUST_CHANGED = "trust_changed"
    # people
    CUSTOMER_EXPORTED = "customer_exported"
    CUSTOMER_ERASED = "customer_erased"
    TOKEN_CREATED = "token_created"
    TOKEN_REVOKED = "token_revoked"
    ACCESS_DENIED = "access_denied"
    SIGNED_IN = "signed_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGNED_OUT = "signed_out"
    EVENTS_EXPORTED = "events_exported"
    # the server itself
    SERVER_INITIALISED = "server_initialised"
    SERVER_MIGRATED = "server_migrated"
    SERVER_BACKED_UP = "server_backed_up"
    SERVER_RESTORED = "server_restored"
    STORE_BEHIND = "store_behind"
    ANOMALY = "anomaly"
    WEBHOOK_CHANGED = "webhook_changed"
    RELAY_SYNCED = "relay_synced"
    RELAY_OVERDREW = "relay_overdrew"
