"""Second readers: code that ``onnx.load``s a model again gets what an app recipe names for it.

Where the recipe says so, a session of what it got is one of the sealed model, with the shapes that
the program gave to inputs and outputs.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import NoReturn

from modelseal.errors import EgressRefused, InvalidBytes
from modelseal.frameworks.onnx.part import MARK, Selection, mark_of, part, reshaped
from modelseal.memory import wipe
from modelseal.runtime import default, recipes, report
from modelseal.runtime.loading import label
from modelseal.runtime.onnx import SealedOnnx
from modelseal.runtime.recipes import force

__all__ = ["MARK", "read", "refuse_copy", "session_of"]

_MAX_HANDED = 256
_handed: OrderedDict[bytes, tuple[object, bytes]] = OrderedDict()
"""Mark of a part for a session -> the sealed model it is of, and the part; of this process."""


def read(given: object, what: str, who: tuple[str, str]) -> bytes:
    """The part of the sealed model ``given`` that ``who`` (module, function) gets, as a model.

    Raises ``EgressRefused`` when no recipe names anything for it, and what opening raises.
    """
    path = label(given)
    chosen = _chosen(path, who)
    if chosen is None:
        with report.told(default.for_record, path):
            raise EgressRefused(
                f"{what} by {'.'.join(who)} would hand out the whole model; a session opens it,"
                " and an app recipe ([[reader]], docs/spec/app-recipe.md) names parts for a reader",
                what=f"{what} by {'.'.join(who)}",
                reader=".".join(who),
                path=path,
            )
    with (
        SealedOnnx(given, plain_beside=True).open() as opened,
        report.told(default.for_record, path),
    ):
        mark = secrets.token_hex(16).encode() if chosen.session else b"1"
        found = part(opened.view, chosen, opened.external, mark)
    data = bytes(found)
    wipe(found)
    if chosen.session:
        _handed[mark] = given, data
        while len(_handed) > _MAX_HANDED:
            _handed.popitem(last=False)
    return data


def session_of(given: bytes) -> SealedOnnx:
    """The sealed model that ``given``, a part of it, stands for, with the part's shapes.

    Raises ``EgressRefused`` when more was changed than these, or no recipe means a session.
    """
    try:
        known = _handed.get(mark_of(given))
        shapes = None if known is None else reshaped(known[1], given)
    except InvalidBytes:
        known = shapes = None
    if known is None or shapes is None:
        refuse_copy("InferenceSession")
    return SealedOnnx(known[0], plain_beside=True, shapes=shapes)


def refuse_copy(what: str) -> NoReturn:
    """``EgressRefused`` for ``what``, which was given a part of a sealed model, perhaps edited."""
    with report.told(default.for_record, None):
        raise EgressRefused(
            f"{what} was given an edited copy of a sealed model; the sealed one stays as it is",
            what=f"{what} of an edited copy",
        )


def _chosen(path: str | None, who: tuple[str, str]) -> Selection | None:
    """All that the recipes in force name for ``who`` and this file; None without any."""
    place = (path or "").replace("\\", "/")
    fitting = [
        reader
        for recipe in force.in_force()
        for reader in recipe.reader
        if recipes.is_of(reader, *who) and recipes.matches(reader.files, place)
    ]
    if not fitting:
        return None
    wanted = {each for reader in fitting for each in reader.initializers}
    return Selection(
        wanted,
        max(reader.node_names for reader in fitting),
        any(reader.session for reader in fitting),
    )
