"""Kinds of other packages, and what happens where a library lacks."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest
from tests.attest.judging import found, holds, judge, sample

from modelseal.attest import kinds
from modelseal.attest.verify import Endorsements, Evidence, Status, Step, appraise, strict
from modelseal.attest.verify.registry import builtin
from modelseal.errors import ConfigInvalid

CODE = """
from modelseal.attest.verify import Kind, Step
from modelseal.types import Level

def judge(case, ledger):
    for step in Step:
        ledger.ok(step)
    ledger.bound["nonce"] = case.parts[0]

KIND = Kind(name="oven", level=Level.L2, judge=judge, reference=("image",))
FAKE = Kind(name="snp", level=Level.L5, judge=judge, reference=())
"""


def install(tmp_path, monkeypatch, entries: str) -> None:
    """A package of another maker, as pip would lay it out."""
    (tmp_path / "own_kinds.py").write_text(CODE)
    info = tmp_path / "own_kinds-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-kinds\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{kinds.GROUP}]\n{entries}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_kinds", raising=False)


def test_another_package_adds_a_kind_by_an_entry_point(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "oven = own_kinds:KIND")
    known = kinds.known()
    assert set(known) == {*builtin(), "oven"}
    result = appraise(
        Evidence("oven", (b"q",)), b"q", Endorsements(), strict(), datetime.now(UTC), kinds=known
    )
    assert result.genuine and result.code == "reference_missing"


def test_it_cannot_take_the_name_of_a_built_in_one(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "snp = own_kinds:FAKE")
    assert kinds.known()["snp"] is builtin()["snp"]


@pytest.mark.parametrize(
    "entries", ["oven = own_kinds:GONE", "oven = nowhere:X", "stove = own_kinds:KIND",
                "oven = own_kinds:CODE2", "oven = own_kinds:judge"]
)  # fmt: skip
def test_an_entry_that_is_no_kind_is_told_by_its_name(tmp_path, monkeypatch, entries):
    install(tmp_path, monkeypatch, entries)
    with pytest.raises(ConfigInvalid, match=entries.partition(" ")[0]):
        kinds.known()


@pytest.mark.parametrize("name", ["sgx", "tdx"])
def test_without_the_library_a_quote_is_genuine_and_its_platform_unknown(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "dcap_qvl", None)
    collateral = sample(f"sgx-tdx-dcap/{name}_quote_collateral.json")
    at = datetime(2025, 7, 4, 10, 28, 44, tzinfo=UTC)
    raw = sample(f"sgx-tdx-dcap/{name}_quote")
    bound = bytes.fromhex(judge(name, raw, now=at).claims["report_data"])
    result = judge(name, raw, endorsements=[collateral], now=at, expected=bound)
    assert result.genuine and result.status is Status.NONE
    assert found(result, Step.PLATFORM) == ["extra_missing"]
    assert "modelseal[attest]" in result.reason
    assert all(holds(result, step) for step in (Step.CHAIN, Step.SIGNATURE, Step.REVOCATION))
