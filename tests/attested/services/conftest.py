"""A shop whose policy is for confidential machines of our own makers, in this process."""

from __future__ import annotations

import os
import shutil

import pytest
from tests.attested.machines import Makers, Tee, endorse, list_of, set_policy
from tests.server.world import START, Clock, Shop

from modelseal.admin import PlanDraft
from modelseal.desk import publishing, sealing
from modelseal.desk import workspace as workspaces
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services import open_server
from modelseal.strict_json import unb64u
from modelseal.types import Level

SWAP = PlanEntitlement(id="face.swap")
RESTORE = PlanEntitlement(id="face.restore", min_level=4)
TRAIN = PlanEntitlement(id="face.train", min_level=5)


@pytest.fixture(scope="session")
def makers() -> Makers:
    return Makers()


def publish(shop, folder, name, entitlement, **more) -> bytes:
    """The file id of a model sealed and published now."""
    plain = folder / name
    plain.write_bytes(os.urandom(4000))
    with workspaces.open(shop.home) as desk:
        made = sealing.seal_paths(
            desk, [plain], folder / f"{name}.sealed", entitlements=[entitlement],
            now=shop.clock(), **more,
        )  # fmt: skip
        publishing.publish(desk, shop.admin, folder / f"{name}.sealed", now=shop.clock())
    return unb64u(made[0].file_id)


@pytest.fixture(scope="session")
def template(tmp_path_factory, makers):
    """A workspace with three models, a bundle and a policy; and the file ids."""
    folder, clock = tmp_path_factory.mktemp("template"), Clock(START)
    home = folder / "shop"
    workspaces.init(home, "facefusion", now=START, random=os.urandom)
    with open_server(home, now=clock) as server:
        shop = Shop(home, clock, server)
        files = {
            "swap": publish(shop, folder, "swap.onnx", "face.swap"),
            "restore": publish(shop, folder, "restore.onnx", "face.restore"),
            "train": publish(shop, folder, "train.onnx", "face.train"),
            "inner": publish(shop, folder, "inner.onnx", "face.swap", min_level=Level.L4),
        }
        endorse(shop, list_of(makers, clock))
        for name, terms in {
            "tee": Plan(entitlements=[SWAP, RESTORE, TRAIN], seats=9),
            "runs": Plan(entitlements=[SWAP, RESTORE, TRAIN], seats=9, enforcement="online"),
            "small": Plan(entitlements=[SWAP], seats=9),
        }.items():
            shop.admin.create_plan(PlanDraft(name=name, terms=terms))
    set_policy(home, makers.rules())
    return home, files


@pytest.fixture
def files(template):
    return template[1]


@pytest.fixture
def shop(template, tmp_path):
    home, clock = shutil.copytree(template[0], tmp_path / "shop"), Clock(START)
    with open_server(home, now=clock) as server:
        yield Shop(home, clock, server)


@pytest.fixture
def tee(shop, makers):
    """An activated device in a good confidential guest."""
    made = Tee(shop, makers=makers)
    made.license_text = shop.license("tee").license_key
    made.activate(made.license_text)
    return made
