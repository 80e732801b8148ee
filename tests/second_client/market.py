"""The publisher's side for the tests of the second client. The client knows nothing of this."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelseal.admin import IssueLicense, PlanDraft
from modelseal.desk import publishing, sealing, workspace
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.testing.server import RunningServer

from . import datakeys
from .catalog import Target
from .device import Device
from .download import Download
from .encoding import Refused
from .trust import Trust
from .wire import Wire

RIGHTS = {
    "swap.onnx": ["face.swap"],
    "restore.onnx": ["face.restore+face.swap"],
    "either.bin": ["face.restore", "face.swap"],
}
PACKS = 25  # with the index more keys than a token with two signatures carries
TOGETHER = {"restore.onnx": "swap.onnx"}
DUO = """\
[[file]]
path = "weights.bin"
entitlement = "face.swap"
model = "duo"
[[file]]
path = "head.bin"
entitlement = "face.restore"
model = "duo"
"""
MAY_OPEN = {
    "trial": {"swap.onnx", "either.bin", "weights.bin"},
    "pro": {"swap.onnx", "either.bin", "weights.bin", "restore.onnx", "head.bin"},
    "online": {"swap.onnx", "either.bin", "weights.bin", "restore.onnx", "head.bin"},
}


def _bytes(name: str, size: int) -> bytes:
    return random.Random(name).randbytes(size)


@dataclass
class Market:
    """A running server with three plans and four published models."""

    server: RunningServer
    plain: dict[str, bytes]
    ahead: timedelta = field(default=timedelta())

    def issue(self, plan: str, *, days: int = 30) -> tuple[str, str]:
        """A license key and the id of its license."""
        wish = IssueLicense(plan=plan, customer="li@example.com", expires_in_seconds=days * 86400)
        made = self.server.admin.issue_license(wish)
        return made.license_key, made.license_id

    def now(self) -> int:
        """The time of server and devices."""
        return int((datetime.now(UTC) + self.ahead).timestamp())

    @contextmanager
    def device(self, folder: Path) -> Iterator[Device]:
        """A device whose client has only `trust.json` and the server's address."""
        trust = Trust(self.server.trust.read_bytes())
        wire = Wire(self.server.url, trust.tls_ca)
        try:
            yield Device(folder, trust, wire, self.now)
        finally:
            wire.close()


@contextmanager
def market(folder: Path, token_alg: str = "hybrid") -> Iterator[Market]:
    """A publisher; by default with tokens that bear two signatures each."""
    plain = {
        "swap.onnx": _bytes("swap", 700_001),
        "restore.onnx": _bytes("restore", 524_288),
        "either.bin": _bytes("either", 3),
        "weights.bin": _bytes("weights", 300_000),
        "head.bin": _bytes("head", 70_000),
    }
    for name, data in plain.items():
        (folder / name).write_bytes(data)
    (folder / "seal.toml").write_text(DUO)
    (folder / "packs").mkdir()
    packs = [f"pack{number:02d}" for number in range(PACKS)]
    for name in packs:
        plain[name] = _bytes(name, 100)
        (folder / "packs" / name).write_bytes(plain[name])
    entries = [f'[[file]]\npath = "{n}"\nentitlement = "{n}"\nmodel = "packs"' for n in packs]
    (folder / "packs" / "seal.toml").write_text("\n".join(entries))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it is a server for tests
        server = RunningServer(folder, token_alg=token_alg)
    with server:
        every = [PlanEntitlement(id=name) for name in packs]
        swap, restore = PlanEntitlement(id="face.swap"), PlanEntitlement(id="face.restore")
        for name, terms in (
            ("trial", Plan(entitlements=[swap])),
            ("pro", Plan(entitlements=[swap, restore], seats=2)),
            ("online", Plan(entitlements=[swap, restore], enforcement="online")),
            ("proved", Plan(entitlements=[PlanEntitlement(id="face.swap", min_level=4)])),
            ("packs", Plan(entitlements=every)),
            ("packs-online", Plan(entitlements=every, enforcement="online")),
        ):
            server.admin.create_plan(PlanDraft(name=name, terms=terms))
        with workspace.open(server.home) as desk:
            for name, rights in RIGHTS.items():
                beside = TOGETHER.get(name)
                sealing.seal_paths(
                    desk,
                    [folder / name],
                    folder / f"{name}.sealed",
                    entitlements=rights,
                    together_with=[folder / f"{beside}.sealed"] if beside else [],
                )
                publishing.publish(desk, server.admin, folder / f"{name}.sealed")
            for toml, name in (("seal.toml", "duo"), ("packs/seal.toml", "packs")):
                sealing.seal_paths(desk, [folder / toml], folder / f"{name}.sealed")
                publishing.publish(desk, server.admin, folder / f"{name}.sealed")
        yield Market(server, plain)


def refusal(act: Callable[[], Any]) -> Refused:
    """What `act` was refused with."""
    with pytest.raises(Refused) as raised:
        act()
    return raised.value


class LostReply(Wire):
    """The server got the question, and the answer never came."""

    def __init__(self, wire: Wire) -> None:
        self.http = wire.http

    def ask(self, *question: Any) -> dict[str, Any]:
        super().ask(*question)
        raise Refused("unavailable", "the reply was lost")


def lose_reply(device: Device, act: Callable[[], Any]) -> None:
    """`act` reaches the server, its answer does not come back."""
    wire, device.wire = device.wire, LostReply(device.wire)
    assert refusal(act).code == "unavailable"
    device.wire = wire


def pull(device: Device, folder: Path) -> dict[Target, Path]:
    """Every granted sealed model of the catalog, downloaded."""
    folder.mkdir(exist_ok=True)
    device.refresh()
    pinned, product = device.keys.publishers(), device.keys.product
    return {
        target: Download(target, folder, pinned, product).run(
            device.wire.http, f"/v1/blobs/{target.sha256}"
        )
        for target in device.catalog.to_pull(device.granted(), datakeys.satisfied)
    }
