"""The parameters of a compiled statement, so that a row of values costs their processors alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.engine import Compiled, Dialect
from sqlalchemy.sql.compiler import SQLCompiler

Processor = Callable[[Any], Any] | None


class Binds:
    """What the driver is given for a statement: by place or by name, as it wants.

    ``fixed`` are values of the statement itself, ``named`` the processor of each parameter.
    """

    def __init__(self, compiled: Compiled, dialect: Dialect) -> None:
        if not isinstance(compiled, SQLCompiler):
            raise TypeError("a statement that is no SQL")
        self.text = compiled.string
        self.fixed: dict[str, Any] = {}
        self.named: dict[str, Processor] = {}
        self._by_place = compiled.positiontup is not None
        self._binds: list[tuple[str, Processor]] = []
        of_name = {name: bind for bind, name in compiled.bind_names.items()}
        for name in compiled.positiontup or of_name:
            bind = of_name[name]
            processor = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if not bind.required:
                self.fixed[name] = processor(bind.value) if processor else bind.value
                processor = None
            self._binds.append((name, processor))
            self.named[name] = processor

    def of(self, row: Mapping[str, Any]) -> Any:
        """The values of one row."""
        told = {**self.fixed, **row} if self.fixed else row
        if self._by_place:
            return tuple([p(told[n]) if p else told[n] for n, p in self._binds])
        return {n: p(told[n]) if p else told[n] for n, p in self._binds}


__all__ = ["Binds", "Processor"]
