"""A computer with a TPM, by hand: it proves exactly what a test wants it to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from tests.server.world import Computer

from modelseal.attest.verify.tpm2 import lease_bound
from modelseal.client.tpm import DeviceTpm, HardwareKey
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.hpke_p256 import P256PrivateKey, point_jwk
from modelseal.errors import TpmFailed
from modelseal.license import lease_keys
from modelseal.license.claims import (
    LeaseClaims,
    P256Point,
    TpmCredential,
    TpmEndorsement,
    TpmEvidence,
)
from modelseal.strict_json import b64u
from modelseal.types import to_numeric

OFFERS = ["online", "software", "hardware"]
WEEK = 7 * 86400


@dataclass
class TpmComputer(Computer):
    """``chip`` is its TPM. ``ask`` activates or renews with a proof; ``wrong`` alters it."""

    chip: DeviceTpm = field(default_factory=DeviceTpm)
    ak: bytes = field(default_factory=lambda: os.urandom(32))
    made: HardwareKey | None = None

    def point(self, chip: DeviceTpm | None = None) -> P256Point:
        x, y = (chip or self.chip).attestation_point(self.ak)
        return P256Point(b64u(x), b64u(y))

    def credential(self, chip: DeviceTpm | None = None, **wrong: Any) -> TpmCredential:
        """What ``chip`` makes of the server's challenge for this computer's own TPM."""
        certificates = [b64u(data) for data in self.chip.certificates()]
        asked = TpmEndorsement(certificates, wrong.pop("named", None) or self.point())
        token = self.sign(self.request("challenge", endorsement=asked))
        found = self.shop.server.devices.challenge(token)
        if found.verdict != "ok" or found.credential is None or found.seed is None:
            return TpmCredential(certificates)
        try:
            secret = (chip or self.chip).activate(self.ak, found.credential, found.seed)
        except TpmFailed:
            secret = bytes(32)
        return TpmCredential(certificates, to_numeric(found.expires_at), b64u(secret))

    def evidence(self, nonce: str, kem: KemPrivateKey, **wrong: Any) -> TpmEvidence:
        """A statement about a fresh lease key, for the question with this nonce and KEM key."""
        seconds, cuts = wrong.pop("seconds", WEEK), wrong.pop("cuts", 24)
        key = wrong.pop("key", None) or self.chip.make(os.urandom(32), seconds, cuts)
        parts = {
            "server": self.shop.trust.server_id, "product": self.shop.trust.product,
            "jkt": self.key.kid, "nonce": nonce, "kem": kem.kid,
        }  # fmt: skip
        bound = lease_bound(**{**parts, **wrong.pop("parts", {})})
        attest, signature = self.chip.state_of(key, self.ak, bound)
        self.made = key
        known = {
            "ak": self.point(),
            "key": P256Point(b64u(key.x), b64u(key.y)),
            "clock_limit_ms": key.clock_limit_ms,
            "reset_limit": key.reset_limit,
            "attest": b64u(attest),
            "signature": b64u(signature),
            "credential": None,
        }
        return TpmEvidence(**{**known, **wrong})

    def prove(self, op: str, *texts: str, enrol: bool = True, **wrong: Any) -> LeaseClaims:
        """``activate`` with a license key, or ``renew``, with a proof; enrols where needed."""
        nonce, kem = wrong.pop("nonce", None) or b64u(os.urandom(32)), KemPrivateKey.generate()
        if enrol and "credential" not in wrong:
            wrong["credential"] = self.credential()
        tpm = wrong.pop("tpm", None) or self.evidence(nonce, kem, **wrong)
        more = {"nonce": nonce, "tpm": tpm, "enforcement": OFFERS}
        if op == "activate":
            token = self.activation(*texts, kem, **more)
            answer = self.shop.server.devices.activate(token)
        else:
            token = self.sign(self.request("renew", kem=self.kem(kem), **more))
            answer = self.shop.server.devices.renew(self.device_id or "", token)
        self.verdict = answer.verdict
        return self._accept(answer.lease, answer.license, kem)

    def opened(self, lease: LeaseClaims, kem: KemPrivateKey) -> dict[tuple[bytes, int], bytes]:
        if lease.hardware is None:
            return super().opened(lease, kem)
        key, found = self.made, {}
        assert key is not None
        hardware = P256PrivateKey(
            lambda x, y: self.chip.exchange(key, x, y), point_jwk(key.x, key.y)
        )
        for sealed in lease.keys:
            binding = lease_keys.Binding(
                "lease", lease.product, lease.lic, lease.sub, lease.jti, lease.seq, lease.exp,
                sealed.level, lease.cnf.jkt,
            )  # fmt: skip
            found |= lease_keys.open_keys(sealed, kem, binding, hardware)
        return found
