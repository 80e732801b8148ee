"""``python -m bench.tpm``: what a TPM costs, on an emulated one (swtpm); part ``tpm`` of the table.

A real TPM takes longer for every command, by its own processor: tens to hundreds of milliseconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modelseal
from modelseal.admin import IssueLicense, PlanDraft
from modelseal.client import Client
from modelseal.desk import publishing, sealing, workspace
from modelseal.errors import KeyStoreUnavailable
from modelseal.keys import tpm2
from modelseal.keys.tpm2 import device
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.testing.server import RunningServer
from modelseal.tpm2.chip import attesting, connect, hmac_session, objects, using
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.codes import Alg, Hierarchy
from modelseal.tpm2.wire.policy import PcrSelection

PCRS = (PcrSelection(Alg.SHA256, (0, 7)),)
OPERATIONS = 500


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Medians in seconds by name, and how many handles ``OPERATIONS`` operations left."""
    with emulator() as address:
        return {**_commands(address, folder, rounds), **_opening(address, folder, rounds)}


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """A fresh TPM that listens at the address, gone afterwards."""
    if shutil.which("swtpm") is None:
        raise SystemExit("needs swtpm: apt-get install swtpm")
    with tempfile.TemporaryDirectory(prefix="mstpm-") as place:
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={place}"]
        command += ["--server", f"type=unixio,path={place}/sock"]
        command += ["--flags", "not-need-init,startup-clear"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            for _ in range(500):
                with contextlib.suppress(KeyStoreUnavailable):
                    connect(f"unix:{place}/sock").close()
                    break
                time.sleep(0.01)
            yield f"unix:{place}/sock"
        finally:
            process.kill()
            process.wait()


def _commands(address: str, folder: Path, rounds: int) -> dict[str, Any]:
    uri = f"tpm2://{address}?file=kek.tpm2"
    tpm2.create(uri, base=folder)
    made, _ = device.make(f"tpm2://{address}", os.urandom)
    found: dict[str, Any] = {
        "open_kek_seconds": _median(lambda: tpm2.open_provider(uri, base=folder), rounds),
        "device_signature_seconds": _median(lambda: made.signer.sign(b"request"), rounds),
    }
    with connect(address) as tpm, _root(tpm) as key:
        with hmac_session(tpm, key, key.public) as session:
            template, secret = templates.sealed_secret(), os.urandom(32)
            auth = session.use(hide=True)
            sealed = objects.create(tpm, key, template, secret, (auth,))

        def unseal() -> None:
            with (
                hmac_session(tpm, key, key.public) as session,
                objects.loaded(tpm, key, sealed) as loaded,
            ):
                if using.unseal(tpm, loaded, (session.use(secret_answer=True),)) != secret:
                    raise SystemExit("the TPM gave back another secret")

        found["unseal_seconds"] = _median(unseal, rounds)
        for _ in range(OPERATIONS):
            unseal()
        with objects.primary(tpm, Hierarchy.ENDORSEMENT, templates.attestation_key()) as ak:
            nonce = hashlib.sha256(b"nonce").digest()
            quote = lambda: attesting.quote(tpm, ak, nonce, PCRS)  # noqa: E731
            found["quote_seconds"] = _median(quote, rounds)
    with connect(address) as tpm:
        found["handles_left"] = tpm.reap()
    return found


def _root(tpm: Any) -> Any:
    return objects.primary(tpm, Hierarchy.OWNER, templates.storage_root())


def _opening(address: str, folder: Path, rounds: int) -> dict[str, Any]:
    """A fresh client opens a small model: its device key from the file, and from the TPM."""
    plain, target = folder / "model.bin", folder / "model.sealed"
    plain.write_bytes(os.urandom(64 * 1024))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder)
    states = {"file": None, "tpm": f"tpm2://{address}"}
    more: dict[str, Any] = {}
    with server:
        terms = Plan(entitlements=[PlanEntitlement(id="bench.use")], seats=2)
        server.admin.create_plan(PlanDraft(name="bench", terms=terms))
        with workspace.open(server.home) as desk:
            sealing.seal_paths(desk, [plain], target, entitlements=["bench.use"])
            publishing.publish(desk, server.admin, target)
        wish = IssueLicense(plan="bench", customer="bench", expires_in_seconds=30 * 86400)
        key = server.admin.issue_license(wish).license_key
        more = {"server": server.url, "trust": str(server.trust), "background": False}
        for name, uri in states.items():
            with Client(state=folder / name, device_key=uri, **more) as client:
                client.activate(key)

    def opens(name: str) -> None:
        with Client(state=folder / name, **more) as client:
            modelseal.use(client)
            with modelseal.open(target) as sealed:
                if not sealed.read("model.bin"):
                    raise SystemExit("nothing was opened")

    took: dict[str, list[float]] = {name: [] for name in states}
    for _ in range(rounds):
        for name in states:  # in turns: both meet the same noise
            began = time.perf_counter()
            opens(name)
            took[name].append(time.perf_counter() - began)
    by_file, by_tpm = (statistics.median(took[name]) for name in ("file", "tpm"))
    return {
        "open_by_file_seconds": by_file,
        "open_by_tpm_seconds": by_tpm,
        "open_added_seconds": by_tpm - by_file,
    }


def _median(act: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(max(rounds, 3)):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> int:
    """The numbers as one JSON object."""
    with tempfile.TemporaryDirectory(prefix="modelseal-bench-") as scratch:
        sys.stdout.write(json.dumps(measure(Path(scratch), 31), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
