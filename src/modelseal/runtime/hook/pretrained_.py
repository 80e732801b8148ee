"""``from_pretrained`` of sealed folders, and what transformers, diffusers, peft and accelerate
would write of them.

Each library resolves names to files in its own way; all of them accept a local folder. So the one
argument that names the model is exchanged for a folder of this process that stands in for the
sealed one, and everything behind it stays the library's own.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from modelseal.errors import Misuse
from modelseal.runtime.hook.passing import is_marked, is_ours, marked, observers, rebind

READERS: dict[str, tuple[str, ...]] = {
    "transformers.modeling_utils": ("PreTrainedModel.from_pretrained",),
    "transformers.configuration_utils": (
        "PreTrainedConfig.from_pretrained", "PretrainedConfig.from_pretrained",
        "PreTrainedConfig.get_config_dict", "PretrainedConfig.get_config_dict",
    ),
    "transformers.feature_extraction_utils": ("FeatureExtractionMixin.from_pretrained",),
    "transformers.image_processing_base": ("ImageProcessingMixin.from_pretrained",),
    "transformers.video_processing_utils": ("BaseVideoProcessor.from_pretrained",),
    "transformers.processing_utils": ("ProcessorMixin.from_pretrained",),
    "transformers.tokenization_utils_base": ("PreTrainedTokenizerBase.from_pretrained",),
    "transformers.generation.configuration_utils": ("GenerationConfig.from_pretrained",),
    "transformers.integrations.peft": ("PeftAdapterMixin.load_adapter",),
    "transformers.models.auto.auto_factory": (
        "_BaseAutoModelClass.from_pretrained", "_BaseAutoBackboneClass.from_pretrained",
    ),
    "transformers.models.auto.configuration_auto": ("AutoConfig.from_pretrained",),
    "transformers.models.auto.tokenization_auto": ("AutoTokenizer.from_pretrained",),
    "transformers.models.auto.image_processing_auto": ("AutoImageProcessor.from_pretrained",),
    "transformers.models.auto.feature_extraction_auto": ("AutoFeatureExtractor.from_pretrained",),
    "transformers.models.auto.video_processing_auto": ("AutoVideoProcessor.from_pretrained",),
    "transformers.models.auto.processing_auto": ("AutoProcessor.from_pretrained",),
    "transformers.pipelines": ("pipeline",),
    "diffusers.configuration_utils": ("ConfigMixin.load_config",),
    "diffusers.models.modeling_utils": ("ModelMixin.from_pretrained",),
    "diffusers.models.auto_model": ("AutoModel.from_pretrained",),
    "diffusers.models.adapter": ("MultiAdapter.from_pretrained",),
    "diffusers.pipelines.pipeline_utils": ("DiffusionPipeline.from_pretrained",),
    "diffusers.pipelines.auto_pipeline": (
        "AutoPipelineForText2Image.from_pretrained", "AutoPipelineForImage2Image.from_pretrained",
        "AutoPipelineForInpainting.from_pretrained",
    ),
    "diffusers.schedulers.scheduling_utils": ("SchedulerMixin.from_pretrained",),
    "diffusers.loaders.lora_base": ("_fetch_state_dict",),
    "peft.config": ("PeftConfigMixin.from_pretrained", "PeftConfigMixin._get_peft_type"),
    "peft.peft_model": ("PeftModel.from_pretrained", "PeftModel.load_adapter"),
    "peft.mixed_model": ("PeftMixedModel.from_pretrained", "PeftMixedModel.load_adapter"),
    "peft.auto": ("_BaseAutoPeftModel.from_pretrained",),
    "peft.utils.save_and_load": ("load_peft_weights",),
    "accelerate.utils.modeling": ("load_checkpoint_in_model",),
    "accelerate.big_modeling": ("load_checkpoint_and_dispatch",),
}  # fmt: skip
"""Where a library takes the path of a folder. Names that a release lacks are passed over."""

WRITERS: dict[str, tuple[str, ...]] = {
    "transformers.modeling_utils": ("PreTrainedModel.save_pretrained",),
    "diffusers.models.modeling_utils": ("ModelMixin.save_pretrained",),
    "diffusers.pipelines.pipeline_utils": ("DiffusionPipeline.save_pretrained",),
    "peft.peft_model": ("PeftModel.save_pretrained",),
    "accelerate.utils.offload": ("offload_weight", "offload_state_dict"),
    "transformers.integrations.accelerate": ("offload_weight",),
}
"""What would write weights to a disk."""

CODE = ("transformers.dynamic_module_utils", "diffusers.utils.dynamic_modules_utils")
"""Where code of a model folder (``auto_map``) is loaded."""

MODULES = (*dict.fromkeys((*READERS, *WRITERS, *CODE)),)

_NEEDED = (
    "transformers.modeling_utils", "diffusers.models.modeling_utils",
    "diffusers.pipelines.pipeline_utils", "peft.peft_model", "accelerate.utils.modeling",
    *CODE,
)  # fmt: skip
"""Where something must be found; other classes are missing where what they need is."""

_NAMES = (
    "pretrained_model_name_or_path", "pretrained_model_name_or_path_or_dict",
    "pretrained_model_name", "pretrained_model_or_path", "pretrained_model_path", "model_id",
    "peft_model_id", "checkpoint", "model",
)  # fmt: skip
_BESIDE = ("tokenizer", "config", "feature_extractor", "image_processor", "processor")
"""Further arguments of ``pipeline`` that may name the folder."""


def patch(module: ModuleType) -> None:
    """Its methods take sealed folders and write nothing of them."""
    found = 0
    for name in READERS.get(module.__name__, ()):
        found += _exchange(module, name, _reading)
    for name in WRITERS.get(module.__name__, ()):
        found += _exchange(module, name, _writing)
    if module.__name__ in CODE:
        found += _exchange(module, "get_class_from_dynamic_module", _importing)
    if not found and module.__name__ in _NEEDED:
        raise Misuse(f"{module.__name__} has none of the loaders that this release knows")


def _exchange(module: ModuleType, dotted: str, wrap: Callable[[Any, str], Any]) -> bool:
    owner_name, _, name = dotted.rpartition(".")
    owner: Any = getattr(module, owner_name, None) if owner_name else module
    plain = None if owner is None else vars(owner).get(name)
    if plain is None:
        return False
    kind = type(plain) if isinstance(plain, (classmethod, staticmethod)) else None
    original = plain.__func__ if kind else plain
    if is_marked(original):
        return True
    wrapped = marked(wrap(original, dotted))
    setattr(owner, name, kind(wrapped) if kind else wrapped)
    if owner is module:
        rebind(original, wrapped)
    return True


def _reading(original: Any, dotted: str) -> Any:
    names = list(inspect.signature(original).parameters)
    named = next((name for name in _NAMES if name in names), None)
    if named is None:
        raise Misuse(f"{dotted} takes no path that this release knows")
    place = names.index(named)

    @functools.wraps(original)
    def load(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get(named) if named in kwargs else args[place] if len(args) > place else None
        folder, path = _standing_in(given)
        if folder is None:
            return original(*args, **kwargs)
        from modelseal.runtime import egress

        if named in kwargs:
            kwargs[named] = path
        else:
            args = (*args[:place], path, *args[place + 1 :])
        kwargs |= {k: path for k in _BESIDE if k in kwargs and kwargs[k] == given}
        with folder.in_use():
            found = original(*args, **kwargs)
        egress.note_result(found, folder.path)
        egress.note_result(args[:place], folder.path)  # a model that was loaded into
        return found

    return load


def _standing_in(given: object) -> tuple[Any, str]:
    """The folder that stands in for a sealed one that ``given`` means; (None, "") else.

    A plain folder whose files ``modelseal.toml`` wants sealed raises ``NotSealed``.
    """
    if not isinstance(given, (str, os.PathLike)):
        return None, ""
    text = os.fsdecode(os.fspath(given))
    for observer in observers:
        observer(text)
    from modelseal.runtime import places
    from modelseal.runtime.folders import sealed_path

    standing = places.at(text)
    if standing is not None:
        return standing[0], text
    if sealed_path(text) is None:
        if os.path.isdir(text):  # noqa: PTH112
            for name in os.listdir(text):  # noqa: PTH208
                is_ours(os.path.join(text, name))  # noqa: PTH118 - refuses what must be sealed
        return None, ""
    from modelseal.runtime.folder import standing_in

    return standing_in(text) or (None, "")


def _writing(original: Any, dotted: str) -> Any:
    @functools.wraps(original)
    def write(*args: Any, **kwargs: Any) -> Any:
        from modelseal.runtime import egress

        loading, path = egress.now_loading()
        if loading and "offload" in dotted:
            egress.refuse(f"{dotted} (offloading to a disk)", path)
        egress.check(dotted, [*args, *kwargs.values()])
        return original(*args, **kwargs)

    return write


def _importing(original: Any, dotted: str) -> Any:
    parameters = inspect.signature(original)

    @functools.wraps(original)
    def get_class(*args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(*args, **kwargs).arguments
        folder, path = _standing_in(given.get("pretrained_model_name_or_path"))
        reference = str(given.get("class_reference", ""))
        is_trusted = given.get(
            "trust_remote_code", "trust_remote_code" not in parameters.parameters
        )
        if folder is None or "--" in reference or not is_trusted:
            return original(*args, **kwargs)
        from modelseal.runtime import code

        module_file, class_name = given.get("module_file"), given.get("class_name")
        if reference:
            module_file, _, class_name = reference.rpartition(".")
            module_file = module_file.replace(".", "/") + ".py"
        inner = os.path.relpath(path, folder.root)
        return code.load_class(folder, os.path.normpath(f"{inner}/{module_file}"), class_name)

    return get_class
