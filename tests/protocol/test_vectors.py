"""``vectors/protocol/``: the real server makes these bytes, and two clients live by them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.client.world import computer
from tests.protocol import independent_device as other

from modelseal import cbor, container, device, errors
from modelseal.client import Client, Ports, leasekey
from modelseal.client.identity import Identity
from modelseal.client.leasekey import LeaseKeys, Pending
from modelseal.client.transport import Answer, Stream
from modelseal.container import BytesSource
from modelseal.crypto.signing import SigningKey
from modelseal.license import tokens
from modelseal.license.claims import RequestClaims
from modelseal.trust import parse as parse_trust
from modelseal.types import LeaseState

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vectors" / "protocol"
KEYS = json.loads((FOLDER / "keys.json").read_text("utf-8"))
EXCHANGE = json.loads((FOLDER / "exchange.json").read_text("utf-8"))
STEPS = {step["name"]: step for step in EXCHANGE["steps"]}
SIGNED = [step for step in EXCHANGE["steps"] if "claims" in step]
TRUST_BYTES = (FOLDER / "trust.json").read_bytes()
TYPES = {"license": "license+jwt", "lease": "lease+jwt", "denial": "denial+jwt",
         "release": "release+jwt"}  # fmt: skip


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_protocol_vectors", ROOT / "tools" / "make_protocol_vectors.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_real_server_still_makes_exactly_these_bytes() -> None:
    """If this is meant to change, run: python tools/make_protocol_vectors.py"""
    made = generator().make()
    assert made["license_keys"] == EXCHANGE["license_keys"]
    for step in made["steps"]:
        assert step == STEPS[step["name"]], step["name"]
    assert [s["name"] for s in made["steps"]] == [s["name"] for s in EXCHANGE["steps"]]


# -- a client that shares no code with ours


def second_device(step: dict[str, Any]) -> other.Device:
    """The independent device as it stands when it asks what ``step`` asks."""
    private = KEYS["devices"][step["device"]]["pkcs8"]
    key = ed25519.Ed25519PrivateKey.from_private_bytes(other.raw(private)[-32:])
    asked = step["claims"]
    return other.Device(
        other.Trust(TRUST_BYTES), key, asked.get("sub"), asked.get("lic"), asked.get("seq", 0),
        asked.get("prev"), asked,
    )  # fmt: skip


@pytest.mark.parametrize("step", SIGNED, ids=lambda step: step["name"])
def test_a_second_client_signs_the_same_request_and_accepts_the_answer(
    step: dict[str, Any],
) -> None:
    me = second_device(step)
    assert me.sign(step["claims"]) == step["request"]["body"]
    assert step["request"]["headers"]["Idempotency-Key"] == step["claims"]["nonce"]
    body = json.loads(step["answer"]["body"])
    assert step["tokens"].keys() == body.keys() & TYPES.keys()
    keys: dict[tuple[bytes, int], bytes] = {}
    for member, claims in step["tokens"].items():
        if member == "license":
            assert me.trust.signed(body[member], TYPES[member]) == claims
            continue
        assert me.accept(body[member], TYPES[member]) == claims
        if "keys" in claims:
            keys = other.Kem(other.raw(KEYS["kem"][step["kem"]])).data_keys(claims)
    assert [[f.hex(), s, k.hex()] for (f, s), k in sorted(keys.items())] == step["keys"]


def test_a_second_client_reads_the_suspension_in_the_status_list() -> None:
    trust, at = other.Trust(TRUST_BYTES), STEPS["renew"]["tokens"]["lease"]["status"]
    before, after = (
        trust.signed(STEPS[name]["answer"]["body"], "statuslist+jwt")
        for name in ("status list", "status list, suspended")
    )
    assert before["sub"] == after["sub"] == at["uri"] and before["number"] < after["number"]
    assert (other.status_at(before, at["idx"]), other.status_at(after, at["idx"])) == (0, 2)


def test_a_lost_reply_is_answered_with_the_same_lease_in_all_but_the_sealing() -> None:
    first, again = (STEPS[name]["tokens"] for name in ("activate", "activate again"))
    assert first["license"] == again["license"]
    assert {**first["lease"], "keys": 0} == {**again["lease"], "keys": 0}
    assert first["lease"]["keys"] != again["lease"]["keys"]
    assert STEPS["activate"]["keys"] == STEPS["activate again"]["keys"]


def test_the_keys_of_the_lease_open_the_published_model() -> None:
    trust = parse_trust(TRUST_BYTES)
    model = container.parse(BytesSource((FOLDER / "swap.sealed").read_bytes()))
    verified = model.verify_signatures(trust.publisher_keys(), product=trust.product)
    for file_id, section, key in STEPS["renew"]["keys"]:
        assert bytes.fromhex(file_id) == verified.file_id
        verified.check_key(section, bytes.fromhex(key))


# -- our own client


class Replay:
    """A ``Transport`` that gives the stored answers, one after the other."""

    def __init__(self) -> None:
        self.next: dict[str, Any] = {}
        self.asked: list[RequestClaims] = []

    def exchange(self, method: str, path: str, *, body: bytes | None = None, **_: Any) -> Answer:
        assert (method, path) == (self.next["request"]["method"], self.next["request"]["path"])
        claims = tokens.read_request(
            body or b"", server_id=KEYS["server_id"], jwk=SIGNER.jwk, any_operation=True
        )
        self.asked.append(claims)
        answer = self.next["answer"]
        return Answer(answer["status"], answer["headers"], answer["body"].encode())

    def stream(self, url: str, **_: Any) -> AbstractContextManager[Stream]:
        raise AssertionError(url)

    def close(self) -> None: ...


SIGNER = SigningKey.from_pkcs8(other.raw(KEYS["devices"]["laptop"]["pkcs8"]))
ME = Identity(SIGNER, b"s" * 32, copyable=False)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[tuple[Client, Callable[[str], None], Replay]]:
    """Our client with the vector's device key, and the way to put it before a stored step."""
    replay, clock = Replay(), [datetime.fromisoformat("2026-03-01T12:00:00+00:00")]
    traits = computer()
    ports = Ports(
        now=lambda: clock[0], traits=lambda: traits, transport=lambda _: replay, environ={}
    )
    made = Client(
        state=tmp_path / "state", server="https://license.example.com", trust=TRUST_BYTES,
        background=False, ports=ports,
    )  # fmt: skip
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    secret = cbor.encode({"signing": SIGNER.to_pkcs8(), "storage": ME.storage_key})
    wrapped = device.wrap(secret, traits.readings, random=lambda count: b"r" * count)
    _write(folder / "device.key", wrapped.data)

    def at(name: str) -> None:
        """The clock of ``name`` and its question pending, as after a crash before it was sent."""
        step = STEPS[name]
        replay.next, clock[0] = step, datetime.fromisoformat(step["at"].replace("Z", "+00:00"))
        asked = step["claims"]
        typed = (EXCHANGE["license_keys"]["pro"], "", "", asked.get("label", ""))
        current = None
        if (folder / "lease.key").exists():
            kept = leasekey.open_(
                (folder / "lease.key").read_bytes(), ME.storage_key, device=ME.kid
            )
            current = kept.current
        pending = Pending(
            op=asked["op"], nonce=asked["nonce"], kem=other.raw(KEYS["kem"][step["kem"]]),
            seq=asked.get("seq", 0), prev=asked.get("prev"),
            ask=ME.keyed_hash(asked["op"], *(typed if asked["op"] == "activate" else ())),
        )  # fmt: skip
        keys = LeaseKeys(current, pending)
        data = leasekey.seal(keys, ME.storage_key, device=ME.kid, random=lambda n: b"n" * n)
        _write(folder / "lease.key", data)

    yield made, at, replay


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def test_our_client_lives_the_life_in_the_vectors(
    client: tuple[Client, Callable[[str], None], Replay],
) -> None:
    """Activation after a lost reply, renewal, denial, renewal: each from its stored answer."""
    me, at, replay = client
    at("activate again")
    found = me.activate(EXCHANGE["license_keys"]["pro"], label="Li's laptop")
    assert (found.state, found.entitlements) == (LeaseState.ACTIVE, ["face.swap"])
    at("renew")
    assert me.renew().state is LeaseState.ACTIVE
    at("renew, suspended")
    with pytest.raises(errors.LicenseSuspended) as refused:
        me.renew()
    assert refused.value.reference == STEPS["renew, suspended"]["tokens"]["denial"]["reference"]
    assert me.status().state is LeaseState.SUSPENDED
    at("renew, resumed")
    assert me.renew().state is LeaseState.ACTIVE
    names = ("activate again", "renew", "renew, suspended", "renew, resumed")
    for name, asked in zip(names, replay.asked, strict=True):
        stored = STEPS[name]["claims"]
        assert (asked.nonce, asked.seq, asked.prev, asked.sub) == (
            stored["nonce"], stored.get("seq", 0), stored.get("prev"), stored.get("sub"),
        )  # fmt: skip
        assert [msg.pub for msg in asked.kem] == [kem["pub"] for kem in stored["kem"]]


@pytest.mark.parametrize("wrong", ["renew", "activate", "renew, resumed", "release"])
def test_our_client_takes_no_answer_to_another_question(
    client: tuple[Client, Callable[[str], None], Replay], wrong: str
) -> None:
    """Every signature holds, and yet nothing is stored and the question stays pending."""
    me, at, replay = client
    at("activate again")
    me.activate(EXCHANGE["license_keys"]["pro"], label="Li's laptop")
    at("renew")
    before = me.status()
    if wrong == "renew":  # the right nonce, another signature
        body = json.loads(STEPS["renew"]["answer"]["body"])
        head, payload, _ = body["lease"].split(".")
        body["lease"] = f"{head}.{payload}.{'A' * 86}"
        answer = {**STEPS["renew"]["answer"], "body": json.dumps(body)}
    else:
        answer = STEPS[wrong]["answer"]
    replay.next = {**STEPS["renew"], "answer": answer}
    with pytest.raises(errors.InvalidBytes):
        me.renew()
    assert me.status() == before
    replay.next = STEPS["renew"]
    assert me.renew().state is LeaseState.ACTIVE
    found = me.status().lease
    assert found is not None and found.seq == STEPS["renew"]["tokens"]["lease"]["seq"]
