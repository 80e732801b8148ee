"""The claims of every token, as closed schemas: a member not named here is refused.

Normative: ``docs/spec/tokens.md``. Registered JWT claims keep their names (RFC 7519); times are
NumericDate, whole seconds. ``typ`` of the JOSE header is ``TYP`` of the class, so that no token
passes for another.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=512)]
Thumbprint = Annotated[str, Meta(min_length=43, max_length=43)]
Nonce = Annotated[str, Meta(min_length=43, max_length=43)]
Time = Annotated[int, Meta(ge=0, le=253402300799)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
LevelNumber = Annotated[int, Meta(ge=0, le=5)]
EnforcementName = Literal["online", "hardware", "software"]
MAX_DELEGATION_BYTES = 8192
"""Of the ``delegation+jwt`` in a token that its key signed."""
DelegationToken = Annotated[str, Meta(min_length=1, max_length=MAX_DELEGATION_BYTES)]


class _Closed(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Frozen and closed: unknown members are refused, absent optional ones are not written."""


class Confirmation(_Closed, frozen=True):
    """RFC 7800: the key whose possession goes with the token, by RFC 7638 thumbprint."""

    jkt: Thumbprint


class Entitlement(_Closed, frozen=True):
    """One named capability, from which verified level on, and until when."""

    id: Name
    min_level: LevelNumber = 0
    exp: Time | None = None


class Eula(_Closed, frozen=True):
    """The agreement that was accepted: SHA-256 of its bytes, base64url."""

    digest: Thumbprint
    uri: Text | None = None


class StatusRef(_Closed, frozen=True):
    """Where the Token Status List tells about this token."""

    idx: Count
    uri: Text


class SealedKeys(_Closed, frozen=True):
    """Data keys sealed to one KEM key of the request, none above ``level``.

    ``ct`` opens to deterministic CBOR: a list of [file id, section, data key] (32, -, 32 bytes);
    the bundle key stands there as [bundle digest (32 bytes), -1, key].
    """

    recipient: Thumbprint
    suite: Name
    level: LevelNumber
    ct: str


class BundleRef(_Closed, frozen=True):
    """SHA-256 of the key bundle, base64url."""

    digest: Thumbprint


class HardwareEnd(_Closed, frozen=True):
    """When the TPM key of a hardware lease stops answering, by the TPM's own clock.

    It answers while the clock is below ``clock_limit_ms`` and the reset count not above
    ``reset_limit``; ``clock_ms`` and ``reset_count`` are what they stood at when it was certified.
    """

    clock_ms: Count
    clock_limit_ms: Count
    reset_count: Count
    reset_limit: Count


class LicenseClaims(_Closed, frozen=True):
    """``license.jwt``: the right. ``sub`` the license, ``aud`` the product, ``iss`` the server.

    ``channels`` are those whose models it gets; none are named where it is ``stable`` alone.
    ``min_releases`` are the oldest releases that its plan still gives keys of, by model id.
    ``on_expiry`` says whether sessions that run go on when the right to load has ended, ``memory``
    how opened weights are protected at least. ``delegation``: by which a relay signed it.
    """

    TYP: ClassVar[str] = "license+jwt"
    USE: ClassVar[str] = "license"
    iss: Id
    aud: Name
    sub: Id
    jti: Id
    iat: Time
    nbf: Time
    exp: Time
    product: Name
    plan: Name
    pv: Count
    ent: list[Entitlement]
    cnf: Confirmation
    lease_max_seconds: Count
    status: StatusRef
    eula: Eula | None = None
    channels: Annotated[list[Name], Meta(max_length=32)] = []
    min_releases: Annotated[dict[Id, Count], Meta(max_length=256)] = {}
    on_expiry: Literal["stop_new", "stop_now"] = "stop_new"
    memory: Literal["none", "locked", "secret"] = "none"
    delegation: DelegationToken | None = None


class LeaseClaims(_Closed, frozen=True):
    """``lease.jwt``: the right to run without contact. ``sub``: the device.

    ``delegation``: by which a relay signed it, not the server.
    """

    TYP: ClassVar[str] = "lease+jwt"
    USE: ClassVar[str] = "lease"
    iss: Id
    aud: Name
    sub: Id
    lic: Id
    product: Name
    pv: Count
    jti: Id
    iat: Time
    nbf: Time
    exp: Time
    renew_after_at: Time
    seq: Count
    request_nonce: Nonce
    cnf: Confirmation
    ent: list[Entitlement]
    enforcement: EnforcementName
    keys: list[SealedKeys]
    level: LevelNumber
    status: StatusRef
    prev: Id | None = None
    bundle: BundleRef | None = None
    bound: bool = True
    hardware: HardwareEnd | None = None
    delegation: DelegationToken | None = None


