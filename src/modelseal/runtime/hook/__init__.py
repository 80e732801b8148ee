"""The import hook: programs that were never changed open sealed models.

It waits for the frameworks to be imported and wraps methods, not classes; nothing of modelseal
but this file is imported before a framework is. Only sealed files (by their magic) and files that
``modelseal.toml`` lists as ``sealed`` are touched, everything else passes to the original.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # of typing, which costs milliseconds at every start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

WATCHED = {
    "onnxruntime.capi.onnxruntime_inference_collection": "onnxruntime_",
    "safetensors._safetensors_rust": "safetensors_",
    "onnx": "onnx_",
    "torch.serialization": "torch_",
    "ai_edge_litert.interpreter": "litert_",
    "ncnn.ncnn": "ncnn_",
    "cv2": "cv2_",
    "openvino._ov_api": "openvino_",
}
"""Module that is waited for -> the module beside this one that patches it."""


RUN_APP = "MODELSEAL_RUN_APP"
"""Where the program of this run has its ``modelseal.toml``: for those it starts."""


def is_running() -> bool:
    """Whether the hook is in this process."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def start() -> None:
    """From now on every watched module is patched as soon as it is imported.

    Modules that are there already are patched at once. Doing it again changes nothing.
    """
    if is_running():
        return
    sys.meta_path.insert(0, _Finder())
    for name in WATCHED:
        module = sys.modules.get(name)
        if module is not None:
            apply(module)


def apply(module: ModuleType) -> None:
    """``module`` is patched; what its version does not allow is told and left closed."""
    from importlib import import_module

    from modelseal.errors import Misuse, ModelsealError
    from modelseal.runtime import report

    try:
        import_module(f"{__name__}.{WATCHED[module.__name__]}").patch(module)
    except ModelsealError as error:
        report.tell(error, None)
    except Exception as error:  # noqa: BLE001 - a framework may differ in any way
        said = f"{module.__name__} is not as this release knows it: {type(error).__name__}"
        report.tell(Misuse(said), None)


class _Finder:
    """Lets the other finders find a watched module and patches it once it has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in WATCHED:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None

    def invalidate_caches(self) -> None:
        """Nothing is cached."""


class _Loader:
    """The module's own loader, and the patch after it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create = getattr(self._loader, "create_module", None)
        return None if create is None else create(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        apply(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
