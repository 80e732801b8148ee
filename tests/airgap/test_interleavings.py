"""Any interleaving of cables, files and phone calls, with whatever gets lost on the way.

Two computers and one license with two seats. Requests and responses lie about until somebody
carries them, carries them twice, or never does; replies over the cable are lost; days pass; the
publisher suspends, resumes and revokes.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.airgap.world import Gap
from tests.server.world import Clock, Shop, run_machine

from modelseal.errors import (
    CodeUnknown,
    InvalidBytes,
    ModelsealError,
    NoNextLease,
    Refused,
    RequestReplayed,
    ServerUnreachable,
)
from modelseal.license import tokens
from modelseal.server.services import open_server
from modelseal.server.store import devices as device_store
from modelseal.server.store import packing

_ids = itertools.count()
WHICH = st.integers(0, 1)


class Interleavings(RuleBasedStateMachine):
    """See the module. ``made`` is a workspace that was made once."""

    made: tuple[Path, Path]
    place: Path

    @initialize()
    def begin(self) -> None:
        folder = self.place / str(next(_ids))
        home = folder / "shop"
        shutil.copytree(self.made[0], home)
        self.clock = Clock()
        self.server = open_server(home, now=self.clock)
        self.shop = Shop(home, self.clock, self.server)
        self.shop.plan(seats=2, binding={"instant_returns_per_90d": 100})
        issued = self.shop.license()
        self.key, self.license = issued.license_key, issued.license_id
        stick = self.made[1] / "swap.onnx.sealed"
        self.refused: set[bytes] = set()
        self.devices = [Gap(self.shop, folder / name, stick) for name in ("one", "two")]
        self.requests: list[list[tuple[bytes, str]]] = [[], []]
        self.responses: list[list[bytes]] = [[], []]
        self.codes: list[list[str]] = [[], []]
        self.suspended = self.revoked = False

    def teardown(self) -> None:
        if hasattr(self, "devices"):
            for device in self.devices:
                device.close()
            self.server.close()

    # -- what people do

    @rule(which=WHICH, ahead=st.integers(0, 2))
    def write_activation(self, which: int, ahead: int) -> None:
        self._write(which, lambda d: d.ask(self.key, next_count=ahead))

    @rule(which=WHICH, ahead=st.integers(0, 2))
    def write_renewal(self, which: int, ahead: int) -> None:
        self._write(which, lambda d: d.ask(next_count=ahead))

    @rule(which=WHICH)
    def give_back_by_file(self, which: int) -> None:
        device = self.devices[which]
        self._write(which, lambda d: d.client.air_gap.give_back())
        assert not device.opens()

    @precondition(lambda self: any(self.requests))
    @rule(which=WHICH)
    def answer_the_newest_request(self, which: int) -> None:
        """The one that the device still waits for, or that was answered last; once refused it is
        not answered again."""
        if not self.requests[which]:
            return
        token, nonce = self.requests[which][-1]
        if nonce in (self._waiting(which), self._answered(which)):
            try:
                made = self.shop.admin.respond(token)
            except RequestReplayed:
                assert token in self.refused
                return
            if made.code is not None:
                self.refused.add(token)
            self.responses[which].append(made.response)

    @rule(which=WHICH, ahead=st.integers(0, 3), enter=st.booleans())
    def a_whole_round(self, which: int, ahead: int, enter: bool) -> None:
        """Written, answered and imported, as on most days."""
        known = self.devices[which].client.status().lease is not None
        key = None if known and not enter else self.key
        self._write(which, lambda d: d.ask(key, next_count=ahead))
        self.answer_the_newest_request(which)
        if self.responses[which]:
            self._do(which, lambda d: d.take(self.responses[which][-1]))

    @rule(which=WHICH, further=st.booleans())
    def a_phone_call(self, which: int, further: bool) -> None:
        """A code is read out and typed at once."""
        self.read_a_code_out(which, further)
        self.type_a_code(which, newest=True)

    @rule(which=WHICH, newest=st.booleans())
    def import_a_response(self, which: int, newest: bool) -> None:
        if self.responses[which]:
            response = self.responses[which][-1 if newest else 0]
            self._do(which, lambda d: d.take(response))

    @rule(which=WHICH)
    def import_the_others_response(self, which: int) -> None:
        if self.responses[1 - which]:
            device, response = self.devices[which], self.responses[1 - which][-1]
            before = device.snapshot() if device.state.exists() else {}
            with pytest.raises(ModelsealError):
                device.take(response)
            assert before == (device.snapshot() if device.state.exists() else {})

    @rule(which=WHICH, further=st.booleans())
    def read_a_code_out(self, which: int, further: bool) -> None:
        device = self.devices[which]
        if device.client.status().device_id is None:
            return
        try:
            self.codes[which].append(device.code(further=further))
        except (NoNextLease, Refused):
            return
        assert not self.suspended and not self.revoked

    @rule(which=WHICH, newest=st.booleans())
    def type_a_code(self, which: int, newest: bool) -> None:
        if self.codes[which]:
            code = self.codes[which][-1 if newest else 0]
            self._do(which, lambda d: d.type(code))

    @rule(which=WHICH, lose=st.booleans(), enter=st.booleans())
    def a_day_with_a_cable(self, which: int, lose: bool, enter: bool) -> None:
        device = self.devices[which]
        with device.wired() as cable:
            cable.lose = lose
            if enter or device.client.status().device_id is None:
                self._do(which, lambda d: d.client.activate(self.key))
            else:
                self._do(which, lambda d: d.client.renew())

    @rule(which=WHICH)
    def start_anew(self, which: int) -> None:
        self.devices[which].restart()

    @rule(hours=st.sampled_from([1, 30, 100, 200]))
    def time_passes(self, hours: int) -> None:
        self.clock.pass_(hours=hours)
        for device in self.devices:
            device.ticks += hours * 3600

    @precondition(lambda self: not self.revoked)
    @rule()
    def suspend_or_resume(self) -> None:
        if self.suspended:
            self.shop.admin.resume_license(self.license)
        else:
            self.shop.admin.suspend_license(self.license)
        self.suspended = not self.suspended

    @precondition(lambda self: not self.revoked)
    @rule(really=st.integers(0, 20))
    def revoke(self, really: int) -> None:
        if really == 0:
            self.shop.admin.revoke_license(self.license)
            self.revoked = True

    # -- what is always true

    @invariant()
    def no_false_fork(self) -> None:
        """Only the newest request of each device was ever answered: nothing is a copy's."""
        if hasattr(self, "shop"):
            assert self.shop.events("fork_found") == []

    @invariant()
    def no_seat_is_lost_or_made(self) -> None:
        """Two devices, two seats: neither is ever refused for want of one."""
        if not hasattr(self, "shop"):
            return
        record = self.shop.admin.show_license(self.license)
        assert record.seats_used <= record.seats
        for device in self.devices:
            refusal = device.client.status().last_refusal
            assert refusal is None or refusal.code != "no_free_seat"

    @invariant()
    def no_key_is_usable_after_a_denial(self) -> None:
        """A denial that was taken in keeps everything closed until a later answer."""
        if not hasattr(self, "devices"):
            return
        for which, device in enumerate(self.devices):
            held = device.client._core.held(tolerant=True)
            if held.denial is not None and (
                held.lease is None or held.denial.seq >= held.lease.seq
            ):
                assert not device.opens(), which

    @invariant()
    def the_device_knows_no_more_than_the_server(self) -> None:
        """No number is on a device that the server did not give out."""
        if not hasattr(self, "devices"):
            return
        for device in self.devices:
            held = device.client._core.held(tolerant=True)
            if held.device_id is not None and held.seq > 0:
                assert held.seq <= self.shop.admin.show_device(held.device_id).seq

    # -- helpers

    def _write(self, which: int, ask) -> None:
        try:
            made = ask(self.devices[which])
        except Refused:
            return
        claims = tokens.read_request(
            made.token,
            server_id=self.shop.trust.server_id,
            any_operation=True,
            max_bytes=tokens.MAX_AIR_GAP_BYTES,
        )
        self.requests[which].append((made.token, claims.nonce))

    def _waiting(self, which: int) -> bytes | None:
        core = self.devices[which].client._core
        try:
            pending = core.store.lease_keys(core.unlock(asking=True)).pending
        except Refused:
            return None
        return None if pending is None else packing.question(pending.nonce)

    def _answered(self, which: int) -> bytes | None:
        device_id = self.devices[which].client.status().device_id
        if device_id is None:
            return None
        row = self.server.context.store.read(device_store.get, device_id)
        return None if row is None else row.question

    def _do(self, which: int, act) -> None:
        """What a person tries; only these errors may come of it."""
        try:
            act(self.devices[which])
        except (Refused, InvalidBytes, CodeUnknown, ServerUnreachable):
            return


def test_files_cables_and_codes_in_any_order(made, tmp_path):
    """Hundreds of steps in which nothing is lost, forked or opened that must not be."""
    run_machine(Interleavings, None, examples=12, steps=40, made=made, place=tmp_path)  # type: ignore[arg-type]


@pytest.mark.soak
def test_files_cables_and_codes_for_long(made, tmp_path):
    """The same for thousands of steps."""
    run_machine(Interleavings, None, examples=150, steps=60, made=made, place=tmp_path)
