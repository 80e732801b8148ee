"""The commands about budgets: asking, seeing it on both sides, revoking and restoring it."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from modelseal.cli import context, main


@pytest.fixture
def run(site, monkeypatch, capsys):
    """Runs ``modelseal server relay …``; the device's client is the one of the relay's machine."""

    @contextmanager
    def keeper(*_words, **_more):
        yield site.keeper.client

    monkeypatch.setattr(context, "client", keeper)

    def act(*words, code=0):
        assert main(["server", "relay", *map(str, words), "--json"]) == code
        return json.loads(capsys.readouterr().out or "null")

    return act


def test_a_budget_is_asked_for_shown_revoked_and_restored_by_commands(site, run):
    home = site.shop.server.home
    words = ("budget", site.folder, site.key, "--trust", home / "trust.json", "--kek", site.kek)
    asked = run(*words)["budget"]
    assert (asked["seats"], asked["renewals"], asked["number"]) == (2, 3, 1)
    with site.open():
        site.device("a").activate(site.key)
    shown = run("status", site.folder)
    assert (shown["budget"]["seats_spent"], shown["budget"]["unreported"]) == (1, 1)
    [mine] = [
        each
        for each in run("budgets", "--home", home, "--all")["items"]
        if each["relay"] == shown["relay"]
    ]
    assert (mine["state"], mine["seats"], mine["seats_spent"]) == ("active", 2, 0)
    assert run("revoke", mine["relay"], "--home", home)["state"] == "revoked"
    run(*words, code=2)
    assert run("restore", mine["relay"], "--home", home)["state"] == "active"
    again = run(*words)["budget"]  # what was given is told first
    assert (again["number"], again["unreported"], again["seats_spent"]) == (2, 0, 1)
    assert (again["rollback"], again["stopped"], again["refused"]) == ("prevented", None, 0)
    assert site.record().seats_spent == 1
