"""``init`` and ``open``: whole or nothing, complete, private, and nobody else's."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelseal import keys, trust
from modelseal.desk import kit
from modelseal.desk import workspace as workspaces
from modelseal.desk.workspace import Workspace
from modelseal.errors import (
    DiskFull,
    InputMissing,
    Misuse,
    ModelsealError,
    OutputExists,
    PassphraseWrong,
    StateDamaged,
    WorkspaceExists,
    WorkspaceMissing,
)
from modelseal.keys import file as file_provider
from modelseal.keys.folder import SECRET_ALG
from modelseal.trust import Use

PASSPHRASE = "correct horse battery staple"


def private_parts(workspace: Workspace) -> dict[str, bytes]:
    """Every secret of a workspace, by name."""
    found = {
        f"{where} {entry.use} {entry.alg} {entry.set}": folder.private_bytes(entry)
        for where, folder in (("desk", workspace.desk_keys), ("server", workspace.online_keys))
        for entry in folder.entries()
    }
    found["kek"] = file_provider.read_key("file:kek.key", ask=None, base=workspace.server)
    found["desk key"] = file_provider.read_key("file:desk.key", ask=None, base=workspace.desk)
    found["tls"] = (workspace.server / "tls" / "server.key").read_bytes()
    return found


def test_a_new_workspace_opens_and_is_complete(shop: Workspace) -> None:
    opened = workspaces.open(shop.home)
    assert (opened.product, opened.has_desk, opened.has_server) == ("facefusion", True, True)
    assert opened.server_id.startswith("srv_")
    trusted = opened.trust
    for use in (Use.PUBLISHER, Use.SEALING, Use.LICENSE, Use.LEASE, Use.STATUS, Use.CHECKPOINT):
        assert trusted.keys(use), use
    assert [key.alg for key in trusted.publisher_keys()] == ["Ed25519", "ML-DSA-65"]
    assert opened.desk_keys.check() == 9
    assert opened.online_keys.check() == 8
    assert trusted.tls_ca is not None


def test_the_servers_private_keys_are_those_that_the_trust_lists(shop: Workspace, now: Any) -> None:
    for use in (Use.LICENSE, Use.LEASE, Use.STATUS, Use.CHECKPOINT):
        (signer,) = shop.online_keys.signers(use, now)
        assert shop.trust.verify_keys(use, signer.kid, now)
    assert shop.trust.sealing_key(now).kid in shop.online_keys.sealing_openers()


@pytest.mark.parametrize(
    ("token_alg", "expected"),
    [("Ed25519", ["Ed25519"]), ("ES256", ["ES256"]), ("hybrid", ["Ed25519", "ML-DSA-65"])],
)
def test_tokens_are_signed_with_the_chosen_algorithm(
    tmp_path: Path, now: Any, token_alg: str, expected: list[str]
) -> None:
    shop = workspaces.init(tmp_path / "s", "p", token_alg=token_alg, now=now)
    for use in ("license", "lease", "status"):
        signers = shop.online_keys.signers(use, now)
        assert [signer.alg for signer in signers] == expected
        demanded = shop.trust.verify_keys(use, signers[-1].kid, now)
        assert {key.kid for key in demanded} == {signer.kid for signer in signers}
    assert [s.alg for s in shop.online_keys.signers("checkpoint", now)] == ["Ed25519"]


def test_rs256_is_there_for_those_who_need_it(tmp_path: Path, now: Any) -> None:
    shop = workspaces.init(tmp_path / "s", "p", token_alg="RS256", now=now)
    assert [s.alg for s in shop.online_keys.signers("lease", now)] == ["RS256"]


def test_two_fresh_workspaces_share_no_key(tmp_path: Path) -> None:
    one, two = (workspaces.init(tmp_path / name, "p") for name in ("one", "two"))
    first, second = private_parts(one), private_parts(two)
    assert first.keys() == second.keys()
    everything = [*first.values(), *second.values()]
    assert len(set(everything)) == len(everything)
    assert one.trust.trait_salt != two.trust.trait_salt
    assert one.server_id != two.server_id
    listed = [{key.kid for use in Use for key in shop.trust.keys(use)} for shop in (one, two)]
    assert not listed[0] & listed[1]


def test_no_private_key_lies_on_the_disk_in_clear(shop: Workspace) -> None:
    """Key files hold the two keys that wrap everything else; the TLS key is what a server needs."""
    secrets = private_parts(shop)
    del secrets["tls"]
    allowed = {"kek": shop.server / "kek.key", "desk key": shop.desk / "desk.key"}
    passphrase = shop.desk_keys.secret("recovery-passphrase")
    for path in shop.home.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        for name, secret in secrets.items():
            if name.startswith("desk secret"):
                assert passphrase not in data or path == shop.kit
            elif allowed.get(name) != path:
                assert secret not in data and secret[-32:] not in data, (name, path)


def test_only_the_owner_may_enter(shop: Workspace) -> None:
    for path in (shop.home, *shop.home.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name == "trust.json":
            assert mode == 0o644
        else:
            assert mode == (0o700 if path.is_dir() else 0o600), path


def test_the_kit_holds_the_passphrase_once_and_says_what_to_do(shop: Workspace) -> None:
    text = shop.kit.read_text()
    passphrase = kit.read_passphrase(shop.home)
    assert passphrase is not None and text.count(passphrase) == 1
    assert shop.desk_keys.secret("recovery-passphrase").decode() == passphrase
    for wanted in ("keys backup", "keys recovery-test", "keys restore", "facefusion"):
        assert wanted in text
    assert max(map(len, text.splitlines())) <= 92


def test_the_server_half_works_without_the_desk(shop: Workspace, now: Any) -> None:
    shutil.rmtree(shop.desk)
    shop.kit.unlink()
    opened = workspaces.open(shop.home)
    assert not opened.has_desk
    assert opened.online_keys.signers("lease", now)
    assert {row.where for row in opened.list_keys()} == {"server"}
    with pytest.raises(WorkspaceMissing):
        opened.desk_keys.check()


def test_the_desk_half_works_without_the_server(shop: Workspace, now: Any) -> None:
    shutil.rmtree(shop.server)
    opened = workspaces.open(shop.home)
    assert opened.desk_signers("publisher", now)
    assert {row.where for row in opened.list_keys()} == {"desk"}
    with pytest.raises(WorkspaceMissing):
        opened.online_keys.check()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_the_certificate_is_good_for_the_usual_hosts_and_no_other(
    shop: Workspace, host: str
) -> None:
    assert handshake(shop, host)
    assert not handshake(shop, "example.com")


def handshake(shop: Workspace, host: str) -> bool:
    """Whether a client that pins ``tls_ca`` gets through to a server with our certificate."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls = shop.server / "tls"
    server_side.load_cert_chain(tls / "server.pem", tls / "server.key")
    client_side = ssl.create_default_context(cadata=shop.trust.tls_ca)
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    done: set[Any] = set()
    for _ in range(6):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return done == {client, server}


