"""An audit export as a Parquet table, and back (the extra ``parquet``).

Every line of the JSON Lines export is a row. ``line`` holds it as it was, so that the table proves
what the lines prove; the other columns say the same of an event in types that can be queried.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from modelseal import strict_json
from modelseal.audit.export import MAX_LINE_BYTES
from modelseal.errors import AuditBroken, ExtraMissing, InputMissing
from modelseal.strict_json import JsonInvalid

SUFFIX = ".parquet"
MAGIC = b"PAR1"
_ROWS = 4096


def is_table(path: Path) -> bool:
    """True when the file at ``path`` begins as a Parquet file does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise InputMissing(error.strerror or "", path=str(path)) from None


def write(lines: Iterable[bytes], out: BinaryIO) -> int:
    """How many rows ``out`` got, one a line; ``ExtraMissing`` without pyarrow."""
    pyarrow, parquet = _modules()
    schema, count, rest = _schema(pyarrow), 0, iter(lines)
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while rows := [_row(line.decode().rstrip("\n")) for line in islice(rest, _ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def read(path: Path) -> Iterator[bytes]:
    """The lines in the table at ``path``, as ``write`` was given them.

    Raises ``AuditBroken`` (fault ``malformed``) for what is no such table, and ``edited`` for a row
    whose columns say something else than its line.
    """
    pyarrow, parquet = _modules()
    schema = _schema(pyarrow)
    try:
        file = parquet.ParquetFile(path)
        if not file.schema_arrow.equals(schema):
            raise AuditBroken("a table with other columns", fault="malformed")
        for batch in file.iter_batches(batch_size=_ROWS):
            for row in batch.to_pylist():
                yield _checked(row)
    except (pyarrow.ArrowException, OSError) as error:
        raise AuditBroken(f"not a table: {type(error).__name__}", fault="malformed") from None


def _checked(row: dict[str, Any]) -> bytes:
    line = row["line"]
    row["subjects"] = None if row["subjects"] is None else dict(row["subjects"])
    if not isinstance(line, str) or row != _row(line):
        place = row.get("index")
        where: dict[str, Any] = (
            {} if not isinstance(place, int) else {"first": place, "last": place}
        )
        detail = f"a row says another thing than its line: {place}"
        raise AuditBroken(detail, fault="edited", **where)
    return line.encode() + b"\n"


def _row(line: str) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(_COLUMNS)
    found |= {"line": line, "type": None}
    try:
        members = strict_json.decode(line, max_bytes=MAX_LINE_BYTES)
    except JsonInvalid as error:
        raise AuditBroken(f"not a line of an export: {error.detail}", fault="malformed") from None
    if not isinstance(members, dict):
        raise AuditBroken("not a line of an export", fault="malformed")
    found["type"] = str(members.get("type"))
    if members.get("type") != "event":
        return found
    event = members["event"]
    return found | {
        "index": members["index"],
        "event_id": event["id"],
        "at": datetime.fromisoformat(event["at"]),
        "kind": event["kind"],
        "actor": event["actor"],
        "reference": event["reference"],
        "subjects": dict(event["subjects"]),
        "params": json.dumps(event["params"], ensure_ascii=False, sort_keys=True),
        "personal": _text(members.get("personal")),
    }


_COLUMNS = (
    "type", "index", "event_id", "at", "kind", "actor", "reference", "subjects", "params",
    "personal", "line",
)  # fmt: skip


def _text(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _schema(pyarrow: Any) -> Any:
    text = pyarrow.string()
    kinds = {
        "index": pyarrow.int64(),
        "at": pyarrow.timestamp("us", tz="UTC"),
        "subjects": pyarrow.map_(text, text),
    }
    return pyarrow.schema([(name, kinds.get(name, text)) for name in _COLUMNS])


def _modules() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ExtraMissing("Parquet needs pyarrow", extra="parquet") from None
    return pyarrow, parquet
