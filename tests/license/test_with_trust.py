"""Tokens against the real pinned trust: uses, sets and validity come from ``trust.json``."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.license.world import DAY, lease_claims, license_claims
from tests.trust.conftest import NOW, Product

from modelseal import trust as trusts
from modelseal.crypto.signing import SigningKey
from modelseal.errors import Misuse, TokenKeyUnknown, TokenSignature
from modelseal.license import tokens
from modelseal.license.claims import LeaseClaims, LicenseClaims
from modelseal.license.tokens import TrustView
from modelseal.trust import Trust, Use, keylist
from modelseal.types import from_numeric, to_numeric

JKT = "j" * 43
AT = to_numeric(NOW)


class Shop(Product):
    """A product whose leases are signed by a hybrid set, and whose old lease key has retired."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = [SigningKey.generate(), SigningKey.generate("ML-DSA-65")]
        self.license = SigningKey.generate()
        self.retired = SigningKey.generate()

    def listed(self):
        def listed(use, key, name, **window):
            return keylist.trusted(use, key.verify_key(), name, not_before=NOW, **window)

        return (
            *super().listed(),
            *(listed(Use.LEASE, key, "lease-2") for key in self.pair),
            listed(Use.LICENSE, self.license, "license-1"),
            listed(Use.LEASE, self.retired, "lease-0", not_after=NOW + timedelta(days=1)),
        )


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop()


@pytest.fixture(scope="module")
def trust(shop) -> Trust:
    return trusts.parse(shop.trust().raw)


def lease(**changes) -> LeaseClaims:
    times = {"iat": AT, "nbf": AT, "exp": AT + 7 * DAY, "renew_after_at": AT + DAY}
    return lease_claims(JKT, iss="srv_1", **(times | changes))


def test_the_trust_is_what_reading_a_token_asks_for(trust):
    view: TrustView = trust
    assert (view.product, view.server_id) == ("facefusion", "srv_1")


def test_a_token_of_a_listed_key_is_read(shop, trust):
    claims = lease()
    assert tokens.read(tokens.sign(claims, [shop.lease]), LeaseClaims, trust) == claims


def test_a_listed_hybrid_set_signs_together_or_not_at_all(shop, trust):
    claims = lease()
    assert tokens.read(tokens.sign(claims, shop.pair), LeaseClaims, trust) == claims
    for key in shop.pair:
        with pytest.raises(TokenSignature):
            tokens.read(tokens.sign(claims, [key]), LeaseClaims, trust)
    with pytest.raises(TokenSignature):
        tokens.read(tokens.sign(claims, [shop.pair[0], shop.lease]), LeaseClaims, trust)


def test_a_retired_key_is_read_for_what_it_signed_in_its_time(shop, trust):
    early = lease(exp=AT + DAY)
    assert tokens.read(tokens.sign(early, [shop.retired]), LeaseClaims, trust) == early
    with pytest.raises(TokenKeyUnknown):
        tokens.read(
            tokens.sign(lease(iat=AT + DAY + 60, renew_after_at=AT + 2 * DAY), [shop.retired]),
            LeaseClaims,
            trust,
        )


def test_a_retired_key_signs_nothing_that_outlives_it(shop, trust):
    """Whatever ``iat`` says; a lease that is held already is over when the key is."""
    late = tokens.sign(lease(iat=AT + DAY - 60, renew_after_at=AT + 2 * DAY), [shop.retired])
    with pytest.raises(TokenKeyUnknown):
        tokens.read(late, LeaseClaims, trust)
    held = tokens.read_held(late, trust)
    assert (held.exp, held.renew_after_at) == (AT + DAY, AT + DAY)
    whole = lease()
    assert tokens.read_held(tokens.sign(whole, [shop.lease]), trust) == whole


def test_an_answer_received_after_its_key_ended_is_refused(shop, trust):
    token = tokens.sign(lease(exp=AT + DAY), [shop.retired])
    assert tokens.read(token, LeaseClaims, trust, now=from_numeric(AT + DAY - 1))
    with pytest.raises(TokenKeyUnknown):
        tokens.read(token, LeaseClaims, trust, now=from_numeric(AT + DAY))
    with pytest.raises(Misuse):
        tokens.read(token, object, trust)


def test_a_lease_key_signs_no_license_and_a_publisher_key_no_lease(shop, trust):
    right = license_claims(JKT, iss="srv_1", iat=AT, nbf=AT, exp=AT + DAY)
    assert tokens.read(tokens.sign(right, [shop.license]), LicenseClaims, trust) == right
    with pytest.raises(TokenKeyUnknown):
        tokens.read(tokens.sign(right, [shop.lease]), LicenseClaims, trust)
    with pytest.raises(TokenKeyUnknown):
        tokens.read(tokens.sign(lease(), shop.publisher), LeaseClaims, trust)
