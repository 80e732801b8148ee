"""Python code of a sealed folder (``auto_map``), imported from memory.

transformers and diffusers would copy it into a cache on the disk, and import it from there, where
it could be exchanged. Whether code of the folder may run at all (``trust_remote_code``) is decided
before, by them.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from modelseal.errors import Misuse, NotFound
from modelseal.runtime import default, report
from modelseal.runtime.folder import SealedFolder

PACKAGE = "modelseal_sealed"
"""The package that holds one package per sealed folder."""


def load_class(folder: SealedFolder, name: str, class_name: str | None) -> Any:
    """The class ``class_name`` of the module in the file ``name`` of ``folder``.

    Without ``class_name`` the only class of the module that derives from a library's pipeline.
    Raises ``NotFound`` when file or class is not there, and what the module raises.
    """
    with report.told(default.for_record, folder.path):
        if not name.endswith(".py") or folder.text(name) is None:
            raise NotFound("no such code in the sealed folder", name=name)
    package = f"{PACKAGE}.m{folder.file_id.hex()}"
    _Finder.serve(package, folder)
    module = importlib.import_module(".".join([package, *name.removesuffix(".py").split("/")]))
    if class_name is None:
        return _only_pipeline(module)
    try:
        return getattr(module, class_name)
    except AttributeError:
        raise NotFound("no such class in the sealed folder's code", name=class_name) from None


def _only_pipeline(module: ModuleType) -> Any:
    found = [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == module.__name__ and hasattr(each, "from_pretrained")
    ]
    if len(found) != 1:
        raise Misuse("the code of the sealed folder has not exactly one pipeline class")
    return found[0]


class _Finder(MetaPathFinder):
    """Finds the modules of sealed folders, by the names of their packages."""

    folders: dict[str, SealedFolder] = {}

    @classmethod
    def serve(cls, package: str, folder: SealedFolder) -> None:
        """Modules below ``package`` are the files of ``folder`` from now on."""
        cls.folders.setdefault(package, folder)
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """See ``MetaPathFinder``."""
        parts = fullname.split(".")
        if parts[0] != PACKAGE:
            return None
        if len(parts) == 1:
            return ModuleSpec(fullname, None, is_package=True)
        folder = self.folders.get(".".join(parts[:2]))
        if folder is None:
            return None
        inside = "/".join(parts[2:])
        if inside and folder.text(f"{inside}.py") is not None:
            return spec_from_loader(fullname, _Loader(folder, f"{inside}.py"))
        init = f"{inside}/__init__.py".lstrip("/")
        if folder.text(init) is not None:
            return spec_from_loader(fullname, _Loader(folder, init), is_package=True)
        if not inside or folder.has_folder(inside):
            return ModuleSpec(fullname, None, is_package=True)
        return None


class _Loader(SourceLoader):
    """Source out of memory; without times there is no compiled copy on a disk."""

    def __init__(self, folder: SealedFolder, name: str) -> None:
        self._folder, self._name = folder, name

    def get_filename(self, fullname: str) -> str:
        """Where a traceback says it is."""
        return str(Path(self._folder.path, self._name))

    def get_data(self, path: bytes | str) -> bytes:
        """The source; ``OSError`` for anything else, a compiled copy for one."""
        found = self._folder.text(self._name) if str(path).endswith(".py") else None
        if found is None:
            raise OSError("no such code in the sealed folder")
        return found
