"""Both clients give one verdict, code included, on altered trust, tokens and sealed models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from modelseal import container
from modelseal import trust as trusts
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import ModelsealError, TokenKeyUnknown
from modelseal.license import tokens as first_tokens

from . import sealed, tokens
from .encoding import Refused, b64u, canonical_json, unb64u
from .signing import thumbprint
from .test_second_client_vectors import believed
from .trust import Key, KeyList, Trust

VECTORS = Path(__file__).parents[2] / "vectors"
ODD: list[Any] = [None, True, -1, 0, 1, 5, 6, 2**53 - 1, 2**53, 253402300799, 253402300800, "", "x"]
ODD += ["A" * 43, "x" * 64, "x" * 65, "é" * 128, "x" * 129, [], [1], {}, {"a": 1}, {"": "b"}]
ODD += [{"a": None}, {"a": ["s", {"b": 1}]}, {"a": {"b": 1}}, {"a": [1]}, {"a": True}]
EXTRA = ("extra", "bundle", "bound", "prev", "lic", "params", "exp", "nbf", "crit")


def verdict(read: Callable[..., object], *what: object) -> str:
    try:
        read(*what)
    except (Refused, ModelsealError) as error:
        return error.code
    return "accepted"


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    for name, part in enumerate(value) if isinstance(value, list) else inner:
        yield (*at, name)
        yield from places(part, (*at, name))


def altered(value: Any, random: Random) -> Any:
    """A copy of a JSON value with one thing changed somewhere."""
    copy = json.loads(json.dumps(value))
    *way, last = random.choice(list(places(copy)))
    holder = copy
    for name in way:
        holder = holder[name]
    match random.randrange(4):
        case 0:
            del holder[last]
        case 1:
            holder[last] = random.choice(ODD)
        case 2 if isinstance(holder[last], int):
            holder[last] += random.choice([1, -1, 86400, -86400, 400 * 86400, -400 * 86400])
        case _ if isinstance(holder, dict):
            holder[random.choice(EXTRA)] = random.choice(ODD)
        case _:
            holder.append(holder[last])
    return copy


class View:
    """The second client's key list, as the first client asks for it."""

    def __init__(self, keys: KeyList) -> None:
        self.product, self.server_id, self._keys = keys.product, keys.server_id, keys

    def verify_keys(self, use: str, kid: str, at: datetime) -> tuple[VerifyKey, ...]:
        found = self._keys.set_of(kid, use, int(at.timestamp()))
        if not found:
            raise TokenKeyUnknown("not listed, or not valid then")
        return tuple(VerifyKey.from_jwk(key.jwk, key.alg) for key in found)


def test_altered_trust_has_one_verdict() -> None:
    random = Random(1)
    value = json.loads((VECTORS / "trust/trust.json").read_bytes())
    seen = set()
    for _ in range(400):
        data = json.dumps(altered(value, random)).encode()
        one, other = verdict(Trust, data), verdict(trusts.parse, data)
        assert one == other, data
        seen.add(one)
    assert {"trust_malformed", "trust_signature"} <= seen


@pytest.mark.parametrize("kind", ["license", "lease", "denial", "release", "statuslist"])
def test_forged_claims_under_a_good_signature_have_one_verdict(kind: str) -> None:
    said = json.loads((VECTORS / "tokens/valid.json").read_text())
    made = json.loads((VECTORS / "tokens/keys.json").read_text())["signing"]["Ed25519"]
    private = load_der_private_key(unb64u(made["pkcs8"], "x"), None)
    assert isinstance(private, Ed25519PrivateKey)
    typ, keys, random = f"{kind}+jwt", believed(said["trust"], hybrid=False), Random(kind)
    header = b64u(canonical_json({"alg": "Ed25519", "kid": made["kid"], "typ": typ}))
    (claims,) = [t["claims"] for t in said["tokens"] if t["name"] == f"{typ} Ed25519"]
    seen = set()
    for _ in range(400):
        forged = altered(claims, random)
        body = f"{header}.{b64u(canonical_json(forged))}"
        token = f"{body}.{b64u(private.sign(body.encode()))}"
        one = verdict(tokens.read, token, typ, keys)
        other = verdict(first_tokens.read, token, first_tokens.KINDS[typ], View(keys))
        assert one == other, forged
        seen.add(one)
    assert {"accepted", "token_claims"} <= seen


@pytest.mark.parametrize("name", ["small", "sections", "variant"])
def test_altered_sealed_models_have_one_verdict(name: str) -> None:
    manifest = json.loads((VECTORS / "sealed-model/manifest.json").read_text())
    case = next(case for case in manifest["valid"] if case["name"] == name)
    jwks = [manifest["keys"][key] for key in case["trust"]]
    algs = [jwk.get("alg", "Ed25519") for jwk in jwks]
    rows = list(zip(jwks, algs, strict=True))
    mine = [Key("publisher", alg, thumbprint(jwk), jwk, 0, None, "p") for jwk, alg in rows]
    theirs = [VerifyKey.from_jwk(jwk, alg) for jwk, alg in rows]
    whole = (VECTORS / "sealed-model" / case["file"]).read_bytes()
    front, random = int.from_bytes(whole[96:104], "little"), Random(name)

    def second(data: bytes) -> None:
        model = sealed.whole_file(lambda offset, size: data[offset : offset + size], len(data))
        model.verify(mine, case["product"])
        model.verify_table()
        for number, (offset, size) in enumerate(model.places()):
            if not model.leaf_holds(number, data[offset : offset + size]):
                raise Refused("container_damaged", "a leaf")

    def first(data: bytes) -> None:
        parsed = container.parse(container.BytesSource(data))
        parsed.verify_signatures(theirs, product=case["product"]).verify_leaves()

    seen = set()
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(random.choice([1, 1, 2])):
            place = random.choice([128, front, front, len(data)])
            data[random.randrange(place)] = random.choice([0, 1, 255, random.randrange(256)])
        cut = bytes(data[: random.choice([len(data)] * 9 + [random.randrange(len(data))])])
        one, other = verdict(second, cut), verdict(first, cut)
        assert one == other, cut[:front].hex()
        seen.add(one)
    assert {"container_malformed", "container_signature", "container_damaged"} <= seen
