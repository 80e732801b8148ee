"""The server's private keys: kept, opened, rotated, never lost and never shown."""

from __future__ import annotations

import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelseal import cbor, keys
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    InvalidBytes,
    KeyStoreUnavailable,
    Misuse,
    OutputExists,
    StateDamaged,
    TokenKeyUnknown,
    WrappedKeyInvalid,
)
from modelseal.keys import OnlineKeys
from modelseal.keys.folder import MAGIC
from modelseal.keys.online import SIGNING_USES
from modelseal.keys.provider import GuardedProvider
from modelseal.testing.keys import FakeKeyProvider, LyingKeyProvider, raising

pytestmark = pytest.mark.filterwarnings("ignore::modelseal.testing.keys.FakeKeyProviderWarning")
DAY = timedelta(days=1)


@pytest.fixture
def online(tmp_path: Path) -> OnlineKeys:
    """An empty folder of online keys."""
    return OnlineKeys(tmp_path, FakeKeyProvider("kek"), server_id="srv_1")


def again(folder: Path, name: str = "kek", server: str = "srv_1") -> OnlineKeys:
    return OnlineKeys(folder, FakeKeyProvider(name), server_id=server)


def the_file(folder: Path) -> Path:
    (found,) = folder.glob("*.key")
    return found


@pytest.mark.parametrize("alg", ["Ed25519", "ES256", "ML-DSA-65"])
def test_a_kept_key_signs_after_a_restart_as_before(
    tmp_path: Path, online: OnlineKeys, now: datetime, alg: str
) -> None:
    key = SigningKey.generate(alg)
    online.add("lease", key, not_before=now)
    (signer,) = again(tmp_path).signers("lease", now)
    assert (signer.kid, signer.alg) == (key.kid, alg)
    key.verify_key().verify(signer.sign(b"x"), b"x")


def test_every_use_has_its_own_key(online: OnlineKeys, now: datetime) -> None:
    for use in SIGNING_USES:
        online.add(use, SigningKey.generate(), not_before=now)
    kids = {online.signers(use, now)[0].kid for use in SIGNING_USES}
    assert len(kids) == len(SIGNING_USES)
    assert online.check() == len(SIGNING_USES)


def test_a_hybrid_set_signs_together_ed25519_first(online: OnlineKeys, now: datetime) -> None:
    for alg in ("ML-DSA-65", "Ed25519"):
        online.add("lease", SigningKey.generate(alg), not_before=now, set_name="lease-1")
    assert [signer.alg for signer in online.signers("lease", now)] == ["Ed25519", "ML-DSA-65"]


def test_after_a_rotation_the_newest_valid_set_signs(online: OnlineKeys, now: datetime) -> None:
    old, new = SigningKey.generate(), SigningKey.generate()
    online.add("lease", old, not_before=now, not_after=now + 9 * DAY, set_name="lease-1")
    online.add("lease", new, not_before=now + DAY, set_name="lease-2")
    assert online.signers("lease", now)[0].kid == old.kid
    assert online.signers("lease", now + DAY)[0].kid == new.kid
    with pytest.raises(TokenKeyUnknown):
        online.signers("lease", now - DAY)
    with pytest.raises(TokenKeyUnknown):
        online.signers("status", now)


def test_retired_sealing_keys_still_open(online: OnlineKeys, now: datetime) -> None:
    kem = [KemPrivateKey.generate(), KemPrivateKey.generate()]
    online.add("sealing", kem[0], not_before=now, not_after=now + DAY)
    online.add("sealing", kem[1], not_before=now + DAY)
    openers = online.sealing_openers()
    assert set(openers) == {key.kid for key in kem}
    for key in kem:
        assert openers[key.kid].open(key.public_key().seal(b"k", b"i"), b"i") == b"k"


def test_a_key_of_the_wrong_kind_is_misuse(online: OnlineKeys, now: datetime) -> None:
    with pytest.raises(Misuse):
        online.add("sealing", SigningKey.generate(), not_before=now)
    with pytest.raises(Misuse):
        online.add("lease", KemPrivateKey.generate(), not_before=now)
    with pytest.raises(Misuse):
        online.add("publisher", SigningKey.generate(), not_before=now)


def test_a_key_is_added_once(tmp_path: Path, online: OnlineKeys, now: datetime) -> None:
    key = SigningKey.generate()
    online.add("lease", key, not_before=now)
    before = the_file(tmp_path).read_bytes()
    with pytest.raises(OutputExists):
        online.add("lease", key, not_before=now)
    assert the_file(tmp_path).read_bytes() == before


