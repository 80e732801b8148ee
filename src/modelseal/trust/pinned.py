"""``trust.json``: the pinned trust of one product, verified from its TUF root down.

Bytes in, a ``Trust`` or an error out. ``parse`` judges no expiry, since a pinned file must never
brick a device that is offline; ``update`` does. Normative: ``docs/spec/trust.md``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelseal import strict_json
from modelseal.crypto import jwk as jwks
from modelseal.crypto.hpke import KemPublicKey
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import (
    InvalidBytes,
    TokenKeyUnknown,
    TrustExpired,
    TrustMalformed,
    TrustRollback,
)
from modelseal.strict_json import JsonInvalid
from modelseal.trust import keylist, metadata
from modelseal.trust.keylist import KeyList, TrustedKey, Use
from modelseal.trust.metadata import Metadata, Role
from modelseal.types import check_aware

TYP = "modelseal-trust"
VERSION = 1
MAX_BYTES = 8 * 1024 * 1024
MAX_TLS_CA_BYTES = 64 * 1024
MAX_ROOTS = 1024
KEYS_ROLE = "keys"


@dataclass(frozen=True, slots=True)
class _Chain:
    """The three verified documents a key list hangs on."""

    root: Metadata
    targets: Metadata
    role: Metadata


@dataclass(frozen=True, slots=True)
class Trust:
    """What is pinned: the product, its server and every key with its one use.

    ``raw`` is the canonical ``trust.json``; ``parse(trust.raw)`` is this trust again.
    """

    product: str
    server_id: str
    trait_salt: bytes = field(repr=False)
    root_version: int
    keys_version: int
    tls_ca: str | None = field(repr=False)
    raw: bytes = field(repr=False)
    _keys: tuple[TrustedKey, ...] = field(repr=False)
    _chain: _Chain = field(repr=False)
    _loaded: dict[str, VerifyKey] = field(repr=False, compare=False, default_factory=dict)
    _by_use: dict[str, tuple[TrustedKey, ...]] = field(
        repr=False, compare=False, default_factory=dict
    )

    def keys(self, use: Use) -> tuple[TrustedKey, ...]:
        """Every key listed for ``use``, valid or not, in the order of the list."""
        found = self._by_use.get(use)
        if found is None:
            found = self._by_use[use] = tuple(key for key in self._keys if key.use == use)
        return found

    def verify_keys(self, use: Use | str, kid: str, at: datetime) -> tuple[VerifyKey, ...]:
        """The key ``kid`` for ``use`` and with it every other key of its set.

        All of them must hold. Raises ``TokenKeyUnknown`` when ``kid`` is not listed for ``use``
        or one of the set is not valid at ``at``.
        """
        moment = check_aware(at)
        group = self._set_of(use, kid)
        if not all(key.valid_at(moment) for key in group):
            raise TokenKeyUnknown("the key was not valid at that time", use=str(use))
        return tuple(self._load(key) for key in group)

    def ends_at(self, use: Use | str, kid: str) -> datetime | None:
        """When the first key of the set of ``kid`` ends; None when none does."""
        ends = (key.not_after for key in self._set_of(use, kid))
        return min((end for end in ends if end is not None), default=None)

    def publisher_keys(self) -> tuple[VerifyKey, ...]:
        """Every listed publisher key; ``publisher_set`` says which of them belong together."""
        return tuple(self._load(key) for key in self.keys(Use.PUBLISHER))

    def publisher_set(self, kid: str) -> tuple[VerifyKey, ...]:
        """The publisher keys that must all have signed beside ``kid``; ``TokenKeyUnknown``."""
        return tuple(self._load(key) for key in self._set_of(Use.PUBLISHER, kid))

    def sealing_key(self, at: datetime) -> KemPublicKey:
        """The newest key valid at ``at`` to which data keys may be sealed for the server."""
        moment = check_aware(at)
        valid = [key for key in self.keys(Use.SEALING) if key.valid_at(moment)]
        if not valid:
            raise TokenKeyUnknown("no sealing key is valid at that time", use="sealing")
        return KemPublicKey(max(valid, key=lambda key: key.not_before).jwk)

    def signing_set(self, use: Use, held: Collection[str], at: datetime) -> tuple[TrustedKey, ...]:
        """The newest set for ``use`` that is valid at ``at`` and wholly among the key ids ``held``.

        Of two that begin at the same moment the later in the list is the newer. Raises
        ``TokenKeyUnknown`` when there is none.
        """
        moment = check_aware(at)
        sets: dict[str, list[TrustedKey]] = {}
        for key in self.keys(use):
            sets.setdefault(key.set, []).append(key)
        good = [
            group
            for group in sets.values()
            if all(key.valid_at(moment) and key.kid in held for key in group)
        ]
        if not good:
            raise TokenKeyUnknown("no listed key for this use is here and valid now", use=use.value)
        good.reverse()  # ``max`` keeps the first of equals
        return tuple(max(good, key=lambda group: max(key.not_before for key in group)))

    def role_kids(self, role: str) -> tuple[str, ...]:
        """The key ids (thumbprints) of a TUF role: one of the root's four, or ``keys``."""
        if role == KEYS_ROLE:
            return _kids(metadata.delegated_role(self._chain.targets, KEYS_ROLE))
        return _kids(metadata.top_level_roles(self._chain.root)[role])

    @property
    def key_list(self) -> KeyList:
        """Every listed key, with the version and the facts of the product that stand beside."""
        return KeyList(self.keys_version, self.product, self.server_id, self.trait_salt, self._keys)

    @property
    def targets_version(self) -> int:
        """The version of the TUF targets the key list hangs on."""
        return self._chain.targets.version

    @property
    def root_bytes(self) -> bytes:
        """The signed TUF root: where a TUF client bootstraps from."""
        return _encode(self._chain.root.document)

    def _set_of(self, use: Use | str, kid: str) -> tuple[TrustedKey, ...]:
        found = [key for key in self._keys if key.use == use and key.kid == kid]
        if not found:
            raise TokenKeyUnknown("the key is not listed for this use", use=str(use))
        same = (key for key in self._keys if key.use == use and key.set == found[0].set)
        return (found[0], *(key for key in same if key.kid != kid))

    def _load(self, key: TrustedKey) -> VerifyKey:
        loaded = self._loaded.get(key.kid)
        if loaded is None:
            try:
                loaded = VerifyKey.from_jwk(key.jwk, key.alg)
            except InvalidBytes as error:
                raise TrustMalformed(f"keys: {error.detail}") from None
            self._loaded[key.kid] = loaded
        return loaded


