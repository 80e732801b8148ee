"""The second client reads the recorded life of a device, and the recorded log, as they stand."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from . import datakeys, hpke, log, sealed, tokens
from .encoding import Refused, unb64u
from .opening import Opener, assemble
from .signing import DeviceKey
from .trust import Key, Trust
from .wire import Wire

VECTORS = Path(__file__).parents[2] / "vectors"
LIFE = json.loads((VECTORS / "protocol/exchange.json").read_text())["steps"]
KEYS = json.loads((VECTORS / "protocol/keys.json").read_text())
TRUST = Trust((VECTORS / "protocol/trust.json").read_bytes())


@pytest.mark.parametrize("step", LIFE, ids=lambda step: step["name"])
def test_a_recorded_step_is_asked_and_understood_alike(step: dict[str, Any]) -> None:
    at = int(datetime.fromisoformat(step["at"]).timestamp())
    if "device" not in step:
        claims = tokens.read(step["answer"]["body"], "statuslist+jwt", TRUST.keys, at)
        wanted = 2 if "suspended" in step["name"] else 0
        used = LIFE[1]["tokens"]["lease"]["status"]
        assert claims["sub"] == used["uri"]
        assert tokens.StatusList(claims).entry(used["idx"]) == wanted
        return
    der = unb64u(KEYS["devices"][step["device"]]["pkcs8"], "x")
    private = load_der_private_key(der, None)
    assert isinstance(private, Ed25519PrivateKey)
    assert DeviceKey(private).token(step["claims"]) == step["request"]["body"]
    answer = json.loads(step["answer"]["body"])
    for kind, claims in step["tokens"].items():
        assert tokens.read(answer[kind], f"{kind}+jwt", TRUST.keys, at) == claims
        if claims.get("keys"):
            kem = hpke.KemKey(unb64u(KEYS["kem"][step["kem"]], "x"))
            nonce = claims["request_nonce"] if kind == "release" else None
            found = datakeys.opened(claims, kem, nonce)
            rows = [[file.hex(), section, key.hex()] for (file, section), key in found.items()]
            assert rows == step["keys"]
            assert opens(found) == {"swap.onnx"}
            with pytest.raises(Refused):
                datakeys.opened(claims | {"seq": claims["seq"] + 1}, kem, nonce)


def opens(keys: datakeys.DataKeys) -> set[str]:
    """The names of what the published model of the vectors opens to."""
    data = (VECTORS / "protocol/swap.sealed").read_bytes()

    def read_at(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    model = sealed.whole_file(read_at, len(data))
    model.verify(TRUST.keys.publishers(), TRUST.keys.product)
    opener = Opener(model, read_at, {section: key for (_, section), key in keys.items()})
    index = opener.index()
    plain = {1: opener.plain(1)}
    return {name for name, extents in index.entries.items() if assemble(extents, plain)}


class Tiles(Wire):
    """A log that was written to a file."""

    def __init__(self, tiles: dict[str, str]) -> None:
        self.tiles = tiles

    def get(self, path: str, kind: str, most: int = 0) -> bytes:
        return bytes.fromhex(self.tiles[path.removeprefix("/v1/log/")])


def test_every_leaf_of_the_recorded_log_is_proved_and_no_other() -> None:
    said = json.loads((VECTORS / "audit/log.json").read_text())
    key = Key("checkpoint", "Ed25519", "", said["key"], 0, None, "checkpoint-1")
    note = (VECTORS / "audit/checkpoint").read_bytes()
    head = log.checkpoint(note, [key])
    lines = (VECTORS / "audit/export.jsonl").read_text(encoding="utf-8").splitlines()
    exported = [json.loads(line) for line in lines]
    leaves = [unb64u(line["leaf"], "x") for line in exported if line["type"] == "event"]
    first = {"tile/0/000": b"".join(leaves[:256]).hex()}
    tiles = log.Log(Tiles(said["tiles"] | first), head)
    assert len(leaves) == head.size == 300
    assert all(tiles.proves(index, leaf) for index, leaf in enumerate(leaves))
    assert not any(tiles.proves(index, leaves[index - 1]) for index in range(head.size))
    with pytest.raises(Refused):
        log.checkpoint(note.replace(b"\n300\n", b"\n301\n"), [key])
