"""Every address of the server with the methods it takes: what ``Allow`` says."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = re.compile(r"\\\{(\w+)\\\}")
_VERB = re.compile(r"\}:[a-z]+$")
_MANY = frozenset({"path"})
"""Parameters that take more than one segment."""


class Addresses:
    """The addresses of ``templates``: pairs of a method and a path like ``/v1/x/{name}:verb``."""

    def __init__(self, templates: Iterable[tuple[str, str]]) -> None:
        methods: dict[str, set[str]] = {}
        for method, path in templates:
            methods.setdefault(path, {"OPTIONS"}).add(method.upper())
        ordered = sorted(methods, key=lambda path: _VERB.search(path) is None)
        self._known = [
            (_pattern(path), _VERB.search(path) is not None, methods[path]) for path in ordered
        ]

    def allow(self, path: str) -> str:
        """The methods of ``path``, as ``Allow`` lists them; empty when there is no such address."""
        found: set[str] = set()
        for pattern, is_verb, methods in self._known:
            if pattern.fullmatch(path):
                found |= methods
                if is_verb:  # ``x:revoke`` is a call and no id
                    break
        return ", ".join(sorted(found))


def _pattern(path: str) -> re.Pattern[str]:
    def one(match: re.Match[str]) -> str:
        return ".+" if match[1] in _MANY else "[^/]+"

    return re.compile(_NAME.sub(one, re.escape(path)))
