"""``modelseal run --isolated``: what could bring foreign code into the program is taken away before
it starts, or said where it cannot be.

``clean`` is for the parent and knows environments; ``look`` is for each Python process of the run,
where the hook starts. Runs before every isolated program, so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # of typing, which costs milliseconds at every start
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

ISOLATED = "MODELSEAL_ISOLATED"
"""Set for every process of an isolated run; names the installations that were looked at."""
REMOVED, STAYS = "removed", "stays"
_HARMLESS = frozenset({
    "PYTHONASYNCIODEBUG", "PYTHONCOERCECLOCALE", "PYTHONDEVMODE", "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONIOENCODING", "PYTHONNODEBUGRANGES",
    "PYTHONNOUSERSITE", "PYTHONOPTIMIZE", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "PYTHONUTF8",
    "PYTHONINTMAXSTRDIGITS", "PYTHON_BASIC_REPL", "PYTHON_COLORS", "PYTHON_CPU_COUNT",
    "PYTHON_DISABLE_REMOTE_DEBUG", "PYTHON_GIL", "PYTHON_JIT",
})  # fmt: skip
"""Variables of Python that name no code, no folder and no file."""
_LOADING = ("LD_", "DYLD_", "_RLD", "LDR_")
_NAMED = frozenset({
    "GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH", "MALLOC_TRACE",
    "OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES", "SSLKEYLOGFILE",
    "CUDA_INJECTION32_PATH", "CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH",
    "VK_INSTANCE_LAYERS", "VK_LAYER_PATH", "VK_ADD_LAYER_PATH", "BASH_ENV",
    "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG",
})  # fmt: skip
"""Other variables by which libraries and shells load code or write down what they see."""
_SET = {"PYTHONNOUSERSITE": "1", "PYTHON_DISABLE_REMOTE_DEBUG": "1"}
_PRELOADED = "/etc/ld.so.preload"


class Found:
    """One thing that was found: its ``kind``, its ``name``, and ``outcome`` (removed or stays)."""

    __slots__ = ("kind", "name", "outcome")

    def __init__(self, kind: str, name: str, outcome: str) -> None:
        self.kind, self.name, self.outcome = kind, name, outcome

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.outcome}"


def clean(environ: Mapping[str, str], ours: str) -> tuple[dict[str, str], list[Found]]:
    """``environ`` without what brings foreign code, and what that was; ``ours`` is the hook's own
    folder, the only one on ``PYTHONPATH`` afterwards."""
    env: dict[str, str] = {}
    found: list[Found] = []
    for name, value in environ.items():
        kind = _kind(name)
        if kind is None:
            env[name] = value
        elif name == "PYTHONPATH":
            places = (place for place in value.split(os.pathsep) if place and place != ours)
            found += [Found("import path", place, REMOVED) for place in places]
        else:
            found.append(Found(kind, f"{name}={value[:200]}", REMOVED))
    env |= _SET
    env["PYTHONPATH"] = ours
    env[ISOLATED] = "1"
    if _content(_PRELOADED):
        found.append(Found("preloaded library", _PRELOADED, STAYS))
    return env, found


def _kind(name: str) -> str | None:
    name = name.upper() if sys.platform == "win32" else name
    if name.startswith("PYTHON"):
        return None if name in _HARMLESS else "variable of Python"
    if name.startswith(_LOADING):
        return "variable of the loader"
    return "variable" if name in _NAMED else None


def look() -> list[Found]:
    """What this process was found with, as the hook starts: hooks that watch the program are taken
    out; a debugger and what the installation itself loads can only be named."""
    found = [*_tracing(), *_watched()]
    seen = os.environ.get(ISOLATED, "").split(os.pathsep)
    if sys.prefix not in seen:
        os.environ[ISOLATED] = os.pathsep.join([*seen, sys.prefix])
        found += _installed()
    return found


def _tracing() -> Iterator[Found]:
    threading: Any = sys.modules.get("threading")
    hooks: list[tuple[str, Any, Any]] = [
        ("tracing hook", sys.gettrace, sys.settrace),
        ("profiling hook", sys.getprofile, sys.setprofile),
    ]
    if threading is not None:
        hooks += [
            ("tracing hook of threads", threading.gettrace, threading.settrace),
            ("profiling hook of threads", threading.getprofile, threading.setprofile),
        ]
    for kind, get, put in hooks:
        hook = get()
        if hook is not None:
            put(None)
            yield Found(kind, _named(hook), REMOVED)
    monitoring: Any = getattr(sys, "monitoring", None)  # 3.12
    for number in range(6) if monitoring is not None else ():
        name = monitoring.get_tool(number)
        if name is not None:
            monitoring.set_events(number, 0)
            monitoring.free_tool_id(number)
            yield Found("monitoring tool", str(name), REMOVED)


def _named(hook: object) -> str:
    module, name = getattr(hook, "__module__", None), getattr(hook, "__qualname__", None)
    return f"{module}.{name}" if name else type(hook).__name__


def _watched() -> Iterator[Found]:
    for line in _content("/proc/self/status").splitlines():
        if line.startswith("TracerPid:") and line.split()[1] != "0":
            yield Found("debugger", f"process {line.split()[1]}", STAYS)
    if sys.platform == "win32":
        import ctypes

        if ctypes.windll.kernel32.IsDebuggerPresent():
            yield Found("debugger", "of Windows", STAYS)
    enabled = getattr(sys, "is_remote_debug_enabled", None)  # 3.14
    if enabled is not None and enabled():
        yield Found("remote debugging", "python -X disable-remote-debug ends it", STAYS)


def _installed() -> Iterator[Found]:
    """Code that the installation runs by itself and that no installed package owns."""
    folders = [place for place in sys.path if place.endswith(("site-packages", "dist-packages"))]
    user = _user_site()
    if user is not None and user not in sys.path and os.path.isdir(user):
        yield Found("packages of the user", user, REMOVED)
    for folder in folders:
        names = sorted(_names(folder))
        running = [n for n in names if n.endswith(".pth") and _runs(os.path.join(folder, n))]
        running += [n for n in names if n in ("sitecustomize.py", "usercustomize.py")]
        owned = _owned(folder, names) if running else ""
        for name in running:
            if f"\n{name}," not in owned and not _is_our_hook(folder, name):
                yield Found("code of nobody's package", os.path.join(folder, name), STAYS)


def _user_site() -> str | None:
    site = sys.modules.get("site")
    try:
        return None if site is None else str(site.getusersitepackages())
    except Exception:  # noqa: BLE001 - whatever the environment makes of it
        return None


def _is_our_hook(folder: str, name: str) -> bool:
    """``modelseal hook install`` puts one there, which is nobody's package either."""
    if name != "modelseal-hook.pth":
        return False
    from modelseal.runtime import installed

    return _content(os.path.join(folder, name)) == installed.LINE


def _runs(path: str) -> bool:
    lines = _content(path).splitlines()
    return any(line.startswith(("import ", "import\t")) for line in lines)


def _owned(folder: str, names: list[str]) -> str:
    """Every line of the packages' lists of files, and what puts itself there without one."""
    lists = (os.path.join(folder, n, "RECORD") for n in names if n.endswith(".dist-info"))
    return "\n".join(["", *map(_content, lists), ""])


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
