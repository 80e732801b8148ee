"""modelseal: give an AI model to customers without losing it.

    import modelseal
    modelseal.Client().activate("MS-...")              # once per computer
    session = modelseal.onnx.InferenceSession("swap.onnx")

Importing this costs nothing; each name is loaded when it is first used.

``Client``          activates, renews, pulls and returns a license on this computer
``use``             makes one client the default of the loaders
``open``            the files of a sealed model, for anything that takes bytes or a file
``folder``          a sealed folder as a path, for ``from_pretrained``
``onnx``, ``safetensors``, ``torch``, ``openvino``, ``litert``, ``ncnn``, ``opencv``, ``gguf``
                    loaders with the arguments of the plain ones
``load``            the loader of a third party's framework adapter
``install``         the hook of ``modelseal run`` in this process, for frozen programs
``attest``          ``connect``: inference by a service that proved itself first
``errors``          every error that leaves modelseal
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = [
    "Client",
    "SealedFile",
    "attest",
    "errors",
    "folder",
    "gguf",
    "install",
    "litert",
    "load",
    "ncnn",
    "onnx",
    "open",
    "opencv",
    "openvino",
    "safetensors",
    "torch",
    "use",
]

_NAMES = {
    "Client": ("modelseal.client", "Client"),
    "SealedFile": ("modelseal.runtime.opened", "SealedFile"),
    "folder": ("modelseal.runtime.folder", "folder"),
    "install": ("modelseal.runtime.api", "install"),
    "load": ("modelseal.runtime.api", "load"),
    "open": ("modelseal.runtime.opened", "open_file"),
    "use": ("modelseal.runtime.api", "use"),
}
_MODULES = (
    "attest",
    "errors",
    "gguf",
    "litert",
    "ncnn",
    "onnx",
    "opencv",
    "openvino",
    "safetensors",
    "torch",
)


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        module, attribute = _NAMES[name]
        found = globals()[name] = getattr(import_module(module), attribute)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
