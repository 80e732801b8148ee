"""An export proves itself, and every kind of break is found and located."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.audit.world import ORIGIN, Log, event, grown, key

from modelseal import audit
from modelseal.audit import Checkpoint, EventKind, checkpoint, commit, verify_export
from modelseal.errors import AuditBroken, Misuse, ModelsealError
from modelseal.strict_json import b64u, encode

Lines = list[dict[str, Any]]


def loaded(log: Log) -> Lines:
    return [json.loads(line) for line in log.export()]


def dumped(lines: Lines) -> list[bytes]:
    return [encode(line) + b"\n" for line in lines]


def events_of(lines: Lines) -> Lines:
    return [line for line in lines if line["type"] == "event"]


def fault(log: Log, lines: Lines, witness: str | None = None) -> dict[str, Any]:
    with pytest.raises(AuditBroken) as caught:
        verify_export(dumped(lines), log.notes[-1], log.keys(), witness)
    return caught.value.params


def releaf(line: dict[str, Any]) -> None:
    """Gives the line the leaf hash that its event has, as a careful forger would."""
    body = audit.encode(audit.event.from_members(line["event"]))
    line["leaf"] = b64u(audit.leaf_hash(body))


def renumber(lines: Lines) -> None:
    for index, line in enumerate(events_of(lines)):
        line["index"] = index


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 700])
def test_a_whole_export_holds_with_and_without_a_given_checkpoint(size: int) -> None:
    log = grown(size)
    if not log.notes:
        log.notes.append(
            checkpoint.sign(Checkpoint(ORIGIN, 0, audit.merkle.EMPTY_ROOT), log.signer)
        )
    for head in (log.notes[-1], None):
        report = verify_export(log.export(), head, log.keys())
        assert (report.events, report.checkpoint.size, report.restores) == (size, size, [])


def test_text_lines_and_blank_lines_are_read_too(log: Log) -> None:
    lines = [line.decode() for line in log.export()]
    assert verify_export([*lines, "", "\n"], None, log.keys()).events == 700


@pytest.mark.parametrize("older", range(7))
def test_every_older_checkpoint_of_the_same_log_is_contained(log: Log, older: int) -> None:
    report = verify_export(log.export(), log.notes[-1], log.keys(), log.notes[older])
    assert report.witnessed_size == (older + 1) * 100


def test_an_edited_event_is_located(log: Log) -> None:
    lines = loaded(log)
    events_of(lines)[321]["event"]["params"]["seq"] = 9
    assert fault(log, lines)["fault"] == "edited"
    assert fault(log, lines)["indexes"] == [321]


@pytest.mark.parametrize(
    ("place", "expected"), [(321, (300, 399)), (30, (0, 99)), (699, (600, 699))]
)
def test_an_edit_with_a_fitting_leaf_hash_is_located_between_checkpoints_and_tiles(
    log: Log, place: int, expected: tuple[int, int]
) -> None:
    lines = loaded(log)
    line = events_of(lines)[place]
    line["event"]["params"]["seq"] = 9
    releaf(line)
    found = fault(log, lines)
    assert found["fault"] == "altered"
    assert expected[0] <= found["first"] <= place <= found["last"] <= expected[1]


def test_without_older_checkpoints_the_tiles_still_locate_the_edit(log: Log) -> None:
    lines = [line for line in loaded(log) if line["type"] != "checkpoint"]
    line = events_of(lines)[321]
    line["event"]["actor"] = "token:tok_1"
    releaf(line)
    found = fault(log, lines)
    assert (found["fault"], found["first"], found["last"]) == ("altered", 256, 511)


def test_a_deleted_event_is_located(log: Log) -> None:
    lines = loaded(log)
    lines.remove(events_of(lines)[123])
    lines.remove(events_of(lines)[123])
    found = fault(log, lines)
    assert (found["fault"], found["first"], found["last"]) == ("deleted", 123, 124)


def test_a_deletion_hidden_by_new_numbers_is_located(log: Log) -> None:
    lines = loaded(log)
    lines.remove(events_of(lines)[123])
    renumber(lines)
    found = fault(log, lines)
    assert found["fault"] == "deleted"
    assert 100 <= found["first"] <= 123 <= found["last"] <= 199


@pytest.mark.parametrize("kept", [0, 1, 255, 256, 600, 699])
def test_a_truncated_log_is_told_from_a_deletion(log: Log, kept: int) -> None:
    lines = [line for line in loaded(log) if line["type"] != "event" or line["index"] < kept]
    found = fault(log, lines)
    assert (found["fault"], found["first"], found["last"]) == ("truncated", kept, 699)


def test_events_in_another_order_are_located(log: Log) -> None:
    lines = loaded(log)
    one, two = lines.index(events_of(lines)[40]), lines.index(events_of(lines)[44])
    lines[one], lines[two] = lines[two], lines[one]
    found = fault(log, lines)
    assert (found["fault"], found["first"], found["last"]) == ("reordered", 40, 44)


def test_exchanged_events_under_their_old_leaf_hashes_are_located(log: Log) -> None:
    lines = loaded(log)
    one, two = events_of(lines)[40], events_of(lines)[44]
    one["event"], two["event"] = two["event"], one["event"]
    found = fault(log, lines)
    assert (found["fault"], found["indexes"]) == ("reordered", [40, 44])


def test_exchanged_and_renumbered_events_are_located(log: Log) -> None:
    lines = loaded(log)
    one, two = lines.index(events_of(lines)[340]), lines.index(events_of(lines)[344])
    lines[one], lines[two] = lines[two], lines[one]
    renumber(lines)
    found = fault(log, lines)
    assert found["fault"] == "reordered"
    assert 300 <= found["first"] <= 340 and 344 <= found["last"] <= 399


def test_a_doubled_and_an_added_event_are_located(log: Log) -> None:
    lines = loaded(log)
    doubled = copy.deepcopy(lines)
    doubled.insert(5, copy.deepcopy(events_of(lines)[77]))
    assert fault(log, doubled)["fault"] == "duplicated"
    assert fault(log, doubled)["first"] == 77
    added = copy.deepcopy(events_of(lines)[0])
    added["index"] = 700
    found = fault(log, [*lines, added])
    assert (found["fault"], found["first"]) == ("extended", 700)


def test_a_log_rewritten_with_the_real_key_is_a_fork_for_its_witness(log: Log) -> None:
    """The insider's attack: all hashes and the checkpoint are new and fit each other."""
    other = grown(700)
    rewritten = Log()
    for start in range(0, 700, 100):
        batch = [event(number) for number in range(start, start + 100)]
        if start == 300:
            batch[21] = replace(batch[21], actor="token:tok_1")
        rewritten.add(batch)
    found = fault(rewritten, loaded(rewritten), other.notes[4])
    assert found["fault"] == "forked"
    assert found["first"] == 0 and found["last"] == 499
    assert verify_export(rewritten.export(), None, rewritten.keys(), other.notes[2]).events == 700