class DenialClaims(_Closed, frozen=True):
    """``denial+jwt``: a signed refusal. Shares ``seq`` with leases; the highest ``seq`` wins.

    ``code`` is a code of our error tree; ``state`` the lease state the device goes to; ``erase``
    says whether keys and lease are erased. Before there is a device, ``sub`` is its thumbprint.
    """

    TYP: ClassVar[str] = "denial+jwt"
    USE: ClassVar[str] = "lease"
    iss: Id
    aud: Name
    sub: Id
    product: Name
    jti: Id
    iat: Time
    seq: Count
    request_nonce: Nonce
    cnf: Confirmation
    code: Name
    state: Name
    erase: bool
    reference: Annotated[str, Meta(min_length=8, max_length=8)]
    lic: Id | None = None
    prev: Id | None = None
    params: Annotated[
        dict[Name, str | Count | list[str | dict[str, str | Count]]], Meta(max_length=32)
    ] = {}


class Attested(_Closed, frozen=True):
    """For which question and by which verdict attested keys were released.

    ``transcript`` is SHA-256 of what the evidence was bound to, ``result`` the digest of the
    attestation result, ``kinds`` those of the evidence.
    """

    transcript: Thumbprint
    result: Thumbprint
    kinds: Annotated[list[Name], Meta(min_length=1, max_length=16)]


class ReleaseClaims(_Closed, frozen=True):
    """``release+jwt``: keys for one run under an *online* lease, or after attestation.

    ``seq`` and ``lease`` name the lease in force and do not advance it.
    """

    TYP: ClassVar[str] = "release+jwt"
    USE: ClassVar[str] = "lease"
    iss: Id
    aud: Name
    sub: Id
    lic: Id
    product: Name
    jti: Id
    iat: Time
    exp: Time
    lease: Id
    seq: Count
    request_nonce: Nonce
    cnf: Confirmation
    keys: list[SealedKeys]
    level: LevelNumber
    bundle: BundleRef | None = None
    attested: Attested | None = None


class KemKey(_Closed, frozen=True):
    """A KEM key of the request: the JWK member ``pub`` of its suite; its id is the thumbprint."""

    suite: Name
    pub: str


class DelegationClaims(_Closed, frozen=True):
    """``delegation+jwt``: the key ``jwk`` signs leases of one license, as many and as long as here.

    ``sub`` is the relay, ``device`` the device of that license as which it was attested at
    ``level``. It may take ``seats`` new devices and renew ``renewals`` times, grant no more than
    ``ent``, for ``lease_max_seconds`` at once and never beyond ``exp``. ``status`` is its own place
    and the place of every lease by it. ``number`` grows with each delegation of a relay. License
    keys are sealed for it to the KEM key ``kem``.
    """

    TYP: ClassVar[str] = "delegation+jwt"
    USE: ClassVar[str] = "lease"
    iss: Id
    aud: Name
    sub: Id
    device: Id
    lic: Id
    product: Name
    plan: Name
    pv: Count
    jti: Id
    iat: Time
    exp: Time
    number: Count
    request_nonce: Nonce
    cnf: Confirmation
    jwk: Annotated[dict[Name, Text], Meta(max_length=8)]
    kem: Thumbprint
    seats: Count
    renewals: Count
    lease_max_seconds: Count
    ent: list[Entitlement]
    status: StatusRef
    level: LevelNumber
    attested: Attested


class TraitDigest(_Closed, frozen=True):
    """A trait as the server sees it: 32 bits of HMAC under the product's salt, never the value."""

    kind: Name
    digest: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    confidence: Literal["high", "low"] = "high"
    privileged: bool = False


class MissingTrait(_Closed, frozen=True):
    """A trait that was looked for and not found, and why."""

    kind: Name
    why: Name


class ClockReading(_Closed, frozen=True):
    """What the device's clocks say: wall time, seconds since boot, the last time seen."""

    wall: Time
    monotonic_seconds: Count
    last_seen: Time | None = None


class Usage(_Closed, frozen=True):
    """What one meter has counted on this device under this license, ever."""

    meter: Name
    count: Count


class SealedText(_Closed, frozen=True):
    """A short secret sealed to the server's sealing key ``recipient``."""

    recipient: Thumbprint
    suite: Name
    ct: str


class KeyWish(_Closed, frozen=True):
    """A file whose keys a key release is asked for."""

    file: Thumbprint
    sections: list[Count]


class P256Point(_Closed, frozen=True):
    """The public point of a P-256 key in a TPM: base64url of 32 bytes each."""

    x: Thumbprint
    y: Thumbprint


Certificate = Annotated[str, Meta(min_length=1, max_length=11000)]


