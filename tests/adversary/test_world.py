"""Many devices, a server, and an adversary who copies, restores, replays and lies about time.

Each rule states what has to come of it; the invariants are asked after every step. ``make soak``
runs it over thousands of steps.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.adversary.world import Folder, Network
from tests.server.world import START, Shop, run_machine

from modelseal.license.plans import Binding

SEATS = 2
WEEK = 7 * 86400
HELD_BACK = {
    "forked", "device_returned", "license_revoked", "license_suspended", "license_expired",
    "not_activated", "device_changed", "wrong_device", "device_revoked", "no_free_seat",
    "clock_set_back", "lease_expired",
}  # fmt: skip
NOTHING_DECIDED = {
    *("server_unreachable", "answer_unsigned", "answer_invalid", "server_failed", "rate_limited"),
}
INVALID = {"token_claims", "token_malformed", "token_type", "answer_invalid", "sealed_key_invalid"}


class World(RuleBasedStateMachine):
    """One license of two seats; folders are honest devices, or copies that the adversary made."""

    shop: Shop
    network: Network
    sealed: Path
    plain: bytes
    place: Path
    number = 0

    @initialize()
    def begin(self) -> None:
        type(self).number += 1
        self.base = self.place / str(self.number)
        self.base.mkdir()
        self.network.down, self.network.lost, self.network.replayed = 0, None, None
        self.network.seen.clear()
        self.network.recorded.clear()
        self.shop.clock.now = START
        issued = self.shop.license("fleet", seats=SEATS)
        self.key, self.license_id = issued.license_key, issued.license_id
        self.state = "active"
        self.folders: list[Folder] = []
        self.tampered: set[str] = set()  # device ids with more than one branch
        self.newest: dict[str, int] = {}  # device id -> the highest lease number given out
        self.denied: set[Path] = set()  # folders that have carried out a final denial
        for number in range(SEATS):
            assert self._folder(number).activate(self.key) == "ok"
            self._took(self.folders[number], (None, -1, 0))

    def teardown(self) -> None:
        if hasattr(self, "base"):
            shutil.rmtree(self.base, ignore_errors=True)

    # -- honest people

    @rule(number=st.integers(0, 3))
    def somebody_activates(self, number: int) -> None:
        folder = self._folder(number)
        before = folder.holds()
        said = folder.activate(self.key)
        event(f"activated: {said}")
        if said == "ok":
            assert self.state == "active"
            self._took(folder, before)
        else:
            assert said in HELD_BACK | NOTHING_DECIDED | INVALID | {"rebinds_used_up"}, said

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.folders)
    def somebody_renews(self, number: int) -> None:
        folder = self.folders[number % len(self.folders)]
        device, seq, _ = before = folder.holds()
        lost = self.network.lost
        said = folder.renew()
        event(f"renewed: {said}")
        if said == "ok":
            assert self.state == "active", "a license that is not active renewed"
            newest = self.newest.get(device or "", 0)
            same_answer = folder.holds()[1] == newest  # copied with its question still open
            assert seq < 0 or seq >= newest or same_answer, (
                "a copy was renewed after the other branch: it was not seen at its first renewal"
            )
            self._took(folder, before)
        elif said == "forked":
            assert device in self.tampered, "a lost reply, or nothing at all, was called a clone"
        else:
            assert said in HELD_BACK | NOTHING_DECIDED | INVALID, said
            if said.startswith("license_"):
                assert said != "license_revoked" or self.state == "revoked"
                assert self.state != "active" or lost, said
                if said == "license_revoked":
                    self.denied.add(folder.path)

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.folders)
    def somebody_gives_the_seat_back(self, number: int) -> None:
        folder = self.folders[number % len(self.folders)]
        said = folder.give_back()
        assert said in HELD_BACK | NOTHING_DECIDED | INVALID | {"ok"}, said
        if said == "ok":
            assert folder.read(self.sealed) != self.plain

    @rule(number=st.integers(0, 5), other=st.integers(0, 5))
    @precondition(lambda self: len(self.folders) > 1)
    def somebody_takes_over_a_seat(self, number: int, other: int) -> None:
        folder = self.folders[number % len(self.folders)]
        holder = self.folders[other % len(self.folders)].holds()[0]
        before = folder.holds()
        if holder is None or holder == before[0]:
            return
        said = folder.activate(self.key, replace=holder)
        event(f"took over: {said}")
        if said == "ok":
            assert self.state == "active"
            self._took(folder, before)
        else:
            more = {"rebinds_used_up", "replace_pending", "not_found"}
            assert said in HELD_BACK | NOTHING_DECIDED | INVALID | more, said

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.folders)
    def a_model_is_opened(self, number: int) -> None:
        folder = self.folders[number % len(self.folders)]
        device, seq, ends = folder.holds()
        found = folder.read(self.sealed)
        event(f"opened: {found if isinstance(found, str) else 'the plaintext'}")
        now = folder.now().timestamp()
        if isinstance(found, bytes):
            assert found == self.plain
            _, after, until = folder.holds()
            assert now < until and after >= 0, "opened after the end of the lease"
            assert folder.path not in self.denied, "opened after a final denial"
        elif seq >= 0 and device not in self.tampered and self.state == "active":
            honest = abs(folder.off.total_seconds()) < 200 and now < ends - 1
            assert not honest, f"a paying user was locked out: {found}"

    @rule(hours=st.sampled_from([1, 30, 100]))
    def a_day_goes_by(self, hours: int) -> None:
        """Everybody opens the model, time passes, everybody renews."""
        for number in range(len(self.folders)):
            self.a_model_is_opened(number)
        self.shop.clock.pass_(hours=hours)
        for number in range(len(self.folders)):
            self.somebody_renews(number)

    # -- the publisher

    @rule(act=st.sampled_from(["suspend", "resume", "resume", "resume", "resume", "revoke"]))
    def the_publisher_decides(self, act: str) -> None:
        if self.state == "revoked" or (act == "resume") != (self.state == "suspended"):
            return
        call = getattr(self.shop.admin, f"{act}_license")
        call(self.license_id) if act == "resume" else call(self.license_id, "test")
        self.state = {"suspend": "suspended", "resume": "active", "revoke": "revoked"}[act]

    # -- time and network

    @rule(hours=st.sampled_from([1, 1, 24, 60, 170]))
    def time_passes(self, hours: int) -> None:
        self.shop.clock.pass_(hours=hours)

    @rule(exchanges=st.sampled_from([1, 1, 1, 3]))
    def the_network_is_gone(self, exchanges: int) -> None:
        self.network.down = exchanges

    @rule(what=st.sampled_from(["request", "answer"]))
    def the_next_message_is_lost(self, what: str) -> None:
        self.network.lost = what

    # -- the adversary

    @rule(number=st.integers(0, 200))
    @precondition(lambda self: self.network.seen)
    def an_old_answer_is_replayed(self, number: int) -> None:
        self.network.replayed = self.network.seen[-1 - number % min(len(self.network.seen), 40)]

    @rule(number=st.integers(0, 200))
    @precondition(lambda self: self.network.recorded)
    def a_recorded_request_is_sent_again(self, number: int) -> None:
        """It is answered as it was, or refused: no device, seat or license is moved by it."""
        before = self._standing()
        said = self.network.send_again(-1 - number % min(len(self.network.recorded), 40))
        event(f"sent again: {said}")
        held = any(state == "forked" for _, state, *_ in before[0])
        assert said != "forked" or held, "a request that was signed once was called a copy"
        assert self._standing() == before, f"a request that was sent again changed it: {said}"

    @rule(number=st.integers(0, 5), hours=st.sampled_from([-200, -24, 0, 0, 0, 1, 30]))
    @precondition(lambda self: self.folders)
    def a_clock_is_set(self, number: int, hours: int) -> None:
        self.folders[number % len(self.folders)].off = timedelta(hours=hours)

    @rule(number=st.integers(0, 5), elsewhere=st.booleans())
    @precondition(lambda self: 0 < len(self.folders) < 8)
    def a_folder_is_copied(self, number: int, elsewhere: bool) -> None:
        folder = self._there(number)
        if folder is None:
            return
        device = folder.holds()[0]
        hardware = f"thief-{len(self.folders)}" if elsewhere else None
        self.folders.append(folder.copy(self.base / f"copy-{len(self.folders)}", hardware))
        if device is not None:
            self.tampered.add(device)

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.folders)
    def a_backup_is_made(self, number: int) -> None:
        folder = self._there(number)
        if folder is not None and len(folder.snapshots) < 3:
            folder.snapshot()

    @rule(number=st.integers(0, 5), which=st.integers(0, 2))
    @precondition(lambda self: self.folders)
    def a_backup_is_restored(self, number: int, which: int) -> None:
        folder = self.folders[number % len(self.folders)]
        if not folder.snapshots:
            return
        before = folder.holds()[0]
        folder.restore(which % len(folder.snapshots))
        self.tampered |= {d for d in (before, folder.holds()[0]) if d is not None}
        self.denied.discard(folder.path)

    # -- what holds at any time

    @invariant()
    def leases_never_exceed_seats_and_declared_overage(self) -> None:
        if not hasattr(self, "base"):
            return
        now = self.shop.clock()
        held = self.shop.admin.list_devices(license_id=self.license_id).items
        live = [d for d in held if d.lease_expires_at is not None and d.lease_expires_at > now]
        shown = self.shop.admin.show_license(self.license_id)
        assert len(live) <= 2 * SEATS, "more than two live leases a seat"
        assert len(live) <= SEATS + shown.overage, "an overlap that was not declared"

    # -- small things

    def _standing(self) -> list[Any]:
        """Who may do what; a denial's number and the time of a contact are not among it."""
        devices = self.shop.admin.list_devices(license_id=self.license_id).items
        license_ = self.shop.admin.show_license(self.license_id)
        told = [(d.device_id, d.state, d.lease_expires_at, d.label) for d in devices]
        return [told, license_.state, license_.seats_used, license_.overage]

    def _folder(self, number: int) -> Folder:
        while len(self.folders) <= number and len(self.folders) < 4:
            path = self.base / f"state-{len(self.folders)}"
            name = f"{self.number}-{len(self.folders)}"
            self.folders.append(Folder(self.shop, self.network, path, name, self.license_id))
        return self.folders[number]

    def _there(self, number: int) -> Folder | None:
        found = [folder for folder in self.folders if folder.path.is_dir()]
        return found[number % len(found)] if found else None

    def _took(self, folder: Folder, before: tuple[str | None, int, int]) -> None:
        device, seq, _ = folder.holds()
        assert device is not None and seq > 0
        if before[0] == device:
            assert seq >= before[1]
        self.newest[device] = max(self.newest.get(device, 0), seq)
        self.denied.discard(folder.path)


def play(shop: Shop, folder: Path, *, examples: int, steps: int) -> None:
    binding = Binding(rebinds_per_90d=3, instant_returns_per_90d=1)
    shop.plan("fleet", binding=binding)
    shop.publish(folder, "swap.bin", "face.swap")
    network = Network(shop)
    try:
        run_machine(
            World, shop, examples=examples, steps=steps, network=network,
            sealed=folder / "swap.bin.sealed", plain=(folder / "swap.bin").read_bytes(),
            place=folder,
        )  # fmt: skip
    finally:
        network.end()


def test_no_step_of_the_adversary_breaks_the_law(shop: Shop, tmp_path: Path) -> None:
    assert shop.clock() == START
    play(shop, tmp_path, examples=8, steps=25)


@pytest.mark.soak
def test_thousands_of_steps_of_the_adversary_break_no_law(shop: Shop, tmp_path: Path) -> None:
    play(shop, tmp_path, examples=200, steps=60)
