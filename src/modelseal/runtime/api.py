"""The small public functions of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelseal.errors import NotFound
from modelseal.runtime import default, hook, report
from modelseal.runtime.loading import choose, is_full, label, open_sealed

if TYPE_CHECKING:
    from modelseal.client import Client


def use(client: Client | None, *, depth: str = "auto") -> None:
    """From now on the loaders of this process use ``client``.

    None goes back to the default: ``modelseal.toml`` and the environment decide. ``depth`` is how
    deeply every load verifies: ``full`` compares the signed hash of every chunk that is read,
    ``auto`` leaves that out while a record of this device says that this very file was wholly
    verified before. Raises ``Misuse`` for another depth.
    """
    default.use(client, full=is_full(depth))


def install() -> None:
    """From now on this process opens sealed models as under ``modelseal run``.

    For frozen programs (PyInstaller, Nuitka), which no environment hook reaches: as early as
    possible, best before the frameworks are imported. Doing it again changes nothing.
    """
    hook.start()


def load(framework: str, path: Any, *args: Any, **kwargs: Any) -> Any:
    """What the third-party adapter ``framework`` makes of the sealed model at ``path``.

    Adapters are found by the entry point group ``modelseal.frameworks``. Raises ``NotFound`` for
    a name that none declares, ``InputMissing``, ``NotSealed`` and the refusals of the license.
    """
    from modelseal import frameworks

    adapters = frameworks.third_party()
    if framework not in adapters:
        raise NotFound("no adapter of this name is installed", name=str(framework)[:64])
    adapter = adapters[framework]
    view = open_sealed(path)
    with report.told(default.for_record, label(path)):
        return adapter.load(view, choose(view, ()), *args, **kwargs)
