"""An opened sealed model as a service sees it: its inputs and outputs, and what fits them.

A question that does not fit is refused before it is queued, so that it cannot spoil the run that it
would share with others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modelseal.errors import Misuse
from modelseal.inference import statement, tensors
from modelseal.inference.tensors import Request

if TYPE_CHECKING:
    from modelseal.inference.tensors import Array

PLATFORM = "onnxruntime_onnx"
_BATCH_NAMES = ("batch", "n", "b", "batchsize", "bs")
_ELEMENTS = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float": "FP32", "double": "FP64", "string": "BYTES",
}  # fmt: skip


class Session(Protocol):
    """What is needed of an ONNX Runtime session."""

    def get_inputs(self) -> Sequence[Any]:
        """Descriptions with ``name``, ``type`` and ``shape``."""
        ...

    def get_outputs(self) -> Sequence[Any]:
        """As ``get_inputs``."""
        ...

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Any]) -> Sequence[Any]:
        """The outputs of one run."""
        ...


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output: its name, type, and shape with None where any size fits.

    ``batch`` is true where the first dimension is free and is called a batch by the model itself.
    """

    name: str
    datatype: str
    shape: tuple[int | None, ...]
    batch: bool

    def plain(self) -> dict[str, Any]:
        """As model metadata shows it: -1 where any size fits."""
        sizes = [-1 if size is None else size for size in self.shape]
        return {"name": self.name, "datatype": self.datatype, "shape": sizes}


@dataclass(frozen=True)
class Model:
    """A model under a name. ``file_id`` (hex) names the sealed file that it was opened from."""

    name: str
    file_id: str
    session: Session = field(repr=False)
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def batches(self) -> bool:
        """Whether several questions may share a run: all its inputs and outputs say batch."""
        return all(port.batch for port in (*self.inputs, *self.outputs))

    def metadata(self) -> dict[str, Any]:
        """Model metadata of the protocol."""
        return {
            "name": self.name,
            "versions": ["1"],
            "platform": PLATFORM,
            "inputs": [port.plain() for port in self.inputs],
            "outputs": [port.plain() for port in self.outputs],
        }

    def check(self, asked: Request) -> tuple[str, ...]:
        """The names of the outputs wanted; ``Misuse`` when the question does not fit."""
        wanted = {port.name: port for port in self.inputs}
        if set(asked.inputs) != set(wanted):
            raise Misuse(f"the inputs are {', '.join(sorted(wanted))}"[:300])
        for name, array in asked.inputs.items():
            _check(wanted[name], array)
        rows = {array.shape[0] for name, array in asked.inputs.items() if wanted[name].batch}
        if len(rows) > 1 or 0 in rows:
            raise Misuse("all inputs have the same number of rows, at least one")
        known = [port.name for port in self.outputs]
        if unknown := set(asked.outputs) - set(known):
            raise Misuse(
                f"no output {sorted(unknown)[0][:64]!r}; there are {', '.join(known)}"[:300]
            )
        return asked.outputs or tuple(known)


def of_session(name: str, file_id: str, session: Session) -> Model:
    """The model of an opened session; ``Misuse`` for one whose types cannot be served."""
    if not statement.is_name(name):
        raise Misuse("a model's name has letters, digits, dots, dashes and underscores", name=name)
    inputs = tuple(_port(one) for one in session.get_inputs())
    outputs = tuple(_port(one) for one in session.get_outputs())
    return Model(name, file_id, session, inputs, outputs)


def open_sealed(path: Path | str, name: str, *, threads: int = 0) -> Model:
    """The sealed ONNX model at ``path``, opened in memory by the license in use.

    Raises ``NotSealed`` for a plain file, and what ``modelseal.onnx.InferenceSession`` raises.
    ``threads`` is how many one run uses (0: all processors).
    """
    from modelseal.frameworks.onnx import runtime
    from modelseal.runtime import loading
    from modelseal.runtime.onnx import session_class

    ort = runtime()
    view = loading.open_sealed(path)
    try:
        file_id = view.model.file_id.hex()
    finally:
        view.close()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_profiling = False
    session = session_class()(str(path), options, providers=["CPUExecutionProvider"])
    return of_session(name, file_id, session)


def _port(found: Any) -> Port:
    kind = str(found.type).removeprefix("tensor(").removesuffix(")")
    if kind not in _ELEMENTS:
        raise Misuse(f"{found.name[:64]} is a {found.type}, which the protocol has no word for")
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in found.shape)
    first = found.shape[0] if found.shape else None
    named = isinstance(first, str) and first.lower().replace("_", "") in _BATCH_NAMES
    return Port(found.name, _ELEMENTS[kind], shape, named)


def _check(port: Port, array: Array) -> None:
    kind = tensors.datatype(array)
    if kind != port.datatype:
        raise Misuse(f"{port.name[:64]} is {port.datatype}, not {kind}")
    fits = len(array.shape) == len(port.shape) and all(
        wanted is None or wanted == size
        for wanted, size in zip(port.shape, array.shape, strict=True)
    )
    if not fits:
        raise Misuse(f"{port.name[:64]} has the shape {port.plain()['shape']}, not {array.shape}")
