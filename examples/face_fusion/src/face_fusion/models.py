"""The one place where models are opened.

Plain: `onnxruntime.InferenceSession(path)`. Under `modelseal run` that same code works on
sealed files, nothing here changes. Protected: the same call on `modelseal.onnx`, with a
`modelseal.Client` of our own; `modelseal` is imported only then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from face_fusion.cache import default_models_dir
from face_fusion.errors import (
    FaceFusionError,
    ModelMissing,
    ModelRefused,
    ModelSealed,
    ModelUnusable,
)
from face_fusion.refusals import told

DETECTOR = "face_detector.onnx"
MESH = "face_mesh.onnx"
RESTORE = {"fast": "restore_fast.onnx", "best": "restore_best.onnx"}
ALL = (DETECTOR, MESH, *RESTORE.values())

SEALED_MAGIC = bytes.fromhex("894d534c310d0a1a")


class Session(Protocol):
    """What the program uses of `onnxruntime.InferenceSession`."""

    def get_inputs(self) -> Any: ...

    def run(self, output_names: list[str] | None, input_feed: dict[str, Any]) -> Any: ...


class Models:
    """A folder of models, each opened once, at its first use.

    `threads` is the number of threads inside one inference (0: one per core). The result of
    an inference is bit-identical between runs with the same number.
    """

    def __init__(self, folder: Path, *, protected: bool = False, threads: int = 0) -> None:
        self.folder = folder
        self._threads = threads
        self._protected = protected
        self._opener = _protected_opener() if protected else _plain_session
        self._sessions: dict[str, Session] = {}

    def session(self, name: str) -> Session:
        """The model `name`, ready to run.

        Raises ModelMissing, ModelSealed, ModelUnusable, or ModelRefused.
        """
        if name not in self._sessions:
            self._sessions[name] = self.open(name)
        return self._sessions[name]

    def open(self, name: str) -> Session:
        """The model `name`, opened anew; raises what `session` raises."""
        path = self.folder / name
        if not path.is_file():
            raise ModelMissing(
                f"The model {name} is not in {self.folder}.",
                f"Fetch it with: modelseal pull --to {self.folder}"
                if self._protected
                else f"Make it with: python -m face_fusion.prepare --cache {self.folder}",
            )
        try:
            return self._opener(str(path), self._threads)
        except Exception as error:
            explained = _explained(path, error, self._protected)
            if explained is None:
                raise
            raise explained from error


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def _plain_session(path: str, threads: int) -> Session:
    import onnxruntime

    session: Session = onnxruntime.InferenceSession(
        path, sess_options=_options(threads), providers=["CPUExecutionProvider"]
    )
    return session


def _protected_opener() -> Callable[[str, int], Session]:
    """Opens through modelseal's public API, with the client that modelseal.toml describes."""
    client = make_client()
    modelseal = import_modelseal()
    modelseal.use(client)

    def opened(path: str, threads: int) -> Session:
        session: Session = modelseal.onnx.InferenceSession(
            path, sess_options=_options(threads), providers=["CPUExecutionProvider"]
        )
        return session

    return opened


def make_client(app: Path | None = None) -> Any:
    """A modelseal.Client for the modelseal.toml in `app` (default: beside the program).

    Raises ModelSealed if modelseal is not installed, ModelRefused with what modelseal says.
    """
    modelseal = import_modelseal()
    try:
        return modelseal.Client(app=app)
    except Exception as error:
        raise _refused(error) or error from error


def import_modelseal() -> Any:
    """The package modelseal; ModelSealed if it is not installed."""
    try:
        import modelseal
    except ImportError as error:
        raise ModelSealed(
            "Protected models need the package modelseal, which is not installed.",
            "Install it with: pip install 'face-fusion[protected]'",
        ) from error
    return modelseal


def _refused(error: Exception) -> ModelRefused | None:
    """modelseal's own error as ours, with its exit code and its reference for support."""
    said = told(error)
    if said is None:
        return None
    reference = f" (reference {said.reference})" if said.reference else ""
    refused = ModelRefused(said.message + reference, said.next_step, said.code)
    refused.exit_code = said.exit_code
    return refused


def _explained(path: Path, error: Exception, protected: bool) -> FaceFusionError | None:
    """What is said to the person; None for what nobody has foreseen."""
    refused = _refused(error)
    if refused is not None:
        return refused
    if _is_sealed(path):
        if protected:
            return None
        return ModelSealed(
            f"The model {path.name} is sealed, and this run has nothing that unlocks it.",
            "Start the program with: modelseal run -- python -m face_fusion ... "
            "(or add --protected).",
        )
    return ModelUnusable(
        f"The model {path} is damaged or not a model: onnxruntime cannot load it.",
        f"Remove it and run: python -m face_fusion.prepare --cache {path.parent}",
    )


def _is_sealed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SEALED_MAGIC)) == SEALED_MAGIC
    except OSError:
        return False


def find_models_dir(folder: Path | None) -> Path:
    """The folder given, else FACE_FUSION_MODELS, else the platform's cache folder."""
    return folder or Path(os.environ.get("FACE_FUSION_MODELS") or default_models_dir())
