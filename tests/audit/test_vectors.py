"""The published vectors hold here and in a second implementation, and are what is written today."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.audit import independent_log

from modelseal import audit
from modelseal.audit import Personal, verify_export
from modelseal.audit.event import read_personal
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import AuditBroken

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vectors" / "audit"
LOG: dict[str, Any] = json.loads((FOLDER / "log.json").read_text(encoding="utf-8"))
KEYS = [VerifyKey.from_jwk(LOG["key"])]


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_audit_vectors", ROOT / "tools" / "make_audit_vectors.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", range(len(LOG["events"])))
def test_an_events_bytes_decode_and_encode_to_the_same_and_hash_to_its_leaf(number: int) -> None:
    vector = LOG["events"][number]
    data = vector["bytes"].encode("utf-8")
    assert audit.encode(audit.decode(data)) == data
    assert audit.leaf_hash(data).hex() == independent_log.leaf(data).hex() == vector["leaf"]
    assert independent_log.canonical(json.loads(data)) == data


def test_the_whole_export_holds_here_and_in_the_second_implementation() -> None:
    data = (FOLDER / "export.jsonl").read_bytes()
    note = (FOLDER / "checkpoint").read_text(encoding="utf-8")
    report = verify_export(data.splitlines(), note, KEYS)
    assert report.events == independent_log.check_export(data, LOG["verifier_key"]) == 300
    origin, size, root = independent_log.open_note(note, LOG["verifier_key"])
    assert report.checkpoint == audit.Checkpoint(origin, size, root)


@pytest.mark.parametrize("vector", LOG["broken"], ids=lambda vector: str(vector["file"]))
def test_a_broken_export_is_refused_with_its_fault_and_place(vector: dict[str, Any]) -> None:
    data = (FOLDER / vector["file"]).read_bytes()
    with pytest.raises(AuditBroken) as caught:
        verify_export(data.splitlines(), None, KEYS)
    found = caught.value.params
    expected = {name: vector[name] for name in ("fault", "first", "last")}
    assert {name: found.get(name) for name in expected} == expected


def test_the_personal_data_in_the_export_opens_its_commitment() -> None:
    lines = map(json.loads, (FOLDER / "export.jsonl").read_bytes().splitlines())
    line = next(line for line in lines if "personal" in line)
    personal = read_personal(line["personal"], line["salt"])
    assert isinstance(personal, Personal)
    assert personal.commitment == line["event"]["personal"]


def test_today_writes_the_same_log() -> None:
    bodies, tiles, notes, lines = maker().build()
    assert b"".join(lines) == (FOLDER / "export.jsonl").read_bytes()
    assert notes[-1] == (FOLDER / "checkpoint").read_text(encoding="utf-8")
    assert {path: tiles[path].hex() for path in LOG["tiles"]} == LOG["tiles"]
    assert [body.decode() for body in bodies[:8]] == [item["bytes"] for item in LOG["events"]]
