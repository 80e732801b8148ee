"""What an ONNX Runtime session would write to a disk by itself, refused before it is made."""

from __future__ import annotations

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
_ENTRIES = ("ep.context_enable",)
_OFF = ("", "0", "false", "none")


def refuse(
    options: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], path: str | None
) -> None:
    """Raises ``EgressRefused`` when the session would write what it makes of the weights."""
    if options is not None:
        if options.optimized_model_filepath:
            raise refusal("optimized_model_filepath", path)
        if options.enable_profiling:
            raise refusal("enable_profiling", path)
        for key in _ENTRIES:
            if _entry(options, key).lower() not in _OFF:
                raise refusal(key, path)
    for given in (*args, *kwargs.values()):
        for name in _option_names(given):
            raise refusal(name, path)


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
