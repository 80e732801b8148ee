"""Event logs: replayed to the registers that hardware signed, and believed no further."""

from __future__ import annotations

import gzip
import hashlib

import pytest
from tests.attest.authorities.event_logs import ALGORITHMS, Line, separator, variable, write
from tests.attest.judging import sample

from modelseal.attest.verify import event_log
from modelseal.errors import EvidenceInvalid

CCEL = gzip.decompress(sample("sgx-tdx-dcap/cos-113-ccel_data.dat.gz"))
QUOTE = sample("sgx-tdx-dcap/cos-113-tdx-quote.dat")
_BODY, _RTMR0 = 48, 0x148


def rtmrs() -> list[bytes]:
    start = _BODY + _RTMR0
    return [QUOTE[start + 48 * i : start + 48 * (i + 1)] for i in range(4)]


def replayed(log: bytes) -> list[bytes]:
    registers = event_log.read(log).replay("sha384")
    return [registers.get(i + 1, bytes(48)) for i in range(4)]


def test_the_recorded_log_replays_to_the_registers_of_its_quote():
    assert len(event_log.read(CCEL).events) == 43
    assert replayed(CCEL) == rtmrs()


def test_the_recorded_log_proves_its_command_line_and_that_secure_boot_was_off():
    facts = event_log.read(CCEL).facts("sha384", firmware_register=1)
    assert facts["secure_boot"] is False
    (line,) = facts["kernel_command_lines"]
    assert line.startswith("/syslinux/vmlinuz.A init=/usr/lib/systemd/systemd")


@pytest.mark.parametrize("number", range(0, 43, 6))
def test_one_changed_digest_breaks_the_match(number):
    event = event_log.read(CCEL).events[number]
    at = CCEL.index(event.digests["sha384"])
    changed = CCEL[:at] + bytes([CCEL[at] ^ 1]) + CCEL[at + 1 :]
    assert replayed(changed) != rtmrs()


def test_an_event_that_is_left_out_or_moved_breaks_the_match():
    lines = [Line(e.register, e.type, e.data, e.digests["sha384"]) for e in _events()]
    assert replayed(write(lines, ("sha384",))) == rtmrs()
    assert replayed(write(lines[:-1], ("sha384",))) != rtmrs()
    assert replayed(write([lines[1], lines[0], *lines[2:]], ("sha384",))) != rtmrs()


def _events() -> tuple[event_log.Event, ...]:
    return event_log.read(CCEL).events


def test_a_changed_remark_proves_nothing_any_more():
    forged = CCEL.replace(b"kernel_cmdline: /syslinux", b"kernel_cmdline: /sysl1nux")
    assert forged != CCEL and replayed(forged) == rtmrs()
    assert event_log.read(forged).facts("sha384")["kernel_command_lines"] == []


def test_only_what_firmware_measured_before_its_separator_says_that_secure_boot_was_on():
    def told(*lines: Line) -> bool | None:
        return event_log.read(write([*lines])).facts("sha256")["secure_boot"]

    on, off = variable("SecureBoot", b"\x01"), variable("SecureBoot", b"\x00")
    assert told(on, separator(7)) is True
    assert told(off, separator(7), on) is False
    assert told(separator(7)) is None
    assert told(Line(7, 0x80000002, off.data), separator(7), on) is False
    assert told(Line(7, off.type, b"spoilt", off.digest("sha256")), separator(7), on) is None
    assert told(separator(0), Line(12, on.type, on.data), separator(7)) is None
    claimed = Line(7, event_log.VARIABLE, on.data, hashlib.sha256(off.data).digest())
    assert told(claimed) is None


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384"])
def test_every_algorithm_of_the_log_can_be_replayed(algorithm):
    log = write([separator(0), separator(0)], tuple(ALGORITHMS))
    size = hashlib.new(algorithm).digest_size
    value = bytes(size)
    for _ in range(2):
        value = hashlib.new(algorithm, value + separator(0).digest(algorithm)).digest()
    assert event_log.read(log).replay(algorithm) == {0: value}


def test_the_startup_locality_is_where_register_zero_begins():
    locality = Line(0, event_log.NO_ACTION, b"StartupLocality\0\x03")
    registers = event_log.read(write([locality, separator(0)])).replay("sha256")
    start = bytes(31) + b"\x03"
    assert registers[0] == hashlib.sha256(start + separator(0).digest("sha256")).digest()


def test_events_that_are_not_extended_change_no_register():
    remark = Line(3, event_log.NO_ACTION, b"remark")
    assert event_log.read(write([remark])).replay("sha256") == {}


@pytest.mark.parametrize("filler", [b"", b"\xff" * 64, b"\0" * 64])
def test_filler_behind_the_log_is_no_event(filler):
    log = write([separator(0), Line(4, event_log.SEPARATOR, b"\xff" * 9)]) + filler
    assert len(event_log.read(log).events) == 2


@pytest.mark.parametrize(
    "bent",
    [
        lambda log: b"",
        lambda log: log[:-1],
        lambda log: log[:40],
        lambda log: log + b"\x01",
        lambda log: log.replace(b"Spec ID Event03", b"Spec ID Event02"),
        lambda log: b"\xff" * 200,
        lambda log: write([Line(32, 4, b"")]),
        lambda log: write([Line(0, event_log.NO_ACTION, b"StartupLocality\0\x07")]),
        lambda log: b"\0" * (event_log.MAX_LOG_BYTES + 1),
    ],
)
def test_a_log_of_another_shape_is_refused(bent):
    with pytest.raises(EvidenceInvalid):
        event_log.read(bent(write([separator(0)])))


def test_a_log_without_the_wanted_digests_is_refused():
    with pytest.raises(EvidenceInvalid):
        event_log.read(CCEL).replay("sha256")
