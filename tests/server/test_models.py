"""Publishing: what is checked before a key is stored, and which keys a device gets."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from tests.server.world import Computer, Shop

from modelseal import admin, cbor, container
from modelseal.container import BytesSource
from modelseal.crypto import hpke
from modelseal.desk import publishing, sealing
from modelseal.desk import workspace as workspaces
from modelseal.errors import (
    AccessDenied,
    CatalogInvalid,
    Conflict,
    ContainerDamaged,
    DownloadDamaged,
    NotFound,
    NotSealed,
    SealedKeyInvalid,
    WrongPublisher,
)
from modelseal.license.claims import SealedText
from modelseal.server.services.actors import Actor
from modelseal.server.services.admin import LocalAdmin
from modelseal.server.services.granting import sections_granted
from modelseal.strict_json import b64u, unb64u
from modelseal.trust import metadata, writing


@pytest.fixture
def sealed(shop: Shop, tmp_path: Path) -> Path:
    """A sealed model that is not published yet."""
    plain = tmp_path / "swap.onnx"
    plain.write_bytes(os.urandom(3000))
    with workspaces.open(shop.home) as desk:
        sealing.seal_paths(
            desk, [plain], tmp_path / "swap.sealed", entitlements=["face.swap"], now=shop.clock()
        )
    return tmp_path / "swap.sealed"


class Spy:
    """Takes what the desk would publish and alters it on the way."""

    def __init__(self, api: LocalAdmin, alter: object) -> None:
        self._api, self._alter = api, alter

    def __getattr__(self, name: str) -> object:
        return getattr(self._api, name)

    def publish_model(self, wish: admin.PublishModel) -> admin.PublishedModel:
        return self._api.publish_model(self._alter(wish))  # type: ignore[operator]


def publish_altered(shop: Shop, sealed: Path, alter: object) -> None:
    with workspaces.open(shop.home) as desk:
        publishing.publish(desk, Spy(shop.admin, alter), sealed, now=shop.clock())  # type: ignore[arg-type]


def seal_keys(shop: Shop, sealed: Path, keys: list[list[object]]) -> SealedText:
    model = container.parse(BytesSource(sealed.read_bytes()))
    info = hpke.info(
        "publish",
        {
            "server": shop.trust.server_id,
            "product": "facefusion",
            "file": model.file_id,
            "digest": model.digest(),
        },
    )
    to = shop.trust.sealing_key(shop.clock())
    ct = to.seal(cbor.encode(keys), info)
    return SealedText(recipient=to.kid, suite=hpke.SUITE, ct=b64u(ct))


def test_a_published_models_keys_reach_exactly_the_entitled(shop: Shop, tmp_path: Path) -> None:
    shop.plan("swap", "face.swap")
    shop.plan("both", "face.swap", "face.restore")
    shop.plan("none", "other.thing")
    swap = shop.publish(tmp_path, "swap.onnx", "face.swap")
    restore = shop.publish(tmp_path, "restore.onnx", "face.swap+face.restore")
    files = {}
    for plan in ("swap", "both", "none"):
        device = Computer(shop, plan)
        device.activate(shop.license(plan).license_key)
        files[plan] = {b64u(file) for file, _section in device.keys}
    assert files == {
        "swap": {swap.file_id},
        "both": {swap.file_id, restore.file_id},
        "none": set(),
    }


def test_the_keys_in_a_lease_are_those_of_the_file(
    shop: Shop, computer: Computer, sealed: Path
) -> None:
    shop.plan()
    with workspaces.open(shop.home) as desk:
        publishing.publish(desk, shop.admin, sealed, now=shop.clock())
    computer.activate(shop.license().license_key)
    model = container.parse(BytesSource(sealed.read_bytes())).verify_signatures(
        shop.trust.publisher_keys(), product="facefusion"
    )
    assert sorted(section for _file, section in computer.keys) == [0, 1]
    for (file_id, section), key in computer.keys.items():
        assert file_id == model.file_id
        model.check_key(section, key)


def test_a_model_published_later_comes_with_the_next_lease_and_a_withdrawn_one_goes(
    shop: Shop, computer: Computer, tmp_path: Path
) -> None:
    shop.plan()
    computer.activate(shop.license().license_key)
    assert computer.keys == {}
    model = shop.publish(tmp_path, "swap.onnx", "face.swap")
    computer.renew()
    assert {b64u(file) for file, _ in computer.keys} == {model.file_id}
    with workspaces.open(shop.home) as desk:
        publishing.withdraw(desk, shop.admin, "swap", now=shop.clock())
    computer.renew()
    assert computer.keys == {}


def test_a_data_key_that_is_not_its_sections_is_never_stored(shop: Shop, sealed: Path) -> None:
    wrong = seal_keys(shop, sealed, [[0, os.urandom(32)], [1, os.urandom(32)]])
    with pytest.raises(ContainerDamaged):
        publish_altered(
            shop,
            sealed,
            lambda w: admin.PublishModel(
                blob_digest=w.blob_digest, sealed_keys=wrong, targets=w.targets
            ),
        )
    assert shop.admin.list_models().items == []
    assert stored_keys(shop) == 0


def stored_keys(shop: Shop) -> int:
    with sqlite3.connect(shop.home / "server/modelseal.db") as store:
        return int(store.execute("select count(*) from section_keys").fetchone()[0])


@pytest.mark.parametrize("keys", [[], [[0, b"short"]], [[0, bytes(32)]], "text", [[0]], [["0", 1]]])
def test_sealed_keys_of_another_form_are_refused(
    shop: Shop, sealed: Path, keys: list[list[object]]
) -> None:
    wrong = seal_keys(shop, sealed, keys)
    with pytest.raises(SealedKeyInvalid):
        publish_altered(
            shop,
            sealed,
            lambda w: admin.PublishModel(
                blob_digest=w.blob_digest, sealed_keys=wrong, targets=w.targets
            ),
        )


def test_targets_that_do_not_name_the_blob_are_refused(shop: Shop, sealed: Path) -> None:
    before = shop.admin.catalog_state().targets.data
    with pytest.raises(CatalogInvalid):
        publish_altered(
            shop,
            sealed,
            lambda w: admin.PublishModel(
                blob_digest=w.blob_digest, sealed_keys=w.sealed_keys, targets=before
            ),
        )
    forged = b'{"signatures":[],"signed":{"_type":"targets"}}'
    with pytest.raises(CatalogInvalid):
        publish_altered(
            shop,
            sealed,
            lambda w: admin.PublishModel(
                blob_digest=w.blob_digest, sealed_keys=w.sealed_keys, targets=forged
            ),
        )


@pytest.mark.parametrize(
    ("member", "value"),
    [("entitlements", [[], ["face.restore"]]), ("size", 1), ("release", 7), ("name", "../x")],
)
def test_targets_that_say_something_else_than_the_header_are_refused(
    shop: Shop, sealed: Path, member: str, value: object
) -> None:
    def told(wish: admin.PublishModel) -> admin.PublishModel:
        signed = json.loads(wish.targets)["signed"]
        for entry in signed["targets"].values():
            entry["custom"]["modelseal"][member] = value
        with workspaces.open(shop.home) as desk:
            targets = writing.sign(signed, desk.desk_signers("targets", shop.clock()))
        return admin.PublishModel(
            blob_digest=wish.blob_digest, sealed_keys=wish.sealed_keys, targets=targets
        )

    with pytest.raises(CatalogInvalid):
        publish_altered(shop, sealed, told)
    assert shop.admin.list_models().items == [] and stored_keys(shop) == 0


def test_a_blob_of_another_publisher_is_refused(shop: Shop, sealed: Path, tmp_path: Path) -> None:
    workspaces.init(tmp_path / "rival", "facefusion", now=shop.clock())
    plain = tmp_path / "x.onnx"
    plain.write_bytes(b"x" * 2000)
    with workspaces.open(tmp_path / "rival") as desk:
        sealing.seal_paths(
            desk, [plain], tmp_path / "x.sealed", entitlements=["face.swap"], now=shop.clock()
        )
    digest = shop.admin.put_blob(tmp_path / "x.sealed")
    with pytest.raises(WrongPublisher):
        publish_altered(
            shop,
            sealed,
            lambda w: admin.PublishModel(
                blob_digest=digest, sealed_keys=w.sealed_keys, targets=w.targets
            ),
        )


def test_a_blob_that_never_came_is_not_found(shop: Shop, sealed: Path) -> None:
    with pytest.raises(NotFound):
        publish_altered(
            shop,
            sealed,
            lambda w: admin.PublishModel(
                blob_digest="0" * 64, sealed_keys=w.sealed_keys, targets=w.targets
            ),
        )


def test_a_release_is_taken_by_one_file(shop: Shop, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(shop.home, twin)
    shop.publish(tmp_path, "swap.onnx", "face.swap")
    plain = tmp_path / "swap.onnx"
    plain.write_bytes(os.urandom(100))
    with workspaces.open(twin) as desk:
        sealing.seal_paths(
            desk, [plain], tmp_path / "again.sealed", entitlements=["face.swap"], now=shop.clock()
        )
        with pytest.raises(Conflict):
            publishing.publish(desk, shop.admin, tmp_path / "again.sealed", now=shop.clock())
    assert len(shop.admin.list_models().items) == 1


def test_only_sealed_models_become_blobs_and_only_whole_ones(shop: Shop, tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    plain.write_bytes(os.urandom(500))
    with pytest.raises(NotSealed):
        shop.admin.put_blob(plain)
    writer = shop.server.context.blobs.receive()
    writer.write(b"half a file")
    with pytest.raises(DownloadDamaged):
        writer.commit(hashlib.sha256(b"the whole file").hexdigest())
    folder = shop.home / "server/blobs"
    assert not [p for p in folder.rglob("*") if p.is_file()]


def test_a_crc_trailer_is_no_part_of_a_blob(shop: Shop, sealed: Path) -> None:
    digest = hashlib.sha256(sealed.read_bytes()).hexdigest()
    with sealed.open("ab") as file:
        file.write(b"\x01\x02\x03\x04")
    assert shop.admin.put_blob(sealed) == digest


def test_uploads_that_a_crash_left_are_swept_after_a_day(shop: Shop) -> None:
    incoming = shop.home / "server/blobs/incoming"
    incoming.mkdir(exist_ok=True)
    old, young = incoming / "old.part", incoming / "young.part"
    for path in (old, young):
        path.write_bytes(b"half")
    start = shop.clock().timestamp()
    os.utime(old, (start - 100_000, start - 100_000))
    os.utime(young, (start, start))
    shop.reopen().server.close()
    assert not old.exists() and young.exists()


def test_stored_data_keys_are_wrapped_and_bound_to_their_place(
    shop: Shop, computer: Computer, tmp_path: Path
) -> None:
    shop.plan()
    one = shop.publish(tmp_path, "one.onnx", "face.swap")
    two = shop.publish(tmp_path, "two.onnx", "face.swap")
    computer.activate(shop.license().license_key)
    raw = (shop.home / "server/modelseal.db").read_bytes()
    raw += (shop.home / "server/modelseal.db-wal").read_bytes()
    assert computer.keys and not any(key in raw for key in computer.keys.values())
    with sqlite3.connect(shop.home / "server/modelseal.db") as store:
        moved = store.execute(
            "select wrapped from section_keys where file_id=? and section=1", [unb64u(one.file_id)]
        ).fetchone()
        store.execute(
            "update section_keys set wrapped=? where file_id=? and section=1",
            [moved[0], unb64u(two.file_id)],
        )
    with pytest.raises(Exception) as caught:
        computer.renew()
    assert caught.value.code == "wrapped_key_invalid"  # type: ignore[attr-defined]


def test_what_the_database_says_of_entitlements_grants_nothing(
    shop: Shop, computer: Computer, tmp_path: Path
) -> None:
    shop.plan("none", "other.thing")
    shop.publish(tmp_path, "swap.onnx", "face.swap")
    with sqlite3.connect(shop.home / "server/modelseal.db") as store:
        store.execute("update models set entitlements='[\"other.thing\"]'")
    computer.activate(shop.license("none").license_key)
    assert computer.keys == {}


def test_a_damaged_blob_keeps_nobody_from_the_other_models(
    shop: Shop, computer: Computer, tmp_path: Path
) -> None:
    shop.plan()
    bad = shop.publish(tmp_path, "bad.onnx", "face.swap")
    good = shop.publish(tmp_path, "good.onnx", "face.swap")
    path = shop.server.context.blobs.path(bad.blob_digest)
    path.write_bytes(b"\x00" * 200)
    fresh = shop.reopen()
    computer.shop = fresh
    computer.activate(shop.license().license_key)
    assert {b64u(file) for file, _ in computer.keys} == {good.file_id}
    fresh.server.close()


def test_sections_go_with_their_own_expression_and_level(shop: Shop, tmp_path: Path) -> None:
    from dataclasses import replace

    from modelseal.types import EntitlementExpression, Level

    model = shop.publish(tmp_path, "swap.onnx", "face.swap")
    index, body = shop.server.models.sections(model.blob_digest)
    a, b = (EntitlementExpression.parse([t]) for t in ("a", "a+b"))
    first, second = replace(body, id=1, entitlement=a), replace(body, id=2, entitlement=b)
    high = replace(body, id=3, entitlement=a, level=Level.L4)
    table = [index, first, second, high]
    assert sections_granted(table, frozenset({"a"}), 0) == [0, 1]
    assert sections_granted(table, frozenset({"a", "b"}), 0) == [0, 1, 2]
    assert sections_granted(table, frozenset({"a"}), 4) == [0, 1, 3]
    assert sections_granted(table, frozenset({"b"}), 5) == []


def test_the_catalog_is_refreshed_before_it_expires(shop: Shop) -> None:
    first = shop.admin.catalog_state()
    shop.clock.pass_(hours=13)
    document = shop.server.catalog.document("timestamp.json")
    second = metadata.read(document, "timestamp")
    assert second.version == first.timestamp.version + 1
    assert shop.admin.catalog_state().snapshot.version == first.snapshot.version
    shop.clock.pass_(days=4)
    third = shop.admin.catalog_state()
    assert third.snapshot.version == first.snapshot.version + 1
    assert third.timestamp.expires_at > shop.clock()
    for name in ("99.root.json", "0.root.json", "../trust.json", "1.other.json", "root.json"):
        with pytest.raises(NotFound):
            shop.server.catalog.document(name)


def test_python_tuf_walks_the_catalog(shop: Shop, tmp_path: Path) -> None:
    from tuf.api.metadata import Metadata

    shop.publish(tmp_path, "swap.onnx", "face.swap")
    state = shop.admin.catalog_state()
    root = Metadata.from_bytes(state.root.data).signed
    for role in ("targets", "snapshot", "timestamp"):
        document = Metadata.from_bytes(getattr(state, role).data)
        root.verify_delegate(role, document.signed_bytes, document.signatures)
    targets = Metadata.from_bytes(state.targets.data)
    keys = Metadata.from_bytes(state.keys.data)
    targets.signed.verify_delegate("keys", keys.signed_bytes, keys.signatures)
    snapshot = Metadata.from_bytes(state.snapshot.data).signed
    snapshot.meta["targets.json"].verify_length_and_hashes(state.targets.data)
    digest = keys.signed.targets["keys"].hashes["sha256"]
    assert shop.server.catalog.key_list(f"{digest}.keys")


def test_an_auditor_publishes_nothing(shop: Shop, sealed: Path) -> None:
    auditor = LocalAdmin(shop.server, Actor("token:tok_x", admin.Role.AUDITOR))
    with pytest.raises(AccessDenied):
        auditor.put_blob(sealed)
    with pytest.raises(AccessDenied):
        auditor.withdraw_model("mod_x", b"")


def test_a_blob_is_hashed_once_and_again_when_somebody_touched_it(
    shop: Shop, tmp_path: Path
) -> None:
    """What was hashed as it was stored is known by its file; a file that changed since is not."""
    model = shop.publish(tmp_path, "swap.onnx", "face.swap")
    blobs = shop.server.context.blobs
    assert blobs.was_hashed(model.blob_digest)
    with shop.reopen().server as other:
        assert not other.context.blobs.was_hashed(model.blob_digest)
    path = shop.home / "server/blobs" / model.blob_digest[:2] / model.blob_digest
    with path.open("r+b") as file:
        file.write(b"\x89")  # the byte that was there: only the file's times tell
    assert not blobs.was_hashed(model.blob_digest) and not blobs.was_hashed("0" * 64)
