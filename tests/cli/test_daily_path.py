"""The daily path, typed word for word by a publisher and a customer in two folders."""

from __future__ import annotations

from tests import onnx_models
from tests.cli.world import OPENS, Shell, serving

STATUS = [
    "state", "product", "plan", "license_id", "device_id", "label", "entitlements",
    "license_expires_at", "lease", "level", "level_missing", "memory", "last_refusal",
]  # fmt: skip


def test_from_a_plain_model_to_a_customer_who_uses_it_and_is_refused_in_the_end(tmp_path):
    """Sixteen commands, exit codes, data on stdout and talk on stderr."""
    modelseal = Shell(tmp_path)
    (tmp_path / "swap.onnx").write_bytes(onnx_models.convolutions())
    (tmp_path / "app.py").write_text(OPENS)

    def well(*args):
        ran = modelseal(*args)
        assert ran.code == 0, ran
        return ran

    made = well("init", "--home", "shop", "--product", "facefusion")
    assert made.out == "shop\n"
    assert "Print shop/recovery-kit.txt" in made.err
    assert sorted(p.name for p in (tmp_path / "shop").iterdir()) == [
        "desk", "recovery-kit.txt", "server", "trust.json",
    ]  # fmt: skip
    sealed = well(
        "seal", "swap.onnx", "-o", "swap.sealed", "--entitlement", "face.swap", "--home", "shop"
    )
    assert sealed.out == "swap.sealed\n"
    assert "modelseal model publish swap.sealed --home shop" in sealed.err
    published = well("model", "publish", "swap.sealed", "--home", "shop")
    assert published.out.startswith("mod_")
    trial = ("plan", "create", "trial", "--entitlement", "face.swap", "--seats", "1")
    assert well(*trial, "--home", "shop").out == "trial\n"
    pro = ("--entitlement", "face.swap", "--entitlement", "face.restore", "--seats", "1")
    assert well("plan", "create", "pro", *pro, "--home", "shop").out == "pro\n"
    wish = ("--plan", "trial", "--customer", "li@example.com", "--expires", "30d")
    issued = well("license", "issue", *wish, "--home", "shop", "--json")
    assert issued.err == ""
    key, license_id = issued.json["license_key"], issued.json["license_id"]

    with serving(modelseal, "shop") as url:
        named = ("--server", url, "--trust", "shop/trust.json", "--state", "laptop")
        active = well("activate", key, *named)
        assert "ACTIVE" in active.out and active.err == ""
        pulled = well("pull", "--state", "laptop", "--to", "models/")
        assert "models/swap.onnx" in pulled.out
        assert (tmp_path / "models/swap.onnx").read_bytes() == (
            tmp_path / "swap.sealed"
        ).read_bytes()
        status = well("status", "--state", "laptop", "--json").json
        assert list(status)[: len(STATUS)] == STATUS
        assert sorted(status["lease"]) == ["enforcement", "expires_at", "renew_after_at", "seq"]
        assert (status["state"], status["plan"], status["last_refusal"]) == (
            "ACTIVE",
            "trial",
            None,
        )
        run = ("run", "--state", "laptop", "--", "python", "app.py", "models/swap.onnx")
        used = well(*run)
        assert (used.out, used.err) == ("opened x\n", "")
        changed = well("license", "change", license_id, "--plan", "pro", "--home", "shop")
        assert changed.out == f"{license_id}\n"
        renewed = well("lease", "renew", "--state", "laptop", "--json").json
        assert (renewed["plan"], renewed["lease"]["seq"]) == ("pro", 2)
        assert renewed["entitlements"] == ["face.restore", "face.swap"]
        well("license", "revoke", license_id, "--reason", "chargeback", "--home", "shop")
        what, why, reference, next_step = modelseal("lease", "renew", "--state", "laptop").told(3)
        assert "revoked" in what and "chargeback" in why
        assert reference.removeprefix("  Reference: ") in next_step
        refused = modelseal(*run)
        assert refused.code == 1 and refused.out == ""
        assert refused.err.startswith("modelseal: The license has been revoked.")
    explained = well("license", "explain", reference.split()[-1], "--home", "shop", "--json").json
    assert (explained["allowed"], explained["code"]) == (False, "license_revoked")
    after = well("status", "--state", "laptop", "--json").json
    assert (after["state"], after["last_refusal"]["code"]) == ("REVOKED", "license_revoked")
