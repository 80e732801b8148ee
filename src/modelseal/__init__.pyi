"""The public names and their types; ``__init__.py`` loads each when it is first used."""

from modelseal import attest as attest
from modelseal import errors as errors
from modelseal import gguf as gguf
from modelseal import litert as litert
from modelseal import ncnn as ncnn
from modelseal import onnx as onnx
from modelseal import opencv as opencv
from modelseal import openvino as openvino
from modelseal import safetensors as safetensors
from modelseal import torch as torch
from modelseal.client import Client as Client
from modelseal.runtime.api import install as install
from modelseal.runtime.api import load as load
from modelseal.runtime.api import use as use
from modelseal.runtime.folder import folder as folder
from modelseal.runtime.opened import SealedFile as SealedFile
from modelseal.runtime.opened import open_file as open

__version__: str
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
