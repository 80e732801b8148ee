"""The catalog: TUF metadata from the server, and what there is to pull."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from . import names, tuf
from .encoding import Refused, expect, strict_json, unb64u
from .trust import Trust
from .wire import Wire

_BAD = "catalog_invalid"
_MOST_ROOTS = 256
_MEMBERS = {"product", "model", "model_version", "release", "file_id", "name", "size"} | {
    "entitlements"
}


@dataclass(frozen=True)
class Target:
    """A published sealed model."""

    path: str
    length: int
    sha256: str
    model: str
    model_version: str
    release: int
    min_release: int
    file_id: bytes
    name: str
    entitlements: tuple[tuple[str, ...], ...]
    size: int


class Catalog:
    """Metadata that was verified, one step after the other; it remembers the newest."""

    def __init__(self, wire: Wire, trust: Trust) -> None:
        self.wire, self.trust = wire, trust
        self.versions: dict[str, int] = {}
        self.snapshot: dict[str, Any] = {}

    def _fetch(self, name: str) -> bytes:
        return self.wire.get(f"/v1/catalog/{name}", "application/json")

    def _roots(self) -> list[Any]:
        """The roots after the pinned one, in order; 404 ends the search."""
        found: list[Any] = []
        root = self.trust.root
        while len(found) < _MOST_ROOTS:
            try:
                data = self._fetch(f"{root.version + 1}.root.json")
            except Refused as refusal:
                if refusal.code != "not_found":
                    raise
                return found
            value = strict_json(data, _BAD)
            root = root.successor(value)
            found.append(value)
        return found

    def _listed(self, meta: dict[str, Any], name: str) -> tuple[bytes, Any]:
        """A role's document as the snapshot (or the timestamp) lists it."""
        row = meta.get(name)
        expect(isinstance(row, dict) and type(row.get("version")) is int, _BAD, name)
        row = row or {}
        data = self._fetch(f"{row['version']}.{name}")
        expect(row.get("length", len(data)) == len(data), _BAD, "length")
        digest = row.get("hashes", {}).get("sha256", hashlib.sha256(data).hexdigest())
        expect(hashlib.sha256(data).hexdigest() == digest, _BAD, "digest")
        value = strict_json(data, _BAD)
        expect(value["signed"]["version"] == row["version"], _BAD, "another version")
        return data, value

    def _newer(self, role: str, version: int) -> None:
        expect(version >= self.versions.get(role, 0), "trust_rollback", role)
        self.versions[role] = version

    def refresh(self, now: int) -> Trust:
        """The trust moved forward; the targets are those of `targets` afterwards."""
        roots = self._roots()
        root = tuf.Root(roots[-1]) if roots else self.trust.root
        timestamp = strict_json(self._fetch("timestamp.json"), _BAD)
        signed = root.verify(timestamp, "timestamp")
        expect(now < tuf.expires(signed), "trust_expired", "timestamp")
        self._newer("timestamp", signed["version"])
        _, snapshot = self._listed(signed["meta"], "snapshot.json")
        signed = root.verify(snapshot, "snapshot")
        expect(now < tuf.expires(signed), "trust_expired", "snapshot")
        self._newer("snapshot", signed["version"])
        for name, row in self.snapshot.items():
            kept = signed["meta"].get(name, {}).get("version", 0)
            expect(kept >= row["version"], "trust_rollback", name)
        _, targets = self._listed(signed["meta"], "targets.json")
        _, role = self._listed(signed["meta"], "keys.json")
        digest = role["signed"]["targets"]["keys"]["hashes"]["sha256"]
        tuf.hexadecimal(digest, 32)
        data = self.wire.get(f"/v1/catalog/targets/{digest}.keys", "application/json")
        self.trust = self.trust.update(roots, targets, role, data, now)
        self.snapshot = signed["meta"]
        return self.trust

    def targets(self) -> list[Target]:
        """Every published sealed model."""
        listed = self.trust.targets["signed"]["targets"]
        found = [_target(path, value, self.trust.keys.product) for path, value in listed.items()]
        return [target for target in found if target is not None]

    def to_pull(self, granted: set[str], satisfied: Any) -> list[Target]:
        """Of each model the newest release, where a section besides the index may be opened."""
        found = []
        models = self.targets()
        for model in sorted({target.model for target in models}):
            mine = [target for target in models if target.model == model]
            newest = max(mine, key=lambda target: target.release)
            if newest.release < max(target.min_release for target in mine):
                continue
            if any(not e or satisfied(e, granted) for e in newest.entitlements[1:]):
                found.append(newest)
        return found


def _target(path: str, value: Any, product: str) -> Target | None:
    custom = value.get("custom", {}).get("modelseal")
    if not isinstance(custom, dict) or custom.get("product") != product:
        return None
    expect(set(custom) >= _MEMBERS and custom["size"] == value["length"], _BAD, path)
    try:
        names.name(custom["name"])
    except Refused as error:
        raise Refused(_BAD, f"{path}: {error}") from error
    expect(not custom["name"].startswith("."), _BAD, "a hidden name")
    return Target(
        path=path,
        length=value["length"],
        sha256=value["hashes"]["sha256"],
        model=custom["model"],
        model_version=custom["model_version"],
        release=custom["release"],
        min_release=custom.get("min_release", 0),
        file_id=unb64u(custom["file_id"], _BAD),
        name=custom["name"],
        entitlements=tuple(tuple(texts) for texts in custom["entitlements"]),
        size=custom["size"],
    )
