"""The objects that are made here, as templates for ``Create`` and ``CreatePrimary``.

Every one has ``noDA``: a machine that loses power counts as a wrong guess at a TPM's dictionary
attack counter, and after some of those it would lock keys that no password protects anyway.
"""

from __future__ import annotations

from dataclasses import replace

from modelseal.errors import EvidenceInvalid
from modelseal.tpm2.wire.codes import Alg, Attribute, Curve
from modelseal.tpm2.wire.public import Ecc, KeyedHash, Public, Rsa, Scheme, Symmetric

SEED_BYTES = 32
FIXED = Attribute.FIXED_TPM | Attribute.FIXED_PARENT
MADE_HERE = FIXED | Attribute.SENSITIVE_DATA_ORIGIN
NEVER_EXPORTABLE = MADE_HERE
_STORAGE = Attribute.RESTRICTED | Attribute.DECRYPT
_SIGNING = Attribute.RESTRICTED | Attribute.SIGN
_USER = Attribute.USER_WITH_AUTH
_NO_DA = Attribute.NO_DA

# TCG EK Credential Profile 2.5, PolicyA: TPM2_PolicySecret(TPM_RH_ENDORSEMENT)
EK_POLICY_SHA256 = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
# the same profile, PolicyB (high range): PolicyOR of PolicyA and PolicyC, by SHA-384
EK_POLICY_SHA384 = bytes.fromhex(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca"
    "cb47ba09699646150f9fc000f3f80e12"
)


def storage_root() -> Public:
    """The P-256 storage root of the TCG's provisioning guidance, with ``noDA``."""
    return Public(MADE_HERE | _USER | _NO_DA | _STORAGE, Ecc(Curve.P256, symmetric=Symmetric(128)))


def signing_key(policy: bytes = b"") -> Public:
    """A P-256 key that signs ES256 and never leaves the TPM; with ``policy`` only under it."""
    allowed = Attribute(0) if policy else _USER
    body = Ecc(Curve.P256, scheme=Scheme(Alg.ECDSA, Alg.SHA256))
    return Public(MADE_HERE | allowed | _NO_DA | Attribute.SIGN, body, policy)


def exchange_key(policy: bytes = b"") -> Public:
    """A P-256 key for ``TPM2_ECDH_ZGen``; with ``policy`` it answers only under that policy."""
    allowed = Attribute(0) if policy else _USER
    body = Ecc(Curve.P256, scheme=Scheme(Alg.ECDH, Alg.SHA256))
    return Public(MADE_HERE | allowed | _NO_DA | Attribute.DECRYPT, body, policy)


def attestation_key() -> Public:
    """A restricted P-256 signing key: it signs only what the TPM itself states."""
    body = Ecc(Curve.P256, scheme=Scheme(Alg.ECDSA, Alg.SHA256))
    return Public(MADE_HERE | _USER | _NO_DA | _SIGNING, body)


def seeded(template: Public, seed: bytes) -> Public:
    """The template whose key depends on ``seed`` (32 bytes): another one is another key of the
    same TPM; ``EvidenceInvalid`` for other templates and seeds."""
    body = template.body
    if not isinstance(body, Ecc) or len(seed) != SEED_BYTES:
        raise EvidenceInvalid("no template of a seeded key")
    return replace(template, body=replace(body, x=seed, y=bytes(SEED_BYTES)))


def sealed_secret(policy: bytes = b"") -> Public:
    """A secret of the caller's, opened by ``TPM2_Unseal``; with ``policy`` only under it."""
    return Public(FIXED | (Attribute(0) if policy else _USER) | _NO_DA, KeyedHash(), policy)


def endorsement_rsa2048() -> Public:
    """Template L-1 of the EK credential profile."""
    attributes = MADE_HERE | Attribute.ADMIN_WITH_POLICY | _STORAGE
    body = Rsa(2048, bytes(256), symmetric=Symmetric(128))
    return Public(attributes, body, EK_POLICY_SHA256)


def endorsement_p256() -> Public:
    """Template L-2 of the EK credential profile."""
    attributes = MADE_HERE | Attribute.ADMIN_WITH_POLICY | _STORAGE
    body = Ecc(Curve.P256, bytes(32), bytes(32), symmetric=Symmetric(128))
    return Public(attributes, body, EK_POLICY_SHA256)


def endorsement_p384() -> Public:
    """Template H-3 of the EK credential profile: what ``swtpm_setup`` makes persistent."""
    attributes = MADE_HERE | _USER | Attribute.ADMIN_WITH_POLICY | _STORAGE
    body = Ecc(Curve.P384, symmetric=Symmetric(256))
    return Public(attributes, body, EK_POLICY_SHA384, Alg.SHA384)
