"""What is rendered is in the syntax of who reads it, hashes what is there, says its limits."""

from __future__ import annotations

import configparser
import hashlib
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.cli.world import here

from modelseal import errors
from modelseal.inference import packing, rendering
from modelseal.inference.rendering import Wish

# What Gramine 1.8 knows (its manifest_check); a list or map by what stands in it.
_GRAMINE = {
    "fs": {"mounts", "root", "start_dir", "insecure__keys"},
    "libos": {"entrypoint", "check_invalid_pointers"},
    "loader": {"entrypoint", "argv", "argv_src_file", "env", "env_src_file", "gid", "uid",
               "insecure__use_cmdline_argv", "insecure__use_host_env", "log_file", "log_level"},
    "sgx": {"allowed_files", "cpu_features", "debug", "edmm_enable", "enclave_size",
            "file_check_policy", "isvprodid", "isvsvn", "max_threads", "remote_attestation",
            "seal_key", "trusted_files", "use_exinfo"},
    "sys": {"brk", "disallow_subprocesses", "enable_extra_runtime_domain_names_conf",
            "enable_sigterm_injection", "stack", "fds"},
}  # fmt: skip
_MKOSI = {
    "Distribution": {"Distribution", "Release"},
    "Output": {"Format", "ImageId", "Output"},
    "Content": {"Bootable", "KernelCommandLine", "WithDocs", "Packages"},
    "Build": {"WithNetwork"},
}


@pytest.fixture
def wish(tmp_path):
    model, trust = tmp_path / "swap.sealed", tmp_path / "trust.json"
    model.write_bytes(b"sealed")
    trust.write_bytes(b"{}")
    return Wish({"swap": model}, "https://license.example:8443", trust, "0.0.0.0:8444")


@pytest.fixture
def few(monkeypatch):
    """Only this package is packed, not the whole installation: the rest takes long to hash."""
    some = list(packing._tree("packages", Path(packing.__file__).parent, "inference/"))
    monkeypatch.setattr(packing, "files", lambda: iter(some))


def test_the_gramine_manifest_is_one_that_gramine_reads(wish, few):
    made = rendering.gramine(wish, prefix=Path("/opt/gramine"), enclave_bytes=4 << 30, threads=64)[
        "modelseal.manifest"
    ]
    found = tomllib.loads(made.decode())
    for section, members in found.items():
        assert set(members) <= _GRAMINE[section], section
    assert found["sgx"]["remote_attestation"] == "dcap"
    assert found["sgx"]["debug"] is False
    assert found["sgx"]["file_check_policy"] == "strict"
    assert found["sgx"]["enclave_size"] == "4096M"
    assert not any("insecure" in name for part in found.values() for name in part)
    assert "allowed_files" not in found["sgx"]
    for mount in found["fs"]["mounts"]:
        assert set(mount) in ({"path", "uri"}, {"type", "path"})
        assert mount["path"] not in ("/", "")
    argv = found["loader"]["argv"]
    assert argv[argv.index("attest") : argv.index("attest") + 3] == [
        "attest", "serve", "swap=/models/swap.sealed",
    ]  # fmt: skip


def test_every_trusted_file_has_the_hash_of_what_is_there_and_is_mounted(wish, few):
    made = rendering.gramine(wish, prefix=Path("/opt/gramine"), enclave_bytes=1 << 30, threads=16)[
        "modelseal.manifest"
    ]
    found = tomllib.loads(made.decode())
    hashed = [one for one in found["sgx"]["trusted_files"] if isinstance(one, dict)]
    assert len(hashed) > 10
    mounted = [mount["uri"] for mount in found["fs"]["mounts"] if "uri" in mount]
    for one in hashed:
        path = Path(one["uri"].removeprefix("file:"))
        assert one["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert any(one["uri"] == uri or one["uri"].startswith(f"{uri}/") for uri in mounted)
    names = {Path(one["uri"]).name for one in hashed}
    assert {"swap.sealed", "trust.json", "rendering.py"} <= names
    assert "libc.so.6" not in names  # Gramine's own is used


def test_the_recipe_of_a_virtual_machine_is_in_the_syntax_of_its_readers(wish, tmp_path):
    made = rendering.cvm(wish, requirement="modelseal[serve,attest]==0.1.0")
    conf = configparser.ConfigParser(strict=True, interpolation=None)
    conf.optionxform = str
    conf.read_string(made["mkosi.conf"].decode())
    for section in conf.sections():
        assert set(conf[section]) <= _MKOSI[section], section
    assert conf["Output"]["Format"] == "esp"  # nothing lies outside what is measured
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str
    unit.read_string(made["mkosi.extra/usr/lib/systemd/system/modelseal.service"].decode())
    assert unit.sections() == ["Unit", "Service", "Install"]
    scripts = [name for name, data in made.items() if data.startswith(b"#!/bin/sh")]
    assert len(scripts) == 2
    for name in scripts:
        done = subprocess.run(["sh", "-n"], input=made[name], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    assert made["mkosi.extra/usr/share/modelseal/swap.sealed"] == b"sealed"
    assert b'"modelseal[serve,attest]==0.1.0"' in made["mkosi.prepare.chroot"]


def test_both_say_that_no_hardware_has_seen_them(wish, few):
    for made in (
        rendering.cvm(wish, requirement="modelseal"),
        rendering.gramine(wish, prefix=Path("/x"), enclave_bytes=1 << 30, threads=8),
    ):
        for name, data in made.items():
            if name.endswith((".conf", ".manifest", ".chroot", ".service")) and b"=" in data:
                assert b"NOT tested on the hardware" in data[:200], name


@pytest.mark.parametrize(
    ("server", "listen"),
    [("http://x", "0.0.0.0:1"), ("https://x\nExecStart=evil", "a:1"), ("https://x", "$(id):1")],
)
def test_what_would_break_out_of_a_line_is_refused(wish, server, listen):
    odd = Wish(wish.models, server, wish.trust, listen)
    with pytest.raises(errors.Misuse):
        rendering.cvm(odd, requirement="modelseal")


def test_a_file_name_cannot_break_out_of_a_line(tmp_path, wish):
    bad = tmp_path / "a b';id.sealed"
    bad.write_bytes(b"x")
    with pytest.raises(errors.Misuse):
        rendering.cvm(Wish({"m": bad}, wish.server, wish.trust, wish.listen), requirement="x")


def test_the_command_writes_a_new_folder_and_nothing_into_an_old_one(wish, tmp_path):
    argv = ["attest", "manifest", wish.models["swap"], "--platform", "cvm", "-o", tmp_path / "vm",
            "--server", wish.server, "--trust", wish.trust, "--json"]  # fmt: skip
    ran = here(*argv)
    assert ran.code == 0 and ran.json["tested_on_hardware"] is False
    assert (tmp_path / "vm" / "mkosi.prepare.chroot").stat().st_mode & 0o111
    here(*argv).refused("output_exists", 2)
    argv[argv.index("cvm")] = "abacus"
    argv[argv.index(tmp_path / "vm")] = tmp_path / "other"
    here(*argv).refused("misuse", 2)


def test_what_is_packed_is_what_the_packages_say_they_need():
    names = packing.closure("modelseal", packing.EXTRAS)
    assert {"onnxruntime", "numpy", "uvicorn", "cryptography", "dcap-qvl"} <= names
    assert not {"torch", "pytest", "litestar", "sqlalchemy"} & names
