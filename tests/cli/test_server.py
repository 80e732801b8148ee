"""`modelseal server backup` and `restore` as somebody types them."""

from __future__ import annotations

import json
import ssl

import httpx
import pytest
from tests.cli.world import here, serving


def test_a_database_is_kept_and_put_back_and_nothing_is_written_over(tmp_path):
    home = ("--home", tmp_path / "shop")
    assert here("init", *home, "--product", "facefusion").code == 0
    assert here("plan", "create", "pro", "--entitlement", "face.swap", *home).code == 0
    issue = ("license", "issue", "--plan", "pro", "--customer", "a@b.c", "--expires", "30d")
    kept = here(*issue, *home, "--json").json["license_id"]
    backup, log = tmp_path / "store.backup", tmp_path / "log.jsonl"
    made = here("server", "backup", backup, *home, "--json").json
    assert made["rows"] > 0 and backup.stat().st_mode & 0o777 == 0o600
    here("server", "backup", backup, *home, "--json").refused("output_exists", 2)
    assert here("license", "revoke", kept, "--reason", "gone", *home).code == 0
    lost = here(*issue, *home, "--json").json["license_id"]
    assert here("audit", "export", "-o", log, *home).code == 0

    here("server", "restore", backup, *home, "--json").refused("conflict", 2)
    here("server", "restore", log, "--replace", *home, "--json").refused("backup_invalid", 4)
    here("server", "restore", tmp_path / "none", *home, "--json").refused("input_missing", 2)
    elsewhere = ("--database", "postgresql://a:secret@h/x")
    refused = here("server", "restore", backup, *elsewhere, *home)
    assert refused.code == 2 and "secret" not in refused.out + refused.err
    done = here("server", "restore", backup, "--events", log, "--replace", *home, "--json").json
    assert (done["rows"], done["again"]["done"]) == (made["rows"], 1)
    shown = here("license", "show", kept, *home, "--json").json
    assert shown["state"] == "revoked"
    here("license", "show", lost, *home, "--json").refused("not_found", 2)
    proved = here("audit", "verify", *home, "--json").json
    assert proved["verified"] is True
    told = here("server", "restore", backup, "--replace", *home)
    assert told.code == 0 and "--events" in told.err


@pytest.mark.parametrize("workers", [1, 2])
def test_the_provider_of_people_is_named_by_flags_for_every_worker(shell, workers):
    home = shell.folder / "shop"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    issuer = "https://id.example.com"
    flags = (
        "--sign-in-issuer", issuer, "--sign-in-client-id", "shop", "--workers", workers,
        "--sign-in-role", "cn=owners,ou=shop=owner", "--sign-in-role", "helpdesk=support",
    )  # fmt: skip
    tls_ca = json.loads((home / "trust.json").read_text())["tls_ca"]
    with serving(shell, home, None, *flags) as url:
        for _ in range(4 * workers):
            with httpx.Client(
                verify=ssl.create_default_context(cadata=tls_ca), timeout=300
            ) as http:
                offer = http.get(f"{url}/v1/sign-in").json()
                assert (offer["issuer"], offer["client_id"]) == (issuer, "shop")
    odd = ("--sign-in-issuer", issuer, "--sign-in-role", "owner")
    refused = here("server", "run", "--home", home, *odd)
    assert refused.code == 2 and "VALUE=ROLE" in refused.err
