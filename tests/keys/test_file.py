"""The file provider: what is refused, and passphrases."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

import pytest

from modelseal import keys
from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    KeyStoreUnavailable,
    Misuse,
    OutputExists,
    PassphraseWrong,
    WrappedKeyInvalid,
)
from modelseal.keys import file, files, passphrase
from modelseal.keys.passphrase import RFC_9106_HIGH_MEMORY, RFC_9106_LOW_MEMORY, Work
from modelseal.types import Level

LIGHT = Work(memory_kib=8 * 1024, iterations=1, lanes=1)
CONTEXT = {"purpose": "test"}


def test_a_new_key_file_is_private_and_random(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert keys.create(f"file:{name}.key", base=tmp_path).level is Level.L0
    a, b = ((tmp_path / f"{name}.key").read_bytes() for name in ("a", "b"))
    assert a != b and len(a) == len(b) == 8 + 1 + 32
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.key", "b.key"]


def test_creating_never_replaces_a_key(tmp_path: Path) -> None:
    keys.create("file:a.key", base=tmp_path)
    before = (tmp_path / "a.key").read_bytes()
    with pytest.raises(OutputExists):
        keys.create("file:a.key", base=tmp_path)
    assert (tmp_path / "a.key").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    keys.create("file:a.key", base=tmp_path)
    (tmp_path / "a.key").chmod(mode)
    with pytest.raises(KeyStoreUnavailable) as caught:
        keys.open_provider("file:a.key", base=tmp_path)
    assert caught.value.params["path"] == str(tmp_path / "a.key")


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    keys.create("file:a.key", base=tmp_path)
    (tmp_path / "link.key").symlink_to(tmp_path / "a.key")
    with pytest.raises(KeyStoreUnavailable):
        keys.open_provider("file:link.key", base=tmp_path)
    (tmp_path / "dangling.key").symlink_to(tmp_path / "planted")
    with pytest.raises(OutputExists):
        keys.create("file:dangling.key", base=tmp_path)
    assert not (tmp_path / "planted").exists()


def test_a_fifo_a_folder_and_a_device_are_refused_without_hanging(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.key", 0o600)
    (tmp_path / "folder.key").mkdir(0o700)
    for uri in ("file:fifo.key", "file:folder.key", "file:/dev/null"):
        with pytest.raises(KeyStoreUnavailable):
            keys.open_provider(uri, base=tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 32, b"\x89MSK1\r\n\x1a\x01", b"\x89MSK1\r\n\x1a\x02" + bytes(32), bytes(100_000)],
)
def test_what_is_no_key_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyStoreUnavailable):
        keys.open_provider("file:a.key", base=tmp_path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissing) as caught:
        keys.open_provider("file:none.key", base=tmp_path)
    assert caught.value.params["path"] == str(tmp_path / "none.key")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EACCES, "state_not_writable"),
        (errno.EROFS, "state_not_writable"),
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EIO, "storage_failed"),
        (errno.ENOENT, "input_missing"),
    ],
)
def test_every_failure_to_write_has_its_error(tmp_path: Path, number: int, code: str) -> None:
    error = files.not_written(OSError(number, "x"), tmp_path / "a.key")
    assert (error.code, error.params["path"]) == (code, str(tmp_path / "a.key"))


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        keys.create("file:none/a.key", base=tmp_path)


@pytest.mark.parametrize(
    "uri",
    [
        "file:", "file:?passphrase=ask", "file:a.key?passphrase=hunter2", "file:a.key?other=1",
        "file://host/a.key", "file:a%00.key", "file:a#b", "a.key", "", "FILE:a.key", "nosuch:a",
        ":a", "file",
    ],
)  # fmt: skip
def test_an_odd_or_unserved_uri_is_a_configuration_error(tmp_path: Path, uri: str) -> None:
    for act in (keys.open_provider, keys.create):
        with pytest.raises(ConfigInvalid) as caught:
            act(uri, base=tmp_path)
        assert "hunter2" not in str(caught.value) + repr(caught.value.params)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["file:{}", "file://{}"])
def test_absolute_paths_and_escapes_are_understood(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a key.key"
    uri = form.format(str(path).replace(" ", "%20"))
    keys.create(uri)
    assert keys.open_provider(uri, base=Path("/nowhere")).describe()["kind"] == "file"
    assert str(file.parse_uri(uri)) == "file:" + str(path).replace(" ", "%20")


def test_the_right_passphrase_opens_and_a_wrong_one_is_said(
    tmp_path: Path, passphrase: str
) -> None:
    uri = "file:a.key?passphrase"
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return passphrase

    made = file.create(uri, ask=ask, base=tmp_path, work=LIGHT)
    wrapped = made.wrap(b"k" * 32, CONTEXT)
    assert keys.open_provider(uri, ask=ask, base=tmp_path).unwrap(wrapped, CONTEXT) == b"k" * 32
    assert len(prompts) == 2 and all("a.key" in prompt for prompt in prompts)
    for wrong in ("", passphrase + " ", passphrase.upper(), "x" * 2000, "\ud800"):
        with pytest.raises(PassphraseWrong):
            keys.open_provider(uri, ask=lambda _, answer=wrong: answer, base=tmp_path)


def test_a_composed_and_a_decomposed_passphrase_are_the_same(tmp_path: Path) -> None:
    uri = "file:a.key?passphrase=ask"
    file.create(uri, ask=lambda _: "Schl\u00fcsselbund", base=tmp_path, work=LIGHT)
    assert keys.open_provider(uri, ask=lambda _: "Schlu\u0308sselbund", base=tmp_path)


def test_there_is_no_default_passphrase_and_no_short_one(tmp_path: Path) -> None:
    uri = "file:a.key?passphrase=ask"
    with pytest.raises(KeyStoreUnavailable):
        keys.create(uri, base=tmp_path)
    for short in ("", "1234567"):
        with pytest.raises(Misuse):
            keys.create(uri, ask=lambda _, answer=short: answer, base=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_uri_must_say_whether_there_is_a_passphrase(tmp_path: Path, passphrase: str) -> None:
    file.create("file:a.key?passphrase=ask", ask=lambda _: passphrase, base=tmp_path, work=LIGHT)
    keys.create("file:b.key", base=tmp_path)
    for uri in ("file:a.key", "file:b.key?passphrase=ask"):
        with pytest.raises(KeyStoreUnavailable):
            keys.open_provider(uri, ask=lambda _: passphrase, base=tmp_path)
    with pytest.raises(KeyStoreUnavailable):
        keys.open_provider("file:a.key?passphrase=ask", base=tmp_path)


def test_a_failing_prompt_is_no_foreign_error(tmp_path: Path) -> None:
    def ask(_: str) -> str:
        raise EOFError

    with pytest.raises(KeyStoreUnavailable):
        keys.create("file:a.key?passphrase=ask", ask=ask, base=tmp_path)


def test_the_defaults_are_those_of_rfc_9106() -> None:
    """RFC 9106, section 4: t=3, p=4, m=2^16 KiB; and t=1, p=4, m=2^21 KiB."""
    assert Work(memory_kib=2**16, iterations=3, lanes=4) == RFC_9106_LOW_MEMORY
    assert Work(memory_kib=2**21, iterations=1, lanes=4) == RFC_9106_HIGH_MEMORY
    assert RFC_9106_LOW_MEMORY.check() and RFC_9106_HIGH_MEMORY.check()


@pytest.mark.parametrize(
    ("field", "value"),
    [("lanes", 0), ("lanes", 17), ("iterations", 0), ("iterations", 2**31), ("memory", 2**31),
     ("memory", 0), ("memory", 8 * 1024 - 1)],
)  # fmt: skip
def test_a_file_that_asks_for_absurd_work_is_refused_before_any_is_done(
    field: str, value: int
) -> None:
    protected = bytearray(
        passphrase.protect(b"k", "a passphrase", "test", random=os.urandom, work=LIGHT)
    )
    place, form = {"lanes": (10, "<H"), "iterations": (12, "<I"), "memory": (16, "<I")}[field]
    struct.pack_into(form, protected, place, value)
    with pytest.raises(WrappedKeyInvalid):
        passphrase.reveal(bytes(protected), "a passphrase", "test")


def test_two_passes_over_all_memory_are_the_most() -> None:
    assert Work(memory_kib=2**21, iterations=2, lanes=4).check()
    with pytest.raises(WrappedKeyInvalid):
        Work(memory_kib=2**21, iterations=3, lanes=4).check()


def test_protected_bytes_open_for_one_purpose_only_and_no_altered_byte_opens() -> None:
    protected = passphrase.protect(b"k", "a passphrase", "test", random=os.urandom, work=LIGHT)
    assert passphrase.reveal(protected, "a passphrase", "test") == b"k"
    with pytest.raises(PassphraseWrong):
        passphrase.reveal(protected, "a passphrase", "other")
    for place in (0, 8, 9, 20, len(protected) - 1):
        altered = bytearray(protected)
        altered[place] ^= 0x80
        with pytest.raises((PassphraseWrong, WrappedKeyInvalid)):
            passphrase.reveal(bytes(altered), "a passphrase", "test")
    for size in range(0, len(protected), 5):
        with pytest.raises((PassphraseWrong, WrappedKeyInvalid)):
            passphrase.reveal(protected[:size], "a passphrase", "test")


def test_replacing_a_file_leaves_the_old_one_or_the_new_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.replace(path, b"old")
    files.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")
    assert files.translated(caught.value, tmp_path).code == "disk_full"
