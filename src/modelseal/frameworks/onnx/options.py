"""Session options: which of them an optimised graph serves, and a copy of those.

ONNX Runtime copies no options and does not tell what was added to some. ``watch`` notes it from
then on; options that were made before are not known and are served by the portable graph.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

DIRECT = "session.use_external_initializer_file_buffers_directly"
"""ONNX Runtime (from 1.32 on) uses files in memory as they are instead of copying them."""
CPU = "CPUExecutionProvider"
_ALWAYS_THERE = {CPU, "AzureExecutionProvider"}  # the second runs nothing but its own nodes
_COPIED = (
    "enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse", "execution_mode",
    "execution_order", "inter_op_num_threads", "intra_op_num_threads", "log_severity_level",
    "log_verbosity_level", "logid", "use_per_session_threads",
)  # fmt: skip
_HARMLESS = frozenset({
    "session.intra_op.allow_spinning", "session.inter_op.allow_spinning",
    "session.intra_op.spin_duration_us", "session.inter_op.spin_duration_us",
    "session.intra_op.spin_backoff_max", "session.inter_op.spin_backoff_max",
    "session.intra_op_thread_affinities", "session.force_spinning_stop",
    "session.use_env_allocators",
})  # fmt: skip
_ADDING = (
    "add_external_initializers", "add_external_initializers_from_files_in_memory",
    "add_free_dimension_override_by_denotation", "add_free_dimension_override_by_name",
    "add_initializer", "add_provider", "add_provider_for_devices", "register_custom_ops_library",
    "set_ep_context_data_read_func", "set_provider_selection_policy",
    "set_provider_selection_policy_delegate", "set_load_cancellation_flag",
)  # fmt: skip
_MARK = "_modelseal_watched"


class _Noted:
    """What was done to one ``SessionOptions``."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.added: str | None = None


_noted: weakref.WeakKeyDictionary[Any, _Noted] = weakref.WeakKeyDictionary()


def watch(cls: Any) -> None:
    """What is done to options of ``cls`` that are made from now on is noted; they stay as they are.

    ``cls`` is ``onnxruntime.SessionOptions``, or None where it is not known.
    """
    if cls is None or hasattr(cls, _MARK):
        return
    setattr(cls, _MARK, True)
    init, entry = cls.__init__, cls.add_session_config_entry

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        init(self, *args, **kwargs)
        _noted[self] = _Noted()

    @functools.wraps(entry)
    def add_session_config_entry(self: Any, key: str, value: str) -> Any:
        noted = _noted.get(self)
        if noted is not None:
            noted.entries[key] = value
        return entry(self, key, value)

    cls.__init__, cls.add_session_config_entry = __init__, add_session_config_entry
    for name in _ADDING:
        if hasattr(cls, name):
            setattr(cls, name, _adding(name, getattr(cls, name)))


def _adding(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def add(self: Any, *args: Any, **kwargs: Any) -> Any:
        noted = _noted.get(self)
        if noted is not None:
            noted.added = name
        return original(self, *args, **kwargs)

    return add


def unfit(ort: Any, options: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Why a session of these options and arguments is not what the graph was optimised for.

    ``args`` and ``kwargs`` are those of ``_create_inference_session``. None when it is.
    """
    given = dict(zip(("providers", "provider_options", "disabled_optimizers"), args, strict=False))
    given |= kwargs
    providers = given.pop("providers", None) or sorted(ort.get_available_providers())
    if any(given.values()):
        return next(name for name, value in given.items() if value)
    if not all(isinstance(name, str) and name in _ALWAYS_THERE for name in providers):
        return "providers"
    if options is None:
        return None
    noted = _noted.get(options)
    if noted is None:
        return "options made before modelseal.onnx was imported"
    if noted.added is not None:
        return noted.added
    plain = _plain(ort)
    for name in ("graph_optimization_level", "use_deterministic_compute"):
        if getattr(options, name) != getattr(plain, name):
            return name
    if getattr(options, "has_providers", bool)():
        return "providers"
    return next((key for key in noted.entries if key not in _HARMLESS), None)


def copy(ort: Any, options: Any) -> Any:
    """Options of their own that do what ``options`` do; for what ``unfit`` lets pass."""
    made = ort.SessionOptions()
    if options is not None:
        for name in _COPIED:
            if hasattr(options, name):
                setattr(made, name, getattr(options, name))
        for key, value in _noted[options].entries.items():
            made.add_session_config_entry(key, value)
    return made


def redirected(ort: Any, options: Any, path: str) -> Any:
    """Options of their own that do what ``options`` do, but write the optimised model to ``path``.

    None when they cannot be copied: ONNX Runtime tells neither what was added to them, nor what
    was done to options made before ``watch``.
    """
    noted = _noted.get(options)
    if noted is None or noted.added is not None or getattr(options, "has_providers", bool)():
        return None
    made = copy(ort, options)
    for name in ("graph_optimization_level", "use_deterministic_compute"):
        setattr(made, name, getattr(options, name))
    if options.optimized_model_filepath.endswith(".ort"):
        made.add_session_config_entry("session.save_model_format", "ORT")
    made.optimized_model_filepath = path
    return made


@functools.cache
def _plain(ort: Any) -> Any:
    return ort.SessionOptions()
