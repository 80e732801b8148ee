"""What a program does with model files, noted in the program's own processes.

One JSON object a line, each told once per process: ``load`` (a framework takes a file), ``open``,
``write``, ``delete``, ``hash``, ``size``, ``initializer``, ``nodes``, ``cache``, ``session``
(one is made of bytes).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import threading
from types import FrameType, ModuleType
from typing import Any

from modelseal.runtime import who
from modelseal.runtime.hook import passing
from modelseal.runtime.hook.passing import Wrapped, named, rebind
from modelseal.runtime.observe import MAX_LOG_BYTES, MIN_BYTES
from modelseal.runtime.sniff import is_model_name

_HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s")
_LOADERS = {
    "onnxruntime_": "onnxruntime.InferenceSession",
    "onnx_": "onnx.load",
    "torch_": "torch.load",
    "safetensors_": "safetensors.safe_open",
    "openvino_": "openvino.Core",
    "litert_": "Interpreter",
    "ncnn_": "ncnn.Net",
    "native_": "native",
    "cv2_": "cv2.dnn",
    "gguf_": "llama_cpp",
    "pretrained_": "from_pretrained",
}
_ASKS_NO_SIZE = frozenset({"exists", "isfile", "isdir", "lexists", "samefile", "getmtime"})
_local = threading.local()
_told: set[str] = set()
_place: list[str] = []


def start(place: str) -> None:
    """From now on what this process does with model files is noted in the file ``place``."""
    if _place:
        return
    _place.append(place)
    passing.observers.append(_loaded)
    sys.addaudithook(_audited)
    _watch_hashes()
    os.stat = _Measuring(os.stat)


def framework(module: ModuleType) -> None:
    """A framework was imported: what only it can tell is watched, too."""
    if not _place:
        return
    if module.__name__ == "onnx":
        _watch_onnx(module)
    elif module.__name__.startswith("onnxruntime"):
        _watch_caches(module.InferenceSession)
    elif module.__name__ == "torch._inductor.config":
        _note("cache", what="torch._inductor", path="")


def _note(event: str, **told: object) -> None:
    """One line of the log; never raises, never tells the same twice."""
    line = json.dumps({"event": event, **told}, sort_keys=True, default=str)
    if line in _told or getattr(_local, "busy", False):
        return
    _told.add(line)
    _local.busy = True
    try:
        with contextlib.suppress(OSError, ValueError):
            handle = os.open(_place[0], os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
            try:
                if os.fstat(handle).st_size < MAX_LOG_BYTES:
                    os.write(handle, line.encode("utf-8", "replace") + b"\n")
            finally:
                os.close(handle)
    finally:
        _local.busy = False


def _by(reader: tuple[str, str]) -> dict[str, str]:
    return {"module": reader[0], "function": reader[1]}


def _full(path: Any) -> str:
    return os.path.abspath(os.fsdecode(os.fspath(path)))  # noqa: PTH100 - links are kept


def _loaded(given: object) -> None:
    """A framework was given ``given``."""
    given = named(given)
    if not isinstance(given, (str, os.PathLike)):
        return
    frame: FrameType | None = sys._getframe(2)
    name = str(frame.f_globals.get("__name__", "")) if frame else ""
    loader = _LOADERS.get(name.rpartition(".")[2], name)
    if os.path.isdir(given) or _size(given) >= MIN_BYTES:  # noqa: PTH112
        _note("load", path=_full(given), loader=loader, **_by(who.caller(3)))


def _size(path: Any) -> int:
    try:
        return int(_stat(path).st_size)
    except (OSError, ValueError):
        return 0


_stat = os.stat


def _audited(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, mode = arguments[0], arguments[1]
        if isinstance(path, (str, bytes, os.PathLike)) and not getattr(_local, "busy", False):
            _opened(path, mode, arguments[2])
    elif event in ("os.remove", "os.rename", "os.truncate"):
        path = arguments[0]
        if isinstance(path, (str, bytes, os.PathLike)) and is_model_name(os.fsdecode(path)):
            _note("delete", path=_full(path), what=event, **_by(who.caller(2)))


def _opened(path: Any, mode: Any, flags: Any) -> None:
    text = os.fsdecode(os.fspath(path))
    if not is_model_name(text) or who.is_own(3):
        return
    writes = not set(mode).isdisjoint("wax+") if isinstance(mode, str) else bool(int(flags) & 3)
    if writes:
        _note("write", path=_full(text), **_by(who.caller(3)))
    elif _size(text) >= MIN_BYTES:
        native = not isinstance(mode, str)
        told = {"native": True} if native else {}
        _note("open", path=_full(text), size=_size(text), **told, **_by(who.caller(3)))


class _Hashing(Wrapped):
    """A function that makes a digest."""

    def __init__(self, original: Any, kind: str) -> None:
        super().__init__(original)
        self._kind = kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kind = self._kind or (str(args[0]).lower() if args else "digest")
        data = next((a for a in args if isinstance(a, (bytes, bytearray, memoryview))), b"")
        if not getattr(_local, "busy", False):
            _note("hash", kind=kind.replace("-", ""), size=len(data), **_by(who.caller(2)))
        return self.__wrapped__(*args, **kwargs)


def _watch_hashes() -> None:
    import binascii
    import hashlib
    import zlib

    for module, name, kind in (
        *((hashlib, name, name) for name in _HASHES),
        (hashlib, "new", ""),
        (zlib, "crc32", "crc32"),
        (binascii, "crc32", "crc32"),
    ):
        original = getattr(module, name)
        wrapped = _Hashing(original, kind)
        setattr(module, name, wrapped)
        rebind(original, wrapped)


class _Measuring(Wrapped):
    """``os.stat``, which tells who asks for the size of a model."""

    def __call__(self, path: Any, **kwargs: Any) -> os.stat_result:
        found: os.stat_result = self.__wrapped__(path, **kwargs)
        if isinstance(path, (str, bytes, os.PathLike)) and is_model_name(os.fsdecode(path)):
            frame: FrameType | None = sys._getframe(1)
            names: list[str] = []
            while frame is not None:
                top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
                if top in ("genericpath", "pathlib", "os", "posixpath"):
                    names.append(frame.f_code.co_name)
                elif top != "modelseal":
                    break
                frame = frame.f_back
            is_size = _ASKS_NO_SIZE.isdisjoint(names) and set(names) <= {"getsize", "stat"}
            if is_size and found.st_size >= MIN_BYTES and not who.is_own(2):
                reader = who.caller(2)
                if reader[0]:
                    _note("size", path=_full(path), **_by(reader))
        return found


def _watch_onnx(module: ModuleType) -> None:
    """Which initializers a second reader takes, and whether its code looks at nodes."""
    known: dict[str, tuple[str, int, int, tuple[str, str]]] = {}
    helper = module.numpy_helper
    to_array = helper.to_array

    @functools.wraps(to_array)
    def taking(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        found = known.get(getattr(tensor, "name", ""))
        if found is not None:
            path, place, count, reader = found
            place = place - count if place == count - 1 else place
            _note("initializer", path=path, name=tensor.name, place=place, **_by(reader))
        return to_array(tensor, *args, **kwargs)

    helper.to_array = taking
    rebind(to_array, taking)
    for name in ("load", "load_model"):
        original = getattr(module, name)

        def loading(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
            model = _original(*args, **kwargs)
            given = named(args[0] if args else kwargs.get("f"))
            if isinstance(given, (str, os.PathLike)):
                reader = who.caller(2)
                tensors = model.graph.initializer
                for place, tensor in enumerate(tensors):
                    known[tensor.name] = (_full(given), place, len(tensors), reader)
                if "node" in _words(sys._getframe(1)):
                    _note("nodes", path=_full(given), **_by(reader))
            return model

        wrapped = functools.wraps(original)(loading)
        setattr(module, name, wrapped)
        rebind(original, wrapped)
    for name in ("save", "save_model"):
        original = getattr(module, name)

        def saving(*args: Any, _original: Any = original, _name: str = name, **kwargs: Any) -> Any:
            _note("cache", what=f"onnx.{_name}", path="", **_by(who.caller(2)))
            return _original(*args, **kwargs)

        wrapped = functools.wraps(original)(saving)
        setattr(module, name, wrapped)
        rebind(original, wrapped)


def _words(frame: FrameType) -> tuple[str, ...]:
    return frame.f_code.co_names


def _watch_caches(base: Any) -> None:
    from modelseal.frameworks.onnx import egress

    create = base._create_inference_session

    @functools.wraps(create)
    def creating(self: Any, *args: Any, **kwargs: Any) -> Any:
        for what, place in egress.written(self._sess_options, args, kwargs):
            _note("cache", what=what, path=place, **_by(who.caller(2)))
        if not self._model_path:
            _note("session", **_by(who.caller(3)))  # past the class's own constructor
        return create(self, *args, **kwargs)

    base._create_inference_session = creating
