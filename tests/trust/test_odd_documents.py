"""Trust documents that a rightful signer could have made wrong: each oddity has our own error."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from modelseal.crypto.signing import SigningKey
from modelseal.errors import TokenKeyUnknown, TrustMalformed, TrustRollback, TrustSignature
from modelseal.trust import Use, keylist, metadata, pinned, writing

KEY = SigningKey.generate()


def signed(product: Any, name: str) -> dict[str, Any]:
    """A good document as plain values."""
    made = {"root": product.root, "targets": product.targets}[name]()
    value: dict[str, Any] = json.loads(made)
    return value


DOCUMENTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a member more": lambda v: v.update(extra=1),
    "another type": lambda v: v["signed"].update(_type="targets"),
    "another TUF": lambda v: v["signed"].update(spec_version="2.0.0"),
    "a TUF that is a number": lambda v: v["signed"].update(spec_version=1),
    "version 0": lambda v: v["signed"].update(version=0),
    "version true": lambda v: v["signed"].update(version=True),
    "signed is a list": lambda v: v.update(signed=[]),
    "too many signatures": lambda v: v.update(signatures=v["signatures"] * 1000),
    "a signature twice": lambda v: v.update(signatures=v["signatures"] * 2),
    "a signature that is a number": lambda v: v["signatures"][0].update(sig=1),
    "no time": lambda v: v["signed"].pop("expires"),
}
ROLES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a role missing": lambda s: s["roles"].pop("snapshot"),
    "key ids that are no list": lambda s: s["roles"]["root"].update(keyids="x"),
    "a key twice in a role": lambda s: s["roles"]["root"].update(
        keyids=s["roles"]["root"]["keyids"] * 2
    ),
    "a key that is not there": lambda s: s["roles"]["root"].update(keyids=["x"]),
    "a threshold above the keys": lambda s: s["roles"]["root"].update(threshold=2),
    "a key under another id": lambda s: s["keys"].update(x=next(iter(s["keys"].values()))),
    "a key that is no hex": lambda s: next(iter(s["keys"].values()))["keyval"].update(public="zz"),
    "a key that is a number": lambda s: next(iter(s["keys"].values()))["keyval"].update(public=1),
    "too many keys": lambda s: s.update(keys={str(n): {} for n in range(5000)}),
}
DELEGATIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "roles that are no list": lambda s: s["delegations"].update(roles={}),
    "no role": lambda s: s["delegations"].update(roles=[]),
    "another path": lambda s: s["delegations"]["roles"][0].update(paths=["*"]),
    "the keys as a target too": lambda s: s["targets"].update(keys={}),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_odd_document_is_malformed(product: Any, name: str) -> None:
    value = signed(product, "root")
    DOCUMENTS[name](value)
    with pytest.raises(TrustMalformed):
        metadata.read(json.dumps(value).encode(), "root")


def test_what_is_no_strict_json_is_malformed() -> None:
    for data in (b"", b"{", b'{"a":1,"a":2}', b"[1.5]"):
        with pytest.raises(TrustMalformed):
            metadata.read(data, "root")
        with pytest.raises(TrustMalformed):
            keylist.read(data)


@pytest.mark.parametrize("name", ROLES)
def test_an_odd_root_names_no_roles(product: Any, name: str) -> None:
    value = signed(product, "root")
    ROLES[name](value["signed"])
    root = metadata.from_document(value, "root")
    with pytest.raises(TrustMalformed):
        metadata.top_level_roles(root)


@pytest.mark.parametrize("name", DELEGATIONS)
def test_targets_delegate_the_keys_and_nothing_else(product: Any, name: str) -> None:
    value = signed(product, "targets")
    DELEGATIONS[name](value["signed"])
    with pytest.raises(TrustMalformed):
        metadata.delegated_role(metadata.from_document(value, "targets"), "keys")


def test_the_role_of_the_keys_lists_one_file_by_length_and_digest(product: Any) -> None:
    content = product.key_list()
    value = json.loads(product.keys_role(content))
    role = metadata.from_document(value, "targets")
    metadata.check_target(role, "keys", content)
    for wrong in (content + b" ", content[:-1] + b"x"):
        with pytest.raises(TrustSignature):
            metadata.check_target(role, "keys", wrong)
    value["signed"]["targets"]["more"] = {}
    with pytest.raises(TrustMalformed):
        metadata.check_target(metadata.from_document(value, "targets"), "keys", content)


def test_a_signature_that_is_no_hex_does_not_hold(product: Any) -> None:
    value = signed(product, "root")
    value["signatures"][0]["sig"] = "zz"
    root = metadata.from_document(value, "root")
    role = metadata.top_level_roles(root)["root"]
    with pytest.raises(TrustSignature):
        root.verify(role)
    value["signatures"] = []
    with pytest.raises(TrustSignature):
        metadata.from_document(value, "root").verify(role)


def test_a_key_list_names_its_product_its_server_and_its_sets(product: Any) -> None:
    value = json.loads(product.key_list())
    for changed in (
        {"product": ""}, {"server_id": "s" * 129}, {"version": 0},
        {"keys": [{**value["keys"][0], "set": ""}]},
        {"keys": [{**value["keys"][2], "alg": "HS256"}]},
    ):  # fmt: skip
        with pytest.raises(TrustMalformed):
            keylist.from_value({**value, **changed})
    text = json.dumps({**value, "product": "\ud800"}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(TrustMalformed):
        keylist.read(text.encode())


def test_a_trust_tells_its_keys_roles_and_versions(product: Any) -> None:
    trust = product.trust()
    assert {key.kid for key in trust.publisher_keys()} == {key.kid for key in product.publisher}
    assert trust.role_kids("keys") == (product.signers["keys"][0].kid,)
    assert trust.role_kids("root") == (product.signers["root"][0].kid,)
    assert (trust.key_list.version, trust.targets_version) == (trust.keys_version, 1)
    assert json.loads(trust.root_bytes) == json.loads(product.root())
    with pytest.raises(TokenKeyUnknown):
        trust.publisher_set(KEY.kid)


def test_signing_needs_a_whole_set_that_is_here_and_valid(product: Any) -> None:
    trust = product.trust()
    held = {product.lease.kid}
    assert [key.kid for key in trust.signing_set(Use.LEASE, held, product.now)] == [*held]
    for kids, at in ((set(), product.now), (held, product.now - timedelta(days=1))):
        with pytest.raises(TokenKeyUnknown):
            trust.signing_set(Use.LEASE, kids, at)


def test_a_listed_key_that_is_none_is_found_when_it_is_used(product: Any) -> None:
    bad = {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA"}
    from modelseal.crypto import jwk

    value = json.loads(product.key_list())
    value["keys"][1] = {**value["keys"][1], "jwk": bad, "kid": jwk.thumbprint(bad)}
    content = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    parts = product.documents(content=content)
    trust = pinned.compose(root=product.root(), **parts, tls_ca=None)
    with pytest.raises(TrustMalformed):
        trust.publisher_keys()


def test_former_roots_lead_to_the_root_in_force_or_are_refused(product: Any) -> None:
    trust = pinned.compose(root=product.root(2), **product.documents(), tls_ca=None)
    pinned.check_history(trust, [])
    pinned.check_history(trust, [product.root()])
    with pytest.raises(TrustRollback):
        pinned.check_history(trust, [product.root(2)])
    with pytest.raises(TrustSignature):
        pinned.check_history(trust, [type(product)().root()])
    with pytest.raises(TrustMalformed):
        pinned.check_history(trust, [product.root()] * (pinned.MAX_ROOTS + 2))


def test_tuf_roles_have_ed25519_keys() -> None:
    with pytest.raises(TrustMalformed):
        writing._tuf_key(SigningKey.generate("ES256").jwk)
