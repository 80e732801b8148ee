"""What an ONNX Runtime session would write to a disk by itself, refused before it is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from modelseal.errors import EgressRefused

# Options of execution providers that write compiled weights to a disk.
_OPTIONS = frozenset({
    "cache_dir", "trt_engine_cache_enable", "trt_timing_cache_enable", "trt_dump_subgraphs",
    "trt_dump_ep_context_model", "nv_runtime_cache_path", "nv_dump_subgraphs",
    "ModelCacheDirectory", "migraphx_model_cache_dir", "migraphx_save_compiled_model",
    "qnn_context_cache_enable", "dump_json_qnn_graph",
})  # fmt: skip
# The same by the environment, which the providers read themselves.
_VARIABLES = (
    "ORT_TENSORRT_ENGINE_CACHE_ENABLE", "ORT_TENSORRT_TIMING_CACHE_ENABLE",
    "ORT_TENSORRT_DUMP_SUBGRAPHS", "ORT_TENSORRT_DUMP_EP_CONTEXT_MODEL",
    "ORT_MIGRAPHX_SAVE_COMPILED_MODEL", "ORT_MIGRAPHX_MODEL_CACHE_PATH",
    "ORT_MIGRAPHX_DUMP_MODEL_OPS",
)  # fmt: skip
_ENTRIES = ("ep.context_enable",)
_OFF = ("", "0", "false", "none")


def refuse(
    options: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], path: str | None
) -> None:
    """Raises ``EgressRefused`` when the session would write what it makes of the weights, and there
    is no other way: ``redirected`` and ``without_caches`` are for the rest."""
    if options is not None:
        if options.enable_profiling:
            raise refusal("enable_profiling", path)
        for key in _ENTRIES:
            if _entry(options, key).lower() not in _OFF:
                raise refusal(key, path)


def without_caches(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], list[str]]:
    """The same arguments without the options by which a provider would write, and those options.

    Their caches are files of other libraries, which can be neither encrypted nor kept from other
    processes; the session is made without. What the environment asks for is taken out of it.
    """
    off = [name for given in (*args, *kwargs.values()) for name in _option_names(given)]
    off += [name for name in _VARIABLES if os.environ.pop(name, "").lower() not in _OFF]
    if not off:
        return args, dict(kwargs), off
    return tuple(map(_stripped, args)), {k: _stripped(v) for k, v in kwargs.items()}, off


def _stripped(given: Any) -> Any:
    if not isinstance(given, (list, tuple)):
        return given
    return [_without(item) for item in given]


def _without(item: Any) -> Any:
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], dict):
        return item[0], _without(item[1])
    if isinstance(item, dict):
        return {name: value for name, value in item.items() if name not in _OPTIONS}
    return item


def written(
    options: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """What a session would write by itself, as option and value."""
    found = []
    if options is not None:
        for name in ("optimized_model_filepath", "enable_profiling"):
            if getattr(options, name, None):
                found.append((name, str(getattr(options, name))))
        found += [(key, "") for key in _ENTRIES if _entry(options, key).lower() not in _OFF]
    for given in (*args, *kwargs.values()):
        found += [(name, "") for name in _option_names(given)]
    return found


def refusal(what: str, path: str | None) -> EgressRefused:
    """The error for ``what``, which would write something made of the weights."""
    return EgressRefused(f"{what} would write what is made of the weights", what=what, path=path)


def _entry(options: Any, key: str) -> str:
    try:
        return str(options.get_session_config_entry(key))
    except Exception:  # noqa: BLE001 - the library raises when the entry is not set
        return ""


def _option_names(given: object) -> list[str]:
    """The options among providers or provider options that would write to a disk."""
    found: list[str] = []
    for item in given if isinstance(given, (list, tuple)) else ():
        options = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        if isinstance(options, dict):
            found += [
                str(name)
                for name, value in options.items()
                if name in _OPTIONS and str(value).lower() not in _OFF
            ]
    return found
