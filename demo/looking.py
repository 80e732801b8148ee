"""``python -m demo.looking``: what a thief or an auditor would look at on a device, as JSON.

It runs as a process of its own on the computer that is looked at, with modelseal's insides and
the device's own keys: whatever the state folder can give, this gets. Values of traits and keys
are never printed.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from modelseal import collect, container
from modelseal.client import Client, Ports, trusting
from modelseal.client import keys as lease_keys
from modelseal.client.core import Core
from modelseal.client.settings import resolve
from modelseal.desk.filesource import FileSource
from modelseal.errors import ModelsealError
from modelseal.license.claims import LeaseClaims


def traits(salt: str) -> dict[str, str]:
    """Kind to a salted digest of the values, or ``missing``; equal digests are equal values."""
    found = collect.read()
    shown = {missing.kind.value: "missing" for missing in found.missing}
    for kind in {reading.kind for reading in found.readings}:
        values = sorted(r.value.reveal() for r in found.readings if r.kind == kind)
        made = hmac.new(salt.encode(), b"\0".join(values), hashlib.sha256)
        shown[kind.value] = made.hexdigest()[:8]
    return shown


def held(state: Path | None, app: Path | None, models: Path) -> dict[str, Any]:
    """Per sealed model in ``models``: how many of its sections this device holds a key for.

    The lease is opened with the device's own keys, exactly as a load would do it. An *online*
    lease carries none; nobody is asked here.
    """
    core = _core(state, app, Ports())
    try:
        device = core.held()
        opened: dict[tuple[bytes, int], bytes] = {}
        if device.lease is not None and device.lease.keys:
            opened = dict(lease_keys.open_lease(core, device))
        sealed = [_sealed(path, opened) for path in sorted(models.glob("*.onnx"))]
        return {
            "keys": len(opened),
            "sealed_keys_in_lease": 0 if device.lease is None else len(device.lease.keys),
            "models": sealed,
            "files": sorted(f.name for f in core.store.path.iterdir() if f.is_file()),
        }
    finally:
        core.close()


def key_for(state: Path | None, app: Path | None, lease: Path) -> dict[str, bool]:
    """Whether this device still has the private key that the lease in a file is sealed to."""
    core = _core(state, app, Ports())
    try:
        claims = trusting.read_token(core, lease.read_text(), LeaseClaims)
        secret = core.store.lease_keys(core.unlock()).for_nonce(claims.request_nonce)
        return {"held": secret is not None}
    finally:
        core.close()


def load(
    state: Path | None,
    app: Path | None,
    model: Path,
    now: Callable[[], datetime],
    root: Path | None,
) -> dict[str, Any]:
    """Whether ``model`` opens when the client's clock is ``now``.

    Clock and, with ``root``, traits are what the client is handed; the computer's stay as they
    are. The server is as reachable as it is.
    """
    import modelseal

    ports = Ports(now=now)
    if root is not None:
        ports = replace(ports, traits=lambda: collect.read(root, platform="linux"))
    with Client(app=app, state=state, background=False, ports=ports) as client:
        modelseal.use(client)
        try:
            with modelseal.open(str(model)) as sealed:
                size = sum(len(sealed.read(name)) for name in sealed.names())
            return {"opened": True, "bytes": size}
        except ModelsealError as error:
            return {
                "opened": False,
                "code": error.code,
                "message": error.message,
                "reason": error.reason,
                "next_step": error.next_step,
            }


def _core(state: Path | None, app: Path | None, ports: Ports) -> Core:
    settings = resolve(
        app=app, state=state, server=None, trust=None, ca=None, environ=ports.environ
    )
    return Core(settings, ports)


def _sealed(path: Path, opened: dict[tuple[bytes, int], bytes]) -> dict[str, Any]:
    with FileSource(path) as source:
        seen = container.inspect(source)
    file_id = bytes.fromhex(seen["file_id"])
    wanted = {text for section in seen["sections"] for text in section["entitlement"]}
    return {
        "file": path.name,
        "file_id": seen["file_id"],
        "entitlement": " or ".join(sorted(wanted)),
        "sections": len(seen["sections"]),
        "keys_held": sum((file_id, section["id"]) in opened for section in seen["sections"]),
    }


def _clock(options: argparse.Namespace) -> Callable[[], datetime]:
    if options.at is not None:
        return lambda: options.at
    return lambda: datetime.now(UTC) - timedelta(seconds=options.back_seconds)


def main(arguments: list[str] | None = None) -> int:
    """One look; prints one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m demo.looking", description=__doc__)
    looks = parser.add_subparsers(dest="look", required=True)
    looks.add_parser("traits").add_argument("--salt", required=True)
    for name in ("held", "load", "key"):
        look = looks.add_parser(name)
        look.add_argument("--state", type=Path)
        look.add_argument("--app", type=Path)
        look.add_argument("--models", type=Path, help="folder, or one model")
        look.add_argument("--lease", type=Path, help="a lease.jwt, for example an older copy")
        look.add_argument("--back-seconds", type=int, default=0, help="the clock is behind")
        look.add_argument("--at", type=datetime.fromisoformat, help="the clock stands")
        look.add_argument("--root", type=Path, help="read the traits of the system below it")
    options = parser.parse_args(arguments)
    if options.look == "traits":
        found: dict[str, Any] = traits(options.salt)
    elif options.look == "held":
        found = held(options.state, options.app, options.models)
    elif options.look == "key":
        found = key_for(options.state, options.app, options.lease)
    else:
        found = load(options.state, options.app, options.models, _clock(options), options.root)
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
