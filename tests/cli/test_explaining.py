"""Decisions explained: which step decided, what the others say, with scores; and as a dry run."""

from __future__ import annotations

import pytest


@pytest.fixture
def asked(shop, shell):
    """What `license explain` says about a license of 30 days that a device has activated."""
    key, license_id = shop.issue("trial", "--expires", "30d")
    assert shell("activate", key, *shop.names, "--state", "laptop").code == 0

    def run(*words):
        return shell("license", "explain", license_id, "--home", shop.home, *words)

    return run


def test_every_step_is_shown_with_its_answer_and_the_match_in_numbers(asked):
    told = asked("--json").json
    assert (told["allowed"], told["step"], told["replayed"]) == (True, "0", True)
    assert [each["answer"] for each in told["steps"]] == ["yes"] * len(told["steps"])
    assert {8, 14, 16, 30} <= {each["step"] for each in told["steps"]}
    assert 0 <= told["facts"]["device"]["match"]["score"] <= 1
    ran = asked()
    assert ran.code == 0 and "traits matched" in ran.out and "of weight" in ran.out
    assert "Does the license still run?" in ran.out


def test_a_dry_run_says_what_the_same_question_would_meet_at_another_time(asked):
    dry = asked("--at", "31d", "--json").json["dry_run"]
    assert (dry["allowed"], dry["code"], dry["step"]) == (False, "license_expired", "14")
    assert [each["step"] for each in dry["steps"] if each["answer"] == "no"] == [14]
    early = asked("--at", "2000-02-29", "--json").json["dry_run"]
    assert (early["code"], early["step"]) == ("license_not_yet_valid", "13")
    ran = asked("--at", "31d")
    assert "it would be" in ran.out and "refused: license_expired" in ran.out
    assert asked("--json").json["allowed"] is True


@pytest.mark.parametrize("word", ["never", "yesterday", "-3d", ""])
def test_a_moment_that_is_none_is_told(asked, word):
    ran = asked("--at", word, "--json")
    assert (ran.code, ran.json["code"]) == (2, "misuse")
