"""The commands as they are typed, beside a ``modelseal server run`` in a process of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.world import Ran, Shell, Shop, here, serving


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A running server with one published model; apps ship the trust of the first day."""
    folder = tmp_path_factory.mktemp("publisher")
    home = folder / "shop"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    shutil.copy(home / "trust.json", folder / "shipped.json")
    with serving(Shell(folder), home) as url:
        made = Shop(home, url)
        (folder / "swap.onnx").write_bytes(b"weights " * 30_000)
        made.do("seal", folder / "swap.onnx", "-o", folder / "s", "--entitlement", "face.swap")
        made.do("model", "publish", folder / "s")
        made.do("plan", "create", "pro", "--entitlement", "face.swap", "--seats", 9)
        yield made


@pytest.fixture
def laptop(shop: Shop, tmp_path: Path) -> Shell:
    """A device that is activated in ``laptop``."""
    shell = Shell(tmp_path)
    key, _ = shop.issue("pro")
    shipped = shop.home.parent / "shipped.json"
    names = ("--server", shop.url, "--trust", shipped, "--state", "laptop", "--json")
    assert shell("activate", key, *names).code == 0
    return shell


def remote(shop: Shop) -> tuple[tuple[object, ...], dict[str, str]]:
    token = shop.do("server", "token", "create", "--role", "owner")["token"]
    return ("--server", shop.url), {"MODELSEAL_TOKEN": token}


def renewed(shell: Shell) -> Ran:
    return shell("lease", "renew", "--state", "laptop", "--json")


def works(shop: Shop, shell: Shell) -> bool:
    """The device renews and pulls by the catalog."""
    models = f"models-{len(list(shell.folder.iterdir()))}"
    pulled = shell("pull", "--state", "laptop", "--to", models, "--json")
    ran = renewed(shell)
    assert (ran.code, pulled.code) == (0, 0), (ran, pulled)
    return (shell.folder / models / "swap.onnx").is_file()


ROTATIONS = [
    ("keys", "rotate", "signing"),
    ("keys", "rotate", "signing", "--key", "lease", "--key", "publisher"),
    ("keys", "rotate", "signing", "--at-once"),
    ("keys", "rotate", "sealing"),
    ("keys", "rotate", "root"),
    ("keys", "rotate", "kek"),
    ("catalog", "sign", "--all"),
]


@pytest.mark.parametrize("where", ["--home", "--server"])
@pytest.mark.parametrize("words", ROTATIONS, ids=" ".join)
def test_each_rotation_is_one_command_and_the_running_server_goes_on(
    shop: Shop, laptop: Shell, words: tuple[str, ...], where: str
) -> None:
    more, env = remote(shop) if where == "--server" else ((), {})
    ran = Shell(shop.home.parent, env)(*words, "--home", shop.home, *more, "--json")
    assert ran.code == 0, ran
    assert ran.json
    assert works(shop, laptop)


def test_moving_the_key_encryption_key_beside_the_running_server(
    shop: Shop, laptop: Shell, tmp_path: Path
) -> None:
    target = f"file:{tmp_path / 'token.key'}"
    done = shop.do("keys", "move", "kek", "--to", target)
    assert (done["kek"], done["kept"], done["resumed"]) == (target, [], False)
    assert works(shop, laptop)
    here("keys", "move", "kek", "--to", target, "--home", shop.home, "--json").refused("misuse", 2)
    here("keys", "move", "kek", "--to", "gopher:x", "--home", shop.home, "--json").refused(
        "config_invalid", 2
    )
    assert works(shop, laptop)


def test_people_are_told_what_to_do_next(shop: Shop) -> None:
    for words in (("keys", "rotate", "signing"), ("keys", "rotate", "kek")):
        ran = here(*words, "--home", shop.home)
        assert ran.code == 0
        assert "modelseal keys backup FILE" in ran.err
    ran = here("catalog", "sign", "--home", shop.home)
    assert ran.code == 0 and "nothing was due" in ran.err


def test_keys_list_says_where_every_key_stands_beside_and_from_afar(shop: Shop) -> None:
    shop.do("keys", "rotate", "signing")
    near = shop.do("keys", "list")["items"]
    more, env = remote(shop)
    far = Shell(shop.home.parent, env)("keys", "list", "--home", shop.home, *more, "--json")
    assert far.code == 0, far
    told = {(item["kid"], item["use"], item["where"], item["not_after"]) for item in near}
    assert told == {
        (item["kid"], item["use"], item["where"], item["not_after"]) for item in far.json["items"]
    }
    states = {item["use"]: set() for item in near}
    for item in near:
        states[item["use"]].add(item["state"])
    assert states["lease"] >= {"in force"} and states["lease"] & {"ending", "ended"}
    assert "private" not in json.dumps(near)


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("keys", "retire", "no-such-key-id"), "not_found", 2),
        (("keys", "rotate", "signing", "--key", "root"), "misuse", 2),
        (("keys", "rotate", "everything"), "misuse", 2),
        (("keys", "move", "kek"), "misuse", 2),
        (("keys", "rotate", "root", "--server", "https://127.0.0.1:9"), "server_unreachable", 5),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    shop: Shop, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    before = (shop.home / "trust.json").read_bytes()
    env = {"MODELSEAL_TOKEN": "mst_x", "LANG": "zh_CN.UTF-8"}
    ran = Shell(shop.home.parent, env)(*words, "--home", shop.home, "--json")
    ran.refused(code, exit_code)
    assert any(ord(sign) > 0x3000 for sign in ran.json["next_step"])
    assert (shop.home / "trust.json").read_bytes() == before


def test_a_token_without_the_right_changes_no_key(shop: Shop) -> None:
    made = shop.do("server", "token", "create", "--role", "automation")
    env = {"MODELSEAL_TOKEN": made["token"]}
    for words in (("keys", "rotate", "signing"), ("keys", "rotate", "kek")):
        ran = Shell(shop.home.parent, env)(
            *words, "--home", shop.home, "--server", shop.url, "--json"
        )
        ran.refused("access_denied", 3)


def test_desk_and_certificate_rotations_need_no_server(shop: Shop) -> None:
    assert shop.do("keys", "rotate", "recovery")["keys"][0]["state"] == "new"
    assert Path(shop.do("keys", "rotate", "passphrase")["kit"]).is_file()
    assert "127.0.0.1" in shop.do("keys", "rotate", "tls")["hosts"]


def test_doctor_says_that_a_backup_is_older_than_a_rotation(shop: Shop, tmp_path: Path) -> None:
    from modelseal.desk import kit

    paper = kit.read_passphrase(shop.home) or ""
    shell = Shell(tmp_path)
    for words in (("backup",), ("recovery-test",)):
        ran = shell(
            "keys", *words, "b", "--passphrase", "-", "--home", shop.home, typed=paper + "\n"
        )
        assert ran.code == 0, ran
    shop.do("keys", "rotate", "kek")
    found = {f["what"]: f for f in json.loads(
        shell("doctor", "--home", shop.home, "--json").out
    )["findings"]}  # fmt: skip
    assert found["backup"]["grade"] == "bad" and "rotation" in found["backup"]["text"]
    ran = shell("keys", "recovery-test", "b", "--passphrase", "-", "--home", shop.home, "--json",
                typed=paper + "\n")  # fmt: skip
    ran.refused("backup_invalid", 4)
