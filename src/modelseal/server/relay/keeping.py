"""What a relay keeps of what it may give by itself: its keys, its delegation, the data keys.

Every private and data key lies in the relay's folder wrapped by a key-encryption key that hardware
keeps. All are made anew for each delegation, by the very run that proves what it is: nothing that
somebody put into the folder is ever trusted with a key.
Normative: ``docs/spec/relay.md``, section 8.
"""

from __future__ import annotations

import hashlib
import hmac
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from modelseal import trust as trusts
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    AnswerInvalid,
    InvalidBytes,
    KeyStoreUnavailable,
    OutputExists,
    StateDamaged,
    StateNotWritable,
)
from modelseal.ids import Random
from modelseal.keys import Ask, KeyRing, OnlineKeys, dispatch, files
from modelseal.keys.tpm2 import chain
from modelseal.license import jws, lease_keys, license_key, tokens
from modelseal.license.claims import DelegationClaims, SealedKeys
from modelseal.license.lease_keys import Binding
from modelseal.server.relay.box import Box
from modelseal.server.relay.counting import Counting
from modelseal.server.relay.given import Given
from modelseal.server.services.delegating import Delegated, DelegatedLicense, binding_of
from modelseal.trust import Trust
from modelseal.types import Level

FOLDER = "budget"
LEAST_KEK = Level.L2
DEFAULT_KEK = "tpm2:?pcrs=sha256:4,7"
"""Boot loader and secure boot."""
SECRET = "relay-secret"
_SET = "relay-1"
_SECRET_BYTES = 32


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a relay keeps of its newest delegation; ``keys`` are file id, section, wrapped key.

    ``place`` is the folder of its own keys, ``secret`` the wrapped one by which the license key is
    hashed; ``license`` and ``key_hash`` are what its store has, ``chain`` is the handle in the TPM
    of what its counts are bound to. ``seal`` is the secret's over all the rest.
    """

    delegation: str
    place: str
    keys: list[tuple[bytes, int, bytes]]
    secret: bytes
    key_hash: bytes
    license: DelegatedLicense
    chain: int | None = None
    seal: bytes = b""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a relay asks by: the key it is to sign with, and the one that opens what it gets.

    Both lie in ``place``, wrapped by the key at ``kek``.
    """

    signing: SigningKey
    kem: KemPrivateKey
    place: Path
    kek: str


def prepare(
    box: Box, trust: bytes, *, kek: str | None, now: datetime, ask: Ask | None = None
) -> Keys:
    """Fresh keys of the relay in a place of their own; ``trust`` is stored beside them.

    ``kek`` is the URI of the key-encryption key that wraps them: made now in a TPM, made where
    there is none in another store. What the relay has is as it was, until ``take``. Raises
    ``KeyStoreUnavailable`` for one that no hardware keeps, or a TPM in any state of its machine.
    """
    pinned = trusts.parse(trust)
    if (pinned.server_id, pinned.product) != (box.about.server, box.about.product):
        raise StateDamaged("the trust of another server or product", path=str(box.folder))
    place = _new_place(box)
    uri = kek or box.noted("kek") or DEFAULT_KEK
    _made(uri, place, ask)
    files.replace(place / "trust.json", trust)
    online = OnlineKeys(
        place / "keys", ring_of(uri, place, ask), server_id=box.about.server, ask=ask
    )
    signing, kem = SigningKey.generate(), KemPrivateKey.generate()
    online.add("lease", signing, not_before=now, set_name=_SET)
    online.add("sealing", kem, not_before=now, set_name=_SET)
    return Keys(signing, kem, place, uri)


def _new_place(box: Box) -> Path:
    """An empty folder; what earlier asks that came to nothing left behind is gone."""
    folder, current = box.folder / FOLDER, _current(box)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = [each for each in folder.iterdir() if each.is_dir() and each.name.isdecimal()]
        for each in known:
            if each.name != current:
                shutil.rmtree(each)
        place = folder / str(1 + max((int(each.name) for each in known), default=0))
        (place / "keys").mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise StateNotWritable(error.strerror or "", path=str(folder)) from None
    return place


def _current(box: Box) -> str | None:
    text = box.noted("budget")
    return None if text is None else kept_of(box, text).place


def _made(kek: str, place: Path, ask: Ask | None) -> None:
    try:
        provider = dispatch.create(kek, ask=ask, base=place)
    except OutputExists:
        if kek.startswith("tpm2:"):
            raise KeyStoreUnavailable(
                "a TPM's key is made anew here: name no file", uri=kek
            ) from None
        provider = dispatch.open_provider(kek, ask=ask, base=place)
    if provider.level < LEAST_KEK:
        raise KeyStoreUnavailable("a budget needs a key-encryption key in hardware", uri=kek)
    told = provider.describe()
    if told.get("kind") == "tpm2" and not told.get("pcrs"):
        raise KeyStoreUnavailable("the key is bound to no measured state: name pcrs", uri=kek)


def ring_of(kek: str, place: Path, ask: Ask | None) -> KeyRing:
    """The key-encryption key at ``kek``, opened."""
    return KeyRing(lambda: [kek], ask=ask, base=place)


def exists(box: Box) -> bool:
    """Whether a delegation was ever taken in here."""
    return box.noted("budget") is not None


