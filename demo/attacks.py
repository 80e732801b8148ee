"""Chapter 4: what goes wrong, on purpose."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from demo import computers
from demo.telling import relative
from demo.world import World, protected

HOURS = 3600


def attack(world: World) -> None:
    """Each attack has failed or was said honestly to succeed; Li's license works afterwards."""
    world.telling.chapter(
        "What goes wrong, on purpose", "Each attack is really made. What cannot be stopped is said."
    )
    _flipped_byte(world)
    _another_computer(world)
    _clone(world)
    with world.telling.doing("The license server is switched off"):
        world.server.stop()
    _offline(world)
    _clock_set_back(world)
    with world.telling.doing("The license server is back") as step:
        world.server.start()
        step.said = [world.server.url]


def _flipped_byte(world: World) -> None:
    model = world.app / "models" / "face_mesh.onnx"
    kept = model.read_bytes()
    changed = bytearray(kept)
    at = len(changed) * 3 // 4
    changed[at] ^= 0x01
    aside = model.with_name("face_mesh.kept")
    model.rename(aside)
    model.write_bytes(changed)
    world.li.types(
        f"One bit of face_mesh.onnx flipped (byte {at:,}): refused",
        protected(output="flipped.png"), code=4, lines=3,
    )  # fmt: skip
    world.telling.must(not (world.app / "flipped.png").exists(), "a damaged model made a picture")
    aside.replace(model)


def _another_computer(world: World) -> None:
    """The whole program folder and state folder, copied to a machine that is not enrolled."""
    telling, li = world.telling, world.li
    copied = world.base / "copied"
    shutil.copytree(world.app, copied / "FaceFusion")
    shutil.copytree(world.state, copied / ".local" / "share" / "facefusion")
    env = {"HOME": str(copied), "XDG_DATA_HOME": str(copied / ".local" / "share")}
    title = "Program and state folder copied to another computer"
    if world.unshare is None:
        _without_namespaces(world, copied, title)
        return
    thief = computers.another(world.base, world.unshare)
    actor = type(li)(telling, copied / "FaceFusion", world.base, thief, env)
    salt = secrets.token_hex(8)
    here, there = (who.asks("traits", "--salt", salt) for who in (li, actor))
    seen = {
        kind: "gone" if there[kind] == "missing" else
        "the same" if there[kind] == here[kind] else "another"
        for kind in here if here[kind] != "missing"
    }  # fmt: skip
    world.found["another_computer"] = {"how": thief.how, "traits": seen}
    told = ", ".join(f"{kind} {state}" for kind, state in seen.items())
    if world.found["binding"] == "copyable":
        code, end, lines = 0, "it runs, as `copyable` had said", 1
    else:
        code, end, lines = 3, "refused", 3
    actor.types(
        f"{title}: {end}", protected(output="o.png"), code=code, lines=lines,
        then=lambda _done, step: step.said.append(f"There: {thief.how} ({told})."),
    )  # fmt: skip


def _without_namespaces(world: World, copied: Path, title: str) -> None:
    """Where no namespace may be made, the client is handed the traits of an empty system."""
    with world.telling.doing(f"{title}: simulated, this system allows no namespaces") as step:
        state = copied / ".local" / "share" / "facefusion"
        found = world.li.asks(
            "load", "--app", ".", "--state", state, "--models", "models/face_mesh.onnx",
            "--root", copied,
        )  # fmt: skip
        world.telling.must(not found["opened"] or world.found["binding"] == "copyable",
                           "the copy opened on another computer")  # fmt: skip
        step.refused = not found["opened"]
        step.said = _told(found) or ["it opens, as `copyable` had said"]
    world.found["another_computer"] = {"how": "injected traits of an empty system"}


def _offline(world: World) -> None:
    telling, li = world.telling, world.li
    li.types("Li's program still works", protected(output="offline.png"), lines=0)
    with telling.doing("And it says for how long", "modelseal status --json") as step:
        status = li.runs(["modelseal", "status", "--json"]).json
        lease = status["lease"]
        telling.must(status["state"] == "ACTIVE", "the lease does not run")
        step.said = [
            f"{status['state']}, {status['days_left']} days left: until {lease['expires_at']}"
        ]
    li.types("A renewal says what it saw, and changes nothing",
             ["modelseal", "lease", "renew"], code=5, lines=4)  # fmt: skip


def _clock_set_back(world: World) -> None:
    telling, li = world.telling, world.li
    model = ["--app", ".", "--models", "models/face_mesh.onnx"]
    with telling.doing("The client's clock set back by three days: refused") as step:
        found = li.asks("load", *model, "--back-seconds", str(72 * HOURS))
        telling.must(found.get("code") == "clock_set_back", f"not refused: {json.dumps(found)}")
        step.refused = True
        step.said = _told(found)
    with telling.doing("The clock right again: it opens, and nobody was asked") as step:
        found = li.asks("load", *model)
        telling.must(found["opened"], f"still refused: {json.dumps(found)}")


def _clone(world: World) -> None:
    """Two folders of one activation on one computer: the copy is found at its first renewal."""
    telling, li = world.telling, world.li
    clone = world.base / "laptop" / "clone"
    shutil.copytree(world.state, clone)
    renew = ["modelseal", "lease", "renew"]
    li.types("The state folder used from two places: the first one renews", renew, lines=0)
    li.types(
        "The copy is found at its first renewal", [*renew, "--state", str(clone)], code=3, lines=4
    )
    li.types("From then on neither is renewed", renew, code=3, lines=1)
    li.types("Li enters the license key again and goes on",
             ["modelseal", "activate", world.license_key], lines=0)  # fmt: skip
    done = li.runs(renew)
    telling.must(done.code == 0, f"the renewal after it: {relative(done.stderr, world.base)}")


def _told(found: dict[str, Any]) -> list[str]:
    return [str(found[name]) for name in ("message", "reason", "next_step") if name in found]
