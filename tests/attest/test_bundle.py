"""Endorsement bundles: signed, numbered, ending; made in a desk and taken in by a site."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attest.judging import SAMPLES
from tests.cli.world import here

from modelseal import cbor
from modelseal import trust as trusts
from modelseal.attest.verify import bundle as bundles
from modelseal.attest.verify.bundle import MAGIC, Bundle, Item, Seen
from modelseal.crypto.signing import SigningKey, VerifyKey
from modelseal.desk import endorsing, founding
from modelseal.desk import workspace as workspaces
from modelseal.desk.workspace import Workspace
from modelseal.errors import (
    EndorsementBundleExpired,
    EndorsementBundleInvalid,
    EndorsementBundleReplayed,
    Misuse,
    ModelsealError,
    TokenKeyUnknown,
)
from modelseal.trust import Use

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = [SigningKey.generate("Ed25519"), SigningKey.generate("ES256")]
GOOD = Bundle("facefusion", 7, NOW, NOW + timedelta(days=30), (Item("a.crl", b"list"),))


def both(kid: str, _at: datetime) -> Sequence[VerifyKey]:
    """A trust that lists two keys together."""
    if kid not in {key.kid for key in KEYS}:
        raise TokenKeyUnknown("not listed")
    return [key.verify_key() for key in KEYS]


def read(data: bytes, now: datetime = NOW, **given: object) -> Bundle:
    return bundles.read(data, both, now, **given)  # type: ignore[arg-type]


names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20)


@given(
    st.dictionaries(names, st.binary(max_size=200), min_size=1, max_size=5),
    st.integers(1, 2**53 - 1),
    st.integers(1, 180),
    st.dictionaries(names, st.lists(names, max_size=3).map(tuple), max_size=3),
)
def test_what_was_written_is_read(items, number, days, roots):
    made = Bundle(
        "facefusion",
        number,
        NOW,
        NOW + timedelta(days=days),
        tuple(Item(name, data) for name, data in items.items()),
        roots,
    )
    assert read(bundles.write(made, KEYS)) == made


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"number": 2**53},
        {"product": ""},
        {"items": ()},
        {"items": (Item("a", b""), Item("a", b""))},
        {"items": (Item("", b""),)},
        {"items": (Item("a\n", b""),)},
        {"expires_at": NOW},
        {"expires_at": NOW + timedelta(days=181)},
    ],
)
def test_a_bundle_that_could_not_be_read_is_not_written(changes):
    with pytest.raises(Misuse):
        bundles.write(replace(GOOD, **changes), KEYS)


def test_every_changed_byte_is_noticed():
    data = bundles.write(GOOD, KEYS)
    for place in range(len(data)):
        with pytest.raises(EndorsementBundleInvalid):
            read(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


@pytest.mark.parametrize("cut", [0, 7, 8, 50, -1])
def test_a_part_of_a_bundle_is_none(cut):
    with pytest.raises(EndorsementBundleInvalid):
        read(bundles.write(GOOD, KEYS)[:cut])


@given(st.binary(max_size=300))
def test_hostile_bytes_are_refused(data):
    for bent in (data, MAGIC + data):
        with pytest.raises(EndorsementBundleInvalid):
            read(bent)


def test_all_keys_of_the_set_must_have_signed():
    for signers in (KEYS[:1], KEYS[1:], [KEYS[0], SigningKey.generate()], [KEYS[0], KEYS[0]]):
        with pytest.raises(EndorsementBundleInvalid):
            read(bundles.write(GOOD, signers))


def test_a_key_for_something_else_signs_no_bundle():
    with pytest.raises(EndorsementBundleInvalid):
        read(bundles.write(GOOD, [SigningKey.generate()]))


def test_the_signed_bytes_are_of_this_use_alone():
    payload = cbor.decode(bundles.write(GOOD, KEYS)[8:], max_bytes=9999)["payload"]
    signatures = [{"kid": key.kid, "signature": key.sign(payload)} for key in KEYS]
    forged = MAGIC + cbor.encode({"payload": payload, "signatures": signatures})
    with pytest.raises(EndorsementBundleInvalid):
        read(forged)


def test_a_bundle_ends_and_says_for_how_long_already():
    data = bundles.write(GOOD, KEYS)
    assert read(data, GOOD.expires_at - timedelta(seconds=1)) == GOOD
    with pytest.raises(EndorsementBundleExpired) as caught:
        read(data, GOOD.expires_at + timedelta(days=3))
    assert "3 days ago" in caught.value.message


def test_a_bundle_of_the_future_or_of_another_product_is_refused():
    data = bundles.write(GOOD, KEYS)
    with pytest.raises(EndorsementBundleInvalid):
        read(data, NOW - timedelta(minutes=6))
    with pytest.raises(EndorsementBundleInvalid):
        read(data, product="other")


@pytest.mark.parametrize(("number", "refused"), [(6, False), (7, True), (8, True)])
def test_an_older_bundle_and_another_of_the_same_number_are_refused(number, refused):
    data = bundles.write(GOOD, KEYS)
    seen = Seen(number, "00" * 32)
    if not refused:
        assert read(data, last_seen=seen) == GOOD
        return
    with pytest.raises(EndorsementBundleReplayed):
        read(data, last_seen=seen)


def test_the_same_bundle_again_is_the_same():
    assert read(bundles.write(GOOD, KEYS), last_seen=GOOD.seen) == GOOD


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workspaces.init(tmp_path_factory.mktemp("t") / "shop", "facefusion", now=NOW).home


@pytest.fixture
def shop(tmp_path: Path, template: Path) -> Workspace:
    shutil.copytree(template, tmp_path / "shop")
    return workspaces.open(tmp_path / "shop")


def made(shop: Workspace, now: datetime = NOW) -> bytes:
    return endorsing.create(shop, [("a.crl", b"list")], days=30, now=now)[1]


def test_each_bundle_of_a_desk_is_one_higher(shop):
    first, second = (endorsing.create(shop, [("a", b"")], days=1, now=NOW)[0] for _ in range(2))
    assert (first.number, second.number) == (1, 2)
    assert first.roots["android"] and first.roots["nvidia"]


def test_a_site_takes_in_newer_bundles_only(shop, tmp_path):
    site = tmp_path / "site"
    old, new = made(shop), made(shop)
    assert endorsing.take_in(site, new, shop.trust, NOW).number == 2
    with pytest.raises(EndorsementBundleReplayed):
        endorsing.take_in(site, old, shop.trust, NOW)
    assert (site / endorsing.BUNDLE).read_bytes() == new
    assert endorsing.take_in(site, new, shop.trust, NOW).number == 2


def test_removing_the_bundle_does_not_bring_an_older_one_back(shop, tmp_path):
    site = tmp_path / "site"
    old, new = made(shop), made(shop)
    endorsing.take_in(site, new, shop.trust, NOW)
    (site / endorsing.BUNDLE).unlink()
    with pytest.raises(EndorsementBundleReplayed):
        endorsing.take_in(site, old, shop.trust, NOW)


def test_a_refused_bundle_changes_nothing(shop, tmp_path):
    site = tmp_path / "site"
    with pytest.raises(ModelsealError):
        endorsing.take_in(site, b"junk", shop.trust, NOW)
    assert not site.exists()


def test_the_endorsement_key_is_no_other_key_of_the_desk(shop):
    (key,) = shop.trust.keys(Use.ENDORSEMENT)
    assert key.kid in shop.desk_keys.kids("endorsement")
    others = {k.kid for use in Use if use is not Use.ENDORSEMENT for k in shop.trust.keys(use)}
    assert key.kid not in others


def test_commands_make_show_verify_and_import_a_bundle(tmp_path):
    home, files = tmp_path / "shop", tmp_path / "files"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    files.mkdir()
    (files / "a.crl").write_bytes(b"list")
    (files / "status.json").write_bytes(b'{"entries": {}}')
    out = tmp_path / "one.mse"
    done = here("attest", "bundle", "create", files, "-o", out, "--home", home, "--json")
    assert done.json["number"] == 1
    assert [item["name"] for item in done.json["items"]] == ["a.crl", "status.json"]
    trust = home / "trust.json"
    shown = here("attest", "bundle", "show", out, "--trust", trust, "--json")
    assert shown.json["digest"] == done.json["digest"]
    assert here("verify", out, "--trust", trust, "--json").json["kind"] == "endorsement bundle"
    assert here("inspect", out, "--json").json["kind"] == "endorsement bundle"
    taken = here("attest", "bundle", "import", out, "--home", home, "--json")
    assert taken.json["path"] == str(home / "server" / "endorsements" / "bundle.mse")
    newer = tmp_path / "two.mse"
    here("attest", "bundle", "create", files, "-o", newer, "--home", home)
    assert here("attest", "bundle", "import", newer, "--home", home).code == 0
    again = here("attest", "bundle", "import", out, "--home", home, "--json")
    again.refused("endorsement_bundle_replayed", 4)


def test_a_bundle_endorses_evidence_by_the_trust_of_its_publisher(tmp_path):
    home, status = tmp_path / "shop", tmp_path / "status.json"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    listed = {"388266760658996857d": {"status": "REVOKED", "reason": "KEY_COMPROMISE"}}
    status.write_text(json.dumps({"entries": listed}))
    out = tmp_path / "one.mse"
    here("attest", "bundle", "create", status, "-o", out, "--home", home)
    chain = sorted((SAMPLES / "android-key" / "algorithm_EC_SecurityLevel_TEE").glob("*.pem"))
    asked = ("attest", "appraise", *chain, "--kind", "android", "--json")
    assert here(*asked).code == 6
    judged = here(*asked, "--endorsements", out, "--trust", home / "trust.json")
    assert (judged.code, judged.json["code"]) == (4, "certificate_revoked")
    here(*asked, "--endorsements", out).refused("misuse", 2)


def test_commands_refuse_a_bundle_of_another_product(tmp_path):
    for name in ("one", "two"):
        home = tmp_path / name
        assert here("init", "--home", home, "--product", name).code == 0
    item = tmp_path / "a.crl"
    item.write_bytes(b"list")
    out = tmp_path / "one.mse"
    here("attest", "bundle", "create", item, "-o", out, "--home", tmp_path / "one")
    ran = here("attest", "bundle", "import", out, "--home", tmp_path / "two", "--json")
    ran.refused("endorsement_bundle_invalid", 4)
    assert trusts.parse((tmp_path / "two" / "trust.json").read_bytes()).product == "two"


def test_a_rotated_endorsement_key_signs_and_the_old_one_ends_with_its_longest_bundle(tmp_path):
    home, item, out = tmp_path / "shop", tmp_path / "a.crl", tmp_path / "one.mse"
    item.write_bytes(b"list")
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    here("attest", "bundle", "create", item, "-o", out, "--home", home)
    rotate = ("keys", "rotate", "signing", "--key", "endorsement", "--home", home, "--json")
    states = {row["state"] for row in here(*rotate).json["keys"]}
    assert states == {"new", "ending"}
    pinned = trusts.parse((home / "trust.json").read_bytes())
    old, new = pinned.keys(Use.ENDORSEMENT)
    assert old.not_after is not None and old.not_after > datetime.now(UTC) + timedelta(days=179)
    assert new.not_after is None
    assert here("attest", "bundle", "show", out, "--home", home).code == 0
    again = here("attest", "bundle", "create", item, "-o", tmp_path / "b", "--home", home, "--json")
    assert again.json["number"] == 2


def test_a_workspace_from_before_there_were_bundles_gets_its_key_by_rotation(tmp_path, monkeypatch):
    all_keys = founding._desk_keys
    home, item, out = tmp_path / "shop", tmp_path / "a.crl", tmp_path / "one.mse"
    item.write_bytes(b"list")
    with monkeypatch.context() as patched:
        before = lambda authority: [k for k in all_keys(authority) if k.use != "endorsement"]  # noqa: E731
        patched.setattr(founding, "_desk_keys", before)
        assert here("init", "--home", home, "--product", "facefusion").code == 0
    asked = ("attest", "bundle", "create", item, "-o", out, "--home", home, "--json")
    here(*asked).refused("misuse", 2)
    assert not out.exists()
    rotate = ("keys", "rotate", "signing", "--key", "endorsement", "--home", home)
    assert here(*rotate).code == 0
    assert here(*asked).json["number"] == 1
