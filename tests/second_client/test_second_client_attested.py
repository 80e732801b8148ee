"""The second client proves a confidential machine to the real server, from `docs/spec` alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.attest.authorities import nvidia as gpus
from tests.attest.authorities import snp
from tests.attest.authorities.crls import crl
from tests.attested.machines import Makers, set_policy

from modelseal import trust
from modelseal.desk import endorsing, workspace

from . import attested
from .device import Device
from .market import Market, refusal
from .market import market as open_market

MAKERS = Makers()
BESIDE = [MAKERS.amd.certificate(), MAKERS.amd.intermediate]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market")) as found:
        home, now = found.server.home, datetime.now(UTC)
        with workspace.open(home) as desk:
            named = [("list", crl(MAKERS.amd.ark, now))]
            _, data = endorsing.create(desk, named, days=30, now=now)
        pinned = trust.parse((home / "trust.json").read_bytes())
        endorsing.take_in(home / "server" / "endorsements", data, pinned, now)
        set_policy(home, MAKERS.rules())
        yield found


@pytest.fixture
def device(market: Market, tmp_path: Path) -> Iterator[Device]:
    with market.device(tmp_path / "guest") as found:
        found.activate(market.issue("proved")[0])
        found.refresh()
        yield found


def guest(bound, **changes):
    """A processor of ours, and a GPU beside it."""
    report = snp.Report().but(**{"report_data": bound("snp"), **changes})
    entry = MAKERS.gpu.entry(gpus.Report().but(nonce=bound("nvidia")))
    return [("snp", [MAKERS.amd.sign(report)]), ("nvidia", [gpus.as_json(entry)])]


def swap(device: Device) -> bytes:
    return next(t.file_id for t in device.catalog.targets() if t.model == "swap")


def test_evidence_bound_by_the_specs_transcript_brings_the_keys_that_no_lease_has(
    device: Device,
) -> None:
    assert device.lease and device.lease["keys"] == [] and device.granted() == set()
    keys = attested.release(device, [(swap(device), [0, 1])], 4, guest, BESIDE)
    assert keys and device.data_keys()[0] == keys


def test_a_refusal_names_its_verdict_and_ends_nothing(device: Device) -> None:
    bad = refusal(
        lambda: attested.release(
            device, [(swap(device), [0, 1])], 4,
            lambda bound: guest(bound, measurement=bytes(48)), BESIDE,
        )
    )  # fmt: skip
    assert (bad.code, bad.params["verdict"]) == ("level_not_reached", "measurement_mismatch")
    assert device.denial is None and device.released == {}
    device.renew()
    assert attested.release(device, [(swap(device), [0, 1])], 4, guest, BESIDE)


def test_evidence_of_another_question_is_refused(device: Device) -> None:
    kept = []

    def keep(bound):
        kept[:] = kept or guest(bound)
        return kept

    attested.release(device, [(swap(device), [0, 1])], 4, keep, BESIDE)
    bad = refusal(lambda: attested.release(device, [(swap(device), [0, 1])], 4, keep, BESIDE))
    assert bad.params["verdict"] == "binding_mismatch"