def test_a_workspace_is_never_made_over_another(shop: Workspace) -> None:
    before = {p: p.read_bytes() for p in shop.home.rglob("*") if p.is_file()}
    with pytest.raises(WorkspaceExists):
        workspaces.init(shop.home, "other")
    assert {p: p.read_bytes() for p in shop.home.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("half", ["desk", "server", "trust.json"])
def test_half_a_workspace_counts_as_one(shop: Workspace, half: str) -> None:
    for path in shop.home.iterdir():
        if path.name != half:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(WorkspaceExists):
        workspaces.init(shop.home, "other")


def test_an_empty_folder_may_become_one_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    workspaces.init(tmp_path / "link", "p")
    assert workspaces.open(tmp_path / "empty").product == "p"
    names = sorted(path.name for path in (tmp_path / "empty").iterdir())
    assert names == ["desk", "recovery-kit.txt", "server", "trust.json"]


def test_anything_else_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("full", "file"):
        with pytest.raises(OutputExists):
            workspaces.init(tmp_path / name, "p")
    with pytest.raises(InputMissing):
        workspaces.init(tmp_path / "none" / "shop", "p")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "full", "thesis.txt"]


@pytest.mark.parametrize("start", ["missing", "empty"])
@pytest.mark.parametrize("draws", [0, 1, 2, 3])
def test_a_failed_init_leaves_nothing(tmp_path: Path, start: str, draws: int) -> None:
    """Randomness fails at every place where it is drawn, before and after files were written."""
    left = [draws]

    def random(size: int) -> bytes:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return os.urandom(size)

    home = tmp_path / "shop"
    if start == "empty":
        home.mkdir()
    made = False
    try:
        workspaces.init(home, "p", random=random)
        made = True
    except KeyboardInterrupt:
        pass
    assert made is (draws == 3)
    if not made:
        assert [p.name for p in tmp_path.rglob("*")] == (["shop"] if start == "empty" else [])