def test_secrets_are_kept_like_keys(tmp_path: Path, online: OnlineKeys, now: datetime) -> None:
    online.add_secret("pepper", b"p" * 32, not_before=now)
    assert again(tmp_path).secret("pepper") == b"p" * 32
    with pytest.raises(TokenKeyUnknown):
        again(tmp_path).secret("salt")
    assert b"p" * 32 not in the_file(tmp_path).read_bytes()


def test_the_files_are_private_and_hold_no_private_byte(
    tmp_path: Path, online: OnlineKeys, now: datetime
) -> None:
    key = SigningKey.generate()
    online.add("lease", key, not_before=now)
    data = the_file(tmp_path).read_bytes()
    assert data.startswith(MAGIC)
    assert key.to_pkcs8()[-32:] not in data
    assert stat.S_IMODE(the_file(tmp_path).stat().st_mode) == 0o600


def test_another_key_encryption_key_opens_nothing(
    tmp_path: Path, online: OnlineKeys, now: datetime
) -> None:
    online.add("lease", SigningKey.generate(), not_before=now)
    with pytest.raises(WrappedKeyInvalid):
        again(tmp_path, "other").signers("lease", now)


def test_a_key_file_of_another_server_is_refused(
    tmp_path: Path, online: OnlineKeys, now: datetime
) -> None:
    online.add("lease", SigningKey.generate(), not_before=now)
    with pytest.raises(StateDamaged):
        again(tmp_path, server="srv_2").entries()


@pytest.mark.parametrize(
    ("member", "value"),
    [("use", "status"), ("kid", "x" * 43), ("server", "srv_2"), ("wrapped", b"x"), ("alg", "none"),
     ("not_before", -1), ("not_before", "0"), ("set", 7), ("extra", 1)],
)  # fmt: skip
def test_an_edited_key_file_never_opens_for_something_else(
    tmp_path: Path, online: OnlineKeys, now: datetime, member: str, value: Any
) -> None:
    online.add("lease", SigningKey.generate(), not_before=now)
    path = the_file(tmp_path)
    members = cbor.decode(path.read_bytes()[9:], max_bytes=99999)
    members[member] = value
    path.write_bytes(path.read_bytes()[:9] + cbor.encode(members))
    with pytest.raises(InvalidBytes):
        again(tmp_path).signers(str(value) if member == "use" else "lease", now)


@pytest.mark.parametrize("data", [b"", b"x", MAGIC + b"\x02", MAGIC + b"\x01", MAGIC + b"\x01\xff"])
def test_a_damaged_key_file_is_said_with_its_path(
    tmp_path: Path, online: OnlineKeys, now: datetime, data: bytes
) -> None:
    online.add("lease", SigningKey.generate(), not_before=now)
    the_file(tmp_path).write_bytes(data)
    with pytest.raises(StateDamaged) as caught:
        online.entries()
    assert caught.value.params["path"] == str(the_file(tmp_path))


def test_leftovers_of_a_crash_are_not_taken_for_keys(
    tmp_path: Path, online: OnlineKeys, now: datetime
) -> None:
    online.add("lease", SigningKey.generate(), not_before=now)
    (tmp_path / ".lease-1.key.0011.tmp").write_bytes(b"half")
    assert len(online.entries()) == 1


LIES: dict[str, Any] = {
    "another length": lambda honest: honest[:-1],
    "a KeyError": raising(KeyError("x")),
    "another key": lambda _: SigningKey.generate().to_pkcs8(),
    "no key": lambda _: b"hello",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lying_provider_gives_no_key(tmp_path: Path, now: datetime, lie: Any) -> None:
    honest = OnlineKeys(tmp_path, FakeKeyProvider("kek"), server_id="srv_1")
    honest.add("lease", SigningKey.generate(), not_before=now)
    liar = GuardedProvider(LyingKeyProvider(unwrap_lie=lie, name="kek"))
    with pytest.raises(KeyStoreUnavailable):
        OnlineKeys(tmp_path, liar, server_id="srv_1").signers("lease", now)


def test_a_missing_folder_is_one_of_our_errors(tmp_path: Path, now: datetime) -> None:
    online = again(tmp_path / "none")
    with pytest.raises(keys.online.Misuse):
        online.signers("lease", now)
