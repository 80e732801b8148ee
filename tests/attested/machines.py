"""A computer with a confidential processor and a GPU by hand: it proves exactly what a test wants.

Chips and their makers are of our own; a server believes them where its policy pins them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.attest.authorities import certificates as c
from tests.attest.authorities import nvidia as gpus
from tests.attest.authorities import snp
from tests.attest.authorities.crls import crl
from tests.server.world import Clock, Computer, Shop, denied

from modelseal import trust
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.desk import endorsing
from modelseal.desk import workspace as workspaces
from modelseal.errors import LevelNotReached
from modelseal.license import attested, lease_keys, tokens
from modelseal.license.attested import Transcript
from modelseal.license.claims import KeyWish, ReleaseClaims, RequestClaims
from modelseal.server.services.attesting import AttestedRequest, EvidenceOfKind
from modelseal.strict_json import b64u, unb64u

GPU_REFERENCE = {f"measurement_{i:02}": (bytes([i]) * 48).hex() for i in range(1, 65)}


@dataclass
class Makers:
    """Who made the chips."""

    amd: snp.Amd = field(default_factory=snp.Amd)
    gpu: gpus.Maker = field(default_factory=gpus.Maker)

    def rules(self, **more: Any) -> dict[str, Any]:
        """A policy for machines with these chips that run the one good image."""
        known = {
            "kinds": ["snp", "nvidia"],
            "roots": {"snp": [self.amd.pin], "nvidia": [c.pem([self.gpu.pin]).decode()]},
            "snp": {"minimum_tcb": snp.TCB},
            "reference": {
                "snp": [{"measurement": [snp.MEASUREMENT.hex()]}],
                "nvidia": [{name: [value] for name, value in GPU_REFERENCE.items()}],
            },
        }
        return {**known, **more}


def set_policy(home: Path, rules: dict[str, Any]) -> None:
    """The server at ``home`` goes by ``rules``."""
    whole = {"typ": "modelseal-appraisal-policy", "version": 1, **rules}
    (home / "server" / "attestation-policy.json").write_text(json.dumps(whole), encoding="utf-8")


def endorse(shop: Shop, *items: bytes, days: int = 30) -> bytes:
    """A bundle of ``items`` is in force at the server; returns it."""
    named = [(f"item-{number}", item) for number, item in enumerate(items)]
    with workspaces.open(shop.home) as desk:
        _, data = endorsing.create(desk, named, days=days, now=shop.clock())
    known = trust.parse((shop.home / "trust.json").read_bytes())
    endorsing.take_in(shop.home / "server" / "endorsements", data, known, shop.clock())
    return data


def list_of(makers: Makers, clock: Clock, *revoked: int) -> bytes:
    """AMD's revocation list as it stands now."""
    return crl(makers.amd.ark, clock(), revoked)


@dataclass
class Sent:
    """One question: what was signed, and what came back."""

    claims: RequestClaims
    token: str
    transcript: Transcript
    kem: KemPrivateKey

    def opened(self, claims: ReleaseClaims, **wrong: Any) -> dict[tuple[bytes, int], bytes]:
        """The keys of a release of this question; ``wrong`` alters what they are bound to."""
        proved = claims.attested
        assert proved is not None
        keys: dict[tuple[bytes, int], bytes] = {}
        for sealed in claims.keys:
            said = {
                "label": "attested-release", "product": claims.product, "license": claims.lic,
                "device": claims.sub, "lease": claims.lease, "seq": claims.seq, "exp": claims.exp,
                "level": sealed.level, "jkt": claims.cnf.jkt, "nonce": claims.request_nonce,
                "transcript": self.transcript.digest, "result": unb64u(proved.result),
            }  # fmt: skip
            keys |= lease_keys.open_keys(sealed, self.kem, lease_keys.Binding(**{**said, **wrong}))
        return keys


@dataclass
class Tee(Computer):
    """A device in a confidential guest of ``makers``; ``with_gpu`` beside a confidential GPU."""

    makers: Makers = field(default_factory=Makers)
    with_gpu: bool = False

    def nonce(self, **more: Any) -> Any:
        token = self.sign(self.request("nonce", **more))
        return self.shop.server.devices.release_nonce(self.device_id or "", token)

    def ask(
        self, wanted: dict[bytes, list[int]], level: int = 4, *, nonce: Any = None, **more: Any
    ) -> Sent:
        """A signed question; nothing is sent yet."""
        nonce = self.nonce() if nonce is None else nonce
        kem = KemPrivateKey.generate()
        want = [KeyWish(file=b64u(f), sections=s) for f, s in wanted.items()]
        said = {
            "kem": self.kem(kem), "want": want, "server_nonce": nonce.nonce,
            "server_key": nonce.server_key, "level": level,
        }  # fmt: skip
        claims = self.request("attest", **{**said, **more})
        token = self.sign(claims).decode()
        return Sent(claims, token, attested.of(claims, token), kem)

    def evidence(self, transcript: Transcript, **report: Any) -> list[EvidenceOfKind]:
        """What the chips say about that transcript; ``report`` alters the processor's."""
        bound = transcript.bound("snp", 64)
        said = snp.Report().but(**{"report_data": bound, **report})
        found = [EvidenceOfKind("snp", [self.makers.amd.sign(said)])]
        if self.with_gpu:
            gpu = gpus.Report().but(nonce=transcript.bound("nvidia", 32))
            entry = self.makers.gpu.entry(gpu)
            found.append(EvidenceOfKind("nvidia", [gpus.as_json(entry)]))
        return found

    @property
    def beside(self) -> list[bytes]:
        """The certificates that the host has for its guest."""
        return [self.makers.amd.certificate(), self.makers.amd.intermediate]

    def send(
        self,
        sent: Sent,
        evidence: list[EvidenceOfKind] | None = None,
        endorsements: list[bytes] | None = None,
        *,
        server: Any = None,
    ) -> ReleaseClaims:
        """The verified release that answers ``sent``."""
        body = AttestedRequest(
            sent.token,
            self.evidence(sent.transcript) if evidence is None else evidence,
            self.beside if endorsements is None else endorsements,
        )
        answer = (server or self.shop.server).devices.attested_release(self.device_id or "", body)
        return tokens.read(answer.release, ReleaseClaims, self.shop.trust)


def verdict(act: Callable[[], object], shop: Shop) -> Any:
    """The code of the verdict by which ``act`` is denied; the denial ends nothing."""
    error, denial = denied(act, shop)
    assert isinstance(error, LevelNotReached)
    assert (denial.seq, denial.erase) == (0, False)
    return error.params["verdict"]