def _kids(role: Role) -> tuple[str, ...]:
    return tuple(jwks.thumbprint(public) for public in role.jwks())


def parse(data: bytes) -> Trust:
    """The trust in ``data``: root signed by itself, targets by root, role by targets, list by role.

    Raises ``TrustMalformed`` when ``data`` is no ``trust.json`` of a known version and
    ``TrustSignature`` when a signature, threshold or digest does not hold. Judges no expiry.
    """
    value = _decode(data)
    chain = _verify(value["root"], value["keys"])
    keys = keylist.from_value(value["keys"]["list"])
    content = _encode(value["keys"]["list"])
    return _trust(chain, keys, content, _tls_ca(value["tls_ca"]))


def update(
    trust: Trust,
    *,
    roots: Sequence[bytes],
    targets: bytes,
    keys_role: bytes,
    key_list: bytes,
    now: datetime,
) -> Trust:
    """``trust`` carried forward by ``roots`` (each the next version) and newer signed documents.

    Every root is signed by the threshold of the one before it and by its own. Raises
    ``TrustRollback`` when a version goes back, skips or says something else twice,
    ``TrustExpired`` when the newest document of a role has expired at ``now``, ``TrustMalformed``
    and ``TrustSignature`` as ``parse`` does.
    """
    moment = check_aware(now)
    root = _walk(trust._chain.root, roots)
    documents = {"targets": _json(targets, "targets"), "role": _json(keys_role, "keys")}
    chain = _verify(root.document, documents)
    _check_forward(trust._chain.targets, chain.targets, "targets")
    _check_forward(trust._chain.role, chain.role, "keys")
    for document, name in ((root, "root"), (chain.targets, "targets"), (chain.role, "keys")):
        if moment >= document.expires_at:
            raise TrustExpired(f"{name} has expired", expires_at=document.expires_at)
    new = _trust(chain, keylist.read(key_list), key_list, trust.tls_ca)
    if (new.product, new.server_id) != (trust.product, trust.server_id):
        raise TrustMalformed("the new key list is of another product or server")
    return new


def check_history(trust: Trust, roots: Sequence[bytes]) -> None:
    """Returns when ``roots`` lead, each signed by the one before it, to the root of ``trust``.

    For a server that lost what came before its root. Raises ``TrustRollback``, ``TrustSignature``.
    """
    if not roots:
        return
    first = metadata.read(roots[0], "root")
    _walk(first, [*roots[1:], trust.root_bytes])


