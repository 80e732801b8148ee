"""The second client accepts and refuses what the vectors of the specification say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import hpke, licensekey, tokens
from .encoding import Refused, olpc, unb64u, uncbor
from .trust import Key, KeyList, Trust

VECTORS = Path(__file__).parents[2] / "vectors"


def vector(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def code_of(reading: Any) -> str | None:
    try:
        reading()
    except Refused as refusal:
        return refusal.code
    return None


def believed(said: dict[str, Any], *, hybrid: bool) -> KeyList:
    """The key list that the token vectors are read with: one key or both, for every use."""
    made = vector("tokens/keys.json")["signing"]
    trust: KeyList = object.__new__(KeyList)
    trust.product, trust.server_id = said["product"], said["server_id"]
    trust.keys = [
        Key(use, alg, made[alg]["kid"], made[alg]["jwk"], start, end, f"{use}-{number}")
        for start, end in [(said["valid_from"], said["valid_until"])]
        for number, algs in enumerate(said["sets"])
        for alg in algs
        for use in ("license", "lease", "status")
        if (number == len(said["sets"]) - 1) == hybrid
    ]
    return trust


def test_trust_files_are_accepted_and_refused_as_the_vectors_say() -> None:
    said = vector("trust/manifest.json")
    assert olpc(said["canonical"]["value"]).hex() == said["canonical"]["hex"]
    for name, facts in said["accepted"].items():
        keys = Trust((VECTORS / "trust" / name).read_bytes()).keys
        assert [keys.product, keys.server_id] == [facts["product"], facts["server_id"]]
    for name, code in said["refused"].items():
        data = (VECTORS / "trust" / "refused" / name).read_bytes()
        assert code_of(lambda d=data: Trust(d)) == code, name


@pytest.mark.parametrize("case", vector("trust/manifest.json")["updates"], ids=lambda c: c["name"])
def test_trust_moves_forward_as_the_vectors_say(case: dict[str, Any]) -> None:
    trust = Trust((VECTORS / "trust/trust.json").read_bytes())
    documents = [json.loads(text) for text in (*case["roots"], case["targets"], case["keys_role"])]
    *roots, targets, role = documents
    try:
        after = trust.update(roots, targets, role, case["key_list"].encode(), case["now"])
    except Refused as refusal:
        assert refusal.code == case.get("code")
    else:
        assert [after.root.version, after.keys.version] == [
            case["root_version"],
            case["keys_version"],
        ]


def test_valid_tokens_are_read_and_others_refused_with_their_code() -> None:
    said = vector("tokens/valid.json")
    for case in said["tokens"]:
        if case["typ"] in ("request+jwt", "delegation+jwt"):  # it meets no relay with a budget
            continue
        trust = believed(said["trust"], hybrid=len(case["signers"]) > 1)
        assert tokens.read(case["token"], case["typ"], trust) == case["claims"], case["name"]
    said = vector("tokens/refused.json")
    for case in said["tokens"]:
        trust = believed(said["trust"], hybrid=case["hybrid"])
        found = code_of(lambda c=case, t=trust: tokens.read(c["token"], "lease+jwt", t))
        assert found == case["code"], case["name"]


def test_sealed_keys_open_and_license_keys_are_read() -> None:
    key = hpke.KemKey(unb64u(vector("tokens/keys.json")["kem"]["private"], "x"))
    sealed = vector("tokens/sealed.json")
    for case in [*sealed["keys"], sealed["license_key"]]:
        values = dict(case["binding"])
        label = values.pop("label", "license-key")
        assert hpke.info(label, values).hex() == case["info"]
        plain = key.open(unb64u(case["sealed"]["ct"], "x"), label, values)
        if "raw" in case:
            assert plain.hex() == case["raw"]
        else:
            rows = uncbor(plain, "sealed_key_invalid")
            assert [[f.hex(), s, k.hex()] for f, s, k in rows] == case["keys"]
    typed = vector("tokens/license_keys.json")
    for case in [*typed["valid"], *typed["typed"]]:
        assert licensekey.parse(case.get("text") or case["typed"]).hex() == case["raw"]
    for case in typed["mistyped"]:
        with pytest.raises(Refused) as refusal:
            licensekey.parse(case["typed"])
        assert refusal.value.params.get("group") == case["group"]
