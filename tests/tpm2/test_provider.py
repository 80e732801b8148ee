"""A key-encryption key that a TPM keeps: who opens it, and what its TPM says otherwise."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tpm import SwTpm, emulator, requires_swtpm

from modelseal import keys, strict_json
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    InputMissing,
    KeyOfAnotherTpm,
    KeyPolicyFailed,
    KeyStoreUnavailable,
    OutputExists,
    StateDamaged,
    StateNotWritable,
    TpmCleared,
)
from modelseal.keys.tpm2 import approvals, approving
from modelseal.keys.tpm2.uri import parse_pcrs
from modelseal.tpm2.chip import state
from modelseal.tpm2.wire.policy import pcr_digest
from modelseal.types import Level

pytestmark = requires_swtpm
CONTEXT: dict[str, str | int | bytes] = {"purpose": "data-key", "section": 3}


def uri_of(tpm: SwTpm, options: str = "") -> str:
    return f"tpm2://{tpm.address}?file=kek.tpm2{options}"


def test_a_sealed_key_opens_again_and_claims_level_2(shared: SwTpm, folder: Path) -> None:
    made = keys.create(uri_of(shared), base=folder)
    wrapped = made.wrap(b"k" * 32, CONTEXT)
    again = keys.open_provider(uri_of(shared), base=folder)
    assert again.unwrap(wrapped, CONTEXT) == b"k" * 32
    assert again.level is Level.L2 and again.describe()["kind"] == "tpm2"


def test_a_sealed_key_is_not_given_out(shared: SwTpm, folder: Path) -> None:
    from modelseal.keys import tpm2

    made = tpm2.create(uri_of(shared), base=folder, random=lambda n: b"\x5a" * n)
    with pytest.raises(KeyStoreUnavailable):
        made.reveal()
    assert b"\x5a" * 16 not in (folder / "kek.tpm2").read_bytes()


def test_no_key_file_replaces_another(shared: SwTpm, folder: Path) -> None:
    keys.create(uri_of(shared), base=folder)
    with pytest.raises(OutputExists):
        keys.create(uri_of(shared), base=folder)
    assert keys.erase(uri_of(shared), base=folder)
    with pytest.raises(InputMissing):
        keys.open_provider(uri_of(shared), base=folder)


def test_a_key_file_that_was_copied_to_another_computer_is_refused_by_its_tpm(
    shared: SwTpm, folder: Path
) -> None:
    keys.create(uri_of(shared), base=folder)
    with emulator() as other, pytest.raises(KeyOfAnotherTpm) as refused:
        keys.open_provider(uri_of(other), base=folder)
    assert "another TPM" in refused.value.message


def test_a_cleared_tpm_is_told_from_another_one(own: SwTpm, folder: Path) -> None:
    keys.create(uri_of(own), base=folder)
    with own.connect() as tpm:
        state.clear(tpm)
    with pytest.raises(TpmCleared) as refused:
        keys.open_provider(uri_of(own), base=folder)
    assert "cleared" in refused.value.message and "--replace" in refused.value.next_step


def test_without_its_tpm_nothing_opens(folder: Path) -> None:
    with emulator() as gone:
        keys.create(uri_of(gone), base=folder)
        uri = uri_of(gone)
    with pytest.raises(KeyStoreUnavailable) as refused:
        keys.open_provider(uri, base=folder)
    assert "no TPM" in refused.value.detail


def test_another_measured_state_is_refused_and_the_old_one_opens_again(
    own: SwTpm, folder: Path
) -> None:
    uri = uri_of(own, "&pcrs=sha256:7,11")
    wrapped = keys.create(uri, base=folder).wrap(b"k" * 32, CONTEXT)
    assert keys.open_provider(uri, base=folder).unwrap(wrapped, CONTEXT) == b"k" * 32
    with own.connect() as tpm:
        state.extend_pcr(tpm, 11, b"\x01" * 32)
    with pytest.raises(KeyPolicyFailed):
        keys.open_provider(uri, base=folder)
    own.stop()
    own.start()
    assert keys.open_provider(uri, base=folder).unwrap(wrapped, CONTEXT) == b"k" * 32


def test_an_update_needs_but_a_newly_signed_policy(own: SwTpm, folder: Path) -> None:
    owner = SigningKey.generate("ES256")
    (folder / "owner.jwk").write_bytes(strict_json.encode(owner.jwk))
    uri = uri_of(own, "&pcrs=sha256:7,11&authority=owner.jwk")
    wrapped = keys.create(uri, base=folder).wrap(b"k" * 32, CONTEXT)
    with own.connect() as tpm:
        state.extend_pcr(tpm, 7, b"\x02" * 32)
        pcrs = parse_pcrs("sha256:7,11")
        values = pcr_digest(pcrs, state.read_pcrs(tpm, pcrs))
    with pytest.raises(KeyPolicyFailed):
        keys.open_provider(uri, base=folder)

    beside = folder / "kek.tpm2.policy"
    stranger = approvals.approve(SigningKey.generate("ES256"), pcrs, values)
    beside.write_bytes(approvals.encode([stranger]))
    with pytest.raises(KeyPolicyFailed):
        keys.open_provider(uri, base=folder)

    beside.write_bytes(approvals.encode([approvals.approve(owner, pcrs, values)]))
    assert keys.open_provider(uri, base=folder).unwrap(wrapped, CONTEXT) == b"k" * 32

    with own.connect() as tpm:
        state.extend_pcr(tpm, 7, b"\x03" * 32)
    with pytest.raises(KeyPolicyFailed):
        keys.open_provider(uri, base=folder)


def test_the_owner_approves_a_state_by_two_commands(own: SwTpm, folder: Path) -> None:
    approving.make_authority(folder / "owner.pem", folder / "owner.jwk")
    uri = uri_of(own, "&pcrs=sha256:7&authority=owner.jwk")
    keys.create(uri, base=folder)
    with own.connect() as tpm:
        state.extend_pcr(tpm, 7, b"\x02" * 32)
    beside = folder / "kek.tpm2.policy"
    done = approving.approve(beside, folder / "owner.pem", "sha256:7", values=None, tpm=own.address)
    keys.open_provider(uri, base=folder)
    again = approving.approve(beside, folder / "owner.pem", "sha256:7", values=done.values)
    assert (done.approvals, again.approvals) == (1, 1)
    more = approving.approve(beside, folder / "owner.pem", "sha256:7", values="ab" * 32)
    assert more.approvals == 2
    keys.open_provider(uri, base=folder)


def test_no_altered_byte_of_the_key_file_opens(shared: SwTpm, folder: Path) -> None:
    keys.create(uri_of(shared), base=folder)
    path = folder / "kek.tpm2"
    whole = path.read_bytes()
    for place in range(0, len(whole), 11):
        altered = bytearray(whole)
        altered[place] ^= 1
        path.write_bytes(altered)
        try:
            found = keys.open_provider(uri_of(shared), base=folder)
        except (KeyStoreUnavailable, StateDamaged, KeyOfAnotherTpm, TpmCleared):
            continue
        assert found.describe()["pcrs"] == ""  # the uri and the EK's name are but notes
    with shared.connect() as tpm:
        assert tpm.reap() == 0


def test_a_key_opens_after_forty_power_cuts(own: SwTpm, folder: Path) -> None:
    wrapped = keys.create(uri_of(own), base=folder).wrap(b"k" * 32, CONTEXT)
    for _ in range(40):
        own.kill()
        own.start()
    assert keys.open_provider(uri_of(own), base=folder).unwrap(wrapped, CONTEXT) == b"k" * 32
    with own.connect() as tpm:
        assert state.get_property(tpm, state.PROPERTY_LOCKOUT_COUNTER) == 0


def test_a_folder_that_cannot_be_written_gets_a_plain_message(folder: Path) -> None:
    folder.chmod(0o500)
    with emulator(tcp=True) as tpm, somebody_else(), pytest.raises(StateNotWritable) as refused:
        keys.create(uri_of(tpm), base=folder)
    assert "kek.tpm2" in refused.value.message


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """The process is an ordinary user's: for root every folder can be written."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_opening_and_wrapping_leaves_nothing_in_the_tpm(shared: SwTpm, folder: Path) -> None:
    keys.create(uri_of(shared), base=folder)
    for _ in range(100):
        keys.open_provider(uri_of(shared), base=folder)
    with shared.connect() as tpm:
        assert tpm.handles(0x80000000) == () and tpm.handles(0x02000000) == ()


def test_the_emulators_state_is_the_tpm(own: SwTpm, folder: Path) -> None:
    """Whoever copies an emulator's folder has copied the TPM; real ones cannot be copied."""
    keys.create(uri_of(own), base=folder)
    own.stop()
    with emulator() as twin:
        twin.kill()
        shutil.rmtree(twin.state)
        shutil.copytree(own.state, twin.state)
        twin.start()
        keys.open_provider(uri_of(twin), base=folder)
