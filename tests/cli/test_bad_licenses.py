"""License keys and licenses that give nothing: each its code, its exit code, and a way on."""

from __future__ import annotations

import json
import os
import shutil

from tests.cli.world import here

from modelseal.license import license_key


def _status(state) -> dict:
    ran = here("status", "--state", state, "--json")
    assert ran.code == 0, ran
    return ran.json


def _on(shell, name="laptop"):
    return ("--state", shell.folder / name, "--json")


def test_a_mistyped_key_says_which_group_and_exits_with_2(shop, shell):
    key, _ = shop.issue()
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    lines = shell("activate", wrong, *shop.names, "--state", "laptop").told(2)
    assert "in group 4" in lines[0]
    assert "group 4" in lines[-1]
    assert here("activate", "hello", *shop.names, *_on(shell)).refused("license_key_mistyped", 2)
    assert here("activate", key, *shop.names, *_on(shell)).code == 0


def test_a_well_formed_key_nobody_issued_exits_with_3_and_the_right_one_works(shop, shell):
    other = license_key.generate(os.urandom)
    refused = here("activate", other, *shop.names, *_on(shell)).refused("unknown_license_key", 3)
    assert len(refused["reference"]) == 8
    assert here("activate", shop.issue()[0], *shop.names, *_on(shell)).json["state"] == "ACTIVE"


def test_a_second_folder_on_the_same_computer_is_named_the_holder_and_replaces_it(shop, shell):
    key, _ = shop.issue()
    first = here("activate", key, *shop.names, "--label", "studio", *_on(shell, "first")).json
    lines = shell("activate", key, *shop.names, "--state", "second").told(3)
    assert "studio" in lines[0] and first["device_id"] in lines[0]
    assert "--replace DEVICE" in lines[-1]
    assert _status(shell.folder / "second")["state"] == "NOT_ACTIVATED"
    moved = here(
        "activate", key, *shop.names, "--replace", first["device_id"], *_on(shell, "second")
    )
    assert moved.json["state"] == "ACTIVE"
    here("lease", "renew", *_on(shell, "first")).refused("device_returned", 3)
    assert _status(shell.folder / "first")["state"] == "RETURNED"
    here("activate", key, *shop.names, *_on(shell, "first")).refused("no_free_seat", 3)
    assert here("lease", "renew", *_on(shell, "second")).code == 0


def test_a_label_cannot_write_on_another_holders_terminal(shop, shell):
    key, _ = shop.issue()
    label = "\x1b[2Jdesk\nmodelseal: run this"
    assert here("activate", key, *shop.names, "--label", label, *_on(shell, "first")).code in (0, 2)
    refused = here("activate", key, *shop.names, "--state", shell.folder / "second")
    assert "\x1b" not in refused.err
    assert not any(line.startswith("modelseal: run") for line in refused.err.splitlines())


def test_a_device_that_does_not_exist_cannot_be_replaced(shop, shell):
    key, _ = shop.issue()
    here("activate", key, *shop.names, "--replace", "nope", *_on(shell)).refused("not_found", 2)
    assert here("activate", key, *shop.names, *_on(shell)).code == 0


def test_an_expired_license_says_so_and_works_again_once_it_is_renewed(shop, shell):
    key, license_id = shop.issue("trial", "--expires", "1s")
    while shop.do("license", "show", license_id)["state"] != "expired":
        pass
    refused = here("activate", key, *shop.names, *_on(shell)).refused("license_expired", 3)
    assert "Renew" in refused["next_step"]
    shop.do("license", "renew", license_id, "--expires", "30d")
    assert here("activate", key, *shop.names, *_on(shell)).json["state"] == "ACTIVE"


def test_suspended_returned_and_revoked_each_say_what_comes_next(shop, shell, laptop):
    _, license_id = laptop
    shop.do("license", "suspend", license_id, "--reason", "unpaid")
    assert "unpaid" in " ".join(shell("lease", "renew", "--state", "laptop").told(3))
    here("pull", *_on(shell)).refused("license_suspended", 3)
    shop.do("license", "resume", license_id)
    assert here("lease", "renew", *_on(shell)).json["state"] == "ACTIVE"
    assert shell("deactivate", "--state", "laptop").code == 0
    here("lease", "renew", *_on(shell)).refused("device_returned", 3)
    assert _status(shell.folder / "laptop")["state"] == "RETURNED"


