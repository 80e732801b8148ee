"""Whose license the loaders use: ``modelseal.use``, else ``modelseal.toml`` and environment."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from modelseal.errors import ClientAmbiguous, ModelsealError
from modelseal.runtime import hook
from modelseal.runtime.policy import Policy
from modelseal.runtime.ports import Licensee

if TYPE_CHECKING:
    from modelseal.client import Client
    from modelseal.client.config import AppConfig

_lock = threading.Lock()
_used: Licensee | None = None
_full = False
_found: tuple[int, Licensee] | None = None
_policy: Policy | None = None


def use(client: Client | None, *, full: bool = False) -> None:
    """From now on the loaders of this process use ``client``; None goes back to the default.

    With ``full`` every load compares the signed hash of every chunk.
    """
    global _used, _full
    from modelseal.runtime.licensee import ClientLicensee

    licensee = None if client is None else ClientLicensee(client)
    with _lock:
        _used, _full = licensee, full


def demands_full() -> bool:
    """Whether ``use`` asked that no record shortens a verification."""
    return _full


def use_licensee(licensee: Licensee | None) -> None:
    """As ``use``, for whoever holds a license without being a ``Client``."""
    global _used  # noqa: PLW0603
    with _lock:
        _used = licensee


def current() -> Licensee:
    """The licensee in use, made from ``modelseal.toml`` and environment at the first need.

    Raises ``ClientAmbiguous`` naming both when ``MODELSEAL_APP`` and the ``modelseal.toml`` beside
    the program speak of different products, and what ``Client()`` raises.
    """
    global _found  # noqa: PLW0603
    with _lock:
        if _used is not None:
            return _used
        if _found is not None and _found[0] == os.getpid():
            return _found[1]
        from modelseal.client import Client
        from modelseal.runtime.licensee import ClientLicensee

        check_unambiguous()
        found = app()
        licensee = ClientLicensee(Client(app=None if found is None else found.path))
        _found = (os.getpid(), licensee)
        return licensee


def for_record() -> Licensee | None:
    """Whoever keeps the journal in which a refusal belongs; None when there is nobody."""
    try:
        return current()
    except ModelsealError:
        return None


def policy() -> Policy:
    """What must be sealed, by the ``modelseal.toml`` in force; nothing without one.

    Raises ``ConfigInvalid``.
    """
    global _policy  # noqa: PLW0603
    with _lock:
        if _policy is None:
            found = app()
            _policy = Policy("/") if found is None else Policy.of(str(found.folder), found.sealed)
        return _policy


def app() -> AppConfig | None:
    """The ``modelseal.toml`` in force: named, beside the program, or that of the run's program.

    Programs that this one starts under the hook inherit it, unless they have one of their own.
    """
    from modelseal.client import config

    found = config.find(None, os.environ)
    if found is not None:
        if hook.is_running():
            os.environ[hook.RUN_APP] = str(found.path)
        return found
    inherited = os.environ.get(hook.RUN_APP)
    return config.load(Path(inherited)) if inherited else None


def _fresh_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_lock)


def check_unambiguous() -> None:
    """``ClientAmbiguous`` when two configurations could be meant and neither was chosen."""
    from modelseal.client import config

    beside = config.beside_program()
    named = config.find(None, os.environ)
    if beside is None or named is None or _same(str(beside), str(named.path)):
        return
    other = config.load(beside)
    if other.product != named.product:
        raise ClientAmbiguous(
            "MODELSEAL_APP and the program speak of different products",
            candidates=[str(named.path), str(beside)],
        )


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
