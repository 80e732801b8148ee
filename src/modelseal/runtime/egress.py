"""Which memory of this process holds opened weights, so that writing them out can be refused.

Known are the arenas that loaders handed out and the tensors that a framework made of a sealed
model. A copy that the program computed itself is not known: this guard stops the ordinary ways of
writing weights down, not a program that means to.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from modelseal.errors import EgressRefused

_MAX_DEPTH = 16

_lock = threading.RLock()
_spans: dict[int, tuple[int, str | None]] = {}
_starts: list[int] | None = None
_models: weakref.WeakKeyDictionary[Any, str | None] = weakref.WeakKeyDictionary()
_busy: list[str | None] = []
_ever: list[bool] = []
_waiting: list[Callable[[], None]] = []


def note(view: memoryview, path: str | None) -> None:
    """The memory under ``view``, an arena's, holds opened weights as long as it is there."""
    block: Any = view.obj
    if view.nbytes:
        _add(block, ctypes.addressof(block), ctypes.sizeof(block), path)


def note_result(result: object, path: str | None) -> None:
    """Every torch tensor and module in ``result`` was made of the sealed model at ``path``."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor"):
        return
    for each in _walk(result, torch, _MAX_DEPTH):
        if isinstance(each, torch.nn.Module):
            _models[each] = path
            for part in (*each.parameters(), *each.buffers()):
                _note_tensor(part, path)
        elif isinstance(each, torch.Tensor):
            _note_tensor(each, path)
        else:
            _models[each] = path


def origin(values: object) -> tuple[bool, str | None]:
    """Whether something in ``values`` is opened weights, and of which sealed model."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor"):
        return False, None
    for each in _walk(values, torch, _MAX_DEPTH):
        if isinstance(each, torch.Tensor):
            found = at(_address(each))
        else:
            found = (each in _models, _models.get(each))
            parts = each.parameters() if isinstance(each, torch.nn.Module) else ()
            for part in parts:
                found = found if found[0] else at(_address(part))
        if found[0]:
            return found
    return False, None


def at(address: int) -> tuple[bool, str | None]:
    """Whether opened weights lie at ``address``, and of which sealed model."""
    global _starts  # noqa: PLW0603
    with _lock:
        if _starts is None:
            _starts = sorted(_spans)
        place = bisect_right(_starts, address) - 1
        if address and place >= 0:
            end, path = _spans[_starts[place]]
            if address < end:
                return True, path
    return False, None


def refuse(what: str, path: str | None) -> NoReturn:
    """``EgressRefused``, on stderr and in the journal before it leaves."""
    from modelseal.runtime import default, report

    with report.told(default.for_record, path):
        raise EgressRefused(
            f"{what} would write weights of a sealed model to a disk", what=what, path=path
        )


class loading:  # noqa: N801 - reads as `with egress.loading(path)`
    """While a framework loads the sealed model at ``path``, what it offloads is of that model."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def __enter__(self) -> None:
        _busy.append(self._path)

    def __exit__(self, *_exc: object) -> None:
        _busy.remove(self._path)


def now_loading() -> tuple[bool, str | None]:
    """Whether a sealed model is being loaded now, and which."""
    return (True, _busy[-1]) if _busy else (False, None)


def _walk(value: object, torch: Any, depth: int) -> Iterator[Any]:
    """The tensors, modules and pipelines in ``value``, through the usual containers."""
    if isinstance(value, (torch.Tensor, torch.nn.Module)):
        yield value
        return
    if depth == 0:
        return
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, (list, tuple)):
        inner = value
    elif isinstance(getattr(value, "components", None), dict):  # a pipeline of diffusers
        yield value
        inner = list(value.components.values())  # type: ignore[attr-defined]
    for each in inner:
        yield from _walk(each, torch, depth - 1)


def _note_tensor(tensor: Any, path: str | None) -> None:
    address = _address(tensor)
    if address and not at(address)[0]:
        storage = tensor.untyped_storage()
        _add(tensor, storage.data_ptr(), storage.nbytes(), path)


def _address(tensor: Any) -> int:
    """Where the tensor's storage lies; 0 when it has none here (meta, another device, sparse)."""
    try:
        return int(tensor.untyped_storage().data_ptr()) if tensor.device.type == "cpu" else 0
    except (RuntimeError, NotImplementedError, AttributeError):
        return 0


def _add(owner: Any, start: int, size_bytes: int, path: str | None) -> None:
    global _starts  # noqa: PLW0603
    with _lock:
        _spans[start] = start + size_bytes, path
        _starts = None
        end = weakref.finalize(owner, _forget, start, start + size_bytes)
        end.atexit = False
    if not _ever:
        _first_opened()


def _forget(start: int, stop: int) -> None:
    global _starts  # noqa: PLW0603
    with _lock:
        if _spans.get(start, (0, None))[0] == stop:
            del _spans[start]
            _starts = None


def check(what: str, values: object) -> None:
    """``EgressRefused`` when one of ``values`` is opened weights, which ``what`` would write."""
    opened, path = origin(values)
    if opened:
        refuse(what, path)


def when_opened(act: Callable[[], None]) -> None:
    """``act`` is called as soon as this process holds opened weights; now if it does."""
    with _lock:
        if not _ever:
            _waiting.append(act)
            return
    act()


def _first_opened() -> None:
    with _lock:
        _ever.append(True)
        acts, _waiting[:] = list(_waiting), []
    for act in acts:
        act()


def _fresh_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_lock)
