"""Chapter 5: how it ends, by revocation, online, and by time."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from demo.acting import STEP_SECONDS
from demo.telling import StoryFailed
from demo.world import World, program, protected

HOME = ("--home", "shop")
COPY_LIMIT = (
    "A copied software lease opens until its end and, with altered code and a false clock, after"
    " it. Online leases leave nothing to copy."
)


def end(world: World) -> None:
    """A signed denial has erased the keys; online never had any; a software lease ran out."""
    world.telling.chapter(
        "The end", "What has ended does not open with what is left on the device."
    )
    _begin_short(world)
    _revoked(world)
    _online(world)
    _run_out(world)


def _issue(world: World, plan: str, expires: str) -> dict[str, Any]:
    issue = ["modelseal", "license", "issue", "--plan", plan, "--customer", "li@example.com"]
    issued: dict[str, Any] = world.publisher.runs(
        [*issue, "--expires", expires, *HOME, "--json"]
    ).json
    return issued


def _folder(world: World, name: str) -> Path:
    return world.base / "laptop" / name


def _begin_short(world: World) -> None:
    """A second license, of seconds, begins now and is looked at last; a copy of it is kept.

    On a busy computer one may end before it was looked at: then one of twice the seconds begins.
    """
    with world.telling.doing(
        "A license of seconds begins; a thief copies its state folder"
    ) as step:
        while not (said := _begun(world)):
            world.short_seconds *= 2
            world.telling.must(world.short_seconds < STEP_SECONDS, "this computer is too slow")
        step.said = [f"{world.short_seconds} seconds; {said}"]


def _begun(world: World) -> str | None:
    """What the state folder of the short license holds; None when it has ended meanwhile, or
    will in a moment.
    """
    issued = _issue(world, "trial", f"{world.short_seconds}s")
    ends = datetime.fromisoformat(issued["expires_at"])
    try:
        said = _copied(world, issued["license_key"])
    except StoryFailed:
        if datetime.now(UTC) < ends:
            raise
        return None
    if ends - datetime.now(UTC) < timedelta(seconds=world.short_seconds / 3):
        return None
    world.found["short_ends_at"] = issued["expires_at"]
    return said


def _copied(world: World, license_key: str) -> str:
    state, copy = _folder(world, "short"), _folder(world, "earlier-copy")
    for old in (state, copy):
        shutil.rmtree(old, ignore_errors=True)
    done = world.li.runs(["modelseal", "activate", license_key, "--state", str(state)])
    world.telling.must(done.code == 0, done.stderr)
    shutil.copytree(state, copy)
    world.found["short_copied_at"] = datetime.now(UTC).isoformat()
    held = _held(world, state)
    lease = state / "lease.jwt"
    key = world.li.asks("key", "--app", ".", "--state", state, "--lease", lease)["held"]
    world.telling.must(held["keys"] > 0 and key, "the short lease holds no keys")
    return f"its state folder: {', '.join(_parts(state))}; {held['keys']} keys"


def _revoked(world: World) -> None:
    li = world.li
    before = shutil.copyfile(world.state / "lease.jwt", world.base / "lease-before.jwt")
    revoke = ["modelseal", "license", "revoke", world.license_id, "--reason", "chargeback", *HOME]
    world.publisher.types("The publisher revokes Li's license", revoke, lines=2)
    li.types(
        "The next renewal is a signed denial", ["modelseal", "lease", "renew"], code=3, lines=4
    )
    denial = f"{world.state}/denial.jwt"
    verify = ["modelseal", "verify", denial, "--trust", "trust.json"]
    li.types("The denial, checked against the pinned trust", verify, lines=1)
    _erased(world, world.state, before)
    li.types("Nothing opens any more", protected(output="revoked.png"), code=3, lines=2)


def _online(world: World) -> None:
    """The same program under an online plan: keys come at each run and are never stored."""
    telling = world.telling
    plan = ["modelseal", "plan", "create", "studio", "--enforcement", "online"]
    world.publisher.types(
        "Another plan, online: keys come anew for each run",
        [*plan, "--entitlement", "face.swap", "--seats", "1", *HOME], lines=0,
    )  # fmt: skip
    issued = _issue(world, "studio", "30d")
    state = _folder(world, "studio")
    done = world.li.runs(["modelseal", "activate", issued["license_key"], "--state", str(state)])
    telling.must(done.code == 0, done.stderr)
    run = ["modelseal", "run", "--state", str(state), "--", *program(output="studio.png")]
    world.li.types("Activated under that plan, it runs", run, lines=0)
    with telling.doing("No key was ever stored") as step:
        held = _held(world, state)
        none = held["keys"] == 0 and held["sealed_keys_in_lease"] == 0
        telling.must(none, f"an online lease holds keys: {json.dumps(held)}")
        step.said = [f"state folder: {', '.join(_parts(state))}; sealed keys in lease.jwt: none"]


def _run_out(world: World) -> None:
    telling = world.telling
    ends = datetime.fromisoformat(world.found["short_ends_at"])
    with telling.doing(f"The license of {world.short_seconds} seconds has ended: refused") as step:
        while (left := (ends - datetime.now(UTC)).total_seconds()) > -1:
            time.sleep(min(1.0, left + 1.1))
        state = _folder(world, "short")
        run = ["modelseal", "run", "--state", str(state), "--", *program(output="ended.png")]
        done = world.li.runs(run)
        telling.must(done.code == 3, f"exit code {done.code}: {done.stderr}")
        step.refused = True
        step.said = [line for line in done.stderr.splitlines() if line][:2]
    _erased(world, state, _folder(world, "earlier-copy") / "lease.jwt")
    _earlier_copy(world)


def _erased(world: World, state: Path, before: Path) -> None:
    """No lease is there, and the key that opened it is gone: putting the file back is no use."""
    with world.telling.doing(
        "Lease and keys are erased: the old lease put back opens nothing"
    ) as step:
        parts, held = _parts(state), _held(world, state)
        key = world.li.asks("key", "--app", ".", "--state", state, "--lease", before)["held"]
        gone = "lease.jwt" not in parts and not held["keys"] and not key
        world.telling.must(gone, f"still there: {parts}, {held['keys']} keys, its own key: {key}")
        step.said = [f"state folder: {', '.join(parts)}; 0 keys"]


def _earlier_copy(world: World) -> None:
    """Honest: the thief's copy, with a clock that stands where it was made, still opens."""
    copy = _folder(world, "earlier-copy")
    with world.telling.doing("The limit: the copy made earlier, with a false clock") as step:
        found = world.li.asks(
            "load", "--app", ".", "--state", copy, "--models", "models/face_mesh.onnx",
            "--at", world.found["short_copied_at"],
        )  # fmt: skip
        world.found["earlier_copy_opens_with_false_clock"] = found["opened"]
        step.refused = not found["opened"]
        opens = "It opens." if found["opened"] else f"It is refused ({found['code']})."
        step.said = [f"{opens} {COPY_LIMIT}"]


def _held(world: World, state: Path) -> dict[str, Any]:
    held: dict[str, Any] = world.li.asks(
        "held", "--app", ".", "--state", state, "--models", "models"
    )
    return held


def _parts(state: Path) -> list[str]:
    return sorted(path.name for path in state.iterdir() if path.is_file() and path.stat().st_size)
