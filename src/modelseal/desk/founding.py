"""Founding a product: every key and every signed document of a new workspace, in memory.

``found`` touches no file; ``workspace.init`` writes what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelseal import trust as trusts
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import tls
from modelseal.errors import Misuse
from modelseal.trust import KeyList, Trust, TrustedKey, Use, keylist, writing
from modelseal.trust.writing import RoleKeys

TOKEN_ALGORITHMS = {
    "Ed25519": ("Ed25519",),
    "ES256": ("ES256",),
    "RS256": ("RS256",),
    "hybrid": ("Ed25519", "ML-DSA-65"),
}
TOKEN_USES = (Use.LICENSE, Use.LEASE, Use.STATUS)
PUBLISHER_ALGORITHMS = ("Ed25519", "ML-DSA-65")
# A server's clock may be behind the desk's: keys are valid from a day before they were made.
CLOCK_MARGIN = timedelta(days=1)
ROOT_LIFE = timedelta(days=5 * 365)
TARGETS_LIFE = timedelta(days=3 * 365)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A private key with what it is for."""

    use: str
    set: str
    key: SigningKey | KemPrivateKey


@dataclass(frozen=True, slots=True)
class Documents:
    """The TUF documents that the desk signs; snapshot and timestamp are the server's."""

    root: bytes
    targets: bytes
    keys_role: bytes
    key_list: bytes


@dataclass(frozen=True, slots=True)
class Foundation:
    """All of a new product: keys of either half, documents, trust, TLS."""

    server_id: str
    not_before: datetime
    desk_keys: Sequence[NewKey]
    online_keys: Sequence[NewKey]
    documents: Documents
    trust: Trust
    authority: tls.Authority
    certificate: tls.ServerCertificate


def found(
    product: str,
    server_id: str,
    *,
    token_alg: str,
    hosts: Sequence[str],
    now: datetime,
    random: Callable[[int], bytes],
) -> Foundation:
    """A foundation with nothing but fresh keys; the trust in it has been verified."""
    if token_alg not in TOKEN_ALGORITHMS:
        raise Misuse(f"the token algorithm is one of {', '.join(TOKEN_ALGORITHMS)}")
    start = now - CLOCK_MARGIN
    authority = tls.create_authority(product, not_before=start)
    desk_keys = _desk_keys(authority)
    online_keys = _online_keys(TOKEN_ALGORITHMS[token_alg])
    listed = KeyList(
        version=1,
        product=product,
        server_id=server_id,
        trait_salt=random(keylist.SALT_BYTES),
        keys=tuple(_listed(new, start) for new in (*desk_keys, *online_keys) if _is_listed(new)),
    )
    documents = _sign(desk_keys, online_keys, keylist.write(listed), now)
    trust = trusts.compose(
        root=documents.root,
        targets=documents.targets,
        keys_role=documents.keys_role,
        key_list=documents.key_list,
        tls_ca=authority.certificate_pem.decode("ascii"),
    )
    certificate = authority.issue(hosts, not_before=start)
    return Foundation(
        server_id, start, desk_keys, online_keys, documents, trust, authority, certificate
    )


def _desk_keys(authority: tls.Authority) -> list[NewKey]:
    signing = [
        NewKey(use, f"{use}-1", SigningKey.generate()) for use in ("root", "targets", "keys")
    ]
    publisher = [
        NewKey("publisher", "publisher-1", SigningKey.generate(alg)) for alg in PUBLISHER_ALGORITHMS
    ]
    endorsement = NewKey("endorsement", "endorsement-1", SigningKey.generate())
    recovery = NewKey("recovery", "recovery-1", KemPrivateKey.generate())
    return [*signing, *publisher, endorsement, recovery, NewKey("tls", "tls-1", authority.key)]


def _online_keys(token_algorithms: Sequence[str]) -> list[NewKey]:
    tokens = [
        NewKey(use.value, f"{use.value}-1", SigningKey.generate(alg))
        for use in TOKEN_USES
        for alg in token_algorithms
    ]
    others = [
        NewKey(use, f"{use}-1", SigningKey.generate())
        for use in ("checkpoint", "attestation", "snapshot", "timestamp")
    ]
    return [*tokens, *others, NewKey("sealing", "sealing-1", KemPrivateKey.generate())]


def _is_listed(new: NewKey) -> bool:
    return new.use in set(Use)


def _listed(new: NewKey, not_before: datetime) -> TrustedKey:
    key = new.key
    public = key.public_key() if isinstance(key, KemPrivateKey) else key.verify_key()
    return keylist.trusted(Use(new.use), public, new.set, not_before=not_before)


def _sign(
    desk_keys: Sequence[NewKey], online_keys: Sequence[NewKey], key_list: bytes, now: datetime
) -> Documents:
    by_use = {
        new.use: new.key
        for new in (*desk_keys, *online_keys)
        if isinstance(new.key, SigningKey) and new.use not in TOKEN_USES
    }
    names = ("root", "targets", "snapshot", "timestamp")
    roles = {name: RoleKeys([by_use[name].jwk]) for name in names}
    root = writing.sign(writing.root(1, now + ROOT_LIFE, roles), [by_use["root"]])
    keys_role = RoleKeys([by_use["keys"].jwk])
    targets = writing.sign(
        writing.targets(1, now + TARGETS_LIFE, keys_role, {}), [by_use["targets"]]
    )
    role = writing.sign(writing.keys_role(1, now + TARGETS_LIFE, key_list), [by_use["keys"]])
    return Documents(root, targets, role, key_list)
