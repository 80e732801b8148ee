"""Proving a backup: every key in it is what it says, and it is this workspace's."""

from __future__ import annotations

from pathlib import Path

from modelseal import container
from modelseal import trust as trusts
from modelseal.crypto import jwk as jwks
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk.archive import Archive, StoredKey
from modelseal.desk.filesource import FileSource
from modelseal.desk.halves import RECOVERY_SECRET
from modelseal.desk.workspace import Workspace
from modelseal.errors import BackupInvalid, InvalidBytes, ModelsealError
from modelseal.keys import reference
from modelseal.keys.envelope import KEY_BYTES
from modelseal.keys.folder import SECRET_ALG, PrivateKey, load
from modelseal.trust import Trust, Use, metadata
from modelseal.trust.metadata import key_id, tuf_key

_PROBE = b"modelseal recovery test"


def prove(content: Archive) -> None:
    """Returns when the backup is whole; raises ``BackupInvalid`` naming what is wrong.

    Of keys that hardware keeps a backup holds the place and the public half; those cannot be
    exercised.

    Every private key works: it signs and verifies, or opens what was sealed to it. Every key that
    the trust lists is there, and the keys of the TUF roles that the desk and the server sign.
    """
    trust = _trust(content)
    keys = {key.kid: _load(key) for key in (*content.desk, *content.online) if _is_key(key)}
    for key in keys.values():
        _exercise(key)
    _check_listed(content, trust)
    _check_roles(content, trust)
    if not any(key.kid == RECOVERY_SECRET for key in content.desk):
        raise BackupInvalid("the recovery passphrase is missing")
    if content.kek is not None and len(content.kek) != KEY_BYTES:
        raise BackupInvalid("the key-encryption key has another length")
    for model in content.models:
        good = all(len(key) == KEY_BYTES for key in model.keys.values())
        if not good or 0 not in model.keys or len(model.file_id) != KEY_BYTES:
            raise BackupInvalid("the data keys of a model are incomplete", model=model.model)


def compare(content: Archive, workspace: Workspace) -> list[str]:
    """The models of ``workspace`` that the backup lacks; ``BackupInvalid`` for another's backup."""
    trust = _trust(content)
    if (trust.product, trust.server_id) != (workspace.product, workspace.server_id):
        raise BackupInvalid("the backup is of another workspace")
    ours = workspace.trust
    if (trust.root_version, trust.keys_version) < (ours.root_version, ours.keys_version):
        raise BackupInvalid("the backup is old: keys were rotated since it was made")
    if workspace.has_server and content.kek_uri != workspace.kek_uri:
        raise BackupInvalid("the backup is old: the key-encryption key was rotated since then")
    if not workspace.has_desk:
        return []
    known = {model.file_id for model in content.models}
    records = workspace.models.all()
    return [f"{r.model} release {r.release}" for r in records if r.file_id not in known]


def prove_recovery(content: Archive, sealed: Path) -> None:
    """Returns when the recovery key opens the recovery entry of the sealed file at ``sealed``."""
    recovery = [_load(key) for key in content.desk if key.use == "recovery"]
    trust = _trust(content)
    with FileSource(sealed) as source:
        parsed = container.parse(source)
        model = parsed.verify_signatures(trust.publisher_keys(), product=trust.product)
        for key in recovery:
            if isinstance(key, KemPrivateKey) and key.kid == model.header.recovery.kid:
                model.recover_keys(key)
                return
    raise BackupInvalid("the sealed file is for another recovery key", path=str(sealed))


def _trust(content: Archive) -> Trust:
    try:
        trust = trusts.parse(content.trust)
    except InvalidBytes as error:
        raise BackupInvalid(f"trust: {error.detail}") from None
    if (trust.product, trust.server_id) != (content.product, content.server_id):
        raise BackupInvalid("the trust in the backup is of another product")
    return trust


def _is_key(key: StoredKey) -> bool:
    return key.alg != SECRET_ALG


def _load(key: StoredKey) -> PrivateKey:
    try:
        return load(key.entry, key.private)
    except ModelsealError:
        raise BackupInvalid(f"a {key.use} key does not open", use=key.use) from None


def _exercise(key: PrivateKey) -> None:
    if isinstance(key, SigningKey) and reference.is_absent(key):
        return
    try:
        if isinstance(key, SigningKey):
            key.verify_key().verify(key.sign(_PROBE), _PROBE)
        elif key.open(key.public_key().seal(_PROBE, b"probe"), b"probe") != _PROBE:
            raise BackupInvalid("a recovery or sealing key does not work")
    except InvalidBytes:
        raise BackupInvalid("a private key does not work") from None


def _check_listed(content: Archive, trust: Trust) -> None:
    kept = {(key.use, key.kid) for key in (*content.desk, *content.online)}
    for use in Use:
        for listed in trust.keys(use):
            if (use.value, listed.kid) not in kept and listed.not_after is None:
                raise BackupInvalid(f"a {use.value} key of the trust is missing", use=use.value)


def _check_roles(content: Archive, trust: Trust) -> None:
    root = metadata.read(trust.root_bytes, "root")
    roles = metadata.top_level_roles(root)
    desk = [(name, roles[name].keys) for name in ("root", "targets")]
    served = [(name, roles[name].keys) for name in ("snapshot", "timestamp")]
    for keys, wanted in ((content.desk, desk), (content.online, served)):
        for use, ids in wanted:
            loaded = [_load(key) for key in keys if key.use == use]
            mine = {key_id(_tuf(key)) for key in loaded if isinstance(key, SigningKey)}
            if not mine & set(ids):
                raise BackupInvalid(f"the {use} key is missing", use=use)


def _tuf(key: SigningKey) -> dict[str, object]:
    return tuf_key(jwks.member(key.jwk, "x"))
