"""``python -m bench.kinds``: renewals of other kinds beside the ordinary one, without HTTP.

Tokens signed by Ed25519 and by Ed25519 and ML-DSA-65 both; leases for a key in a TPM (swtpm), whose
evidence is judged. SQLite, in turns in one process, medians of CPU per renewal.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.inprocess import ACTIVATING, AT_ONCE, Shop
from modelseal.client.tpm import DeviceTpm
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.desk import workspace
from modelseal.server.services import open_server
from modelseal.server.services.ordinary import Asked
from modelseal.server.services.renewal import Renewed
from modelseal.strict_json import b64u

ROUNDS = 9
TPMS = 8
"""Devices of one tick whose keys are in a TPM: more, and the TPM's own work takes minutes."""


class Hard:
    """A server with devices whose lease keys are in a TPM."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        from tests.leases.conftest import trust_roots
        from tests.leases.proving import TpmComputer
        from tests.server.world import Clock
        from tests.server.world import Shop as World
        from tests.tpm import SwTpm

        chip = SwTpm(folder / "t")
        chip.folder.mkdir(parents=True)
        chip.manufacture()
        chip.start()
        stack.callback(chip.kill)
        home, clock = folder / "shop", Clock(datetime.now(UTC).replace(microsecond=0))
        workspace.init(home, "facefusion", now=clock(), random=os.urandom)
        trust_roots(home, chip)
        self._server = stack.enter_context(open_server(home, now=clock))
        self._server.devices.limiter.take = lambda *_args: None  # type: ignore[method-assign]
        world = World(home, clock, self._server)
        world.publish(folder, "swap.onnx", "face.swap")
        world.plan("hard", enforcement="hardware", seats=TPMS)
        key = world.license("hard").license_key
        tpm = DeviceTpm(chip.address)
        self._fleet = [TpmComputer(world, seed=f"t{n}", chip=tpm) for n in range(TPMS)]
        for computer in self._fleet:
            computer.prove("activate", key)

    def renewals(self) -> float:
        """Microseconds of CPU of one renewal."""
        from tests.leases.proving import OFFERS

        asked, kems = [], []
        for computer in self._fleet:
            nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
            more: dict[str, Any] = {"nonce": nonce, "kem": computer.kem(kem), "enforcement": OFFERS}
            token = computer.sign(
                computer.request("renew", tpm=computer.evidence(nonce, kem), **more)
            )
            asked.append(Asked(computer.device_id or "", token, "local"))
            kems.append(kem)
        began = time.process_time()
        outcomes = self._server.devices.renew_many(asked)
        spent = time.process_time() - began
        for computer, kem, outcome in zip(self._fleet, kems, outcomes, strict=True):
            if not isinstance(outcome, Renewed):
                raise SystemExit(f"no ordinary renewal: {outcome!r}")
            computer._accept(outcome.lease, None, kem)
        return 1e6 * spent / len(asked)


def measure(folder: Path) -> dict[str, float]:
    """Microseconds of CPU per renewal by kind; no TPM's where there is no swtpm."""
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[str, Any] = {
            f"Ed25519, ticks of {AT_ONCE}": Shop(stack, folder / "plain", None),
            f"Ed25519 and ML-DSA-65, ticks of {AT_ONCE}": Shop(
                stack, folder / "hybrid", None, "hybrid"
            ),
        }
        for shop in found.values():
            shop.activations(ACTIVATING)
        if shutil.which("swtpm") and shutil.which("swtpm_setup"):
            found[f"to a key in a TPM, evidence judged, ticks of {TPMS}"] = Hard(
                stack, folder / "tpm"
            )
        took: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(ROUNDS):
            for name, shop in found.items():
                spent = shop.renewals()
                took[name].append(spent if isinstance(shop, Hard) else spent[0])
    return {name: statistics.median(values[1:]) for name, values in took.items()}


def main() -> int:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="msk-") as scratch:
        for name, value in measure(Path(scratch)).items():
            sys.stdout.write(f"{name:55} {value:8.0f} us\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
