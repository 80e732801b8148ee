"""The log as a Parquet table: queried by column, proved by its lines."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from tests.audit.world import Log, event

from modelseal import audit
from modelseal.audit import EventKind
from modelseal.cli import audit_table
from modelseal.errors import AuditBroken

pyarrow = pytest.importorskip("pyarrow", reason="pip install -r requirements/more.txt")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def log() -> Log:
    made = Log()
    made.add([event(number) for number in range(5000)])
    made.add([event(5000, EventKind.LICENSE_REVOKED, why='it\'s "quoted" 图')])
    return made


def table(lines: list[bytes], folder: Path) -> Path:
    path = folder / "log.parquet"
    with path.open("wb") as out:
        assert audit_table.write(lines, out) == len(lines)
    return path


def test_the_table_gives_the_lines_back_and_they_prove_what_they_proved(
    log: Log, tmp_path: Path
) -> None:
    lines = log.export()
    path = table(lines, tmp_path)
    assert audit_table.is_table(path)
    again = list(audit_table.read(path))
    assert again == lines
    report = audit.verify_export(again, None, log.keys())
    assert report.events == 5001
    assert path.stat().st_size < sum(map(len, lines)) / 2


def test_its_columns_can_be_queried_without_us(log: Log, tmp_path: Path) -> None:
    found = parquet.read_table(table(log.export(), tmp_path)).to_pylist()
    events = [row for row in found if row["type"] == "event"]
    assert [row["index"] for row in events] == list(range(5001))
    last = events[-1]
    assert (last["kind"], last["actor"]) == ("license_revoked", "system")
    assert dict(last["subjects"])["license"] == "lic_1" and "图" in last["params"]
    assert last["at"].isoformat().startswith("2026-03-04T06:29:27.25")


@pytest.mark.parametrize(
    ("column", "value"),
    [("kind", "lease_denied"), ("actor", "host"), ("index", 7), ("event_id", "evt_x"),
     ("params", "{}"), ("subjects", []), ("at", None), ("personal", "{}"), ("type", "tile")],
)  # fmt: skip
def test_a_column_that_says_another_thing_than_its_line_is_found_where_it_is(
    log: Log, tmp_path: Path, column: str, value: Any
) -> None:
    path = table(log.export(), tmp_path)
    whole = parquet.read_table(path)
    rows = whole.to_pylist()
    rows[43][column] = value
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=whole.schema), path)
    with pytest.raises(AuditBroken) as caught:
        list(audit_table.read(path))
    assert caught.value.params["fault"] == "edited"
    if column != "index":
        assert caught.value.params["first"] == 42


def test_a_row_that_is_gone_is_found_by_the_proof_of_the_lines(log: Log, tmp_path: Path) -> None:
    path = table(log.export(), tmp_path)
    whole = parquet.read_table(path)
    kept = pyarrow.concat_tables([whole.slice(0, 100), whole.slice(101)])
    parquet.write_table(kept, path)
    with pytest.raises(AuditBroken) as caught:
        audit.verify_export(list(audit_table.read(path)), None, log.keys())
    assert (caught.value.params["fault"], caught.value.params["first"]) == ("deleted", 99)


@pytest.mark.parametrize("data", [b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b""])
def test_what_is_no_such_table_is_malformed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "odd.parquet"
    path.write_bytes(data)
    with pytest.raises(AuditBroken):
        list(audit_table.read(path))
    other = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": [1]}), other)
    path.write_bytes(other.getvalue())
    with pytest.raises(AuditBroken):
        list(audit_table.read(path))
