"""What must be sealed: the patterns ``sealed`` of ``modelseal.toml``.

``*`` and ``?`` stay within a folder, ``**`` crosses folders; patterns start from the folder of
``modelseal.toml``. A file is meant whether it is named as it lies or through links.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """The patterns of one ``modelseal.toml``, compiled."""

    folder: str
    patterns: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, folder: str, patterns: Sequence[str]) -> Policy:
        """The policy that demands sealed files wherever a pattern matches."""
        return cls(os.path.realpath(folder), tuple(compiled(pattern) for pattern in patterns))

    def demands(self, path: str) -> bool:
        """True when the file at ``path`` must be sealed."""
        if not self.patterns:
            return False
        places = {os.path.abspath(path), os.path.realpath(path)}  # noqa: PTH100 - links kept
        return any(self._matches(place) for place in places)

    def _matches(self, place: str) -> bool:
        try:
            inside = os.path.relpath(place, self.folder).replace(os.sep, "/")
        except ValueError:  # another drive
            return False
        return any(pattern.fullmatch(inside) for pattern in self.patterns)


def compiled(pattern: str) -> re.Pattern[str]:
    out: list[str] = []
    rest = os.path.normpath(pattern).replace(os.sep, "/")
    while rest:
        if rest.startswith("**/"):
            out, rest = [*out, "(?:.*/)?"], rest[3:]
        elif rest.startswith("**"):
            out, rest = [*out, ".*"], rest[2:]
        elif rest[0] == "*":
            out, rest = [*out, "[^/]*"], rest[1:]
        elif rest[0] == "?":
            out, rest = [*out, "[^/]"], rest[1:]
        else:
            out, rest = [*out, re.escape(rest[0])], rest[1:]
    return re.compile("".join(out), re.DOTALL)
