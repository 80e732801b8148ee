"""``python -m bench.attested``: what an attested key release costs at the server.

One release is two calls: the nonce, and the evidence with its answer. Both by wall clock and by
the thread's own time, in this process, store included, over evidence that was collected before:
of a TPM emulator (swtpm) with a boot log of 140 events and the proof of the TPM beside it, and of
a SEV-SNP guest of a maker of our own. Demanded: at most 50 ms with swtpm's evidence.
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

import tests.attested.boots as boots
from tests.attest.authorities.event_logs import Line
from tests.attested.machines import Makers, Tee, endorse, list_of, set_policy
from tests.leases.conftest import trust_roots
from tests.leases.proving import TpmComputer
from tests.server.world import Clock, Shop
from tests.tpm import SwTpm

from modelseal.client.tpm import DeviceTpm
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.desk import workspace
from modelseal.license import attested
from modelseal.license.claims import KeyWish
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services import open_server
from modelseal.server.services.attesting import AttestedRequest, EvidenceOfKind
from modelseal.server.services.limits import Limiter
from modelseal.strict_json import b64u, unb64u

ROUNDS = 41
LIMIT_MS = 50.0
EVENTS = 128
MORE = tuple(Line(9, 0x0D, b"a driver or a file " * 12 + bytes([n])) for n in range(EVENTS))
LINES = (*boots.SECURE, *MORE)


def measure(folder: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians in milliseconds."""
    chip = SwTpm(folder / "t")
    chip.folder.mkdir()
    chip.manufacture()
    chip.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _releases(folder, chip, rounds)
    finally:
        chip.kill()


def _releases(folder: Path, chip: SwTpm, rounds: int) -> dict[str, Any]:
    home, clock = folder / "shop", Clock(datetime.now(UTC).replace(microsecond=0))
    workspace.init(home, "facefusion", now=clock(), random=os.urandom)
    trust_roots(home, chip)
    log, makers = boots.boot(chip, LINES), Makers()
    with open_server(home, now=clock) as server:
        shop = Shop(home, clock, server)
        published = shop.publish(folder, "swap.onnx", "face.swap")
        _plan(shop)
        rules = makers.rules(kinds=["snp", "tpm2"])
        rules["reference"]["tpm2"] = [boots.registers()]
        set_policy(home, rules)
        endorse(shop, list_of(makers, clock))
        file_id = unb64u(published.file_id)
        tpm = TpmComputer(shop, chip=DeviceTpm(chip.address))
        tpm.activate(shop.license("levels").license_key)
        tee = Tee(shop, "b", makers=makers)
        tee.activate(shop.license("levels").license_key)
        took: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):  # in turns: both meet the same noise
            server.devices.limiter = Limiter()
            for name, times in (
                ("tpm2", _by_tpm(shop, tpm, boots.collector(chip, log), file_id)),
                ("snp", _by_snp(tee, file_id)),
            ):
                took.setdefault(name, []).append(times)
        return {
            "limit_ms": LIMIT_MS,
            "log_bytes": len(log),
            **{
                f"{name}_{what}_ms": round(statistics.median(t[place] for t in took[name]), 2)
                for name in took
                for place, what in enumerate(("round_trip", "own"))
            },
        }


def _plan(shop: Shop) -> None:
    from modelseal.admin import PlanDraft

    terms = Plan(entitlements=[PlanEntitlement(id="face.swap", min_level=3)], seats=9)
    shop.admin.create_plan(PlanDraft(name="levels", terms=terms))


def _by_tpm(
    shop: Shop, computer: TpmComputer, collector: Any, file_id: bytes
) -> tuple[float, float]:
    devices, device = shop.server.devices, computer.device_id or ""
    asked = computer.sign(computer.request("nonce"))
    nonce, first = _timed(lambda: devices.release_nonce(device, asked))
    mine, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    credential = None if nonce.tpm else computer.credential()
    claims = computer.request(
        "attest", nonce=mine, kem=computer.kem(kem), server_nonce=nonce.nonce,
        server_key=nonce.server_key, level=3, want=[KeyWish(b64u(file_id), [0, 1])],
        tpm=computer.evidence(mine, kem, credential=credential),
    )  # fmt: skip
    token = computer.sign(claims).decode()
    bound = attested.of(claims, token).bound("tpm2")
    found = collector.seeded(computer.ak).collect(bound)
    evidence = [EvidenceOfKind("tpm2", [part.data for part in found.parts])]
    sent = AttestedRequest(token, evidence, [part.data for part in found.endorsements])
    _, second = _timed(lambda: devices.attested_release(device, sent))
    return first[0] + second[0], first[1] + second[1]


def _by_snp(tee: Tee, file_id: bytes) -> tuple[float, float]:
    devices, device = tee.shop.server.devices, tee.device_id or ""
    asked = tee.sign(tee.request("nonce"))
    nonce, first = _timed(lambda: devices.release_nonce(device, asked))
    sent = tee.ask({file_id: [0, 1]}, 4, nonce=nonce)
    body = AttestedRequest(sent.token, tee.evidence(sent.transcript), tee.beside)
    _, second = _timed(lambda: devices.attested_release(device, body))
    return first[0] + second[0], first[1] + second[1]


def _timed(act: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What it answers, and the milliseconds it took: by the wall, and of this thread."""
    began, mine = time.perf_counter(), time.thread_time()
    answer = act()
    return answer, ((time.perf_counter() - began) * 1e3, (time.thread_time() - mine) * 1e3)


def main() -> int:
    """The numbers as one JSON object."""
    with tempfile.TemporaryDirectory(prefix="msa-") as scratch:
        sys.stdout.write(json.dumps(measure(Path(scratch)), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
