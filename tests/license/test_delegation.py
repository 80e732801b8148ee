"""Leases and license tokens that a relay signed count within its delegation, and nowhere else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.license.delegations import JKT, lease, license_, table
from tests.license.world import DAY, IAT, NOW, FakeTrust, delegation_claims, trust_of

from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    DelegationExceeded,
    DelegationOver,
    InvalidBytes,
    TokenKeyUnknown,
    TokenTooLarge,
    TokenType,
)
from modelseal.license import tokens
from modelseal.license.claims import (
    DelegationClaims,
    Entitlement,
    LeaseClaims,
    LicenseClaims,
    ReleaseClaims,
)

KEY, PQ = SigningKey.generate(), SigningKey.generate("ML-DSA-65")
TRUST = trust_of(KEY)
GOOD = tokens.sign(delegation_claims(JKT), [KEY])
TABLE = table(KEY)


class Ending(FakeTrust):
    """A trust whose keys end after so many days."""

    def ends_at(self, use, kid):
        return next(end for name, keys, _, end in self.sets if name == use and keys[0].kid == kid)


def test_what_a_relay_signs_within_its_delegation_is_read_as_if_the_server_had():
    given = tokens.read(lease(GOOD), LeaseClaims, TRUST, now=NOW)
    assert (given.seq, given.delegation) == (1, GOOD)
    token = license_(GOOD, lease_max_seconds=DAY)
    assert tokens.read(token, LicenseClaims, TRUST, now=NOW).lease_max_seconds == DAY
    claims, kid = tokens.read_delegation(GOOD, TRUST)
    assert (claims, kid) == (delegation_claims(JKT), KEY.kid)


def test_less_than_what_was_delegated_may_be_given():
    less = [Entitlement("face.restore", 3, IAT + DAY)]
    assert tokens.read(lease(GOOD, ent=less), LeaseClaims, TRUST).ent == less


def test_a_hybrid_delegation_needs_both_signatures():
    both = trust_of(KEY, PQ)
    by = tokens.sign(delegation_claims(JKT), [KEY, PQ])
    assert tokens.read(lease(by), LeaseClaims, both).delegation == by
    with pytest.raises(InvalidBytes) as found:
        tokens.read(lease(GOOD), LeaseClaims, both)
    assert found.value.code == "token_signature"


@pytest.mark.parametrize("name", TABLE)
def test_what_is_forged_or_beyond_it_is_refused_with_its_own_code(name):
    token, code = TABLE[name]
    cls = LicenseClaims if name.startswith("a token") else LeaseClaims
    with pytest.raises(InvalidBytes) as found:
        tokens.read(token, cls, TRUST)
    assert found.value.code == code
    if code == "delegation_exceeded":
        assert isinstance(found.value, DelegationExceeded) and found.value.params["member"]


def test_after_the_delegation_no_answer_by_it_counts():
    short = tokens.sign(delegation_claims(JKT, exp=IAT + DAY), [KEY])
    token = lease(short, exp=IAT + DAY, renew_after_at=IAT)
    assert tokens.read(token, LeaseClaims, TRUST, now=NOW + timedelta(seconds=DAY - 1))
    with pytest.raises(DelegationOver):
        tokens.read(token, LeaseClaims, TRUST, now=NOW + timedelta(days=1))


def test_the_end_of_the_servers_key_is_the_end_of_what_was_delegated_by_it():
    short = Ending().add("lease", KEY, days=30)
    with pytest.raises(TokenKeyUnknown):  # the delegation itself outlives its key
        tokens.read(lease(GOOD), LeaseClaims, short)
    by = tokens.sign(delegation_claims(JKT, exp=IAT + 3 * DAY), [KEY])
    held = lease(by, exp=IAT + 3 * DAY)
    assert tokens.read_held(held, Ending().add("lease", KEY, days=30)).exp == IAT + 3 * DAY
    with pytest.raises(TokenKeyUnknown):
        tokens.read(held, LeaseClaims, short, now=NOW + timedelta(days=31))


def test_nothing_but_licenses_and_leases_is_delegated():
    with pytest.raises(TokenType):
        tokens.read(lease(GOOD), ReleaseClaims, TRUST)
    assert "delegation" not in ReleaseClaims.__struct_fields__


def test_a_delegation_that_no_lease_could_carry_is_not_signed():
    many = [Entitlement(f"face.{number:050}") for number in range(150)]
    with pytest.raises(TokenTooLarge):
        tokens.sign(delegation_claims(JKT, ent=many), [KEY])
    long = "x" * 8193
    with pytest.raises(InvalidBytes):
        tokens.read(long, DelegationClaims, TRUST)
