"""``modelseal login``: a person signs in at a real provider, over a browser or a code."""

from __future__ import annotations

import os
import stat
import sys

import pytest
from tests.cli.world import Shell, here, serving
from tests.oidc import CLIENT, Provider

BROWSER = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile={ca!r})
opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
if {forged}:
    back = sys.argv[1].partition("redirect_uri=")[2].partition("&")[0]
    back = urllib.request.unquote(back)
    for odd in ("?code=x&state=forged", "?error=access_denied", "/../x", "?state=a&state=b"):
        try:
            opener.open(back + odd)
            raise SystemExit("a foreign answer was taken")
        except urllib.error.HTTPError as error:
            assert error.code in (400, 404), error.code
print(opener.open(sys.argv[1]).read().decode(), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("login")
    home, provider = folder / "shop", Provider(folder)
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    (home / "server" / "provider-ca.pem").write_bytes(provider.ca.read_bytes())
    with (home / "server" / "server.toml").open("a") as toml:
        toml.write(
            f'[sign_in]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT}"\ndevice = true\n'
            'ca = "provider-ca.pem"\nroles = { sealers = "owner" }\n'
        )
    with serving(Shell(folder), home) as url:
        yield provider, home, url
    provider.close()


@pytest.fixture
def person(world, shell):
    """A shell whose browser signs in by itself, and the options of the server."""
    provider, home, url = world
    provider.claims, provider.device_pending = {}, 1
    (shell.folder / "trust.json").write_bytes((home / "trust.json").read_bytes())
    browse(shell, provider)
    return shell, ("--server", url, "--home", ".", "--ca", provider.ca, "--json")


def browse(shell: Shell, provider: Provider, *, forged: bool = False) -> None:
    browser = shell.folder / "browser.py"
    browser.write_text(BROWSER.format(ca=str(provider.ca), forged=forged))
    shell.more["BROWSER"] = f"{sys.executable} {browser} %s"


def test_a_person_signs_in_by_a_browser_works_and_signs_out(world, person):
    shell, there = person
    browse(shell, world[0], forged=True)
    ran = shell("login", *there)
    assert (ran.code, ran.json["role"]) == (0, "owner"), ran
    assert "mst_" not in ran.out + ran.err and "go back to the terminal" in ran.err
    kept = shell.folder / ".config" / "modelseal" / "sessions"
    (file,) = kept.iterdir()
    assert str(file) == ran.json["path"] and stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = shell("server", "token", "list", *there)
    assert [t["person"] for t in listed.json["items"]] == [ran.json["person"]]
    out = shell("logout", *there)
    assert out.json["ended"] is True and not list(kept.iterdir())
    shell("server", "token", "list", *there).refused("misuse", 2)
    assert shell("logout", *there).json["ended"] is False


def test_a_person_signs_in_by_a_code_without_a_browser(person):
    shell, there = person
    shell.more["MODELSEAL_SESSIONS"] = str(shell.folder / "mine")
    ran = shell("login", "--device", *there)
    assert (ran.code, ran.json["role"]) == (0, "owner"), ran
    assert "WDJB-MJHT" in ran.err and len(list((shell.folder / "mine").iterdir())) == 1
    assert shell("license", "list", *there).code == 0


def test_somebody_without_a_role_is_told_so_and_nothing_is_kept(world, person):
    shell, there = person
    world[0].claims = {"groups": ["others"]}
    shell("login", *there).refused("sign_in_not_allowed", 3)
    assert not (shell.folder / ".config").exists()


def test_a_session_file_that_others_may_read_is_not_used(person):
    shell, there = person
    ran = shell("login", *there)
    os.chmod(ran.json["path"], 0o644)
    shell("license", "list", *there).refused("key_store_unavailable", 5)
