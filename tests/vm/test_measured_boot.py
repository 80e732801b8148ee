"""A sealed model in a machine that measures its boot: trusted as recorded, refused when altered.

The guest has the real kernel, firmware and TPM protocol, the package as it is, and no network but a
serial line. The relay on the host passes on TLS that ends in the guest and at the license server.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests import onnx_models
from tests.cli.world import Shell, here, serving
from tests.tpm import SwTpm
from tests.vm import image, machine
from tests.vm.machine import COMMAND_LINE, Guest, requires_machine

import modelseal
from modelseal import errors

pytestmark = [pytest.mark.soak, requires_machine]
_HERE = Path(__file__).parent
ALTERED = COMMAND_LINE.replace("lockdown=confidentiality", "lockdown=integrity")
X = np.random.default_rng(5).standard_normal((1, 3, 16, 16)).astype(np.float32)


@dataclass
class World:
    """A publisher with a license server, a caller, and the disk and TPM of a machine."""

    folder: Path
    tpm: SwTpm
    home: Path
    url: str
    image: Path
    shell: Shell
    seen: dict[str, Any] = field(default_factory=dict)

    def do(self, *argv: object) -> Any:
        ran = here(*argv, "--json")
        assert ran.code == 0, ran
        return json.loads(ran.out)

    def activated(self, guest: Guest) -> str:
        """The sealed model's path in the guest, whose license is fresh."""
        port = int(self.url.rpartition(":")[2])
        guest.line.allow(port, port)
        guest.tell(listen=port)
        guest.write("/run/trust.json", (self.home / "trust.json").read_bytes())
        issued = self.do(
            "license", "issue", "--plan", "measured", "--customer", "Guest", "--home", self.home
        )
        names = "--server", self.url, "--trust", "/run/trust.json", "--state", "/run/state"
        guest.do("activate", issued["license_key"], *names)
        guest.do("pull", "--state", "/run/state", "--to", "/run/models")
        return "/run/models/swap.onnx"

    def collected(self, guest: Guest, name: str) -> Path:
        """Evidence of the guest in a folder of the host."""
        told = guest.do("attest", "collect", "-o", "/run/evidence", "--by", "tpm2",
                        "--report-data", "00" * 32)  # fmt: skip
        target = self.folder / name
        target.mkdir()
        for path in (*told["evidence"], *told["endorsements"]):
            (target / Path(path).name).write_bytes(guest.read(path))
        return target


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vm")
    shell, home = Shell(folder), folder / "shop"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    (folder / "tpm").mkdir()
    tpm = SwTpm(folder / "tpm")
    tpm.manufacture()
    roots = home / "server" / "endorsements" / "tpm2"
    roots.mkdir(parents=True, exist_ok=True)
    for root in tpm.roots:
        shutil.copy(root, roots)
    disk = folder / "initrd.gz"
    image.build(
        {
            "init": (_HERE / "guest.py").read_bytes(),
            f"{image.SITE}/vm_line.py": (_HERE / "line.py").read_bytes(),
        },
        disk,
    )
    with serving(shell, home) as url:
        made = World(folder, tpm, home, url, disk, shell)
        (folder / "swap.onnx").write_bytes(onnx_models.convolutions())
        made.do("seal", folder / "swap.onnx", "-o", folder / "swap.sealed", "--entitlement",
                "face.swap", "--min-level", "L3", "--home", home)  # fmt: skip
        made.do("model", "publish", folder / "swap.sealed", "--home", home)
        made.do("plan", "create", "measured", "--entitlement", "face.swap@L3", "--seats", 1,
                "--home", home)  # fmt: skip
        yield made


@pytest.fixture(scope="module")
def trusted(world):
    """What the machine did when it booted as it should; its measurements are recorded then."""
    seen = world.seen
    with machine.boot(world.folder / "first", world.tpm, world.image) as guest:
        seen["boot"] = guest.boot_seconds
        sealed = world.activated(guest)
        seen["before"] = guest("attest", "serve", sealed, "--state", "/run/state", "--by", "tpm2")
        golden = world.collected(guest, "golden")
        policy = record(world, golden)
        with served(guest, sealed) as (url, ended):
            with modelseal.attest.connect(url, policy) as service:
                seen["level"] = service.result.level.name
                seen["models"] = service.models
                started = time.monotonic()
                seen["answer"] = service.infer("swap", {"x": X})["y"]
                seen["inference"] = time.monotonic() - started
            np.save(world.folder / "x.npy", X)
            seen["call"] = world.do("attest", "call", url, "swap", "--policy", policy,
                                    "--input", world.folder / "x.npy")  # fmt: skip
            seen["strict"] = refused(url, b'{"typ":"modelseal-appraisal-policy","version":1}')
        seen["ended"] = ended
    return seen