def compose(
    *, root: bytes, targets: bytes, keys_role: bytes, key_list: bytes, tls_ca: str | None
) -> Trust:
    """The trust made of its signed parts, verified as ``parse`` does; ``.raw`` is the file."""
    parts = {
        "targets": _json(targets, "targets"),
        "role": _json(keys_role, "keys"),
        "list": _json(key_list, "keys"),
    }
    value = {
        "typ": TYP,
        "version": VERSION,
        "root": _json(root, "root"),
        "keys": parts,
        "tls_ca": tls_ca,
    }
    return parse(_encode(value))


def _walk(root: Metadata, roots: Sequence[bytes]) -> Metadata:
    """TUF specification 5.3: from N to N + 1, signed by the old and the new threshold."""
    if len(roots) > MAX_ROOTS:
        raise TrustMalformed(f"more than {MAX_ROOTS} roots in one update")
    for data in roots:
        following = metadata.read(data, "root")
        following.verify(metadata.top_level_roles(root)["root"])
        following.verify(metadata.top_level_roles(following)["root"])
        if following.version != root.version + 1:
            raise TrustRollback(f"root {following.version} cannot follow root {root.version}")
        root = following
    return root


def _verify(root: object, keys: dict[str, Any]) -> _Chain:
    top = metadata.from_document(root, "root")
    roles = metadata.top_level_roles(top)
    top.verify(roles["root"])
    targets = metadata.from_document(keys["targets"], "targets")
    targets.verify(roles["targets"])
    role = metadata.from_document(keys["role"], "targets")
    role.verify(metadata.delegated_role(targets, KEYS_ROLE))
    return _Chain(top, targets, role)


def _trust(chain: _Chain, keys: KeyList, content: bytes, tls_ca: str | None) -> Trust:
    metadata.check_target(chain.role, KEYS_ROLE, content)
    if keys.version != chain.role.version:
        raise TrustMalformed("keys: the list and its role bear one version")
    if not any(key.use is Use.PUBLISHER for key in keys.keys):
        raise TrustMalformed("keys: no publisher key")
    value = {
        "typ": TYP,
        "version": VERSION,
        "root": chain.root.document,
        "keys": {
            "targets": chain.targets.document,
            "role": chain.role.document,
            "list": strict_json.decode(content, max_bytes=keylist.MAX_LIST_BYTES),
        },
        "tls_ca": tls_ca,
    }
    return Trust(
        product=keys.product,
        server_id=keys.server_id,
        trait_salt=keys.trait_salt,
        root_version=chain.root.version,
        keys_version=keys.version,
        tls_ca=tls_ca,
        raw=_encode(value),
        _keys=keys.keys,
        _chain=chain,
    )


def _check_forward(old: Metadata, new: Metadata, name: str) -> None:
    if new.version < old.version:
        raise TrustRollback(f"{name} {new.version} is older than {old.version}")
    if new.version == old.version and new.signed_digest() != old.signed_digest():
        raise TrustRollback(f"{name} {new.version} says something else than before")


def _decode(data: bytes) -> dict[str, Any]:
    value = _json(data, "trust")
    if not isinstance(value, dict) or value.get("typ") != TYP:
        raise TrustMalformed("this is no trust.json")
    version = value.get("version")
    if isinstance(version, bool) or version != VERSION:
        raise TrustMalformed("made by another version of modelseal")
    if sorted(value) != ["keys", "root", "tls_ca", "typ", "version"]:
        raise TrustMalformed("trust.json holds typ, version, root, keys and tls_ca")
    keys = value["keys"]
    if not isinstance(keys, dict) or sorted(keys) != ["list", "role", "targets"]:
        raise TrustMalformed("keys hold targets, role and list")
    return value


def _json(data: bytes, name: str) -> Any:
    try:
        return strict_json.decode(data, max_bytes=MAX_BYTES)
    except JsonInvalid as error:
        raise TrustMalformed(f"{name}: {error.detail}") from None


def _encode(value: object) -> bytes:
    try:
        return strict_json.encode(value)
    except ValueError:
        raise TrustMalformed("a lone surrogate in a text") from None


def _tls_ca(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TLS_CA_BYTES:
        raise TrustMalformed("tls_ca is a short PEM text or null")
    if "-----BEGIN CERTIFICATE-----" not in value or not value.isascii():
        raise TrustMalformed("tls_ca holds no certificate")
    return value
