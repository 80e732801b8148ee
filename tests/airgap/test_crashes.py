"""The power goes at every step of an import, of a code, of a return: what is left goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.airgap.world import Gap
from tests.client.faults import Crash, CrashingFolder, Fuse

from modelseal.errors import CodeUnknown, ResponseReplayed


def _crashed_everywhere(
    device: Gap, act: Callable[[Gap], object], after: Callable[[Gap], None], tmp_path: Path
) -> int:
    """``act`` on a copy of the device's folder with a crash at each step, then ``after``."""
    steps = 0
    while True:
        copy = Gap(device.shop, tmp_path / f"crash-{steps}" / device.state.name, device.model)
        shutil.copytree(device.state, copy.state)
        fuse = Fuse(at=steps)
        copy.folder = lambda path, fuse=fuse: CrashingFolder(path, fuse)
        copy.restart()
        crashed = False
        try:
            act(copy)
        except Crash:
            crashed = True
        copy.folder = type(device.client._core.store.folder)
        copy.restart()
        after(copy)
        copy.close()
        if not crashed:
            return steps
        steps += 1


@pytest.fixture
def device(gap, shop):
    """A device with a lease and two ahead."""
    shop.plan()
    made = gap()
    made.round(shop.license().license_key, next_count=2)
    return made


def test_a_response_is_imported_wholly_or_can_be_imported_again(device, shop, tmp_path):
    """After any crash the same file brings the device to the same place, leases ahead included."""
    shop.clock.pass_(days=1)
    response = device.answer(device.ask(next_count=1))

    def after(copy: Gap) -> None:
        assert copy.opens()
        try:
            copy.take(response)
        except ResponseReplayed:
            assert copy.seq == 2
        assert copy.seq == 2 and copy.opens()
        assert copy.type(copy.code()).seq == 3

    assert _crashed_everywhere(device, lambda d: d.take(response), after, tmp_path) > 12


def test_an_activation_is_imported_wholly_or_can_be_imported_again(gap, shop, tmp_path):
    """The first response too, on a device that had nothing."""
    shop.plan()
    device = gap()
    response = device.answer(device.ask(shop.license().license_key, label="lab"))

    def after(copy: Gap) -> None:
        with contextlib.suppress(ResponseReplayed):
            copy.take(response)
        assert copy.seq == 1 and copy.opens()

    assert _crashed_everywhere(device, lambda d: d.take(response), after, tmp_path) > 10


def test_a_code_is_taken_wholly_or_can_be_typed_again(device, shop, tmp_path):
    """Whichever lease lies there after the crash, it opens; the code is never lost."""
    code = device.code()

    def after(copy: Gap) -> None:
        assert copy.opens()
        try:
            copy.type(code)
        except (ResponseReplayed, CodeUnknown):
            assert copy.seq == 2
        assert copy.seq == 2 and copy.opens()
        copy.ask()
        assert copy.opens()

    assert _crashed_everywhere(device, lambda d: d.type(code), after, tmp_path) > 10


def test_a_return_leaves_nothing_that_opens_or_nothing_happened(device, shop, tmp_path):
    """Once keys are gone the file can be written again, and the server takes it."""

    def after(copy: Gap) -> None:
        again = copy.client.air_gap.give_back()
        assert not copy.opens()
        assert shop.admin.respond(again.token).code is None

    _crashed_everywhere(device, lambda d: d.client.air_gap.give_back(), after, tmp_path)
    assert len(shop.events("device_returned")) == 1