def test_a_rewritten_log_that_keeps_its_old_checkpoints_is_located_between_them(log: Log) -> None:
    rewritten = Log()
    for start in range(0, 700, 100):
        actor = "token:tok_1" if start == 300 else "system"
        batch = [replace(event(n), actor=actor) for n in range(start, start + 100)]
        rewritten.add(batch)
    rewritten.notes[:-1] = log.notes[:-1]
    found = fault(rewritten, loaded(rewritten))
    assert (found["fault"], found["first"], found["last"]) == ("forked", 300, 399)


def test_a_log_cut_and_signed_again_is_found_by_its_witness(log: Log) -> None:
    short = grown(500)
    found = fault(short, loaded(short), log.notes[-1])
    assert (found["fault"], found["first"], found["last"]) == ("truncated", 500, 699)


def test_a_declared_restore_is_told_from_a_cut(log: Log) -> None:
    restored = grown(500)
    restored.add([event(9000, EventKind.SERVER_RESTORED, snapshot_size=500)])
    restored.add([event(9000 + number) for number in range(1, 20)])
    report = verify_export(restored.export(), None, restored.keys(), log.notes[5])
    assert len(report.restores) == 1
    assert (report.restores[0].index, report.restores[0].snapshot_size) == (500, 500)
    assert report.restores[0].witnessed_size == 600


def test_a_restore_does_not_excuse_a_change_before_its_snapshot(log: Log) -> None:
    restored = grown(500, seed=1)
    restored.add([event(9000, EventKind.SERVER_RESTORED, snapshot_size=500)])
    assert fault(restored, loaded(restored), log.notes[3])["fault"] == "forked"


def test_erasing_personal_data_leaves_a_log_that_holds_and_editing_it_does_not() -> None:
    log = Log()
    personal = commit({"email": "li@example.com"}, lambda n: bytes(n))
    log.add([event(0), replace(event(1), personal=personal.commitment), event(2)])
    log.personal[1] = personal
    assert verify_export(log.export(), None, log.keys()).erased == 0
    lines = loaded(log)
    events_of(lines)[1]["personal"]["email"] = "al@example.com"
    assert fault(log, lines)["indexes"] == [1]
    log.personal.clear()
    assert verify_export(log.export(), None, log.keys()).erased == 1
    assert b"li@example.com" not in b"".join(log.export())


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.pop("leaf"),
        lambda line: line.update(index=True),
        lambda line: line.update(index="1"),
        lambda line: line.update(leaf="!"),
        lambda line: line.update(leaf="AA"),
        lambda line: line.update(type="other"),
        lambda line: line.update(type=[]),
        lambda line: line.update(extra=1),
        lambda line: line["event"].update(kind="unheard_of"),
        lambda line: line["event"].pop("id"),
        lambda line: line.update(event=[]),
        lambda line: line["event"].update(params={"passphrase": "x"}),
    ],
)
def test_a_malformed_line_is_named(log: Log, change: Callable[[dict[str, Any]], object]) -> None:
    lines = loaded(log)
    change(events_of(lines)[10])
    found = fault(log, lines)
    assert (found["fault"], found["line"], found["first"]) == ("malformed", 12, 10)


