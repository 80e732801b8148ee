"""The keys of a device in its TPM: what signs, what opens, and after which events."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest
from tests.tpm import SwTpm, requires_swtpm

from modelseal.crypto.signing import VerifyKey
from modelseal.errors import (
    ConfigInvalid,
    KeyOfAnotherTpm,
    KeyPolicyFailed,
    KeyStoreUnavailable,
    StateDamaged,
    TpmCleared,
)
from modelseal.keys import tpm2
from modelseal.keys.tpm2 import approvals, approving, device
from modelseal.tpm2.chip import state

pytestmark = requires_swtpm


def uri_of(tpm: SwTpm, options: str = "") -> str:
    return f"tpm2://{tpm.address}{options}"


def holds(keys: device.DeviceKeys, signature: bytes) -> bool:
    VerifyKey.from_jwk(keys.signer.jwk, "ES256").verify(signature, b"request")
    return True


def test_the_key_signs_es256_and_opens_again(shared: SwTpm) -> None:
    made, data = device.make(uri_of(shared), os.urandom)
    again = device.open_(data, "device.key")
    assert again.storage == made.storage and again.signer.kid == made.signer.kid
    for _ in range(3):
        assert holds(made, again.signer.sign(b"request"))
    assert made.storage not in data and made.storage.hex() not in repr(made)


def test_the_signer_is_neither_pickled_nor_copied(shared: SwTpm) -> None:
    made, _ = device.make(uri_of(shared), os.urandom)
    for act in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError):
            act(made.signer)


def test_a_signer_goes_on_after_a_power_cut_and_after_an_orderly_restart(own: SwTpm) -> None:
    made, _ = device.make(uri_of(own), os.urandom)
    assert holds(made, made.signer.sign(b"request"))
    own.kill()
    with pytest.raises(KeyStoreUnavailable):
        made.signer.sign(b"request")
    own.start()
    assert holds(made, made.signer.sign(b"request"))
    own.stop()
    own.start()
    assert holds(made, made.signer.sign(b"request"))


def test_a_cleared_tpm_signs_no_more(own: SwTpm) -> None:
    made, data = device.make(uri_of(own), os.urandom)
    made.signer.sign(b"request")
    with own.connect() as tpm:
        state.clear(tpm)
    with pytest.raises(TpmCleared):
        made.signer.sign(b"request")
    with pytest.raises(TpmCleared):
        device.open_(data, "device.key")


def test_a_device_bound_to_a_measured_state_neither_signs_nor_opens_in_another(
    own: SwTpm, tmp_path: Path
) -> None:
    approving.make_authority(tmp_path / "owner.pem", tmp_path / "owner.jwk")
    uri = uri_of(own, f"?pcrs=sha256:7&authority={tmp_path / 'owner.jwk'}")
    made, data = device.make(uri, os.urandom)
    assert holds(made, made.signer.sign(b"request"))
    with own.connect() as tpm:
        state.extend_pcr(tpm, 7, b"\1" * 32)
    with pytest.raises(KeyPolicyFailed):
        made.signer.sign(b"request")
    with pytest.raises(KeyPolicyFailed):
        device.open_(data, "device.key")
    policy = tmp_path / "device.key.policy"
    approving.approve(policy, tmp_path / "owner.pem", "sha256:7", values=None, tpm=own.address)
    again = device.open_(data, "device.key", policy=policy.read_bytes())
    assert again.storage == made.storage and holds(made, again.signer.sign(b"request"))


def test_another_tpm_and_another_kind_of_file_are_told_apart(
    shared: SwTpm, own: SwTpm, folder: Path
) -> None:
    _, data = device.make(uri_of(shared), os.urandom)
    with pytest.raises(KeyOfAnotherTpm):
        device.open_(data, "device.key", uri=uri_of(own))
    tpm2.create(f"{uri_of(shared)}?file=kek.tpm2", base=folder)
    with pytest.raises(StateDamaged):
        device.open_((folder / "kek.tpm2").read_bytes(), "device.key")
    (folder / "device.key").write_bytes(data)
    (folder / "device.key").chmod(0o600)
    with pytest.raises(KeyStoreUnavailable):
        tpm2.open_provider(f"{uri_of(shared)}?file=device.key", base=folder)
    with pytest.raises(ConfigInvalid):
        device.make(f"{uri_of(shared)}?file=elsewhere.key", os.urandom)
    with pytest.raises(StateDamaged):
        device.open_(data, "device.key", policy=b"{}")
    assert approvals.decode(approvals.encode([]), "x") == ()


def test_signing_leaves_nothing_in_the_tpm(shared: SwTpm) -> None:
    made, _ = device.make(uri_of(shared), os.urandom)
    for _ in range(100):
        made.signer.sign(b"request")
    with shared.connect() as tpm:
        assert tpm.handles(0x80000000) == () and tpm.handles(0x02000000) == ()
