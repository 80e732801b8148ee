"""Entering a license key: what a device gets, what it does not, and the same answer twice."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from tests.server.world import DAY, START, Computer, Shop, denied, hardware

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    EulaNotAccepted,
    IdempotencyMismatch,
    LicenseExpired,
    LicenseRevoked,
    LicenseSuspended,
    NoFreeSeat,
    NotFound,
    SealedKeyInvalid,
    TokenAudience,
    TokenClaims,
    TokenKeyUnknown,
    TokenSignature,
    TrialUsed,
    UnknownLicenseKey,
    UnknownProduct,
)
from modelseal.license.claims import Eula, LeaseClaims, LicenseClaims
from modelseal.license.plans import Binding, LeaseTerms
from modelseal.strict_json import b64u
from modelseal.types import to_numeric


def test_an_activated_device_holds_license_lease_and_seat(shop: Shop, computer: Computer) -> None:
    shop.plan("basic", "face.swap", lease=LeaseTerms(max_seconds=3 * 86400))
    issued = shop.license(seats=2, label="studio")
    lease = computer.activate(issued.license_key, label="my laptop")
    license_ = computer.license
    assert license_ is not None and license_.sub == lease.lic == issued.license_id
    assert (lease.seq, lease.prev, lease.enforcement) == (1, None, "software")
    assert lease.exp - lease.iat == 3 * 86400 and license_.exp - license_.iat == 365 * 86400
    assert lease.iat + 86400 <= lease.renew_after_at <= lease.iat + 86400 * 17 // 16
    assert [e.id for e in lease.ent] == ["face.swap"] == [e.id for e in license_.ent]
    assert lease.cnf.jkt == license_.cnf.jkt == computer.key.kid
    assert lease.status == license_.status
    record = shop.admin.show_license(issued.license_id)
    assert (record.seats, record.seats_used) == (2, 1)
    device = shop.admin.show_device(lease.sub)
    assert (device.label, device.state, device.bound) == ("my laptop", "active", True)
    assert device.traits == sorted(t.kind for t in computer.traits)


def test_the_lease_never_outlives_the_license(shop: Shop, computer: Computer) -> None:
    shop.plan()
    issued = shop.license(expires_in_seconds=3600)
    lease = computer.activate(issued.license_key)
    assert lease.exp == to_numeric(START) + 3600 == computer.license.exp  # type: ignore[union-attr]


def test_never_is_signed_as_four_hundred_days_and_anew_at_renewals(
    shop: Shop, computer: Computer
) -> None:
    shop.plan("basic", lease=LeaseTerms(max_seconds=300 * 86400))
    issued = shop.license(never=True)
    computer.activate(issued.license_key)
    first = computer.license
    assert first is not None and first.exp - first.iat == 400 * 86400
    shop.clock.pass_(days=100)
    computer.renew()
    assert computer.license is first
    shop.clock.pass_(days=101)
    computer.renew()
    assert computer.license is not None and computer.license.exp == first.exp + 201 * 86400


def test_a_license_that_starts_with_its_first_activation_runs_from_then(
    shop: Shop, computer: Computer
) -> None:
    shop.plan("basic", starts="first_activation")
    issued = shop.license(expires_in_seconds=30 * 86400)
    assert issued.expires_at is None
    shop.clock.pass_(days=100)
    computer.activate(issued.license_key)
    assert shop.admin.show_license(issued.license_id).expires_at == START + 130 * DAY


def test_the_same_request_gives_the_same_answer_and_spends_nothing(
    shop: Shop, computer: Computer
) -> None:
    shop.plan()
    issued = shop.license(seats=1)
    kem, nonce = KemPrivateKey.generate(), b64u(os.urandom(32))
    token = computer.activation(issued.license_key, kem, nonce)
    first = shop.server.devices.activate(token)
    shop.clock.pass_(minutes=5)
    second = shop.server.devices.activate(computer.activation(issued.license_key, kem, nonce))
    assert (first.device_id, first.event_id, first.license) == (
        second.device_id,
        second.event_id,
        second.license,
    )
    one, two = (tokens_read(shop, a.lease) for a in (first, second))
    assert msgspec.structs.replace(one, keys=[]) == msgspec.structs.replace(two, keys=[])
    assert len(shop.events("device_activated")) == 1
    with pytest.raises(IdempotencyMismatch):
        shop.server.devices.activate(
            computer.activation(issued.license_key, KemPrivateKey.generate(), nonce)
        )


def tokens_read(shop: Shop, token: str) -> LeaseClaims:
    from modelseal.license import tokens

    return tokens.read(token, LeaseClaims, shop.trust)


def test_entering_the_key_again_on_the_same_device_keeps_its_seat(
    shop: Shop, computer: Computer
) -> None:
    shop.plan()
    issued = shop.license(seats=1)
    first = computer.activate(issued.license_key)
    second = computer.activate(issued.license_key)
    assert (first.sub, second.seq) == (second.sub, 2)
    assert shop.admin.show_license(issued.license_id).seats_used == 1


def test_an_unknown_license_key_is_refused_with_a_signed_denial(
    shop: Shop, computer: Computer
) -> None:
    shop.plan()
    error, denial = denied(lambda: computer.activate("MS-H2W30-RAW01-XKX2C-NKRN4"), shop)
    assert isinstance(error, UnknownLicenseKey)
    assert (denial.sub, denial.seq, denial.erase) == (computer.key.kid, 0, False)
    assert denial.state == "NOT_ACTIVATED" and denial.reference == error.reference


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ("suspend", LicenseSuspended),
        ("revoke", LicenseRevoked),
        ("expire", LicenseExpired),
    ],
)
def test_a_license_that_is_not_running_activates_nothing(
    shop: Shop, computer: Computer, act: str, expected: type[Exception]
) -> None:
    shop.plan()
    issued = shop.license(expires_in_seconds=86400)
    if act == "suspend":
        shop.admin.suspend_license(issued.license_id, "unpaid")
    elif act == "revoke":
        shop.admin.revoke_license(issued.license_id, "chargeback")
    else:
        shop.clock.pass_(days=1)
    error, _denial = denied(lambda: computer.activate(issued.license_key), shop)
    assert type(error) is expected
    assert shop.admin.show_license(issued.license_id).seats_used == 0


def test_another_product_is_unknown_here(shop: Shop, computer: Computer) -> None:
    shop.plan()
    issued = shop.license()
    nonce = b64u(os.urandom(32))
    sealed = computer.sealed_key(issued.license_key, nonce)
    kem = KemPrivateKey.generate()
    request = computer.request(
        "activate", nonce=nonce, kem=computer.kem(kem), license_key=sealed, product="other"
    )
    with pytest.raises((UnknownProduct, SealedKeyInvalid)):
        shop.server.devices.activate(computer.sign(request))


def test_an_agreement_is_accepted_by_its_digest_or_nothing_happens(
    shop: Shop, computer: Computer
) -> None:
    digest = b64u(os.urandom(32))
    shop.plan("basic", eula=Eula(digest, "https://example.com/eula"))
    issued = shop.license(seats=1)
    told = computer.lookup(issued.license_key)
    assert told.eula is not None and told.eula.digest == digest
    error, denial = denied(lambda: computer.activate(issued.license_key), shop)
    assert isinstance(error, EulaNotAccepted) and denial.params["digest"] == digest
    wrong = b64u(os.urandom(32))
    denied(lambda: computer.activate(issued.license_key, eula=wrong), shop)
    computer.activate(issued.license_key, eula=digest)
    assert computer.license is not None and computer.license.eula is not None
    event = shop.events("device_activated")[0]
    assert event.params["eula"] == digest


def test_an_unbound_device_is_let_in_unless_the_plan_says_no(shop: Shop) -> None:
    shop.plan("open")
    shop.plan("strict", binding=Binding(allow_unbound=False))
    bare = Computer(shop, traits=hardware("x", "mac", "cpu_class"))
    lease = bare.activate(shop.license("open").license_key)
    assert lease.bound is False and len(shop.events("device_unbound")) == 1
    other = Computer(shop, traits=hardware("x", "mac", "cpu_class"))
    error, _ = denied(lambda: other.activate(shop.license("strict").license_key), shop)
    assert error.code == "device_unbound"


def test_a_plan_that_needs_hardware_refuses_what_nobody_proved(shop: Shop) -> None:
    shop.plan("hard", enforcement="hardware")
    issued = shop.license("hard")
    liar = Computer(shop)
    error, _ = denied(
        lambda: liar.activate(issued.license_key, enforcement=["hardware", "software"]), shop
    )
    assert error.code == "enforcement_not_reached" and error.exit_code == 6


def test_a_lookup_names_plan_seats_and_holders_by_label(shop: Shop, computer: Computer) -> None:
    shop.plan("pro", "face.swap", "face.restore")
    issued = shop.license("pro", seats=2)
    computer.activate(issued.license_key, label="edit room")
    found = Computer(shop, "b").lookup(issued.license_key)
    assert (found.plan, found.seats, found.product) == ("pro", 2, "facefusion")
    assert [(h.device_id, h.label) for h in found.holders] == [(computer.device_id, "edit room")]
    assert found.license_expires_at == START + 365 * DAY
    error, _ = denied(lambda: computer.lookup("MS-H2W30-RAW01-XKX2C-NKRN4"), shop)
    assert isinstance(error, UnknownLicenseKey)


def test_a_license_key_sealed_for_another_request_opens_nothing(
    shop: Shop, computer: Computer
) -> None:
    shop.plan()
    issued = shop.license()
    kem = KemPrivateKey.generate()
    stolen = computer.sealed_key(issued.license_key, b64u(os.urandom(32)))
    request = computer.request("activate", kem=computer.kem(kem), license_key=stolen)
    with pytest.raises(SealedKeyInvalid):
        shop.server.devices.activate(computer.sign(request))
    thief = Computer(shop, "thief")
    nonce = b64u(os.urandom(32))
    mine = computer.sealed_key(issued.license_key, nonce)
    request = thief.request("activate", nonce=nonce, kem=thief.kem(kem), license_key=mine)
    with pytest.raises(SealedKeyInvalid):
        shop.server.devices.activate(thief.sign(request))


def test_requests_that_do_not_verify_change_nothing(shop: Shop, computer: Computer) -> None:
    shop.plan()
    issued = shop.license(seats=1)
    kem = KemPrivateKey.generate()
    token = computer.activation(issued.license_key, kem)
    head, body, signature = token.split(b".")
    with pytest.raises(TokenSignature):
        flipped = (b"A" if signature[:1] != b"A" else b"B") + signature[1:]
        shop.server.devices.activate(b".".join((head, body, flipped)))
    with pytest.raises(TokenAudience):
        other = computer.request("activate", aud="srv_other", kem=computer.kem(kem))
        shop.server.devices.activate(computer.sign(other))
    with pytest.raises(TokenClaims):
        shop.server.devices.activate(
            computer.sign(computer.request("activate", kem=computer.kem(kem)))
        )
    with pytest.raises(TokenClaims):
        nonce = b64u(os.urandom(32))
        sealed = computer.sealed_key(issued.license_key, nonce)
        shop.server.devices.activate(
            computer.sign(computer.request("activate", nonce=nonce, license_key=sealed))
        )
    with pytest.raises(TokenKeyUnknown):
        thief = Computer(shop, "b")
        claims = computer.request("activate", kem=computer.kem(kem))
        shop.server.devices.activate(thief.sign(claims))
    assert shop.admin.show_license(issued.license_id).seats_used == 0


def test_a_trial_is_given_once_per_computer_and_again_to_the_same_request(shop: Shop) -> None:
    shop.plan("trial", trial_once_per_device=True, period_seconds=14 * 86400)
    shop.plan("basic")
    first = Computer(shop, "a")
    nonce = b64u(os.urandom(32))
    kem = KemPrivateKey.generate()
    ask = first.sign(first.request("trial", nonce=nonce, kem=first.kem(kem), plan="trial"))
    answer = shop.server.devices.trial(ask)
    again = shop.server.devices.trial(ask)
    assert answer.license_key == again.license_key and answer.device_id == again.device_id
    record = shop.admin.list_licenses().items
    assert len(record) == 1 and record[0].expires_at == START + 14 * DAY
    error, denial = denied(lambda: Computer(shop, "a").trial("trial"), shop)
    assert isinstance(error, TrialUsed) and denial.code == "trial_used"
    changed = Computer(shop, "a")
    changed.traits = [*hardware("new", "mac"), *[t for t in hardware("a") if t.kind != "mac"]]
    assert denied(lambda: changed.trial("trial"), shop)[0].code == "trial_used"
    assert Computer(shop, "b").trial("trial").license_key != answer.license_key
    with pytest.raises(NotFound):
        Computer(shop, "c").trial("basic")
    with pytest.raises(NotFound):
        Computer(shop, "c").trial("nothing")


def test_the_license_key_of_a_trial_works_as_one(shop: Shop) -> None:
    shop.plan("trial", trial_once_per_device=True)
    first = Computer(shop, "a")
    answer = first.trial("trial", email="eve@example.com")
    assert shop.admin.list_licenses(customer="eve@example.com").items
    error, _ = denied(lambda: Computer(shop, "b").activate(answer.license_key), shop)
    assert isinstance(error, NoFreeSeat)
    assert isinstance(first.license, LicenseClaims)


def test_more_keys_than_a_lease_carries_travel_in_a_bundle(
    shop: Shop, computer: Computer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelseal.license import bundle, lease_keys
    from modelseal.license.lease_keys import BUNDLE_SECTION
    from modelseal.strict_json import unb64u

    shop.plan()
    for name in ("a.onnx", "b.onnx"):
        shop.publish(tmp_path, name, "face.swap")
    monkeypatch.setattr(lease_keys, "MAX_KEYS", 3)
    lease = computer.activate(shop.license().license_key)
    assert lease.bundle is not None
    digest = unb64u(lease.bundle.digest)
    assert list(computer.keys) == [(digest, BUNDLE_SECTION)]
    opened = bundle.open_bundle(
        shop.server.devices.bundle(digest.hex()), digest=digest, product="facefusion",
        license=lease.lic, bundle_key=computer.keys[(digest, BUNDLE_SECTION)],
    )  # fmt: skip
    assert len(opened) == 4
    with pytest.raises(NotFound):
        shop.server.devices.bundle("0" * 64)
