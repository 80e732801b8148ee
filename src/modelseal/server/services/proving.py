"""The server's proof of a device's level: what its TPM states, under roots that are pinned here.

A level counts only when it was proved in this very request. What does not hold is no error: the
device is at L0 then, and the verdict's code says why. Normative: ``docs/spec/tpm.md``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from modelseal import cbor
from modelseal.attest.verify import tpm2, tpm2_chain
from modelseal.attest.verify.steps import NotGenuine, Step
from modelseal.attest.verify.tpm2 import LeaseKey, Point
from modelseal.attest.verify.tpm2_chain import Endorsement
from modelseal.crypto.hpke_p256 import P256PublicKey, point_jwk
from modelseal.errors import EvidenceOutdated, TokenClaims
from modelseal.license.claims import (
    HardwareEnd,
    LeaseClaims,
    P256Point,
    RequestClaims,
    TpmCredential,
    TpmEvidence,
)
from modelseal.server.services import intake
from modelseal.server.services.context import Context, plain
from modelseal.server.services.endorsing import TpmRoots
from modelseal.server.store.rows import DeviceRow
from modelseal.strict_json import JsonInvalid, b64u, unb64u
from modelseal.types import from_numeric, to_numeric

SECRET = "tpm-challenge"
CHALLENGE_LIFE = timedelta(minutes=10)
LEVEL = 2
_AGAIN = frozenset({"ak_unknown", "credential_late", "key_ended", "key_limit", "key_resets"})
"""Verdicts that a device heals by asking again: nothing is decided about it then."""


class Challenged(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a challenge: what only the TPM with these certificates can read.

    ``verdict`` is ``ok``, or why there is none; such a device stays at L0.
    """

    verdict: str
    expires_at: datetime
    credential: bytes | None = None
    seed: bytes | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proved in one request. ``why`` is the code of what did not hold.

    ``enrolled`` is what the device's row remembers of its TPM; ``found`` goes into the event.
    """

    level: int = 0
    why: str = ""
    key: P256PublicKey | None = None
    end: HardwareEnd | None = None
    enrolled: dict[str, Any] | None = None
    found: dict[str, Any] | None = None


NOTHING = Proof()


@dataclass(frozen=True, slots=True)
class Within:
    """How long a lease key may live: for these seconds and so many resets of its TPM."""

    seconds: int
    power_cuts: int


class Proving:
    """Challenging TPMs and judging what they state."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._roots = TpmRoots(context.folder / context.config.tpm_roots)

    def challenge(self, claims: RequestClaims) -> Challenged:
        """A credential for the TPM and the attestation key that the request names."""
        asked = claims.endorsement
        if asked is None:
            raise TokenClaims("the request names no endorsement")
        now = self._context.now()
        expires_at = from_numeric(to_numeric(now + CHALLENGE_LIFE))
        try:
            ak = _point(asked.ak)
            endorsed = self._endorsement(asked.certificates, now)
            secret = self._secret(claims, ak, endorsed, to_numeric(expires_at))
            blob, seed = tpm2.challenge(endorsed, ak, secret, self._context.random)
        except NotGenuine as found:
            return Challenged(verdict=found.code, expires_at=expires_at)
        return Challenged(verdict="ok", expires_at=expires_at, credential=blob, seed=seed)

    def judge(
        self, claims: RequestClaims, row: DeviceRow | None, within: Within | None, now: datetime
    ) -> Proof:
        """What the evidence in the request proves; nothing where there is none.

        ``within`` None: the lease was given already, and its reply was lost. Raises
        ``EvidenceOutdated`` where the device only has to prove it anew.
        """
        evidence = claims.tpm
        if evidence is None:
            return NOTHING
        try:
            return self._judge(claims, evidence, row, within, now)
        except NotGenuine as found:
            if found.code in _AGAIN:
                told = {} if within is None else asdict(within)
                detail = "the TPM has to prove it anew"
                raise EvidenceOutdated(detail, verdict=found.code, **told) from None
            return Proof(why=found.code, found={"kind": "tpm2", "verdict": found.code})

    def _judge(
        self,
        claims: RequestClaims,
        evidence: TpmEvidence,
        row: DeviceRow | None,
        within: Within | None,
        now: datetime,
    ) -> Proof:
        ak, point = _point(evidence.ak), _point(evidence.key)
        enrolled = self._enrolled(claims, evidence, ak, row, now)
        key = LeaseKey(point, evidence.clock_limit_ms, evidence.reset_limit)
        clock = tpm2.certified(
            _bytes(evidence.attest), _bytes(evidence.signature), by=ak, key=key,
            bound=tpm2.lease_bound(
                server=claims.aud, product=claims.product, jkt=claims.iss, nonce=claims.nonce,
                kem=intake.kem_key(claims).kid,
            ),
        )  # fmt: skip
        if within is not None and within.seconds > 0:  # a license that is over is refused anyway
            tpm2.check_end(key, clock, seconds=within.seconds, power_cuts=within.power_cuts)
        end = HardwareEnd(
            clock_ms=clock.clock,
            clock_limit_ms=key.clock_limit_ms,
            reset_count=clock.reset_count,
            reset_limit=key.reset_limit,
        )
        told = ("root", "manufacturer", "model")
        found = {"kind": "tpm2", "verdict": "ok"} | {n: enrolled[n] for n in told if n in enrolled}
        return Proof(
            level=LEVEL,
            key=P256PublicKey(point_jwk(point.x, point.y)),
            end=end,
            enrolled=enrolled,
            found=found,
        )

    def _enrolled(
        self,
        claims: RequestClaims,
        evidence: TpmEvidence,
        ak: Point,
        row: DeviceRow | None,
        now: datetime,
    ) -> dict[str, Any]:
        """What is known of the TPM that holds ``ak``: from its credential, or from before."""
        if evidence.credential is not None:
            return self._activated(claims, evidence.credential, ak, now)
        known = None if row is None else row.tpm
        if known is None or known["ak"] != [b64u(ak.x), b64u(ak.y)]:
            raise NotGenuine(Step.BINDING, "ak_unknown")
        if not self._roots.holds(bytes.fromhex(known["root"])):
            raise NotGenuine(Step.CHAIN, "ek_root_unknown")
        return known

    def _activated(
        self, claims: RequestClaims, answer: TpmCredential, ak: Point, now: datetime
    ) -> dict[str, Any]:
        endorsed = self._endorsement(answer.certificates, now)
        if answer.secret is None:
            raise NotGenuine(Step.BINDING, "credential_wrong")
        if not to_numeric(now) < answer.expires_at <= to_numeric(now + CHALLENGE_LIFE):
            raise NotGenuine(Step.FRESHNESS, "credential_late")
        secret = self._secret(claims, ak, endorsed, answer.expires_at)
        tpm2.check_secret(_bytes(answer.secret), secret)
        return {
            "ak": [b64u(ak.x), b64u(ak.y)],
            "ek": endorsed.digest.hex(),
            "root": endorsed.root.hex(),
            **endorsed.claims,
        }

    def _endorsement(self, certificates: list[str], now: datetime) -> Endorsement:
        chain = [_bytes(text) for text in certificates]
        return tpm2_chain.endorsement(chain, self._roots.certificates, now, self._roots.crls)

    def _secret(self, claims: RequestClaims, ak: Point, by: Endorsement, expires_at: int) -> bytes:
        """The secret of one challenge: made again from what it was for, so nothing is stored."""
        said = ["modelseal", "tpm-challenge", claims.iss, ak.x, ak.y, by.digest, expires_at]
        return self._context.keyed_hash(SECRET, cbor.encode(said))


def row_values(proof: Proof) -> dict[str, Any]:
    """What a device's row remembers: the level of now, and its TPM once that was proved."""
    values: dict[str, Any] = {"level": proof.level}
    return values if proof.enrolled is None else values | {"tpm": proof.enrolled}


def event_params(proof: Proof, lease: LeaseClaims) -> dict[str, Any]:
    """What the event of a lease says of its level and of how its end is held."""
    end = None if lease.hardware is None else plain(lease.hardware)
    return {
        "level": lease.level or None,
        "enforcement": None if end is None else lease.enforcement,
        "hardware": end,
        "evidence": proof.found,
    }


def _point(point: P256Point) -> Point:
    return Point(_bytes(point.x), _bytes(point.y))


def _bytes(text: str) -> bytes:
    try:
        return unb64u(text)
    except JsonInvalid:
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail="no base64url") from None
