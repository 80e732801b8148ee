"""Reading the members of a decoded CBOR map one by one, each with its type and range.

``fail`` is the error to raise: a malformed header has a code of its own, a malformed index (a key
was used by then) has the one code of damage.
"""

from __future__ import annotations

from typing import Any

from modelseal.errors import ContainerMalformed, ContainerVersion, InvalidBytes


class Fields:
    """The members of one map; what is left at the end is unknown and kept."""

    def __init__(
        self, value: Any, what: str, fail: type[InvalidBytes] = ContainerMalformed
    ) -> None:
        self._what = what
        self._fail = fail
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise fail(f"{what} is no map with text keys")
        self._left: dict[str, Any] = dict(value)
        self._present = value.keys() - {"crit"}

    def error(self, why: str) -> InvalidBytes:
        """The error to raise for this map."""
        return self._fail(f"{self._what}: {why}")

    def require_known(self, known: frozenset[str]) -> tuple[str, ...]:
        """The critical members; refuses the map when this release does not know one of them."""
        if "crit" not in self._left:
            return ()
        critical = self._left.pop("crit")
        names = critical if isinstance(critical, list) else []
        if not names or len(names) != len({n for n in names if isinstance(n, str)}):
            raise self.error("crit is a list of distinct member names")
        if names != sorted(names) or not self._present.issuperset(names):
            raise self.error("crit is sorted and names other members that are there")
        unknown = [name for name in names if name not in known]
        if unknown:
            code = ContainerVersion if self._fail is ContainerMalformed else self._fail
            raise code(f"{self._what}: an unknown critical member", member=str(unknown[0])[:64])
        return tuple(names)

    def whole(self, name: str, low: int, high: int) -> int:
        """The whole number ``name`` within the range."""
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(f"{name} is a whole number from {low} to {high}")
        return value

    def octets(self, name: str, low: int, high: int | None = None) -> bytes:
        """The byte string ``name`` of ``low`` (to ``high``) bytes."""
        value = self._take(name)
        if not isinstance(value, bytes) or not low <= len(value) <= (high or low):
            raise self.error(f"{name} is a byte string of the right length")
        return value

    def text(self, name: str, max_characters: int = 128) -> str:
        """The text ``name``, not empty."""
        value = self._take(name)
        if not isinstance(value, str) or not 1 <= len(value) <= max_characters:
            raise self.error(f"{name} is a text of 1 to {max_characters} characters")
        return value

    def items(self, name: str, low: int, high: int) -> list[Any]:
        """The list ``name`` with ``low`` to ``high`` items."""
        value = self._take(name)
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise self.error(f"{name} is a list of {low} to {high} items")
        return value

    def member(self, name: str) -> Any:
        """The member ``name``, whatever it is."""
        return self._take(name)

    def has(self, name: str) -> bool:
        """True when the member is there."""
        return name in self._left

    def rest(self) -> dict[str, Any]:
        """The members nobody asked for."""
        return self._left

    def _take(self, name: str) -> Any:
        if name not in self._left:
            raise self.error(f"{name} is missing")
        return self._left.pop(name)
