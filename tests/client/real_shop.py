"""A publisher with a running license server over HTTPS, for the client's tests end to end.

One server for a module, one license per test. The clock is the real one, so that certificates and
the catalog are judged as in life; what needs time to pass is tested against the fake server.
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from modelseal.admin import IssueLicense, PlanDraft
from modelseal.desk import publishing, sealing, workspace
from modelseal.license.claims import Eula
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.strict_json import unb64u
from modelseal.testing.server import RunningServer

PLAIN = b"weights of a face swapper " * 60_000
EULA = "e" * 43
PLANS = {
    "trial": Plan(entitlements=[PlanEntitlement(id="face.swap")]),
    "pro": Plan(entitlements=[PlanEntitlement(id="face.swap"), PlanEntitlement(id="face.restore")]),
    "three": Plan(entitlements=[PlanEntitlement(id="face.swap")], seats=3),
    "online": Plan(entitlements=[PlanEntitlement(id="face.swap")], enforcement="online"),
    "eula": Plan(entitlements=[PlanEntitlement(id="face.swap")], eula=Eula(digest=EULA, uri="https://example.com/eula")),
    "free": Plan(
        entitlements=[PlanEntitlement(id="face.swap")], trial_once_per_device=True,
        period_seconds=14 * 86400,
    ),
    "many": Plan(entitlements=[PlanEntitlement(id="many.models")]),
}  # fmt: skip


@dataclass
class Shop:
    """A publisher with a running server and two published models."""

    server: RunningServer
    folder: Path
    offset: list[timedelta]
    sealed: dict[str, Path] = field(default_factory=dict)

    def publish(
        self, name: str, entitlement: str, plain: bytes = PLAIN, channels=(), **more
    ) -> bytes:
        """The file id of a model sealed and published now."""
        place = self.folder / name
        place.write_bytes(plain)
        output = self.folder / f"{name}.{len(self.sealed)}.sealed"
        with workspace.open(self.server.home) as desk:
            made = sealing.seal_paths(
                desk, [place], output, entitlements=[entitlement], chunk_bytes=65536, **more
            )
            publishing.publish(desk, self.server.admin, output, channels=channels)
        self.sealed[name] = output
        place.unlink()
        return unb64u(made[0].file_id)

    def issue(self, plan: str = "trial", **more) -> tuple[str, str]:
        more.setdefault("expires_in_seconds", 30 * 86400)
        wish = IssueLicense(plan=plan, customer="li@example.com", **more)
        made = self.server.admin.issue_license(wish)
        return made.license_key, made.license_id


def opens(client, file_id):
    """Whether the client hands out the keys of index and first section."""
    secrets = client.keys_for(file_id, [0, 1])
    for secret in secrets.values():
        secret.close()
    return sorted(secrets) == [0, 1]


@contextlib.contextmanager
def running(folder):
    """The shop, open for business, with two published models."""
    offset = [timedelta(0)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder, now=lambda: datetime.now(UTC) + offset[0])
    with server:
        made = Shop(server, folder, offset)
        for name, terms in PLANS.items():
            server.admin.create_plan(PlanDraft(name=name, terms=terms))
        made.swap = made.publish("swap.onnx", "face.swap")
        made.restore = made.publish("restore.onnx", "face.restore", PLAIN[::-1])
        yield made
