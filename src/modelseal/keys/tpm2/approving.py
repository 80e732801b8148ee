"""The owner's side of approvals: a key that approves, and approvals of measured states."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from msgspec import Struct

from modelseal import strict_json
from modelseal.crypto.signing import SigningKey
from modelseal.errors import ConfigInvalid, KeyStoreUnavailable, Misuse
from modelseal.keys import files
from modelseal.keys.tpm2 import approvals, approvals_at
from modelseal.keys.tpm2.uri import parse_pcrs, write_pcrs
from modelseal.tpm2.chip import connect
from modelseal.tpm2.chip.state import read_pcrs
from modelseal.tpm2.wire.policy import pcr_digest

_MAX_PEM_BYTES = 4096


class Authority(Struct, frozen=True):
    """A key that approves: its thumbprint and where its halves lie."""

    kid: str
    private: str
    public: str


class Approved(Struct, frozen=True):
    """What was approved, where, and how many approvals the file holds now."""

    path: str
    pcrs: str
    values: str
    approvals: int


def make_authority(private: Path, public: Path) -> Authority:
    """A fresh ES256 key: ``private`` as PEM, mode 0600, ``public`` as JWK. Neither is replaced."""
    made = ec.generate_private_key(ec.SECP256R1())
    key = SigningKey("ES256", made)
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.write_new(private, pem)
    files.write_new(public, strict_json.encode(key.jwk), mode=0o644)
    return Authority(key.kid, str(private), str(public))


def approve(path: Path, by: Path, pcrs: str, *, values: str | None, tpm: str = "") -> Approved:
    """The policy file at ``path`` approves one more state, signed by the key in ``by``.

    ``values`` is the SHA-256 over the registers' values in hexadecimal; None reads them from the
    TPM at ``tpm``. Raises ``ConfigInvalid``, ``InputMissing``, ``KeyStoreUnavailable``,
    ``StateDamaged`` for a file that is no policy file.
    """
    selections = parse_pcrs(pcrs)
    digest = _digest(values) if values is not None else b""
    if values is None:
        with connect(tpm) as chip:
            digest = pcr_digest(selections, read_pcrs(chip, selections))
    made = approvals.approve(_signer(by), selections, digest)
    known = [each for each in approvals_at(path) if _differs(each, made)]
    if len(known) >= approvals.MAX_POLICIES:
        raise Misuse(f"a policy file holds at most {approvals.MAX_POLICIES} approvals")
    files.replace(path, approvals.encode([*known, made]), mode=0o644)
    return Approved(str(path), write_pcrs(selections), digest.hex(), len(known) + 1)


def _differs(one: approvals.Approval, other: approvals.Approval) -> bool:
    return (one.pcrs, one.values) != (other.pcrs, other.values)


def _digest(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ConfigInvalid("the values are a SHA-256 in hexadecimal, 64 digits")
    return found


def _signer(path: Path) -> SigningKey:
    data = files.read_secret(path, max_bytes=_MAX_PEM_BYTES)
    try:
        key = load_pem_private_key(data, None)
    except Exception:  # noqa: BLE001 - whatever the parser says, the file holds no key
        raise KeyStoreUnavailable("this is no private key as PEM", path=str(path)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyStoreUnavailable("this is no P-256 key", path=str(path))
    return SigningKey("ES256", key)
