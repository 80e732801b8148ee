"""Pulling: all that is granted, verified, under its name; nothing of anybody else's."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import pytest
from tests.client.activated import MODEL, keys_of
from tests.client.world import Clock, FakeServer, foundation, seal, serve

from modelseal import errors
from modelseal.errors import (
    NotActivated,
)


def test_pull_fetches_all_that_is_granted_under_its_name(world, active, tmp_path):
    world.server.publish(seal("restore.onnx", entitlement="face.restore"))
    told = []
    pulled = active.pull(tmp_path / "m", on_progress=lambda *step: told.append(step))
    assert [(m.name, m.outcome) for m in pulled.models] == [("swap.onnx", "downloaded")]
    assert pulled.not_granted == ("restore.onnx",)
    assert (tmp_path / "m" / "swap.onnx").read_bytes() == MODEL.data
    assert told[-1] == (len(MODEL.data), len(MODEL.data), "swap.onnx")
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["swap.onnx"]


def test_what_is_there_is_not_fetched_again(world, active, tmp_path):
    active.pull(tmp_path)
    before = len(world.server.asked)
    assert active.pull(tmp_path).models[0].outcome == "present"
    assert not [p for _, p in world.server.asked[before:] if "/blobs/" in p]


def test_a_damaged_file_is_fetched_again(world, active, tmp_path):
    active.pull(tmp_path)
    place = tmp_path / "swap.onnx"
    data = bytearray(place.read_bytes())
    data[-100] ^= 1
    place.write_bytes(data)
    assert active.pull(tmp_path).models[0].outcome == "downloaded"
    assert place.read_bytes() == MODEL.data


def test_a_file_gets_the_checksum_that_the_catalog_names_and_is_still_the_model(
    world, active, tmp_path
):
    """A program that compares CRC-32 finds that of the plain file; what lacks it is replaced."""
    place, plain = tmp_path / "swap.onnx", zlib.crc32(b"the plain file")
    active.pull(tmp_path)
    assert place.read_bytes() == MODEL.data
    world.server.publish(replace(MODEL, crc32=f"{plain:08x}"))
    for outcome in ("downloaded", "present"):
        assert active.pull(tmp_path).models[0].outcome == outcome
        data = place.read_bytes()
        assert (data[:-4], zlib.crc32(data)) == (MODEL.data, plain)


@pytest.mark.parametrize("told", ["0DADA067", "123456789", "", "g0000000", 7])
def test_a_checksum_of_another_form_is_no_catalog(world, active, tmp_path, told):
    world.server.publish(replace(MODEL, crc32=told))
    with pytest.raises(errors.CatalogInvalid):
        active.pull(tmp_path)


def test_a_newer_release_replaces_the_older(world, active, tmp_path):
    active.pull(tmp_path)
    newer = seal(release=2, min_release=2)
    world.server.publish(newer)
    pulled = active.pull(tmp_path)
    assert (pulled.models[0].release, pulled.renewed) == (2, True)
    assert (tmp_path / "swap.onnx").read_bytes() == newer.data
    assert active.min_release("swap") == 2
    assert keys_of(active, newer) == newer.keys


def test_a_plain_file_in_the_way_is_never_overwritten(world, active, tmp_path):
    (tmp_path / "swap.onnx").write_bytes(b"my own work")
    with pytest.raises(errors.OutputExists):
        active.pull(tmp_path)
    assert (tmp_path / "swap.onnx").read_bytes() == b"my own work"


def test_a_catalog_that_goes_back_is_refused(world, active, tmp_path):
    world.server.publish(seal("b.onnx"))
    active.pull(tmp_path)
    world.server.version -= 1
    with pytest.raises(errors.InvalidBytes):
        active.pull(tmp_path)


def test_a_catalog_signed_by_somebody_else_is_refused(world, active, tmp_path):
    world.server = FakeServer(world.clock, founded=foundation.__wrapped__())
    world.server.publish(MODEL)
    active._core._transport = world.server
    with pytest.raises(errors.CatalogInvalid):
        active.pull(tmp_path)
    assert list(tmp_path.glob("*.onnx")) == []


def test_pull_without_a_license_is_refused(client):
    with pytest.raises(NotActivated):
        client.pull()


@pytest.mark.parametrize("name", ["../evil.onnx", "/etc/evil", "a/../../b", "C:\\x", ".hidden", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(name):
    from modelseal.client.pull import safe_name

    with pytest.raises(errors.CatalogInvalid):
        safe_name(name)


def test_the_status_is_json_for_a_program(active):
    import msgspec

    told = json.loads(msgspec.json.encode(active.status()))
    assert told["state"] == "ACTIVE"
    assert told["lease"]["expires_at"].endswith("Z")


def test_only_errors_of_the_tree_leave(world, active):
    world.server.instead = lambda method, path: 1 / 0
    with pytest.raises(errors.InternalError) as caught:
        active.renew()
    assert caught.value.exit_code == 1


__all__ = ["Clock", "serve"]