def test_a_failure_after_most_was_written_leaves_nothing(tmp_path: Path) -> None:
    def ask(_: str) -> str:
        raise OSError("terminal gone")

    for key in ("file:desk.key?passphrase=ask", "file:missing/desk.key", "nosuch:x"):
        with pytest.raises(ModelsealError):
            workspaces.init(tmp_path / "shop", "p", desk_key=key, ask=ask)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("product", ["", ".hidden", "a/b", "x" * 65, "naïve", "a b", "a\n"])
def test_an_odd_product_name_is_misuse(tmp_path: Path, product: str) -> None:
    with pytest.raises(Misuse):
        workspaces.init(tmp_path / "shop", product)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"token_alg": "none"},
        {"hosts": ()},
        {"hosts": ["\udcff"]},
        {"hosts": [""]},
        {"hosts": ["a b"]},
    ],
)
def test_odd_options_are_misuse(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        workspaces.init(tmp_path / "shop", "p", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_desk_may_be_behind_a_passphrase(tmp_path: Path, now: Any) -> None:
    uri = "file:desk.key?passphrase=ask"
    workspaces.init(tmp_path / "s", "p", desk_key=uri, ask=lambda _: PASSPHRASE, now=now)
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return PASSPHRASE

    shop = workspaces.open(tmp_path / "s", ask=ask)
    assert asked == []
    assert shop.desk_signers("publisher", now) and shop.models.all() == []
    assert len(asked) == 1
    with pytest.raises(PassphraseWrong):
        workspaces.open(tmp_path / "s", ask=lambda _: "something else").desk_signers("root", now)


def test_there_must_be_a_workspace_to_open(tmp_path: Path) -> None:
    for home in (tmp_path, tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").write_text("x")
        with pytest.raises(WorkspaceMissing):
            workspaces.open(home)


def test_the_desk_of_another_product_is_not_used(tmp_path: Path, shop: Workspace, now: Any) -> None:
    other = workspaces.init(tmp_path / "other", "facefusion")
    shutil.rmtree(shop.desk)
    shutil.copytree(other.desk, shop.desk)
    with pytest.raises(StateDamaged):
        workspaces.open(shop.home).desk_signers("publisher", now)


def test_a_foreign_tls_authority_in_trust_json_is_found_out(
    tmp_path: Path, shop: Workspace
) -> None:
    other = workspaces.init(tmp_path / "other", "facefusion")
    mine = shop.trust.raw.decode()
    swap = (
        (shop.trust.tls_ca or "").replace("\n", "\\n"),
        (other.trust.tls_ca or "").replace("\n", "\\n"),
    )
    assert swap[0] in mine
    (shop.home / "trust.json").write_text(mine.replace(*swap))
    assert trust.parse((shop.home / "trust.json").read_bytes()).tls_ca == other.trust.tls_ca
    with pytest.raises(StateDamaged):
        workspaces.open(shop.home)


def test_keys_are_listed_without_their_private_parts(shop: Workspace) -> None:
    rows = shop.list_keys()
    assert SECRET_ALG not in {row.alg for row in rows}
    assert {row.use for row in rows if row.where == "desk"} == {
        "root", "targets", "keys", "publisher", "endorsement", "recovery", "tls",
    }  # fmt: skip
    assert all(len(row.kid) == 43 for row in rows)


def test_keys_are_valid_from_a_day_before_for_servers_whose_clock_is_behind(
    shop: Workspace, now: Any
) -> None:
    (signer,) = shop.online_keys.signers("lease", now - timedelta(hours=23))
    assert shop.trust.verify_keys("lease", signer.kid, now - timedelta(hours=23))


def test_a_closed_workspace_opens_its_keys_again_when_asked(shop: Workspace, now: Any) -> None:
    with workspaces.open(shop.home) as opened:
        provider = opened.desk_provider
    assert opened.desk_provider is not provider
    assert isinstance(opened.desk_provider, keys.KeyProvider)


def test_init_on_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, small_disk: Any) -> None:
    with small_disk(3_000), pytest.raises(DiskFull):
        workspaces.init(tmp_path / "shop", "p")
    assert list(tmp_path.iterdir()) == []