@pytest.mark.parametrize(
    "line",
    [
        {"type": "log", "version": 2, "origin": ORIGIN, "size": 1},
        {"type": "log", "version": True, "origin": ORIGIN, "size": 1},
        {"type": "log", "version": 1, "origin": 7, "size": 1},
        {"type": "tile", "path": "tile/0/000.p/1", "hashes": "A" * 43},
        {"type": "tile", "path": "tile/1/000.p/2", "hashes": "A" * 43},
        {"type": "tile", "path": "tile/1/000.p/1", "hashes": None},
        {"type": "checkpoint", "note": 1},
        {"type": "checkpoint", "note": "hello"},
    ],
)
def test_an_odd_line_of_another_type_is_refused(log: Log, line: dict[str, Any]) -> None:
    assert fault(log, [*loaded(log), line])["fault"] in ("malformed", "checkpoint")


def test_an_export_that_names_another_log_is_refused(log: Log) -> None:
    lines = loaded(log)
    lines[0]["origin"] = "else.example/log"
    assert fault(log, lines)["fault"] == "checkpoint"


@pytest.mark.parametrize(
    ("personal", "salt"), [([], "AA"), ({"email": 1}, "AA"), ({"email": "x"}, None), ({}, "!")]
)
def test_personal_data_of_another_shape_is_no_opening(
    log: Log, personal: object, salt: object
) -> None:
    lines = loaded(log)
    events_of(lines)[3].update(personal=personal, salt=salt)
    assert fault(log, lines)["indexes"] == [3]


def test_an_export_without_checkpoint_or_of_another_key_or_log_is_refused(log: Log) -> None:
    lines = [line for line in log.export() if b'"checkpoint"' not in line]
    with pytest.raises(AuditBroken):
        verify_export(lines, None, log.keys())
    with pytest.raises(AuditBroken):
        verify_export(log.export(), None, [key(5).verify_key()])
    with pytest.raises(AuditBroken):
        verify_export([], log.notes[-1], log.keys())
    other = checkpoint.sign(Checkpoint("else.example/log", 1, bytes(32)), log.signer)
    with pytest.raises(AuditBroken):
        verify_export(log.export(), log.notes[-1], log.keys(), other)


SMALL = grown(20, step=5)
SMALL_LINES = SMALL.export()


@given(data=st.data())
def test_any_flipped_bit_of_an_event_line_is_found(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 20))
    line = bytearray(SMALL_LINES[number])
    line[data.draw(st.integers(0, len(line) - 2))] ^= 1 << data.draw(st.integers(0, 7))
    if json_equal(SMALL_LINES[number], bytes(line)):
        return
    changed = [*SMALL_LINES[:number], bytes(line), *SMALL_LINES[number + 1 :]]
    with pytest.raises(AuditBroken):
        verify_export(changed, SMALL.notes[-1], SMALL.keys())


def json_equal(one: bytes, two: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(two))
    except ValueError:
        return False


@given(lines=st.lists(st.binary(max_size=60) | st.sampled_from([b"{}", b"[1]", b'{"type":1}'])))
def test_random_lines_raise_our_own_error_only(lines: list[bytes]) -> None:
    with pytest.raises(ModelsealError):
        verify_export(lines, None, [key().verify_key()])


def test_an_export_needs_every_event_of_its_checkpoint(log: Log) -> None:
    entries = [(body, None) for body in log.bodies[:-1]]
    with pytest.raises(Misuse):
        list(audit.export.write(ORIGIN, entries, log.size, log.tiles.get, log.notes))


def test_an_event_changed_in_the_store_is_named_by_the_logs_own_tiles() -> None:
    log = grown(300)
    for at in (6, 299):
        kept = log.bodies[at]
        changed = json.loads(kept)
        changed["actor"] = "somebody"
        log.bodies[at] = encode(changed)
        found = fault(log, loaded(log))
        assert (found["fault"], found["first"], found["last"]) == ("edited", at, at)
        log.bodies[at] = kept
    verify_export(log.export(), log.notes[-1], log.keys())


def test_a_stored_event_that_is_none_any_more_is_named() -> None:
    log = grown(20)
    log.bodies[7] = b"gone"
    with pytest.raises(AuditBroken) as caught:
        log.export()
    assert (caught.value.params["fault"], caught.value.params["first"]) == ("edited", 7)
