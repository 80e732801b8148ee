"""Finding the other sealed models that a section demands (*together with*).

They are looked for among the files in the same folder: presence is proved by the secret in their
index, which only their own license opens.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelseal import container
from modelseal.errors import ModelsealError, Refused, TogetherMissing
from modelseal.runtime.keyring import Keyring
from modelseal.runtime.ports import Licensee
from modelseal.runtime.sniff import is_sealed_file
from modelseal.runtime.source import FileSource

if TYPE_CHECKING:
    from modelseal.runtime.view import View

MAX_LOOKED_AT = 4096


def secrets(view: View, sections: Sequence[int], licensee: Licensee) -> dict[str, bytes]:
    """The secrets of the models that ``sections`` demand, by model id.

    Raises ``TogetherMissing`` when one of them is not beside the sealed model, and the refusal
    when it is there and may not be opened.
    """
    wanted = {
        other.model for section in sections for other in view.model.section(section).together_with
    }
    if not wanted:
        return {}
    found: dict[str, bytes] = {}
    folder = Path(view.path).absolute().parent if view.path else None
    for path in _neighbours(folder):
        if wanted <= found.keys():
            break
        model = _model_of(path)
        if model in wanted and model not in found:
            secret = _secret(path, licensee)
            if secret is not None:
                found[model] = secret
    for model in sorted(wanted - found.keys()):
        raise TogetherMissing("another sealed model is needed beside this one", model=model)
    return found


def _neighbours(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    try:
        with os.scandir(folder) as items:
            names = sorted(item.path for item in items if item.is_file())[:MAX_LOOKED_AT]
    except OSError:
        return []
    return [path for path in names if is_sealed_file(path)]


def _model_of(path: str) -> str | None:
    """What the file says it is; proved when it is opened."""
    try:
        return container.parse(FileSource(path)).model
    except ModelsealError:
        return None


def _secret(path: str, licensee: Licensee) -> bytes | None:
    from modelseal.runtime.files import open_file

    try:
        with Keyring(licensee) as keyring:
            return open_file(path, licensee, keyring, licensee.look()).file.index.secret
    except Refused:
        raise
    except ModelsealError:  # damaged or another publisher's: as good as not there
        return None
