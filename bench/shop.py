"""A publisher, a license server and an activated customer, all real, in one folder."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Container, Iterable
from pathlib import Path

from bench.customer import APP, customer
from modelseal.admin import IssueLicense, PlanDraft
from modelseal.desk import publishing, sealing, workspace
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.testing.server import RunningServer

RIGHT = "bench.use"


def protect(folder: Path, plain: Iterable[Path], portable: Container[Path] = ()) -> dict[str, Path]:
    """Every file of ``plain`` sealed below ``folder``, and a customer who may open it.

    ONNX models that are not ``portable`` also optimised for this machine, under their name and
    ``.optimised``.

    The server is gone afterwards: opening needs nobody. ``customer`` reads what is left here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder)
    sealed = {}
    with server:
        terms = Plan(entitlements=[PlanEntitlement(id=RIGHT)])
        server.admin.create_plan(PlanDraft(name="bench", terms=terms))
        with workspace.open(server.home) as desk:
            for path in plain:
                target = folder / f"{path.name}.sealed"
                sealing.seal_paths(desk, [path], target, entitlements=[RIGHT])
                publishing.publish(desk, server.admin, target)
                sealed[path.name] = target
                if path.suffix == ".onnx" and path not in portable:
                    optimised = folder / f"{path.name}.optimised"
                    sealing.seal_paths(desk, [path], optimised, entitlements=[RIGHT],
                                       model=f"{path.stem}-optimised", optimise=True)  # fmt: skip
                    publishing.publish(desk, server.admin, optimised)
                    sealed[optimised.name] = optimised
        wish = IssueLicense(plan="bench", customer="bench", expires_in_seconds=30 * 86400)
        key = server.admin.issue_license(wish).license_key
        app = {"state": str(folder / "state"), "server": server.url, "trust": str(server.trust)}
        (folder / APP).write_text(json.dumps(app))
        with customer(folder) as client:
            client.activate(key)
    shutil.rmtree(server.home / "server" / "blobs", ignore_errors=True)
    return sealed
