"""``torch.load``, ``torch.jit.load`` and what writes weights down, under the hook."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from modelseal.runtime.hook.passing import is_marked, is_ours, marked, named, rebind

_SCRIPTS = "torch.jit._serialization"
_SCRIPT_CLASS = "torch.jit._script"
_MODULES = "torch.nn.modules.module"
_IMPORTER = "torch.package.package_importer"
_EXPORTER = "torch.package.package_exporter"
_COMPILER = "torch._inductor.config"


def patch(module: ModuleType) -> None:
    """``module`` opens sealed files and refuses to write opened weights; see ``WATCHED``."""
    if module.__name__ == _MODULES:
        _patch_modules(module)
        return
    if module.__name__ == _COMPILER:
        _patch_compiler(module)
        return
    if module.__name__ == _IMPORTER:
        _patch_importer(module.PackageImporter)
        return
    if module.__name__ == _EXPORTER:
        _guard(module.PackageExporter, "save_pickle", "torch.package.PackageExporter")
        return
    if module.__name__ == _SCRIPT_CLASS:
        for name in ("save", "save_to_buffer"):
            _guard(module.RecursiveScriptModule, name, "torch.jit.ScriptModule")
        return
    scripts = module.__name__ == _SCRIPTS
    if is_marked(module.load):
        return
    _replace(module, "load", _loading(module.load, scripts))
    _replace(module, "save", _guarding(module.save, "torch.jit.save" if scripts else "torch.save"))


def _guard(base: Any, name: str, what: str) -> None:
    original = getattr(base, name)
    if not is_marked(original):
        setattr(base, name, marked(_guarding(original, f"{what}.{name}")))


def _patch_importer(base: Any) -> None:
    """A package of torch that is sealed is read part by part; what it holds is opened weights."""
    init, load_pickle = base.__init__, base.load_pickle
    if is_marked(init):
        return

    @functools.wraps(init)
    def __init__(self: Any, file_or_buffer: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        given = named(file_or_buffer)
        if not is_ours(given):
            init(self, file_or_buffer, *args, **kwargs)
            return
        from modelseal.runtime import torch as opening
        from modelseal.runtime.hook import known
        from modelseal.runtime.loading import label

        path = label(given)
        known.may_open("torch_", path)
        reader, sealed = opening.package_reader(given)
        weakref.finalize(self, sealed.close)
        init(self, reader, *args, **kwargs)
        self.filename, self._modelseal_path = path or self.filename, path

    @functools.wraps(load_pickle)
    def loading(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = load_pickle(self, *args, **kwargs)
        if hasattr(self, "_modelseal_path"):
            from modelseal.runtime import egress

            egress.note_result(found, self._modelseal_path)
        return found

    base.__init__, base.load_pickle = marked(__init__), marked(loading)


def _loading(original: Any, scripts: bool) -> Any:
    @functools.wraps(original)
    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        given = named(f)
        if not is_ours(given):
            return original(f, *args, **kwargs)
        from modelseal.runtime import torch as opening
        from modelseal.runtime.hook import known
        from modelseal.runtime.loading import label

        known.may_open("torch_", label(given))
        open_ = opening.load_sealed_script if scripts else opening.load_sealed
        return open_(given, original, args, kwargs)

    return load


def _guarding(original: Callable[..., Any], what: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def write(*args: Any, **kwargs: Any) -> Any:
        from modelseal.runtime import egress

        egress.check(what, [*args, *kwargs.values()])
        return original(*args, **kwargs)

    return write


def _patch_modules(module: ModuleType) -> None:
    """A module that takes over opened weights is a module of opened weights."""
    original = module.Module.load_state_dict
    if is_marked(original):
        return

    @functools.wraps(original)
    def load_state_dict(self: Any, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        from modelseal.runtime import egress

        opened, path = egress.origin(dict(state_dict))
        found = original(self, state_dict, *args, **kwargs)
        if opened:
            egress.note_result(self, path)
        return found

    module.Module.load_state_dict = marked(load_state_dict)


def _patch_compiler(module: ModuleType) -> None:
    """Compiled graphs name the inside of a model and may hold its constants: none is kept."""
    from modelseal.runtime import egress

    egress.when_opened(lambda: _without_caches(module))


def _without_caches(config: Any) -> None:
    config.force_disable_caches = True
    config.freezing = False
    from modelseal.runtime import default

    licensee = default.for_record()
    if licensee is not None:
        licensee.note("cache_off", "torch._inductor", None)


def _replace(module: ModuleType, name: str, new: Any) -> None:
    old = getattr(module, name)
    setattr(module, name, marked(new))
    rebind(old, new)
