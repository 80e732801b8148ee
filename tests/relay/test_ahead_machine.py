"""Any interleaving of days, questions, couriers and acts of the publisher around an honest relay.

Two computers and one license. Files are carried late, twice or never; a device goes online for an
hour, replies over that line are lost; the publisher suspends, resumes, revokes, changes the plan.
Nobody is ever accused, no lease begins early, and the server always supposes the most.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.airgap.conftest import made  # noqa: F401 - a fixture
from tests.airgap.world import Cable
from tests.relay.closed import Inside, Site
from tests.server.world import Clock, Shop, run_machine

from modelseal.admin import LicenseChange
from modelseal.errors import Refused, RequestReplayed, ServerUnreachable
from modelseal.license.plans import LeaseTerms
from modelseal.server.services import open_server
from modelseal.server.store import devices as device_store
from modelseal.types import from_numeric

_ids = itertools.count()
WHICH = st.integers(0, 1)
LEASE = LeaseTerms(max_seconds=6 * 86400, renew_after_seconds=2 * 86400, ahead=3)


class Around(RuleBasedStateMachine):
    """See the module. ``made`` is a workspace that was made once."""

    made: tuple[Path, Path]
    place: Path

    @initialize()
    def begin(self) -> None:
        folder = self.place / str(next(_ids))
        shutil.copytree(self.made[0], folder / "shop")
        self.clock = Clock()
        self.server = open_server(folder / "shop", now=self.clock)
        self.shop = Shop(folder / "shop", self.clock, self.server)
        for name in ("basic", "other"):
            self.shop.plan(name, seats=2, lease=LEASE)
        issued = self.shop.license()
        self.key, self.license = issued.license_key, issued.license_id
        self.site = Site(self.shop, folder / "relay")
        self.site.sync()
        stick = self.made[1] / "swap.onnx.sealed"
        self.devices = [Inside(self.shop, folder / n, stick, self.site) for n in ("one", "two")]
        self.out: list[bytes] = []
        self.back: list[bytes] = []
        self.over = self.revoked = False

    def teardown(self) -> None:
        if hasattr(self, "devices"):
            for device in self.devices:
                device.close()
            self.site.close()
            self.server.close()

    @rule(hours=st.sampled_from([1, 20, 51, 80]))
    def wait(self, hours: int) -> None:
        self.clock.pass_(hours=hours)

    @rule(which=WHICH)
    def ask(self, which: int) -> None:
        device = self.devices[which]
        with contextlib.suppress(Refused):
            if device.client.status().device_id is None:
                device.activate(self.key)
            else:
                device.renew()

    @rule(which=WHICH)
    def beat(self, which: int) -> None:
        self.devices[which].client._keeper.beat()

    @rule(which=WHICH)
    def restart(self, which: int) -> None:
        self.devices[which].restart()

    @rule(which=WHICH, lost=st.booleans())
    def go_online(self, which: int, lost: bool) -> None:
        device = self.devices[which]
        if device.client.status().device_id is None:
            return
        cable = Cable(self.shop)
        cable.lose = lost
        device.reaches(cable)
        with contextlib.suppress(Refused, RequestReplayed, ServerUnreachable):
            device.renew()
        device.reaches(self.site.wire)

    @rule()
    def sync(self) -> None:
        self.site.sync()
        if self.over:
            assert self.site.codes == 0

    @rule()
    def courier_leaves(self) -> None:
        self.out.append(self.site.write())

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 3))
    def courier_is_at_a_line(self, which: int) -> None:
        self.back.append(self.site.carry(self.out[which % len(self.out)]))

    @precondition(lambda self: self.back)
    @rule(which=st.integers(0, 3))
    def courier_comes_back(self, which: int) -> None:
        self.site.read(self.back[which % len(self.back)])

    @precondition(lambda self: not self.over)
    @rule()
    def suspend(self) -> None:
        self.shop.admin.suspend_license(self.license, reason="late")
        self.over = True

    @precondition(lambda self: self.over and not self.revoked)
    @rule()
    def resume(self) -> None:
        self.shop.admin.resume_license(self.license)
        self.over = False

    @precondition(lambda self: not self.over)
    @rule(plan=st.sampled_from(["basic", "other"]))
    def change(self, plan: str) -> None:
        self.shop.admin.change_license(self.license, LicenseChange(plan=plan))

    @invariant()
    def nobody_is_accused(self) -> None:
        if hasattr(self, "shop"):
            assert not self.shop.events("relay_overdrew", "fork_found")

    @invariant()
    def the_server_supposes_the_most(self) -> None:
        for device in getattr(self, "devices", []):
            held = device.client._core.held(tolerant=True)
            if held.lease is None:
                continue
            assert from_numeric(held.lease.nbf) <= self.clock()
            row = self.server.context.store.read(device_store.get, held.lease.sub)
            assert row is not None and row.lease_exp is not None
            assert row.lease_exp >= from_numeric(held.lease.exp)
            assert row.seq >= held.lease.seq


def test_an_honest_relay_is_never_accused_and_gives_out_nothing_early(tmp_path, made):  # noqa: F811
    """Whatever people do, in whatever order."""
    run_machine(Around, None, examples=6, steps=30, made=made, place=tmp_path)
