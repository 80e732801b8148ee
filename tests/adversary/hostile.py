"""A program whose owner has rewritten modelseal: every module is compiled from altered source.

``python hostile.py STRATEGY STATE SERVER TRUST MODEL MARKER [BEHIND_SECONDS]`` tries everything to
read MODEL and then searches its own memory for the marker (hex, each byte xored with 0x5A, so that
the argument is no hit). It prints ``found`` or ``nothing``, and what it was told.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

MASK = 0x5A


class Strategy(ast.NodeTransformer):
    """One way to rewrite a program that says no."""

    def __init__(self, name: str) -> None:
        self.names = set(name.split("+"))

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if "silent" in self.names and node.exc is not None:
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        answer = {"yes": True, "no": False}.get(next(iter(self.names & {"yes", "no"}), ""))
        if answer is not None and isinstance(node.returns, ast.Name) and node.returns.id == "bool":
            node.body = [ast.Return(ast.Constant(answer))]
        if "allowed" in self.names and node.name in ("authorize", "_judge", "_judge_any"):
            node.body = [ast.Pass()]
        if "allowed" in self.names and node.name == "decide":
            text = "return Decision(allowed=True, code='allowed', step=0)"
            node.body = ast.parse(text).body
        silent = isinstance(node.returns, ast.Constant) and node.returns.value is None
        checks = ("verify", "_verify", "check_target", "check_commitment")
        if "unsigned" in self.names and silent and node.name in checks:
            node.body = [ast.Pass()]
        if "keep" in self.names and node.name.startswith(("erase", "accept_denial", "remove")):
            node.body = [ast.Pass()]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if "equal" in self.names and isinstance(node.ops[0], (ast.Eq, ast.Is, ast.In)):
            return ast.copy_location(ast.Constant(True), node)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        if "through" in self.names and any(isinstance(n, ast.Raise) for n in node.body):
            node.test = ast.Constant(False)
        return node


class Rewriting(importlib.machinery.SourceFileLoader):
    strategy = ""

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        tree = ast.parse(Path(path).read_text("utf-8"))
        if fullname.startswith(("modelseal.client", "modelseal.license", "modelseal.runtime",
                                "modelseal.container", "modelseal.device", "modelseal.trust",
                                "modelseal.crypto")):  # fmt: skip
            tree = Strategy(self.strategy).visit(tree)
        return compile(ast.fix_missing_locations(tree), path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if not name.startswith("modelseal"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            spec.loader = Rewriting(spec.loader.name, spec.loader.path)
        return spec


def blind() -> None:
    """cryptography's AES-GCM gives out what it has, whether the tag holds or not."""
    from cryptography.hazmat.primitives.ciphers import aead

    class Blind:
        def __init__(self, key: bytes) -> None:
            self._real = aead.ChaCha20Poly1305(bytes(32)) if len(key) != 32 else real(key)

        def encrypt(self, *words):
            return self._real.encrypt(*words)

        def decrypt(self, nonce, data, aad):
            try:
                return self._real.decrypt(nonce, data, aad)
            except Exception:
                return bytes(data[:-16])

        def decrypt_into(self, nonce, data, aad, into):
            try:
                return self._real.decrypt_into(nonce, data, aad, into)
            except Exception:
                into[:] = data[: len(into)]
                return len(into)

    real, aead.AESGCM = aead.AESGCM, Blind


def frozen(behind: int) -> None:
    """Time hardly passes, on another day, and every file is as old as the epoch."""
    began, ticks, stat = time.time(), time.monotonic(), os.stat
    tick = time.monotonic
    time.time = lambda: began - behind
    time.monotonic = lambda: ticks + (tick() - ticks) / 100
    os.stat = lambda *words, **more: os.stat_result((*tuple(stat(*words, **more))[:7], 0, 0, 0))


def attempt(
    state: str, server: str, trust: str, model: str, behind: int, strategy: str
) -> list[str]:
    """Everything a program can try, whatever it is told; what it was told."""
    said = []
    import modelseal
    from modelseal.client import Client, Ports

    def tried(what):
        try:
            return what()
        except BaseException as error:
            said.append(f"{type(error).__name__}: {error}"[:120])
            return None

    now = datetime.now(UTC) - timedelta(seconds=behind)
    ports = Ports(now=lambda: datetime.now(UTC) - timedelta(seconds=behind), environ={})
    if "frozen" in strategy:
        ports = Ports(now=lambda: now, monotonic=lambda: 1.0, environ={})
    if "answers" in strategy:
        from tests.adversary.pretended import Pretended

        from modelseal import trust as trusts

        nobody = Pretended(trusts.parse(Path(trust).read_bytes()), model)
        ports = dataclasses.replace(ports, transport=lambda _settings: nobody)
    client = tried(lambda: Client(state=state, server=server, trust=trust, ports=ports))
    if client is None:
        return said
    tried(lambda: modelseal.use(client))
    if "answers" in strategy:
        from modelseal.license import license_key

        typed = license_key.format_key(os.urandom(10))
        said.append(f"activated: {tried(lambda: client.activate(typed)) is not None}")
    kept = [tried(lambda: modelseal.open(model).read()) for _ in range(2)]
    kept.append(tried(lambda: modelseal.onnx.InferenceSession(model)))
    tried(client.renew)
    kept.append(tried(lambda: modelseal.open(model).read()))
    if any(isinstance(each, bytes) and each for each in kept):
        said.append(f"read {len(kept[0] or b'')} bytes")
    globals()["kept"] = kept
    return said


def in_memory(marker: bytes) -> bool:
    """Whether the bytes of which ``marker`` is the masked form stand in this process's memory."""
    import numpy as np

    with Path("/proc/self/maps").open() as maps, Path("/proc/self/mem").open("rb", 0) as memory:
        for line in maps.read().splitlines():
            span, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(edge, 16) for edge in span.split("-"))
            for at in range(start, end, 1 << 24):
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    memory.seek(at)
                    data = memory.read(min((1 << 24) + 256, end - at))
                    if (np.frombuffer(data, np.uint8) ^ MASK).tobytes().find(marker) >= 0:
                        return True
    return False


def main() -> None:
    strategy, state, server, trust, model, marker = sys.argv[1:7]
    behind = int(sys.argv[7]) if len(sys.argv) > 7 else 0
    if strategy != "honest":
        Rewriting.strategy = strategy
        sys.meta_path.insert(0, Finder())
    sys.path.insert(0, str(Path(__file__).parents[2]))
    if "blind" in strategy:
        blind()
    if "frozen" in strategy:
        frozen(behind)
    said: list[str] = []
    try:
        said = attempt(state, server, trust, model, behind, strategy)
    except BaseException as error:
        said = [f"{type(error).__name__}: {error}"[:120]]
    print("found" if in_memory(bytes.fromhex(marker)) else "nothing", "|".join(said))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
