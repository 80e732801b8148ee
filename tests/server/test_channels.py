"""Channels: a model reaches the devices whose plan gets what it is published in, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.server.world import Computer, Shop

from modelseal import admin
from modelseal.desk import publishing
from modelseal.desk import workspace as workspaces
from modelseal.errors import CatalogInvalid, ConfigInvalid, Misuse
from modelseal.license.plans import Binding
from modelseal.strict_json import unb64u
from modelseal.trust import metadata, writing


def move(shop: Shop, path: Path, *channels: str) -> admin.PublishedModel:
    """The same sealed file published (again) in these channels."""
    with workspaces.open(shop.home) as desk:
        return publishing.publish(desk, shop.admin, path, channels=channels, now=shop.clock())


def device_of(shop: Shop, *channels: str) -> Computer:
    """A computer under a plan that gets these channels."""
    name = "-".join(channels)
    shop.plan(name, channels=list(channels))
    device = Computer(shop, name)
    device.activate(shop.license(name).license_key)
    return device


def files(device: Computer) -> set[bytes]:
    return {file_id for file_id, _section in device.keys}


def test_a_model_in_beta_reaches_beta_alone_and_everybody_once_it_is_stable(
    shop: Shop, tmp_path: Path
) -> None:
    first = shop.publish(tmp_path, "new.onnx", "face.swap")
    moved = move(shop, tmp_path / "new.onnx.sealed", "beta")
    assert moved.already and moved.record_id == first.record_id
    assert shop.admin.show_model(first.record_id).channels == ["beta"]
    file_id = unb64u(first.file_id)
    stable, beta = device_of(shop, "stable"), device_of(shop, "beta", "stable")
    assert file_id not in files(stable) and file_id in files(beta)
    assert stable.license.channels == [] and set(beta.license.channels) == {"beta", "stable"}
    move(shop, tmp_path / "new.onnx.sealed", "stable")
    stable.renew()
    assert file_id in files(stable)
    told = [e.params["channels"] for e in shop.events("model_published")]
    assert told[-3:] == [["stable"], ["beta"], ["stable"]]
    assert shop.admin.list_models(None).items[-1].channels == ["stable"]


def test_publishing_again_without_a_word_about_channels_leaves_them(
    shop: Shop, tmp_path: Path
) -> None:
    model = shop.publish(tmp_path, "new.onnx", "face.swap")
    move(shop, tmp_path / "new.onnx.sealed", "nightly", "beta")
    version = shop.admin.catalog_state().targets.version
    move(shop, tmp_path / "new.onnx.sealed")
    assert shop.admin.show_model(model.record_id).channels == ["beta", "nightly"]
    assert shop.admin.catalog_state().targets.version == version


def test_an_online_release_gives_no_key_of_another_channel(shop: Shop, tmp_path: Path) -> None:
    model = shop.publish(tmp_path, "new.onnx", "face.swap")
    move(shop, tmp_path / "new.onnx.sealed", "beta")
    for name, channels in (("on-beta", ["beta"]), ("on-stable", ["stable"])):
        shop.plan(name, channels=channels, enforcement="online")
        device = Computer(shop, name)
        device.activate(shop.license(name).license_key)
        _, keys = device.release()
        assert (unb64u(model.file_id) in {f for f, _ in keys}) == (name == "on-beta")


def test_the_channel_is_what_the_desk_signed_and_not_what_the_store_says(
    shop: Shop, tmp_path: Path
) -> None:
    """Another process of the server sees a move at its next question."""
    model = shop.publish(tmp_path, "new.onnx", "face.swap")
    other = shop.reopen()
    device = device_of(other, "stable")
    assert unb64u(model.file_id) in files(device)
    move(shop, tmp_path / "new.onnx.sealed", "beta")
    device.renew()
    assert unb64u(model.file_id) not in files(device)


@pytest.mark.parametrize("channels", [[], "stable", ["Beta"], ["a b"], [7], None, ["x"] * 33])
def test_what_is_no_list_of_channels_is_refused(
    shop: Shop, tmp_path: Path, channels: object
) -> None:
    shop.publish(tmp_path, "new.onnx", "face.swap")
    signed = json.loads(shop.admin.catalog_state().targets.data)["signed"]
    wish = None

    class Spy:
        def __getattr__(self, name: str) -> object:
            return getattr(shop.admin, name)

        def publish_model(self, asked: admin.PublishModel) -> admin.PublishedModel:
            nonlocal wish
            wish = asked
            return shop.admin.publish_model(asked)

    with workspaces.open(shop.home) as desk:
        publishing.publish(desk, Spy(), tmp_path / "new.onnx.sealed", now=shop.clock())  # type: ignore[arg-type]
        assert wish is not None
        signed["version"] += 1
        for entry in signed["targets"].values():
            entry["custom"]["modelseal"]["channels"] = channels
        data = writing.sign(signed, desk.desk_signers("targets", shop.clock()))
    assert metadata.read(data, "targets").version == signed["version"]
    with pytest.raises(CatalogInvalid):
        shop.admin.publish_model(admin.PublishModel(wish.blob_digest, wish.sealed_keys, data))
    if channels and isinstance(channels, list):
        with pytest.raises(ConfigInvalid):
            move(shop, tmp_path / "new.onnx.sealed", *channels)  # type: ignore[misc]


def test_a_plan_gives_no_keys_of_releases_below_its_own_minimum(shop: Shop, tmp_path: Path) -> None:
    """Other plans go on; devices of the plan learn of it at their next renewal."""
    first = shop.publish(tmp_path, "swap.onnx", "face.swap")
    file_id = unb64u(first.file_id)
    shop.plan("new", min_releases={first.model: first.release + 1, "other": 9})
    shop.plan("old", min_releases={first.model: first.release})
    shop.plan("none")
    devices = {}
    for name in ("new", "old", "none"):
        devices[name] = Computer(shop, name)
        devices[name].activate(shop.license(name).license_key)
    reached = {name: file_id in files(device) for name, device in devices.items()}
    assert reached == {"new": False, "old": True, "none": True}
    told = {name: device.license.min_releases for name, device in devices.items()}
    assert told == {
        "new": {first.model: first.release + 1, "other": 9},
        "old": {first.model: first.release},
        "none": {},
    }
    shop.admin.change_license(devices["old"].license_id or "", admin.LicenseChange(plan="new"))
    devices["old"].renew()
    assert file_id not in files(devices["old"])
    assert devices["old"].license.min_releases == told["new"]


def test_a_plan_with_a_score_weights_and_minimums_of_its_own_is_made_and_stands_in_the_log(
    shop: Shop,
) -> None:
    binding = Binding(min_score=0.75, weights={"disk-serial.2": 4})
    made = shop.plan("own", binding=binding, min_releases={"Swap 2": 3})
    assert made.terms.binding == binding
    [event] = shop.events("plan_created")
    told = event.params["terms"]
    assert told["min_releases"] == [{"model": "Swap 2", "release": 3}]
    assert told["binding"]["min_score"] == 0.75
    assert told["binding"]["weights"] == [{"trait": "disk-serial.2", "weight": 4}]


@pytest.mark.parametrize("odd", [{"m": 0}, {"": 1}, {"m": -1}, {"m" * 129: 1}, {"m": 2**53}])
def test_an_odd_minimum_is_refused_with_the_plan(shop: Shop, odd: dict[str, int]) -> None:
    with pytest.raises((ConfigInvalid, Misuse)):
        shop.plan("odd", min_releases=odd)


def test_minimums_that_no_token_would_hold_are_refused_with_the_plan(shop: Shop) -> None:
    fit = {f"model-{n:03d}": 2**53 - 1 for n in range(96)}
    shop.plan("fit", min_releases=fit)
    device = Computer(shop, "fit")
    device.activate(shop.license("fit").license_key)
    assert device.license is not None and device.license.min_releases == fit
    with pytest.raises(ConfigInvalid):
        shop.plan("odd", min_releases={f"{'m' * 120}{n}": 1 for n in range(24)})
