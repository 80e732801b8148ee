"""Chapter 1: the publisher seals, publishes and licenses."""

from __future__ import annotations

import shutil
import stat
from functools import partial

from face_fusion import samples

from demo import pictures
from demo.acting import Done
from demo.telling import Step
from demo.world import APP, SOURCE, TARGET, World

HOME = ("--home", "shop")
PORTRAIT = (slice(0, 440), slice(72, 432))


def publish(world: World) -> None:
    """The workspace exists, four models are published, a trial license is issued."""
    telling, ours = world.telling, world.publisher
    telling.chapter(
        "The publisher",
        "The models leave this house only sealed: two open with face.swap, two with face.restore.",
    )
    ours.types(
        "A workspace, and a recovery kit to print and remove",
        ["modelseal", "init", *HOME, "--product", "facefusion"],
        lines=0, then=partial(_recovery_kit, world),
    )  # fmt: skip
    swap = ["models/face_detector.onnx", "models/face_mesh.onnx"]
    more = ["models/restore_fast.onnx", "models/restore_best.onnx"]
    for title, models, right in (
        ("Detector and mesh are sealed, optimised for machines like this too", swap, "face.swap"),
        ("So is restoration", more, "face.restore"),
    ):
        how = ["--entitlement", right, "--optimise", *HOME]
        seal = ["modelseal", "seal", *models, "-o", "sealed", *how]
        ours.types(title, seal, lines=2)
    sealed = sorted(f"sealed/{path.name}" for path in (ours.folder / "sealed").iterdir())
    ours.types(
        "Published: the server gets sealed bytes and wrapped keys",
        ["modelseal", "model", "publish", *sealed, *HOME], lines=0,
    )  # fmt: skip
    plan = ["modelseal", "plan", "create"]
    trial = ["--entitlement", "face.swap", "--seats", "1"]
    pro = ["--entitlement", "face.swap", "--entitlement", "face.restore", "--seats", "1"]
    ours.types("Plan trial", [*plan, "trial", *trial, *HOME], lines=0)
    ours.types("Plan pro", [*plan, "pro", *pro, *HOME], lines=0)
    issue = ["modelseal", "license", "issue", "--plan", "trial", "--customer", "li@example.com"]
    ours.types(
        "A trial license for Li", [*issue, "--expires", "30d", *HOME, "--json"],
        then=partial(_license, world),
    )  # fmt: skip
    listen = f"modelseal server run --home shop --listen {world.server.address}"
    with telling.doing("The license server runs, over HTTPS", listen) as step:
        world.server.start()
        step.said = [f"{world.server.url}, its certificate pinned in trust.json"]
    with telling.doing("The app is shipped; restoration lies in it already, sealed") as step:
        _ship(world)
        step.said = [", ".join(sorted(path.name for path in world.app.iterdir()))]


def _recovery_kit(world: World, _done: Done, step: Step) -> None:
    kit = world.publisher.folder / "shop" / "recovery-kit.txt"
    mode = stat.S_IMODE(kit.stat().st_mode)
    world.telling.must(mode == 0o600, "the recovery kit is readable by others")
    step.said = ["shop/recovery-kit.txt, mode 0600, opens every backup of the workspace"]


def _license(world: World, done: Done, step: Step) -> None:
    world.license_id, world.license_key = done.json["license_id"], done.json["license_key"]
    step.said = [f"license key: {world.license_key}"]


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
