"""``trust.json``: parsing, lookups and the way forward."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelseal import trust as trusts
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    InvalidBytes,
    Misuse,
    TokenKeyUnknown,
    TrustExpired,
    TrustMalformed,
    TrustRollback,
    TrustSignature,
)
from modelseal.trust import KeyList, Use, keylist, writing

DAY = timedelta(days=1)


def test_a_parsed_trust_is_read_again_from_its_own_bytes(product: Any) -> None:
    trust = product.trust()
    assert trusts.parse(trust.raw) == trust
    assert (trust.product, trust.server_id, trust.trait_salt) == ("facefusion", "srv_1", bytes(32))
    assert (trust.root_version, trust.keys_version, trust.tls_ca) == (1, 1, None)


def test_a_reformatted_file_is_the_same_trust(product: Any) -> None:
    trust = product.trust()
    pretty = json.dumps(json.loads(trust.raw), indent=4).encode()
    assert trusts.parse(pretty).raw == trust.raw


def test_the_representation_shows_neither_salt_nor_keys(product: Any) -> None:
    text = repr(product.trust())
    assert "salt" not in text and product.lease.kid not in text


def test_expired_documents_are_still_parsed_so_that_offline_devices_live_on(product: Any) -> None:
    old = product.now - 900 * DAY
    key_list = product.key_list()
    trust = trusts.compose(
        root=product.root(expires_at=old),
        targets=product.targets(expires_at=old),
        keys_role=product.keys_role(key_list, expires_at=old),
        key_list=key_list,
        tls_ca=None,
    )
    assert trust.product == "facefusion"


def test_keys_of_one_set_are_given_together_with_the_asked_one_first(product: Any) -> None:
    trust = product.trust()
    ed25519, mldsa = product.publisher
    assert [k.kid for k in trust.publisher_keys()] == [ed25519.kid, mldsa.kid]
    found = trust.verify_keys(Use.PUBLISHER, mldsa.kid, product.now)
    assert [k.alg for k in found] == ["ML-DSA-65", "Ed25519"]
    assert [k.kid for k in trust.verify_keys("lease", product.lease.kid, product.now)] == [
        product.lease.kid
    ]


def test_a_key_is_unknown_for_another_use_and_outside_its_validity(product: Any) -> None:
    trust = product.trust()
    with pytest.raises(TokenKeyUnknown):
        trust.verify_keys(Use.LICENSE, product.lease.kid, product.now)
    with pytest.raises(TokenKeyUnknown):
        trust.verify_keys(Use.LEASE, product.lease.kid, product.now - timedelta(seconds=1))
    with pytest.raises(TokenKeyUnknown):
        trust.verify_keys(Use.LEASE, "x" * 43, product.now)
    with pytest.raises(Misuse):
        trust.verify_keys(Use.LEASE, product.lease.kid, datetime(2026, 1, 1))


def test_a_retired_key_ends_exactly_at_its_not_after(product: Any) -> None:
    end = product.now + DAY
    keys = [
        keylist.trusted(
            key.use, _public(product, key.kid), key.set, not_before=key.not_before, not_after=end
        )
        if key.use is Use.LEASE
        else key
        for key in product.listed()
    ]
    documents = product.documents(content=product.key_list(keys=keys))
    trust = trusts.compose(root=product.root(), **documents, tls_ca=None)
    assert trust.verify_keys(Use.LEASE, product.lease.kid, end - timedelta(seconds=1))
    with pytest.raises(TokenKeyUnknown):
        trust.verify_keys(Use.LEASE, product.lease.kid, end)


def test_one_expired_key_of_a_set_makes_the_set_unusable(product: Any) -> None:
    ed25519, mldsa = product.publisher
    keys = [
        keylist.trusted(Use.PUBLISHER, ed25519.verify_key(), "p", not_before=product.now),
        keylist.trusted(
            Use.PUBLISHER,
            mldsa.verify_key(),
            "p",
            not_before=product.now,
            not_after=product.now + DAY,
        ),
    ]
    documents = product.documents(content=product.key_list(keys=keys))
    trust = trusts.compose(root=product.root(), **documents, tls_ca=None)
    with pytest.raises(TokenKeyUnknown):
        trust.verify_keys(Use.PUBLISHER, ed25519.kid, product.now + DAY)


def test_data_keys_go_to_the_newest_valid_sealing_key(product: Any) -> None:
    newer, future = KemPrivateKey.generate(), KemPrivateKey.generate()
    keys = [
        *product.listed(),
        keylist.trusted(Use.SEALING, newer.public_key(), "s2", not_before=product.now + DAY),
        keylist.trusted(Use.SEALING, future.public_key(), "s3", not_before=product.now + 9 * DAY),
    ]
    documents = product.documents(content=product.key_list(keys=keys))
    trust = trusts.compose(root=product.root(), **documents, tls_ca=None)
    assert trust.sealing_key(product.now).kid == product.sealing.kid
    assert trust.sealing_key(product.now + 2 * DAY).kid == newer.kid
    with pytest.raises(TokenKeyUnknown):
        trust.sealing_key(product.now - DAY)


def test_updating_carries_the_trust_forward_over_two_root_rotations(product: Any) -> None:
    trust = product.trust()
    first_root = product.signers["root"]
    product.signers["root"] = [SigningKey.generate()]
    second = product.root(2, *first_root)
    second_root = product.signers["root"]
    product.signers["root"] = [SigningKey.generate()]
    product.signers["targets"] = [SigningKey.generate()]
    product.signers["keys"] = [SigningKey.generate()]
    third = product.root(3, *second_root)
    product.lease = SigningKey.generate()
    new = trusts.update(trust, roots=[second, third], **product.documents(2), now=product.now)
    assert (new.root_version, new.keys_version) == (3, 2)
    assert new.verify_keys(Use.LEASE, product.lease.kid, product.now)
    assert trusts.parse(new.raw) == new


def test_updating_with_what_is_pinned_already_changes_nothing(product: Any) -> None:
    trust = product.trust()
    documents = product.documents()
    again = trusts.update(trust, roots=[], **documents, now=product.now)
    assert again == trust


def _rotated(product: Any) -> bytes:
    old = product.signers["root"]
    product.signers["root"] = [SigningKey.generate()]
    made: bytes = product.root(2, *old)
    return made


def test_a_root_that_only_itself_signed_is_refused(product: Any) -> None:
    trust = product.trust()
    product.signers["root"] = [SigningKey.generate()]
    with pytest.raises(TrustSignature):
        trusts.update(trust, roots=[product.root(2)], **product.documents(), now=product.now)


def test_a_root_that_only_the_old_root_signed_is_refused(product: Any) -> None:
    trust = product.trust()
    old = product.signers["root"]
    product.signers["root"] = [SigningKey.generate()]
    roles = {name: product.role_keys(name) for name in ("root", "targets", "snapshot", "timestamp")}
    lone = writing.sign(writing.root(2, product.far, roles), old)
    with pytest.raises(TrustSignature):
        trusts.update(trust, roots=[lone], **product.documents(), now=product.now)


@pytest.mark.parametrize("versions", [[1], [3], [2, 2], [2, 4], [2, 3, 1]])
def test_root_versions_go_up_by_one_and_never_otherwise(product: Any, versions: list[int]) -> None:
    trust = product.trust()
    roots = [product.root(version) for version in versions]
    with pytest.raises(TrustRollback):
        trusts.update(trust, roots=roots, **product.documents(), now=product.now)


def test_targets_and_key_list_never_go_back_nor_say_something_else_twice(product: Any) -> None:
    second = product.documents(2)
    trust = trusts.update(product.trust(), roots=[], **second, now=product.now)
    first = product.documents(1)
    for part in ("targets", "keys_role"):
        mixed = {**second, part: first[part]}
        if part == "keys_role":
            mixed["key_list"] = first["key_list"]
        with pytest.raises(TrustRollback):
            trusts.update(trust, roots=[], **mixed, now=product.now)
    other = {**second, "targets": product.targets(2, {"models/x": writing.target(1, "00")})}
    with pytest.raises(TrustRollback):
        trusts.update(trust, roots=[], **other, now=product.now)


@pytest.mark.parametrize("late", ["root", "targets", "keys"])
def test_updating_judges_the_expiry_of_every_document(product: Any, late: str) -> None:
    soon = product.now + DAY
    key_list = product.key_list(2)
    roots = [product.root(2, expires_at=soon if late == "root" else product.far)]
    targets = product.targets(2, expires_at=soon if late == "targets" else product.far)
    role = product.keys_role(key_list, 2, expires_at=soon if late == "keys" else product.far)
    parts = {"targets": targets, "keys_role": role, "key_list": key_list}
    trust = product.trust()
    before = soon - timedelta(seconds=1)
    assert trusts.update(trust, roots=roots, **parts, now=before).root_version == 2
    with pytest.raises(TrustExpired) as caught:
        trusts.update(trust, roots=roots, **parts, now=soon)
    assert caught.value.params["expires_at"] == soon


def test_an_expired_root_in_the_middle_of_the_chain_does_not_stop_the_update(product: Any) -> None:
    trust = product.trust()
    roots = [product.root(2, expires_at=product.now - DAY), product.root(3)]
    new = trusts.update(trust, roots=roots, **product.documents(), now=product.now)
    assert new.root_version == 3


def test_the_trust_of_another_product_or_server_is_never_taken_over(product: Any) -> None:
    trust = product.trust()
    for name, server in (("other", "srv_1"), ("facefusion", "srv_2")):
        other = keylist.write(KeyList(2, name, server, bytes(32), product.listed()))
        with pytest.raises(TrustMalformed):
            trusts.update(trust, roots=[], **product.documents(2, other), now=product.now)


def test_a_key_list_that_the_role_does_not_name_is_refused(product: Any) -> None:
    documents = product.documents()
    product.lease = SigningKey.generate()
    with pytest.raises(TrustSignature):
        trusts.compose(
            root=product.root(), **{**documents, "key_list": product.key_list()}, tls_ca=None
        )


def test_a_targets_key_cannot_sign_the_key_list(product: Any) -> None:
    key_list = product.key_list()
    role = writing.sign(writing.keys_role(1, product.far, key_list), product.signers["targets"])
    with pytest.raises(TrustSignature):
        trusts.compose(
            root=product.root(),
            targets=product.targets(),
            keys_role=role,
            key_list=key_list,
            tls_ca=None,
        )


def test_without_a_publisher_key_there_is_no_trust(product: Any) -> None:
    keys = [key for key in product.listed() if key.use is not Use.PUBLISHER]
    documents = product.documents(content=product.key_list(keys=keys))
    with pytest.raises(TrustMalformed):
        trusts.compose(root=product.root(), **documents, tls_ca=None)


MISSHAPEN = {
    "no JSON": b"\x00",
    "a list": b"[]",
    "empty": b"",
    "too deep": b"[" * 100_000,
    "a lone surrogate": b'{"typ":"modelseal-trust","version":1,"root":"\\ud800"}',
    "NaN": b'{"typ":NaN}',
    "a member twice": b'{"typ":"modelseal-trust","typ":"modelseal-trust"}',
}


@pytest.mark.parametrize("data", MISSHAPEN.values(), ids=MISSHAPEN.keys())
def test_what_is_no_trust_file_is_malformed(data: bytes) -> None:
    with pytest.raises(TrustMalformed):
        trusts.parse(data)


def _public(product: Any, kid: str) -> Any:
    return next(key for key in (product.lease,) if key.kid == kid).verify_key()


CHANGES: dict[str, Any] = {
    "another version": lambda v: v.update(version=2),
    "a boolean version": lambda v: v.update(version=True),
    "another type": lambda v: v.update(typ="trust"),
    "a member more": lambda v: v.update(extra=1),
    "no root": lambda v: v.pop("root"),
    "a CA that is none": lambda v: v.update(tls_ca="hello"),
    "a CA that is no text": lambda v: v.update(tls_ca=[1]),
    "no list": lambda v: v["keys"].pop("list"),
    "a list of another type": lambda v: v["keys"]["list"].update(typ="keys"),
    "no signatures": lambda v: v["root"].update(signatures=[]),
    "signatures that are none": lambda v: v["root"].update(signatures={"a": 1}),
    "a threshold of nothing": lambda v: v["root"]["signed"]["roles"]["root"].update(threshold=0),
    "another signed version": lambda v: v["root"]["signed"].update(version=2),
    "another expiry": lambda v: v["root"]["signed"].update(expires="2099-01-01T00:00:00Z"),
    "an odd expiry": lambda v: v["root"]["signed"].update(expires="tomorrow"),
    "another use": lambda v: v["keys"]["list"]["keys"][2].update(use="license"),
    "an unknown use": lambda v: v["keys"]["list"]["keys"][2].update(use="everything"),
    "another algorithm": lambda v: v["keys"]["list"]["keys"][2].update(alg="RS256"),
    "a text for a time": lambda v: v["keys"]["list"]["keys"][2].update(not_before="0"),
    "an absurd time": lambda v: v["keys"]["list"]["keys"][2].update(not_before=2**52),
    "a short salt": lambda v: v["keys"]["list"].update(trait_salt="AAAA"),
    "a surrogate in the list": lambda v: v["keys"]["list"].update(product="\ud800"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_structural_change_is_refused(product: Any, change: Any) -> None:
    value = json.loads(product.trust().raw)
    change(value)
    with pytest.raises((TrustMalformed, TrustSignature)):
        trusts.parse(json.dumps(value).encode())


LISTS: dict[str, Any] = {
    "a key twice": lambda keys: [*keys, keys[2]],
    "a key with two uses": lambda keys: [*keys, {**keys[2], "use": "license", "set": "l"}],
    "two keys of one algorithm in a set": lambda keys: [
        *keys,
        {**_entry(SigningKey.generate()), "use": "lease", "set": "lease-1"},
    ],
    "a key id that is no thumbprint": lambda keys: [{**keys[0], "kid": keys[1]["kid"]}],
    "a KEM key that signs": lambda keys: [*keys[:3], {**keys[3], "use": "lease"}],
    "a signing key that seals": lambda keys: [*keys[:3], {**keys[2], "use": "sealing"}],
    "a key with a private part": lambda keys: [{**keys[0], "jwk": {**keys[0]["jwk"], "d": "AA"}}],
    "more keys than allowed": lambda keys: keys * 100,
}


def _entry(key: SigningKey) -> dict[str, Any]:
    return {
        "alg": key.alg, "kid": key.kid, "jwk": key.jwk, "not_before": 0, "not_after": None
    }  # fmt: skip


@pytest.mark.parametrize("change", LISTS.values(), ids=LISTS.keys())
def test_an_inconsistent_key_list_is_refused_although_it_is_signed(
    product: Any, change: Any
) -> None:
    value = json.loads(product.key_list())
    value["keys"] = change(value["keys"])
    content = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(TrustMalformed):
        trusts.compose(root=product.root(), **product.documents(content=content), tls_ca=None)


def test_a_key_list_has_one_spelling_only(product: Any) -> None:
    documents = product.documents()
    with pytest.raises(TrustMalformed):
        keylist.read(documents["key_list"] + b" ")
    assert keylist.write(keylist.read(documents["key_list"])) == documents["key_list"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_gets_through_and_no_foreign_error_out(trust_bytes: bytes, data: Any) -> None:
    """Any replaced byte or cut leaves the same trust (white space) or one of our errors."""
    raw = bytearray(trust_bytes)
    place = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw = raw[:place]
    else:
        raw[place] = data.draw(st.integers(0, 255))
    try:
        found = trusts.parse(bytes(raw))
    except InvalidBytes:
        return
    original = trusts.parse(trust_bytes)
    assert (found._keys, found.product, found.server_id) == (
        original._keys,
        original.product,
        original.server_id,
    )


@pytest.fixture(scope="module")
def trust_bytes(make_product: Any) -> bytes:
    raw: bytes = make_product().trust().raw
    return raw


def test_a_naive_now_is_misuse(product: Any) -> None:
    with pytest.raises(Misuse):
        trusts.update(
            product.trust(),
            roots=[],
            **product.documents(),
            now=datetime(2026, 3, 1),
        )
    assert product.now.tzinfo is UTC


def test_a_publisher_key_of_an_algorithm_that_signs_no_sealed_model_is_no_trust(
    product: Any,
) -> None:
    other = SigningKey.generate("ES256").verify_key()
    keys = [*product.listed(), keylist.trusted(Use.PUBLISHER, other, "p2", not_before=product.now)]
    documents = product.documents(content=product.key_list(keys=keys))
    with pytest.raises(TrustMalformed):
        trusts.compose(root=product.root(), **documents, tls_ca=None)
