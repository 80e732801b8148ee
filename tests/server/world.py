"""A shop with a sealed model, its server in this process, and computers that ask it by hand.

``Computer`` builds every request with the public token code, so that a test can send exactly what
an odd client would.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine

from modelseal import admin, trust
from modelseal.crypto.hpke import SUITE, KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import publishing, sealing
from modelseal.desk import workspace as workspaces
from modelseal.errors import ModelsealError
from modelseal.ids import new_id
from modelseal.license import lease_keys, license_key, tokens
from modelseal.license.claims import (
    ClockReading,
    DenialClaims,
    KemKey,
    LeaseClaims,
    LicenseClaims,
    MissingTrait,
    ReleaseClaims,
    RequestClaims,
    TraitDigest,
)
from modelseal.license.license_key import KeyBinding
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services import LocalAdmin, Server, open_server
from modelseal.server.services.denials import refusal_of
from modelseal.strict_json import b64u
from modelseal.types import to_numeric

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KINDS = ("smbios_uuid", "board_serial", "disk_serial", "mac", "machine_id", "cpu_class")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@dataclass
class Shop:
    """A workspace with an open server; ``reopen`` is another process with the same store."""

    home: Path
    clock: Clock
    server: Server

    @property
    def admin(self) -> LocalAdmin:
        return LocalAdmin(self.server)

    @property
    def trust(self) -> trust.Trust:
        return trust.parse((self.home / "trust.json").read_bytes())

    def reopen(self) -> Shop:
        return Shop(self.home, self.clock, open_server(self.home, now=self.clock))

    def plan(self, name: str = "basic", *entitlements: str, **terms: Any) -> admin.PlanRecord:
        granted = [PlanEntitlement(id=e) for e in (entitlements or ("face.swap",))]
        return self.admin.create_plan(
            admin.PlanDraft(name=name, terms=Plan(entitlements=granted, **terms))
        )

    def license(self, plan: str = "basic", **wish: Any) -> admin.IssuedLicense:
        wish.setdefault("customer", "li@example.com")
        if not {"never", "expires_at", "expires_in_seconds"} & set(wish):
            wish["expires_in_seconds"] = 365 * 86400
        return self.admin.issue_license(admin.IssueLicense(plan=plan, **wish))

    def publish(self, folder: Path, name: str, *entitlements: str) -> admin.PublishedModel:
        """A small model sealed in the desk and published."""
        plain = folder / name
        plain.write_bytes(os.urandom(5000))
        with workspaces.open(self.home) as desk:
            sealing.seal_paths(
                desk,
                [plain],
                folder / f"{name}.sealed",
                entitlements=entitlements,
                now=self.clock(),
            )
            return publishing.publish(desk, self.admin, folder / f"{name}.sealed", now=self.clock())

    def events(self, *kinds: str) -> list[admin.EventRecord]:
        found: list[admin.EventRecord] = []
        cursor = None
        while True:
            page = self.admin.list_events(cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return [e for e in found if not kinds or e.kind in kinds]


def hardware(seed: str, *kinds: str) -> list[TraitDigest]:
    """The trait digests of one computer."""

    def digest(kind: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{seed}:{kind}".encode()).digest()[:4], "big")

    return [TraitDigest(kind=kind, digest=digest(kind)) for kind in kinds or KINDS]


@dataclass
class Computer:
    """A device by hand. ``copy`` is a copied state folder: same key, same place in the chain."""

    shop: Shop
    seed: str = "a"
    traits: list[TraitDigest] = field(default_factory=list)
    key: SigningKey = field(default_factory=SigningKey.generate)
    device_id: str | None = None
    license_id: str | None = None
    seq: int = 0
    prev: str | None = None
    lease: LeaseClaims | None = None
    license: LicenseClaims | None = None
    keys: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    missing: list[MissingTrait] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.traits = self.traits or hardware(self.seed)

    def copy(self, seed: str | None = None) -> Computer:
        other = Computer(self.shop, seed or self.seed, key=self.key)
        other.device_id, other.license_id = self.device_id, self.license_id
        other.seq, other.prev, other.lease = self.seq, self.prev, self.lease
        return other

    def request(self, op: str, *, nonce: str | None = None, **more: Any) -> RequestClaims:
        now = to_numeric(self.shop.clock())
        known: dict[str, Any] = {
            "iss": self.key.kid,
            "aud": self.shop.trust.server_id,
            "product": self.shop.trust.product,
            "jti": new_id("req", self.shop.clock(), os.urandom),
            "iat": now,
            "op": op,
            "nonce": nonce or b64u(os.urandom(32)),
            "jwk": dict(self.key.jwk),
            "clock": ClockReading(wall=now, monotonic_seconds=1),
            "sub": self.device_id,
            "lic": self.license_id,
            "seq": self.seq,
            "prev": self.prev,
            "traits": self.traits,
            "missing": self.missing,
            "enforcement": ["online", "software"],
        }
        return RequestClaims(**{**known, **more})

    def kem(self, key: KemPrivateKey) -> list[KemKey]:
        return [KemKey(suite=SUITE, pub=key.jwk["pub"])]

    def sign(self, claims: RequestClaims) -> bytes:
        return tokens.sign(claims, [self.key]).encode()

    def sealed_key(self, text: str, nonce: str) -> Any:
        known = self.shop.trust
        binding = KeyBinding(known.server_id, known.product, self.key.kid, nonce)
        return license_key.seal(text, known.sealing_key(self.shop.clock()), binding)

    def activation(
        self, text: str, kem: KemPrivateKey, nonce: str | None = None, **more: Any
    ) -> bytes:
        nonce = nonce or b64u(os.urandom(32))
        sealed = self.sealed_key(text, nonce)
        return self.sign(
            self.request("activate", nonce=nonce, kem=self.kem(kem), license_key=sealed, **more)
        )

    def activate(self, text: str, *, nonce: str | None = None, **more: Any) -> LeaseClaims:
        kem = KemPrivateKey.generate()
        token = self.activation(text, kem, nonce, **more)
        answer = self.shop.server.devices.activate(token)
        return self._accept(answer.lease, answer.license, kem)

    def renew(
        self,
        *,
        nonce: str | None = None,
        kem: KemPrivateKey | None = None,
        network: str = "local",
        **more: Any,
    ) -> LeaseClaims:
        kem = kem or KemPrivateKey.generate()
        token = self.sign(self.request("renew", nonce=nonce, kem=self.kem(kem), **more))
        how = {} if network == "local" else {"network": network}
        answer = self.shop.server.devices.renew(self.device_id or "", token, **how)
        return self._accept(answer.lease, answer.license, kem)

    def give_back(self, **more: Any) -> Any:
        token = self.sign(self.request("return", **more))
        return self.shop.server.devices.give_back(self.device_id or "", token)

    def release(self, **more: Any) -> tuple[ReleaseClaims, dict[tuple[bytes, int], bytes]]:
        kem = KemPrivateKey.generate()
        token = self.sign(self.request("release", kem=self.kem(kem), **more))
        answer = self.shop.server.devices.release(self.device_id or "", token)
        claims = tokens.read(answer.release, ReleaseClaims, self.shop.trust)
        keys: dict[tuple[bytes, int], bytes] = {}
        for sealed in claims.keys:
            binding = lease_keys.Binding(
                "release", claims.product, claims.lic, claims.sub, claims.lease, claims.seq,
                claims.exp, sealed.level, claims.cnf.jkt, claims.request_nonce,
            )  # fmt: skip
            keys |= lease_keys.open_keys(sealed, kem, binding)
        return claims, keys

    def lookup(self, text: str) -> Any:
        nonce = b64u(os.urandom(32))
        sealed = self.sealed_key(text, nonce)
        token = self.sign(self.request("lookup", nonce=nonce, license_key=sealed))
        return self.shop.server.devices.lookup(token)

    def trial(self, plan: str, **more: Any) -> Any:
        kem = KemPrivateKey.generate()
        token = self.sign(self.request("trial", kem=self.kem(kem), plan=plan, **more))
        answer = self.shop.server.devices.trial(token)
        self._accept(answer.lease, answer.license, kem)
        return answer

    def opened(self, lease: LeaseClaims, kem: KemPrivateKey) -> dict[tuple[bytes, int], bytes]:
        found: dict[tuple[bytes, int], bytes] = {}
        for sealed in lease.keys:
            binding = lease_keys.Binding(
                "lease", lease.product, lease.lic, lease.sub, lease.jti, lease.seq, lease.exp,
                sealed.level, lease.cnf.jkt,
            )  # fmt: skip
            found |= lease_keys.open_keys(sealed, kem, binding)
        return found

    def _accept(self, lease: str, license_: str | None, kem: KemPrivateKey) -> LeaseClaims:
        claims = tokens.read(lease, LeaseClaims, self.shop.trust)
        if license_:
            self.license = tokens.read(license_, LicenseClaims, self.shop.trust)
        self.device_id, self.license_id = claims.sub, claims.lic
        self.seq, self.prev, self.lease = claims.seq, claims.jti, claims
        self.keys = self.opened(claims, kem)
        return claims


def denied(act: Callable[[], object], shop: Shop) -> tuple[ModelsealError, DenialClaims]:
    """The error and the verified denial with which ``act`` is refused."""
    try:
        act()
    except ModelsealError as error:
        refusal = refusal_of(error)
        assert refusal is not None, f"no denial: {error!r}"
        return error, tokens.read(refusal.denial, DenialClaims, shop.trust)
    raise AssertionError("nothing was refused")


def scaled(store: str, number: int) -> int:
    """How often over this kind of store: the second one repeats the suite, in short."""
    return number if store == "sqlite" else -(-number // 8)


def run_machine(
    machine: type[RuleBasedStateMachine], shop: Shop, *, examples: int, steps: int, **names: Any
) -> None:
    """``machine`` run over ``shop``; ``names`` are attributes of this run's class.

    A failure is shown as it was found: making it smaller would take minutes of real signatures.
    """
    bound = type(f"Bound{machine.__name__}", (machine,), {"shop": shop, **names})
    bound.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    bound.TestCase("runTest").runTest()
