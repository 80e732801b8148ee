"""``docs/spec/tokens.md`` says what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import msgspec
import pytest

from modelseal.errors import by_code
from modelseal.license import bundle, claims, clock, license_key, plans, status, tokens
from modelseal.license.decide import STEPS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "spec" / "tokens.md").read_text("utf-8")


def _generator():
    path = ROOT / "tools" / "make_token_tables.py"
    spec = importlib.util.spec_from_file_location("make_token_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_tables_are_those_of_the_code():
    assert _generator().render(PAGE) == PAGE, "run: python tools/make_token_tables.py"


def test_every_claims_class_and_every_part_of_a_plan_has_its_table():
    shown = set(re.findall(r"<!-- table: (\w+) -->", PAGE))
    for module in (claims, plans):
        for name, cls in vars(module).items():
            if isinstance(cls, type) and issubclass(cls, msgspec.Struct) and cls.__struct_fields__:
                assert name in shown, name
    assert {"steps", "states", "denied"} <= shown


def test_every_step_stands_in_the_code_under_its_number_and_in_the_page():
    source = (ROOT / "src" / "modelseal" / "license" / "_steps.py").read_text("utf-8")
    numbered = re.findall(r"^# (\d+)(?::.*)?\n@_step\(\s*\"([^\"]+)\"", source, re.MULTILINE)
    assert numbered == [(str(step.number), step.code) for step in STEPS]


def test_every_code_that_the_page_names_exists():
    prose = re.sub(r"<!-- table: .*?<!-- end -->", "", PAGE, flags=re.DOTALL)
    named = set(re.findall(r"`((?:token|sealed|answer|clock|store|config)_[a-z_]+)`", prose))
    assert {"token_header", "sealed_key_invalid", "answer_invalid"} <= named
    assert {code for code in named if by_code(code) is None} <= {"lease_token"}


def test_every_kind_of_token_has_a_section():
    for typ in tokens.KINDS:
        assert f"`{typ}`" in PAGE


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16,384", tokens.MAX_BYTES),
        ("65,536", tokens.MAX_REQUEST_BYTES),
        ("262,144", tokens.MAX_AIR_GAP_BYTES),
        ("1,048,576", tokens.MAX_STATUS_LIST_BYTES),
        ("1,048,576 bytes", bundle.MAX_BYTES),
        ("16,777,216 entries", status.MAX_ENTRIES),
        ("300 seconds", clock.SET_BACK_SECONDS),
        (bundle.MAGIC.hex(" ").upper(), None),
        ("Eighty\nrandom bits", license_key.RAW_BYTES * 8),
    ],
)
def test_the_numbers_of_the_page_are_those_of_the_code(text, value):
    assert text in PAGE
    digits = re.sub(r"\D", "", text)
    if value is not None and digits:
        assert int(digits) == value
