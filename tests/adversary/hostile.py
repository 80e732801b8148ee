"""A program whose owner has rewritten modelseal: every module is compiled from altered source.

``python hostile.py STRATEGY STATE SERVER TRUST MODEL MARKER [BEHIND_SECONDS]`` tries everything to
read MODEL and then searches its own memory for the marker (hex, each byte xored with 0x5A, so that
the argument is no hit). It prints ``found`` or ``nothing``, and what it was told.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
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


def attempt(state: str, server: str, trust: str, model: str, behind: int) -> list[str]:
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

    ports = Ports(now=lambda: datetime.now(UTC) - timedelta(seconds=behind), environ={})
    client = tried(lambda: Client(state=state, server=server, trust=trust, ports=ports))
    if client is None:
        return said
    tried(lambda: modelseal.use(client))
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
    said: list[str] = []
    try:
        said = attempt(state, server, trust, model, behind)
    except BaseException as error:
        said = [f"{type(error).__name__}: {error}"[:120]]
    print("found" if in_memory(bytes.fromhex(marker)) else "nothing", "|".join(said))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
