"""A large model that ONNX Runtime reads as a stream, and makes of it what a plain load makes.

The runtime reads a model from a path once, from its start. It gets the path of a stream, so that
the opened model is nowhere but in its own memory, and is opened while it is read. What a stream
cannot serve (external data, the ``.ort`` format) is served in the usual way.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from modelseal.errors import ModelsealError

from . import wire
from .skeleton import ORT_FORMAT

FROM_BYTES = 16 << 20
"""Below it starting a thread and sharing nothing costs more than a copy."""
_SINCE = (1, 32)
"""From this version on the runtime is known to let other threads run while it reads a model."""


class Stream(AbstractContextManager[str], Protocol):
    """A path that can be read once while the context lasts; leaving it raises what failed."""

    @property
    def beginning(self) -> memoryview:
        """The first bytes, before the context begins."""
        ...

    def close(self) -> None:
        """It is not going to be read."""
        ...


class Source(Protocol):
    """A sealed model whose ONNX file can be streamed."""

    @property
    def size_bytes(self) -> int:
        """The length of the ONNX file."""
        ...

    def streamed(self) -> Stream | None:
        """The ONNX file; None where it cannot be, or was not served by a stream before."""
        ...

    def note_unstreamed(self) -> None:
        """``streamed`` gives None for this file from now on, in this process."""
        ...


def create(ort: Any, session: Any, native: Callable[[Any], None], source: Source) -> bool:
    """Whether the native session of ``session`` is made now; if not, ``session`` is as it was."""
    if source.size_bytes < FROM_BYTES or _version(ort) < _SINCE:
        return False
    stream = source.streamed()
    if stream is None:
        return False
    if not _is_one_file(stream.beginning):
        stream.close()
        source.note_unstreamed()
        return False
    path, given = session._model_path, session._model_bytes
    try:
        with stream as session._model_path:
            session._model_bytes = None
            native(session)
    except ModelsealError:
        raise
    except Exception:  # noqa: BLE001 - the usual way serves it, or says what is wrong with it
        source.note_unstreamed()
        return False
    finally:
        session._model_path, session._model_bytes = path, given
    return True


def _is_one_file(beginning: memoryview) -> bool:
    is_onnx = bytes(beginning[4:8]) != ORT_FORMAT
    return is_onnx and not wire.mentions_location(beginning, 0, len(beginning))


def _version(ort: Any) -> tuple[int, ...]:
    told = str(getattr(ort, "__version__", "0")).split(".")[:2]
    return tuple(int(part) if part.isdigit() else 0 for part in told)
