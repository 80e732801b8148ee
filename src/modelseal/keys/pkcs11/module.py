"""PKCS#11 modules of this process, one lock each: they are initialised without locks of their own.

``reload`` ends every session of the process on that module and finds tokens anew; whoever worked
with it sees another ``number`` and opens again. A forked child starts each module itself.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelseal.errors import ExtraMissing, KeyStoreUnavailable


class Module:
    """A loaded module. Hold ``lock`` for every call into it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.number = 0
        self._library: Any = None
        self._inherited = False

    def library(self) -> Any:
        """The library, loaded and initialised in this process."""
        if self._library is None:
            self._library = self._load()
        if self._inherited:
            self._inherited = False
            self.reload()
        return self._library

    def reload(self) -> None:
        """The module starts anew: tokens that were put back are seen."""
        library = self.library()
        errors = wrapper()
        self.number += 1
        with suppress(errors.PKCS11Error):
            library.finalize()
        try:
            library.initialize()
        except errors.PKCS11Error as error:
            raise KeyStoreUnavailable(f"the PKCS#11 module does not start: {named(error)}",
                                      uri=self.path) from None  # fmt: skip

    def in_child(self) -> None:
        """After a fork nobody holds the lock, and this process must start the module itself."""
        self.lock = threading.RLock()
        self.number += 1
        self._inherited = self._library is not None

    def _load(self) -> Any:
        errors = wrapper()
        if not Path(self.path).is_file():
            raise KeyStoreUnavailable("there is no PKCS#11 module", uri=self.path)
        try:
            return errors.lib(self.path)
        except errors.PKCS11Error as error:
            raise KeyStoreUnavailable(f"the PKCS#11 module does not load: {named(error)}",
                                      uri=self.path) from None  # fmt: skip


def wrapper() -> Any:
    """The package ``python-pkcs11``; ``ExtraMissing`` where it is not installed."""
    try:
        import pkcs11
    except ModuleNotFoundError:
        raise ExtraMissing("PKCS#11 tokens need a package", extra="pkcs11") from None
    return pkcs11


def named(error: Exception) -> str:
    """The name of ``error``, and nothing that a module may have put into its text."""
    return type(error).__name__


_modules: dict[str, Module] = {}
_guard = threading.Lock()


def module(path: str) -> Module:
    """The module at ``path``, the same for all who ask."""
    with _guard:
        return _modules.setdefault(path, Module(path))


def _in_child() -> None:
    global _guard  # noqa: PLW0603 - a lock that nobody holds in the child
    _guard = threading.Lock()
    for each in _modules.values():
        each.in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