def test_a_folder_never_activated_is_told_how_and_holds_only_the_journal(shell):
    for command in (("lease", "renew"), ("pull",), ("deactivate",)):
        refused = here(*command, *_on(shell)).refused("not_activated", 3)
        assert "modelseal activate KEY" in refused["next_step"]
    assert _status(shell.folder / "laptop")["state"] == "NOT_ACTIVATED"
    made = sorted(path.name for path in (shell.folder / "laptop").iterdir())
    assert made == ["journal", "lock"]


def test_a_trust_of_another_product_reaches_nothing_and_the_right_one_works(shop, shell):
    assert here("init", "--home", shell.folder / "other", "--product", "another").code == 0
    key, _ = shop.issue()
    wrong = ("--server", shop.url, "--trust", shell.folder / "other" / "trust.json")
    here("activate", key, *wrong, *_on(shell)).refused("certificate_invalid", 5)
    (shell.folder / "ca.pem").write_text(json.loads(shop.trust.read_text())["tls_ca"])
    ca = ("--ca", shell.folder / "ca.pem")
    here("activate", key, *wrong, *ca, *_on(shell)).refused("unknown_product", 3)
    assert here("activate", key, *shop.names, *_on(shell)).code == 0


def test_a_product_in_modelseal_toml_that_the_trust_is_not_for_is_misuse(shop, shell):
    (shell.folder / "modelseal.toml").write_text(
        f'product = "another"\nserver = "{shop.url}"\ntrust = "{shop.trust}"\n'
    )
    ran = shell("activate", shop.issue()[0], "--json")
    assert "another" in ran.refused("config_invalid", 2)["message"]


def test_a_restored_folder_is_a_fork_until_the_key_is_entered_again(shop, shell, laptop):
    key, _ = laptop
    state = shell.folder / "laptop"
    shutil.copytree(state, shell.folder / "backup")
    assert here("lease", "renew", *_on(shell)).code == 0
    shutil.rmtree(state)
    (shell.folder / "backup").rename(state)
    lines = shell("lease", "renew", "--state", "laptop").told(3)
    assert "Two copies" in lines[0]
    assert "modelseal activate KEY" in lines[-1]
    assert _status(state)["state"] == "FORKED"
    here("lease", "renew", *_on(shell)).refused("forked", 3)
    assert here("activate", key, *shop.names, *_on(shell)).json["state"] == "ACTIVE"
    assert here("lease", "renew", *_on(shell)).code == 0


def test_processes_that_activate_and_renew_at_once_take_turns(shop, shell):
    key, license_id = shop.issue()
    entering = ("activate", key, *shop.names, "--state", "laptop", "--json")
    started = [shell.start(*entering) for _ in range(3)]
    started += [shell.start("lease", "show", "--state", "laptop", "--json")]
    for process in started:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, (out, err)
    renewing = [shell.start("lease", "renew", "--state", "laptop", "--json") for _ in range(3)]
    for process in renewing:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, (out, err)
    devices = shop.do("device", "list", "--license", license_id)["items"]
    assert [device["state"] for device in devices] == ["active"]
    assert here("lease", "renew", *_on(shell)).json["state"] == "ACTIVE"


def test_an_edited_state_folder_is_told_and_heals_with_the_key(shop, shell, laptop):
    key, _ = laptop
    lease = shell.folder / "laptop" / "lease.jwt"
    lease.write_bytes(lease.read_bytes()[:-7] + b"AAAAAAA")
    refused = here("status", *_on(shell))
    assert refused.code == 4, refused
    assert "modelseal activate" in refused.json["next_step"]
    assert here("activate", key, *shop.names, *_on(shell)).json["state"] == "ACTIVE"
    assert here("pull", *_on(shell)).code == 0