class TpmEndorsement(_Closed, frozen=True):
    """Whose TPM it is: the endorsement certificate, then intermediates (DER, base64url)."""

    certificates: Annotated[list[Certificate], Meta(min_length=1, max_length=4)]
    ak: P256Point


class TpmCredential(_Closed, frozen=True):
    """The answer to a challenge: what the TPM with these certificates alone could read.

    ``expires_at`` is the challenge's; ``secret`` absent where the server gave no challenge.
    """

    certificates: Annotated[list[Certificate], Meta(min_length=1, max_length=4)]
    expires_at: Time = 0
    secret: Nonce | None = None


class TpmEvidence(_Closed, frozen=True):
    """A TPM's statement (TPMS_ATTEST, TPMT_SIGNATURE) about the lease key, by its AK.

    ``credential`` is there until the server knows the AK.
    """

    ak: P256Point
    key: P256Point
    clock_limit_ms: Count
    reset_limit: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    attest: Annotated[str, Meta(min_length=1, max_length=1024)]
    signature: Annotated[str, Meta(min_length=1, max_length=1024)]
    credential: TpmCredential | None = None


class RelayKey(_Closed, frozen=True):
    """Which relay asks for a delegation, and the key by which it is to sign."""

    relay: Annotated[str, Meta(max_length=64, pattern=r"^rly_[0-9a-f-]{36}\Z")]
    jwk: Annotated[dict[Name, Text], Meta(max_length=8)]


class RequestClaims(_Closed, frozen=True):
    """``request+jwt``: everything a device asks, signed by its signing key.

    ``iss`` is the device key's thumbprint, ``aud`` the server id, ``sub`` the device id once there
    is one. ``nonce`` is fresh per question and echoed as ``request_nonce``. ``jwk`` is the public
    signing key; the server takes it from here only at activation and lookup, later from its store.
    """

    TYP: ClassVar[str] = "request+jwt"
    iss: Thumbprint
    aud: Id
    product: Name
    jti: Id
    iat: Time
    op: Literal[
        "activate",
        "renew",
        "return",
        "release",
        "lookup",
        "trial",
        "challenge",
        "nonce",
        "attest",
        "delegate",
    ]
    nonce: Nonce
    jwk: dict[str, str]
    clock: ClockReading
    sub: Id | None = None
    lic: Id | None = None
    seq: Count = 0
    prev: Id | None = None
    kem: Annotated[list[KemKey], Meta(max_length=65)] = []
    traits: Annotated[list[TraitDigest], Meta(max_length=64)] = []
    missing: Annotated[list[MissingTrait], Meta(max_length=64)] = []
    license_key: SealedText | None = None
    replace: Id | None = None
    label: Annotated[str, Meta(max_length=64)] | None = None
    eula: Thumbprint | None = None
    email: Annotated[str, Meta(max_length=254)] | None = None
    plan: Name | None = None
    want: Annotated[list[KeyWish], Meta(max_length=64)] = []
    usage: Annotated[list[Usage], Meta(max_length=64)] = []
    memory: Literal["none", "locked", "secret"] = "none"
    enforcement: list[EnforcementName] = []
    server_nonce: Nonce | None = None
    server_key: Thumbprint | None = None
    level: LevelNumber | None = None
    lease_token: Annotated[str, Meta(max_length=16384)] | None = None
    vm: bool | None = None
    container: bool | None = None
    next_count: Annotated[int, Meta(ge=0, le=64)] = 0
    next_lease: Id | None = None
    trust_root: Count | None = None
    trust_keys: Count | None = None
    handover: Annotated[str, Meta(max_length=4096)] | None = None
    tpm: TpmEvidence | None = None
    endorsement: TpmEndorsement | None = None
    delegate: RelayKey | None = None


class HandoverClaims(_Closed, frozen=True):
    """``handover+jwt``: the device key ``iss`` is followed by the one with thumbprint ``jkt``.

    For the device ``sub`` and the one renewal with this ``nonce``; signed by the key ``iss``.
    """

    TYP: ClassVar[str] = "handover+jwt"
    iss: Thumbprint
    aud: Id
    product: Name
    sub: Id
    iat: Time
    nonce: Nonce
    jkt: Thumbprint


class StatusListBody(_Closed, frozen=True):
    """Two bits per entry, zlib-deflated, base64url (Token Status List, section 4)."""

    bits: Literal[2]
    lst: str


class StatusListClaims(_Closed, frozen=True):
    """``statuslist+jwt``: what is revoked or suspended. ``number`` only ever grows."""

    TYP: ClassVar[str] = "statuslist+jwt"
    USE: ClassVar[str] = "status"
    iss: Id
    sub: Text
    iat: Time
    exp: Time
    ttl: Count
    number: Count
    status_list: StatusListBody