def is_counted(box: Box) -> bool:
    """Whether the counts are bound to a TPM, as the folder says."""
    text = box.noted("budget")
    return text is not None and kept_of(box, text).chain is not None


def peek(box: Box) -> DelegationClaims | None:
    """What the delegation in ``box`` says; nothing is opened, and nothing proved anew."""
    text = box.noted("budget")
    if text is None:
        return None
    token = kept_of(box, text).delegation
    try:
        return msgspec.convert(jws.parse(token, max_bytes=len(token)).payload, DelegationClaims)
    except (InvalidBytes, msgspec.ValidationError):
        raise _unreadable(box) from None


def kept_of(box: Box, text: str) -> Kept:
    """What was noted as ``text``; ``StateDamaged``."""
    try:
        kept = msgspec.json.decode(text, type=Kept)
    except msgspec.DecodeError:
        raise _unreadable(box) from None
    if not kept.place.isdecimal():
        raise _unreadable(box)
    return kept


def _chain(box: Box, kek: str, random: Random) -> int | None:
    """The chain in the TPM to which the counts are bound, the one that is there or a new one.

    None with another store of keys, and where the TPM has no room or its owner a password.
    """
    if not kek.startswith("tpm2:"):
        return None
    text = box.noted("budget")
    known = None if text is None else kept_of(box, text).chain
    try:
        if known is not None and chain.read(kek, known) is not None:
            return known
        return chain.make(kek, box.about.relay.encode(), random(chain.SIZE))
    except KeyStoreUnavailable:
        return None


def counting_of(
    kept: Kept, kek: str, secret: bytes, by: DelegationClaims, random: Random
) -> Counting | None:
    """What binds the counts to the TPM; None where nothing does."""
    return None if kept.chain is None else Counting(kek, kept.chain, by.jti, secret, random)


def seal_of(kept: Kept, secret: bytes) -> bytes:
    """What only the relay can write, about all of ``kept``."""
    said = msgspec.json.encode(msgspec.structs.replace(kept, seal=b""))
    return hmac.digest(secret, b"relay budget " + said, "sha256")


def trust_of(place: Path) -> Trust:
    """The trust that was stored beside the keys in ``place``."""
    try:
        return trusts.parse((place / "trust.json").read_bytes())
    except OSError as error:
        raise StateDamaged(error.strerror or "", path=str(place)) from None


def _unreadable(box: Box) -> StateDamaged:
    return StateDamaged("the delegation is not readable", path=str(box.folder / FOLDER))


def take(
    box: Box,
    mine: Keys,
    answer: Delegated,
    transcript: bytes,
    result: bytes,
    key: str,
    *,
    random: Random,
    ask: Ask | None = None,
) -> None:
    """What the license server answered is in force: delegation, license and data keys.

    ``key`` is the license key that devices will type. Raises ``AnswerInvalid`` and token errors
    for an answer that is not to this relay; then nothing has changed.
    """
    trust = trust_of(mine.place)
    claims, _kid = tokens.read_delegation(answer.delegation, trust)
    if claims.sub != box.about.relay or dict(claims.jwk) != dict(mine.signing.jwk):
        raise AnswerInvalid("a delegation to another relay")
    if claims.kem != mine.kem.kid or claims.lic != answer.license.license_id:
        raise AnswerInvalid("a delegation for another key or license")
    before = peek(box)
    if before is not None and (claims.iat, claims.number) <= (before.iat, before.number):
        raise AnswerInvalid("a delegation that is not newer than what is held")  # counts restart
    ring, secret = ring_of(mine.kek, mine.place, ask), random(_SECRET_BYTES)
    handle = _chain(box, mine.kek, random)
    server = box.about.server
    kept = Kept(
        delegation=answer.delegation,
        place=mine.place.name,
        keys=_wrapped(
            ring, server, mine.kem, answer.keys, binding_of(claims, transcript, result)
        ),
        secret=ring.wrap(secret, bound_to(server, SECRET)),
        key_hash=hmac.new(secret, license_key.parse(key), hashlib.sha256).digest(),
        license=answer.license,
        chain=handle,
    )  # fmt: skip
    kept = msgspec.structs.replace(kept, seal=seal_of(kept, secret))
    counting = counting_of(kept, mine.kek, secret, claims, random)
    Given(box).take(
        msgspec.json.encode(kept).decode(),
        mine.kek,
        seats=answer.seats_spent,
        renewals=answer.renewals_spent,
        counting=counting,
    )


def _wrapped(
    ring: KeyRing, server: str, kem: KemPrivateKey, sealed: Iterable[SealedKeys], binding: Binding
) -> list[tuple[bytes, int, bytes]]:
    found: list[tuple[bytes, int, bytes]] = []
    for part in sealed:
        with lease_keys.wiped(lease_keys.open_keys(part, kem, binding)) as keys:
            for (file_id, section), key in keys.items():
                bound = bound_to(server, file_id=file_id, section=section)
                found.append((file_id, section, ring.wrap(key, bound)))
    return found


def bound_to(
    server: str, purpose: str = "relay-data-key", **more: str | int | bytes
) -> Mapping[str, str | int | bytes]:
    """What a wrapped key of the relay is bound to."""
    return {"purpose": purpose, "server": server, **more}
