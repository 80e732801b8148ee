"""`trust.json`: read, verified, asked for keys, moved forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import hpke, signing, tuf
from .encoding import canonical_json, expect, strict_json, unb64u

_BAD = "trust_malformed"
_CAP, _LIST_CAP, _DOCUMENT_CAP, _CA_CAP = 8 << 20, 1 << 20, 4 << 20, 64 << 10
_LIST = {"typ", "version", "product", "server_id", "trait_salt", "keys"}
_KEY = {"use", "alg", "kid", "jwk", "not_before", "not_after", "set"}
_USES = {
    "publisher",
    "sealing",
    "license",
    "lease",
    "status",
    "checkpoint",
    "endorsement",
    "attestation",
    "tls",
}
_LATEST = 253402300799


@dataclass(frozen=True)
class Key:
    """One listed key."""

    use: str
    alg: str
    kid: str
    jwk: dict[str, str]
    not_before: int
    not_after: int | None
    set: str

    def valid(self, at: int) -> bool:
        """Valid from `not_before` on and before `not_after`."""
        return self.not_before <= at and (self.not_after is None or at < self.not_after)


def _text(value: object, most: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= most


def _date(value: object) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 0 <= int(str(value)) <= _LATEST


def _key(value: Any) -> Key:
    expect(isinstance(value, dict) and set(value) == _KEY, _BAD, "members of a listed key")
    texts = all(isinstance(value[name], str) for name in ("use", "alg", "kid", "set"))
    expect(texts, _BAD, "a member of a listed key")
    key = Key(**value)
    expect(key.use in _USES and _text(key.set, 64), _BAD, "use or set")
    sealing = key.use == "sealing"
    expect(sealing == (key.alg == hpke.SUITE), _BAD, "a use and an algorithm that do not fit")
    known = ("Ed25519", "ML-DSA-65") if key.use == "publisher" else tuple(signing.TYPES)
    expect(sealing or key.alg in known, _BAD, "algorithm")
    kind = "AKP" if sealing else signing.TYPES[key.alg]
    expect(signing.well_formed(key.jwk) and key.jwk["kty"] == kind, _BAD, "jwk")
    expect(kind != "AKP" or key.jwk["alg"] == key.alg, _BAD, "jwk of another algorithm")
    expect(signing.thumbprint(key.jwk) == key.kid, _BAD, "kid is not the thumbprint")
    ends = key.not_after is None or _date(key.not_after)
    expect(_date(key.not_before) and ends, _BAD, "validity")
    return key


class KeyList:
    """The list of every key below the root."""

    def __init__(self, value: Any) -> None:
        expect(isinstance(value, dict) and set(value) == _LIST, _BAD, "members of the key list")
        expect(value["typ"] == "modelseal-keys", _BAD, "no key list")
        expect(_text(value["product"], 64) and _text(value["server_id"], 128), _BAD, "names")
        number = value["version"]
        expect(type(number) is int and 1 <= number < 2**53, _BAD, "version")
        expect(isinstance(value["keys"], list) and len(value["keys"]) <= 256, _BAD, "keys")
        self.value = value
        self.version: int = value["version"]
        self.product: str = value["product"]
        self.server_id: str = value["server_id"]
        self.trait_salt = unb64u(value["trait_salt"], _BAD)
        expect(len(self.trait_salt) == 32, _BAD, "trait salt")
        self.keys = [_key(entry) for entry in value["keys"]]
        expect(len({k.kid for k in self.keys}) == len(self.keys), _BAD, "a key stands twice")
        sets = [(k.use, k.set, k.alg) for k in self.keys]
        expect(len(set(sets)) == len(sets), _BAD, "one algorithm twice in a set")

    def of(self, use: str, at: int) -> list[Key]:
        """The keys of a use that are valid with their whole set."""
        mine = [key for key in self.keys if key.use == use]
        dead = {key.set for key in mine if not key.valid(at)}
        return [key for key in mine if key.set not in dead]

    def set_of(self, kid: str, use: str, at: int) -> list[Key]:
        """The keys that must sign together with `kid`; empty when it is not to be believed."""
        good = self.of(use, at)
        names = {key.set for key in good if key.kid == kid}
        return [key for key in good if key.set in names]

    def sealing(self, at: int) -> Key:
        """The key that secrets for the server are sealed to."""
        good = self.of("sealing", at)
        expect(good, "token_key_unknown", "no sealing key is valid")
        return max(good, key=lambda key: key.not_before)

    def publishers(self) -> list[Key]:
        """The keys that sign sealed models: as long as they are listed."""
        return [key for key in self.keys if key.use == "publisher"]


class Trust:
    """The pinned trust. Making one verifies it."""

    def __init__(self, data: bytes) -> None:
        expect(len(data) <= _CAP, _BAD, "too large")
        value = strict_json(data, _BAD)
        expect(
            isinstance(value, dict) and set(value) == {"typ", "version", "root", "keys", "tls_ca"},
            _BAD,
            "members of trust.json",
        )
        first = type(value["version"]) is int and value["version"] == 1
        expect(value["typ"] == "modelseal-trust" and first, _BAD, "no trust")
        ca, parts = value["tls_ca"], value["keys"]
        expect(ca is None or (isinstance(ca, str) and len(ca) <= _CA_CAP), _BAD, "tls_ca")
        expect(isinstance(parts, dict) and set(parts) == {"targets", "role", "list"}, _BAD, "keys")
        self.tls_ca: str | None = ca
        self.root = tuf.Root(value["root"])
        self.root.verify(value["root"], "root")
        self._below(parts["targets"], parts["role"], parts["list"])

    def _below(self, targets: Any, role: Any, listed: Any) -> None:
        for part in (targets, role, self.root.document):
            expect(len(canonical_json(part)) <= _DOCUMENT_CAP, _BAD, "a document is too large")
        signed = self.root.verify(targets, "targets")
        keys_role = tuf.delegated(signed, role)
        keys, data = KeyList(listed), canonical_json(listed)
        expect(len(data) <= _LIST_CAP, _BAD, "the key list is too large")
        named = tuf.matches(data, keys_role["targets"]["keys"])
        expect(named, "trust_signature", "not the key list that was signed")
        expect(keys.version == keys_role["version"], _BAD, "list and role differ")
        expect(keys.publishers(), _BAD, "no publisher key")
        self.targets, self.role, self.keys = targets, role, keys

    def canonical(self) -> bytes:
        """The canonical form."""
        return canonical_json(
            {
                "typ": "modelseal-trust",
                "version": 1,
                "root": self.root.document,
                "keys": {"targets": self.targets, "role": self.role, "list": self.keys.value},
                "tls_ca": self.tls_ca,
            }
        )

    def update(self, roots: list[Any], targets: Any, role: Any, listed: bytes, now: int) -> Trust:
        """This trust, moved forward; nothing of `self` changes."""
        after: Trust = object.__new__(Trust)
        after.tls_ca, after.root = self.tls_ca, self.root
        for value in roots:
            after.root = after.root.successor(value)
        value = strict_json(listed, _BAD)
        after._below(targets, role, value)
        for old, new in ((self.targets, targets), (self.role, role)):
            before, now_is = old["signed"]["version"], new["signed"]["version"]
            expect(now_is >= before, "trust_rollback", "an older version")
            same = now_is > before or old["signed"] == new["signed"]
            expect(same, "trust_rollback", "the same version says something else")
        for part in (after.root.document, targets, role):
            expect(now < tuf.expires(part["signed"]), "trust_expired", "a document has ended")
        expect(canonical_json(value) == listed, _BAD, "the key list is not canonical")
        same_house = (after.keys.product, after.keys.server_id)
        expect(same_house == (self.keys.product, self.keys.server_id), _BAD, "another house")
        return after
