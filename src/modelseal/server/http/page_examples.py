"""Values that fit a schema and look like those of life, for the page for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ID = "019ca945-0a00-713e-aa37-c7c879c30fc9"
_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_THUMBPRINT = "jrZ6dPKfcmQrHttviwo5G2GlPB72fysv2wKdu5K9kjo"
_TIME = "2026-03-01T12:00:00Z"
_TOKEN = "eyJhbGciOiJFZDI1NTE5In0.eyJpc3MiOiJzcnYifQ.c2lnbmF0dXJl"
_NAMED: dict[str, Any] = {
    "license_id": f"lic_{_ID}", "device_id": f"dev_{_ID}", "event_id": f"evt_{_ID}",
    "plan_id": f"pln_{_ID}", "token_id": f"tok_{_ID}", "record_id": f"mod_{_ID}",
    "webhook_id": f"whk_{_ID}", "customer_id": f"cus_{_ID}", "device": f"dev_{_ID}",
    "relay": f"rly_{_ID}", "sync": "syn_1", "which": "3F9A1C07", "reference": "3F9A1C07",
    "plan": "pro", "name": "pro", "model": "swap", "release": 1, "version": 1,
    "plan_version": 1, "seq": 7,
    "customer": "li@example.com", "label": "Li's laptop", "reason": "chargeback",
    "license_key": "MS-4TZQK-0W9RD-7HXNB-2MVCE", "seats": 3, "seats_used": 1,
    "product": "facefusion", "license": _TOKEN, "lease": _TOKEN, "request": _TOKEN,
    "id_token": _TOKEN, "token": "mst_" + _THUMBPRINT, "secret": "whsec_" + _THUMBPRINT + "=",
    "proof": _THUMBPRINT, "recipient": _THUMBPRINT, "digest": _DIGEST, "blob_digest": _DIGEST,
    "url": "https://example.com/hook", "uri": "https://example.com/terms", "number": 1,
    "path": "0/000", "size_bytes": 1048576, "entitlements": ["face.swap"], "id": "face.swap",
    "events": ["license_issued"], "kind": "license_issued", "uses": ["lease"],
    "expires_in_seconds": 2592000, "lease_max_seconds": 604800, "channels": ["stable"],
    "next_cursor": None, "actor": f"token:tok_{_ID}", "kek": "file:kek",
}  # fmt: skip
_OF_PATH = {
    "catalog": "timestamp.json", "catalog_target": f"{_DIGEST}.keys", "plan": "pro",
}  # fmt: skip
_BESIDE: dict[str, tuple[str, ...]] = {
    "IssueLicense": ("expires_in_seconds",), "LicenseChange": ("plan",), "Because": ("reason",),
    "NewToken": ("label",), "NewWebhook": ("events",), "WebhookChange": ("label",),
    "OpenSession": ("proof",),
}  # fmt: skip
"""Optional members that an example of a body shows beside the required ones."""


class Examples:
    """``of`` gives a value that fits a schema of this document."""

    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def of(self, schema: Mapping[str, Any], *, asked: bool) -> Any:
        """An example: of an answer with every member, of a body (``asked``) with what is needed."""
        return self._value("", schema, asked, frozenset())

    def place(self, name: str, parameter: Mapping[str, Any]) -> Any:
        """An example of a parameter in a path."""
        return self._value(name, parameter["schema"], True, frozenset())

    def _value(
        self, name: str, schema: Mapping[str, Any], asked: bool, seen: frozenset[str]
    ) -> Any:
        if "$ref" in schema:
            target = schema["$ref"].rpartition("/")[2]
            if target in seen:
                return {}
            return self._of_type(target, name, self._schemas[target], asked, seen | {target})
        return self._of_type("", name, schema, asked, seen)

    def _of_type(
        self, title: str, name: str, schema: Mapping[str, Any], asked: bool, seen: frozenset[str]
    ) -> Any:
        if "anyOf" in schema:
            return self._value(name, schema["anyOf"][0], asked, seen)
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type")
        if kind == "object":
            return self._object(title, schema, asked, seen)
        known = _NAMED.get(name)
        if known is not None and _fits(known, schema):
            return known
        if schema.get("default"):
            return schema["default"]
        if kind == "array":
            return [self._value(name.removesuffix("s"), schema["items"], asked, seen)]
        if kind == "string":
            return _text(name, schema)
        if kind in ("integer", "number"):
            return max(schema.get("minimum", 0), 0)
        return False if kind == "boolean" else None

    def _object(
        self, title: str, schema: Mapping[str, Any], asked: bool, seen: frozenset[str]
    ) -> dict[str, Any]:
        members = schema.get("properties", {})
        wanted = {*schema.get("required", []), *_BESIDE.get(title, ())} if asked else set(members)
        return {
            member: self._value(member, told, asked, seen)
            for member, told in members.items()
            if member in wanted
        }


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    kinds: dict[str, type] = {"string": str, "integer": int, "array": list}
    wanted = kinds.get(schema.get("type", ""))
    if wanted is None or type(value) is not wanted:
        return False
    if isinstance(value, str):
        return "contentEncoding" not in schema and _long_enough(value, schema)
    return not isinstance(value, list) or schema["items"].get("type") == "string"


def _long_enough(value: str, schema: Mapping[str, Any]) -> bool:
    least, most = schema.get("minLength", 0), schema.get("maxLength", len(value))
    return bool(least <= len(value) <= most)


def _text(name: str, schema: Mapping[str, Any]) -> str:
    if "contentEncoding" in schema:
        return "AAECAwQFBgc="
    if schema.get("format") == "date-time":
        return _TIME
    if schema.get("minLength") == 43:
        return _THUMBPRINT
    if schema.get("minLength") == 64:
        return _DIGEST
    return name or "text"
