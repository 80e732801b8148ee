"""Chapter 1: the publisher seals, publishes and licenses."""

from __future__ import annotations

import shutil
import stat

from face_fusion import samples

from demo import pictures
from demo.telling import Step
from demo.world import APP, SOURCE, TARGET, World

HOME = ("--home", "shop")
PORTRAIT = (slice(0, 440), slice(72, 432))


def publish(world: World) -> None:
    """The workspace exists, four models are published, a trial license is issued."""
    telling, ours = world.telling, world.publisher
    telling.chapter(
        "The publisher",
        "Models leave this house only sealed. Detector and mesh belong to face.swap, both"
        " restoration models to face.restore.",
    )
    ours.types("A workspace", ["modelseal", "init", *HOME, "--product", "facefusion"], lines=0)
    _recovery_kit(world)
    seal = ["modelseal", "seal"]
    swap = ["models/face_detector.onnx", "models/face_mesh.onnx"]
    more = ["models/restore_fast.onnx", "models/restore_best.onnx"]
    ours.types("Detector and mesh are sealed",
               [*seal, *swap, "-o", "sealed", "--entitlement", "face.swap", *HOME], lines=2)  # fmt: skip
    ours.types("So is restoration",
               [*seal, *more, "-o", "sealed", "--entitlement", "face.restore", *HOME], lines=2)  # fmt: skip
    sealed = sorted(f"sealed/{path.name}" for path in (ours.folder / "sealed").iterdir())
    ours.types("Published: the server gets sealed bytes, and wrapped keys",
               ["modelseal", "model", "publish", *sealed, *HOME], lines=0)  # fmt: skip
    plan = ["modelseal", "plan", "create"]
    trial = ["--entitlement", "face.swap", "--seats", "1"]
    pro = ["--entitlement", "face.swap", "--entitlement", "face.restore", "--seats", "1"]
    ours.types("Plan trial", [*plan, "trial", *trial, *HOME], lines=0)
    ours.types("Plan pro", [*plan, "pro", *pro, *HOME], lines=0)
    issue = ["modelseal", "license", "issue", "--plan", "trial", "--customer", "li@example.com"]
    done = ours.types("A trial license for Li", [*issue, "--expires", "30d", *HOME, "--json"])
    world.license_id, world.license_key = done.json["license_id"], done.json["license_key"]
    telling.chapters[-1].steps[-1].said.append(f"key: {world.license_key}")
    listen = "modelseal server run --home shop --listen 127.0.0.1:0"
    with telling.doing("The license server runs, over HTTPS", listen) as step:
        world.server.start()
        step.said = [f"{world.server.url}, certificate pinned in trust.json"]
    _ship(world)


def _recovery_kit(world: World) -> None:
    kit = world.publisher.folder / "shop" / "recovery-kit.txt"
    mode = stat.S_IMODE(kit.stat().st_mode)
    world.telling.must(mode == 0o600, "the recovery kit is readable by others")
    said = [
        "shop/recovery-kit.txt opens every backup of the workspace: print it, then remove it."
        " `modelseal doctor` reminds until that is done."
    ]
    world.telling.add(Step("The recovery kit", said=said))


def _ship(world: World) -> None:
    """The program's folder, as an installer would leave it on the customer's computer."""
    app, ours = world.app, world.publisher.folder
    for name in ("modelseal.toml", "EULA.txt"):
        shutil.copyfile(APP / "app" / name, app / name)
    settings = (app / "modelseal.toml").read_text()
    settings = settings.replace("https://license.example.com", world.server.url)
    (app / "modelseal.toml").write_text(settings)
    shutil.copyfile(ours / "shop" / "trust.json", app / "trust.json")
    without = shutil.ignore_patterns("__pycache__", "prepare")
    shutil.copytree(APP / "src" / "face_fusion", app / "face_fusion", ignore=without)
    (app / "models").mkdir()
    for name in ("restore_fast", "restore_best"):
        shutil.copyfile(ours / "sealed" / f"{name}.sealed", app / "models" / f"{name}.onnx")
    shutil.copyfile(samples.astronaut(), app / SOURCE)
    portrait = pictures.read(samples.grace_hopper())[PORTRAIT]
    pictures.save_png(portrait, app / TARGET)
    world.telling.add(
        Step(
            "The app is shipped: program, modelseal.toml, trust.json, restoration models (sealed)",
            said=[line for line in settings.splitlines() if line and not line.startswith("#")][:3],
        )
    )
