"""What the app recipes in force say about files that programs check and delete."""

from __future__ import annotations

import os

from modelseal.errors import SealedFileKept
from modelseal.runtime import recipes
from modelseal.runtime.recipes import Recipe


class Kept(SealedFileKept, PermissionError):
    """Programs that delete files expect an ``OSError`` when they may not."""


class Rules:
    """What the recipes in force say about files."""

    def __init__(self, found: list[Recipe]) -> None:
        checks = [c for recipe in found for c in recipe.check if c.answer == "plain"]
        self.contents = [c for c in checks if c.kind != "size"]
        self.sizes = [c for c in checks if c.kind == "size"]
        self._recipes = found
        self._modules: dict[tuple[str, bool], bool] = {}

    def asks(self, module: str, *, size: bool) -> bool:
        """Whether ``module`` is named by a check at all; remembered, for every open asks."""
        known = self._modules.get((module, size))
        if known is None:
            among = self.sizes if size else self.contents
            known = any(recipes.names(check.module, module) for check in among)
            self._modules[module, size] = known
        return known

    def answers(self, path: str, reader: tuple[str, str], *, size: bool) -> bool:
        """Whether ``reader`` (module, function) is answered with the plaintext of ``path``."""
        place = os.path.abspath(path).replace(os.sep, "/")  # noqa: PTH100 - paths of any kind
        among = self.sizes if size else self.contents
        return any(recipes.is_of(c, *reader) and recipes.matches(c.files, place) for c in among)

    def keeper(self, path: str, module: str) -> str | None:
        """The recipe that keeps the sealed file at ``path`` from ``module``; None for none."""
        return self._named(path, module, keep=True)

    def releases(self, path: str, module: str) -> bool:
        """Whether a recipe says that ``module`` may do with ``path`` what it likes."""
        return self._named(path, module, keep=False) is not None

    def _named(self, path: str, module: str, *, keep: bool) -> str | None:
        place = os.path.abspath(path).replace(os.sep, "/")  # noqa: PTH100
        for recipe in self._recipes:
            is_about = any(recipes.names(pattern, module) for pattern in recipe.modules)
            if recipe.keep is keep and is_about and recipes.matches(list(recipe.named()), place):
                return recipe.name
        return None
