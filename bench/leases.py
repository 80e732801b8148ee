"""``python -m bench.leases``: what a hardware lease costs beside a software lease (swtpm).

Server and client are measured apart: the server's part is processor time of one renewal by the
services in this process, store included; the client's part is what its TPM adds.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.leases.conftest import trust_roots
from tests.leases.proving import OFFERS, TpmComputer
from tests.server.world import Clock, Computer, Shop
from tests.tpm import SwTpm

from modelseal.attest.verify import tpm2
from modelseal.client.tpm import DeviceTpm
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.desk import workspace
from modelseal.server.services import open_server
from modelseal.strict_json import b64u

ROUNDS = 41


def measure(folder: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians in milliseconds."""
    chip = SwTpm(folder / "t")
    chip.folder.mkdir()
    chip.manufacture()
    chip.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _leases(folder, chip, rounds)
    finally:
        chip.kill()


def _leases(folder: Path, chip: SwTpm, rounds: int) -> dict[str, Any]:
    home, clock = folder / "shop", Clock(datetime.now(UTC).replace(microsecond=0))
    workspace.init(home, "facefusion", now=clock(), random=os.urandom)
    trust_roots(home, chip)
    with open_server(home, now=clock) as server:
        shop = Shop(home, clock, server)
        shop.publish(folder, "swap.onnx", "face.swap")
        shop.plan("hard", enforcement="hardware")
        shop.plan("soft")
        hard, soft = TpmComputer(shop, chip=DeviceTpm(chip.address)), Computer(shop, "b")
        hard.prove("activate", shop.license("hard").license_key)
        soft.activate(shop.license("soft").license_key)
        took: dict[str, list[float]] = {name: [] for name in ("hardware", "software")}
        for _ in range(rounds):  # in turns: both meet the same noise
            for name, computer in (("hardware", hard), ("software", soft)):
                took[name].append(_renewal(shop, computer))
        return {
            **{f"server_{name}_cpu_ms": statistics.median(took[name]) for name in took},
            **_client(hard, rounds),
        }


def _renewal(shop: Shop, computer: Computer) -> float:
    """Processor time of the server's renewal, in milliseconds."""
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    more: dict[str, Any] = {"nonce": nonce, "kem": computer.kem(kem)}
    if isinstance(computer, TpmComputer):
        more |= {"tpm": computer.evidence(nonce, kem), "enforcement": OFFERS}
    token = computer.sign(computer.request("renew", **more))
    began = time.thread_time()
    answer = shop.server.devices.renew(computer.device_id or "", token)
    spent = time.thread_time() - began
    computer._accept(answer.lease, answer.license, kem)
    return spent * 1e3


def _client(computer: TpmComputer, rounds: int) -> dict[str, float]:
    chip, made = computer.chip, computer.made
    if made is None:
        raise SystemExit("no lease was given")
    raw, signature = chip.state_of(made, computer.ak, bytes(32))
    point = tpm2.Point(*chip.attestation_point(computer.ak))
    key = tpm2.LeaseKey(tpm2.Point(made.x, made.y), made.clock_limit_ms, made.reset_limit)
    acts: dict[str, Callable[[], object]] = {
        "client_make_ms": lambda: chip.make(os.urandom(32), 600, 3),
        "client_prove_ms": lambda: chip.state_of(made, computer.ak, bytes(32)),
        "client_open_ms": lambda: chip.exchange(made, key.point.x, key.point.y),
        "verify_ms": lambda: tpm2.certified(raw, signature, by=point, key=key, bound=bytes(32)),
    }
    return {name: _median(act, rounds) for name, act in acts.items()}


def _median(act: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def main() -> int:
    """The numbers as one JSON object."""
    with tempfile.TemporaryDirectory(prefix="msl-") as scratch:
        sys.stdout.write(json.dumps(measure(Path(scratch)), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
