"""The catalogue of texts."""

from __future__ import annotations

import importlib
import pkgutil
from string import Formatter

import pytest

import modelseal
from modelseal import texts
from modelseal.errors import ModelsealError, by_code
from modelseal.texts import en, zh_cn
from modelseal.types import LeaseState


def _all_codes() -> set[str]:
    for module in pkgutil.walk_packages(modelseal.__path__, "modelseal."):
        if module.name.split(".")[1] in {"crypto", "license", "container", "trust", "device"}:
            importlib.import_module(module.name)
    codes, pending = set(), [ModelsealError]
    while pending:
        cls = pending.pop()
        if cls.__module__.startswith("modelseal"):
            codes.add(cls.code)
        pending.extend(cls.__subclasses__())
    return codes


@pytest.mark.parametrize("catalogue", [en.TEXTS, zh_cn.TEXTS], ids=["en", "zh-CN"])
def test_every_code_of_the_error_tree_has_three_sentences_in_each_language(catalogue):
    missing = sorted(code for code in _all_codes() if code not in catalogue)
    assert missing == []
    assert all(len(entry) == 3 and all(entry) for entry in catalogue.values())


def test_no_text_stands_in_the_catalogue_for_a_code_that_does_not_exist():
    codes = _all_codes()
    assert sorted(set(en.TEXTS) - codes) == []
    assert sorted(set(zh_cn.TEXTS) - codes) == []


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("code", sorted(en.TEXTS))
def test_a_text_renders_without_parameters_and_ends_as_a_sentence(code, language):
    text = texts.render(code, {}, language=language)
    for part in (text.what, text.why, text.next_step):
        assert part and part[-1] in ".。" and "{" not in part
        assert "[" not in part.replace("modelseal[?]", "")
        assert not part[0].islower() or part.startswith("modelseal "), part


def test_both_languages_use_the_same_parameters():
    for code, entry in en.TEXTS.items():
        for mine, theirs in zip(entry, zh_cn.TEXTS[code], strict=True):
            assert _names(theirs) <= _names(" ".join(entry)) | {"detail"}, code
            assert mine


def test_a_clause_in_brackets_falls_away_with_its_parameter():
    assert texts.render("not_entitled", {}).what == "The license does not include this."
    shown = texts.render("not_entitled", {"entitlement": "face.restore"}).what
    assert shown == "The license does not include this: it lacks face.restore."


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_what_to_install_for_a_missing_extra_can_be_pasted(language):
    told = texts.render("extra_missing", {"extra": "onnx"}, language=language)
    assert "`pip install 'modelseal[onnx]'`" in told.next_step


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("code", [c for c, text in en.TEXTS.items() if "{reference}" in str(text)])
def test_a_text_that_speaks_of_the_reference_has_it_from_the_error_itself(code, language):
    error = by_code(code)("said no", reference="ABCD2345")
    texts.use_language(language)
    try:
        assert "ABCD2345" in error.next_step
    finally:
        texts.use_language("en")


def test_the_full_stop_of_a_detail_is_not_doubled():
    assert texts.render("misuse", {}, "name a plan.").what.endswith("name a plan.")


def test_zero_is_a_value_that_keeps_its_clause():
    told = texts.render("rebinds_used_up", {"limit": 0})
    assert told.what == "The seat cannot be moved again now; 0 moves in 90 days are used."


def test_an_unknown_code_still_gives_a_helpful_text():
    assert "no_such" not in texts.render("no_such", {}, "odd").next_step
    assert by_code("no_such") is None


def test_language_follows_the_tag_and_falls_back_to_english():
    texts.use_language("zh_CN.UTF-8")
    try:
        assert texts.render("not_activated", {}).what == zh_cn.TEXTS["not_activated"][0]
    finally:
        texts.use_language("fr")
    assert texts.render("not_activated", {}).what == en.TEXTS["not_activated"][0]


def test_what_commands_say_is_said_in_both_languages_with_the_same_values():
    assert sorted(en.SAID) == sorted(zh_cn.SAID)
    for name, template in en.SAID.items():
        assert _clauses(zh_cn.SAID[name]) == _clauses(template), name
        assert texts.said(name)


def test_every_state_of_a_device_has_its_sentence():
    assert {f"state_{state.value}" for state in LeaseState} <= set(en.SAID)


def _clauses(template: str) -> set[str]:
    return _names(template.replace("[", "").replace("]", ""))


def _names(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}