def record(world: World, golden: Path) -> Path:
    """The caller's policy, and that of the license server, from the evidence of a golden boot."""
    policy = world.folder / "caller.json"
    rules = {"typ": "modelseal-appraisal-policy", "version": 1, "kinds": ["tpm2"]}
    rules["tpm2"] = {"allow_insecure_boot": True}  # this firmware has no Secure Boot keys
    policy.write_text(json.dumps(rules))
    world.do("attest", "reference", "add", "--kind", "tpm2", "--root", golden / "ak.pem",
             "--policy", policy, "--from", golden / "tpm.cbor", golden / "boot.log")  # fmt: skip
    found = json.loads(policy.read_text())
    del found["roots"]  # the server knows the TPM by its maker, and by a challenge
    (world.home / "server" / "attestation-policy.json").write_text(json.dumps(found))
    return policy


@contextlib.contextmanager
def served(guest: Guest, sealed: str):
    """``modelseal attest serve`` in the guest: where the host reaches it, and how it ended."""
    ended: dict[str, Any] = {}

    def serve() -> None:
        ended.update(guest("attest", "serve", sealed, "--state", "/run/state", "--by", "tpm2"))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        until = time.monotonic() + 300
        while "served on" not in guest.console:
            assert thread.is_alive() and time.monotonic() < until, ended or guest.console[-2000:]
            time.sleep(0.2)
        yield f"https://127.0.0.1:{guest.line.listen(8444)}", ended
    finally:
        guest.tell(stop=True)
        thread.join(120)


def refused(url: str, policy: bytes) -> errors.ModelsealError:
    with pytest.raises((errors.EvidenceInvalid, errors.EvidenceRefused)) as caught:
        modelseal.attest.connect(url, policy)
    return caught.value


def test_a_machine_that_booted_as_recorded_gives_the_answer_of_the_host(trusted):
    session = onnxruntime.InferenceSession(
        onnx_models.convolutions(), providers=["CPUExecutionProvider"]
    )
    (host,) = session.run(["y"], {"x": X})
    assert trusted["level"] == "L3"
    assert np.allclose(trusted["answer"], host, rtol=1e-4, atol=1e-5)
    assert trusted["call"]["service"]["status"] == "affirming"
    assert np.allclose(trusted["call"]["outputs"]["y"]["data"], trusted["answer"])
    assert trusted["ended"]["code"] == 0, trusted["ended"]
    print(f"\nboot {trusted['boot']:.0f} s, inference {trusted['inference'] * 1000:.0f} ms")


def test_before_its_boot_was_recorded_it_got_no_keys(trusted):
    assert trusted["before"]["code"] == 6, trusted["before"]


def test_a_caller_with_the_strict_policy_sends_nothing(trusted):
    assert trusted["strict"].exit_code in (4, 6)


def test_one_word_of_the_kernel_command_line_changed_is_refused_by_both(world, trusted):
    disk = world.folder / "second"
    with machine.boot(disk, world.tpm, world.image, command_line=ALTERED) as guest:
        sealed = world.activated(guest)
        ran = guest("attest", "serve", sealed, "--state", "/run/state", "--by", "tpm2")
        evidence = world.collected(guest, "altered")
    assert ran["code"] == 6, ran
    assert "pcr9" in ran["err"]
    judged = here("attest", "appraise", evidence / "tpm.cbor", evidence / "boot.log", "--kind",
                  "tpm2", "--policy", world.folder / "caller.json", "--report-data", "00" * 32,
                  "--json")  # fmt: skip
    verdict = json.loads(judged.out)
    assert judged.code == 6
    assert (verdict["genuine"], verdict["code"]) == (True, "measurement_mismatch")
    assert "pcr9" in verdict["reason"] and "pcr4" not in verdict["reason"]
