"""What a plan may say fits into its tokens, whatever signs them, however many keys they carry."""

from __future__ import annotations

import os

import msgspec
import pytest
from tests.license import world

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.hpke_p256 import P256PublicKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import ConfigInvalid
from modelseal.license import lease_keys, plans, tokens
from modelseal.license.claims import BundleRef, Entitlement, Eula, HardwareEnd
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services.granting import most
from modelseal.strict_json import b64u

PROFILES = [("Ed25519",), ("ES256",), ("RS256",), ("Ed25519", "ML-DSA-65")]
LAST = 253402300799
LONG = "p" * 64


def fullest(make: object) -> Plan:
    """The last of the plans ``make(1)``, ``make(2)``, … that is let through."""
    found = None
    for number in range(1, 400):
        try:
            found = plans.check(make(number))  # type: ignore[operator]
        except ConfigInvalid:
            break
    assert found is not None
    return found


def named(number: int) -> list[PlanEntitlement]:
    names = [f"{n:03d}".ljust(64, "x") for n in range(number)]
    return [PlanEntitlement(id=name, min_level=5, exp=LAST) for name in names]


@pytest.mark.parametrize("algorithms", PROFILES, ids="+".join)
def test_the_fullest_plan_that_is_let_through_has_license_tokens(
    algorithms: tuple[str, ...],
) -> None:
    signers = [SigningKey.generate(alg) for alg in algorithms]
    eula = Eula(b64u(b"e" * 32), "h" * 512)
    channels = [f"{n:02d}".ljust(64, "c") for n in range(32)]
    whole = fullest(lambda n: Plan(entitlements=named(n)))
    rest = fullest(
        lambda n: Plan(entitlements=whole.entitlements, min_releases=dict.fromkeys(
            [f"{m:03d}".ljust(128, "m") for m in range(n)], 2**53 - 1))
    )  # fmt: skip
    mixed = fullest(lambda n: Plan(entitlements=named(n), eula=eula, channels=channels))
    for plan in (whole, rest, mixed):
        claims = world.license_claims(
            "j" * 43, aud=LONG, product=LONG, plan=LONG, eula=plan.eula,
            ent=msgspec.convert(msgspec.to_builtins(plan.entitlements), list[Entitlement]),
            channels=plan.channels, min_releases=plan.min_releases, on_expiry="stop_now",
            memory="secret", lease_max_seconds=plans.MAX_LEASE_SECONDS, exp=LAST,
        )  # fmt: skip
        assert len(tokens.sign(claims, signers)) <= tokens.MAX_BYTES


@pytest.mark.parametrize("algorithms", PROFILES, ids="+".join)
@pytest.mark.parametrize("hardware", [False, True])
def test_the_fullest_plan_that_is_let_through_has_leases_with_all_their_keys(
    algorithms: tuple[str, ...], hardware: bool
) -> None:
    signers = [SigningKey.generate(alg) for alg in algorithms]
    plan = fullest(lambda n: Plan(entitlements=named(n)))
    keys = {(os.urandom(32), 2**31): os.urandom(32) for _ in range(most(len(signers)))}
    binding = lease_keys.Binding(
        "lease", LONG, world.LICENSE, world.DEVICE, world.LEASE, 2**40, LAST, 5, "j" * 43
    )
    outer = P256PublicKey(SigningKey.generate("ES256").jwk) if hardware else None
    sealed = lease_keys.seal(keys, KemPrivateKey.generate().public_key(), binding, outer)
    claims = world.lease_claims(
        "j" * 43, aud=LONG, product=LONG, seq=2**40, prev=world.LEASE, keys=[sealed],
        ent=msgspec.convert(msgspec.to_builtins(plan.entitlements), list[Entitlement]),
        bundle=BundleRef(b64u(b"b" * 32)), enforcement="hardware", level=5,
        hardware=HardwareEnd(2**52, 2**52, 2**32, 2**32),
    )  # fmt: skip
    assert len(tokens.sign(claims, signers)) <= tokens.MAX_BYTES


def test_a_plan_that_no_token_would_hold_is_refused_and_says_by_how_much() -> None:
    with pytest.raises(ConfigInvalid, match="entitlements fill 27393 bytes") as refused:
        plans.check(Plan(entitlements=named(256)))
    assert refused.value.params["limit"] == plans.MAX_ENTITLEMENTS_BYTES
    short = [PlanEntitlement(id=f"pack.{n:03d}") for n in range(150)]
    assert plans.check(Plan(entitlements=short)).entitlements == short
