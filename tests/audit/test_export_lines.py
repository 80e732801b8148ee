"""What an export may lack, and what is read out of one that holds."""

from __future__ import annotations

import json

import pytest
from tests.audit.test_verify import dumped, events_of, fault, loaded, releaf
from tests.audit.world import event, grown

from modelseal import audit
from modelseal.audit import EventKind, verify_export


def test_without_checkpoints_and_tiles_an_edit_lies_somewhere_in_the_whole() -> None:
    log = grown(300)
    lines = [line for line in loaded(log) if line["type"] in ("event", "export")]
    line = events_of(lines)[7]
    line["event"]["actor"] = "token:tok_1"
    releaf(line)
    found = fault(log, lines)
    assert (found["fault"], found["first"], found["last"]) == ("altered", 0, 299)


@pytest.mark.parametrize("size", ["7", True, None])
def test_a_restore_that_names_no_snapshot_excuses_nothing(size: object) -> None:
    log = grown(5)
    log.add([event(9000, EventKind.SERVER_RESTORED, snapshot_size=size)])
    assert verify_export(log.export(), None, log.keys()).restores == []


def test_the_events_come_out_in_their_order_whatever_the_lines_are() -> None:
    log = grown(3)
    lines = [line.decode() for line in log.export()]
    found = audit.export.events_in([*lines, "", "\n"])
    assert [audit.encode(each) for each in found] == log.bodies
    assert found == audit.export.events_in(dumped([json.loads(line) for line in lines]))
