"""Levels 4 and 5 from end to end: the client asks fakes of the kernel that keep its rules, chips
of our own makers answer, the running server appraises and releases.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta

import pytest
import tests.attested.machines as machines
from tests.attest.authorities import certificates as c
from tests.attest.authorities import intel as intels
from tests.attest.authorities import nitro as nitros
from tests.attest.authorities import nvidia as gpus
from tests.attest.authorities import snp
from tests.attest.authorities.crls import crl
from tests.client.real_shop import PLAIN, opens, running

import modelseal
from modelseal import trust
from modelseal.admin import PlanDraft
from modelseal.attest.collect.gramine import GramineCollector
from modelseal.attest.collect.nitro import NitroCollector
from modelseal.attest.collect.nvidia import NvidiaCollector
from modelseal.attest.collect.tsm import TsmCollector
from modelseal.desk import endorsing
from modelseal.desk import workspace as workspaces
from modelseal.errors import AnswerInvalid, KeyNotInLease, LevelNotReached
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.testing.kernel import FakeGramine, FakeNsm, FakeNvml, FakeTsm

INTEL, AMD, AWS, NVIDIA = intels.Intel(), snp.Amd(), nitros.Aws(), gpus.Maker()
GUEST, ENCLAVE = intels.Guest(), intels.Enclave()
KINDS = ("snp", "tdx", "sgx", "nitro")
RULES = {
    "roots": {
        "snp": [AMD.pin], "tdx": [INTEL.pin], "sgx": [INTEL.pin], "nitro": [AWS.pin],
        "nvidia": [c.pem([NVIDIA.pin]).decode()],
    },
    "snp": {"minimum_tcb": snp.TCB},
    "reference": {
        "snp": [{"measurement": [snp.MEASUREMENT.hex()]}],
        "tdx": [{"mr_td": [GUEST.mr_td.hex()], "rtmr2": [GUEST.rtmrs[2].hex()]}],
        "sgx": [{"mr_enclave": [ENCLAVE.mr_enclave.hex()]}],
        "nitro": [{f"pcr{i}": [nitros.PCRS[i].hex()] for i in (0, 1, 2)}],
        "nvidia": [{n: [v] for n, v in machines.GPU_REFERENCE.items()}],
    },
}  # fmt: skip
PLAN = Plan(
    entitlements=[
        PlanEntitlement(id="face.swap", min_level=4),
        PlanEntitlement(id="face.restore", min_level=5),
    ],
    seats=99,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """``swap.onnx`` for machines of L4, ``restore.onnx`` for those of L5."""
    with running(tmp_path_factory.mktemp("shop")) as made:
        made.server.admin.create_plan(PlanDraft(name="tee", terms=PLAN))
        now, home = datetime.now(UTC), made.server.home
        items = [crl(AMD.ark, now), INTEL.collateral(now), INTEL.collateral(now, tdx=True)]
        with workspaces.open(home) as desk:
            named = [(f"item-{n}", data) for n, data in enumerate(items)]
            _, data = endorsing.create(desk, named, days=30, now=now)
        pinned = trust.parse((home / "trust.json").read_bytes())
        endorsing.take_in(home / "server" / "endorsements", data, pinned, now)
        machines.set_policy(home, RULES)
        yield made


def processor(kind):
    """What the kernel of such a machine shows, and what its chip answers there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "snp":
            table = AMD.table([AMD.certificate(), AMD.intermediate])
            return "tsm", TsmCollector(FakeTsm(
                "sev_guest", lambda bound: AMD.sign(snp.Report().but(report_data=bound)),
                auxblob=table,
            ))  # fmt: skip
        if kind == "tdx":
            return "tsm", TsmCollector(
                FakeTsm("tdx_guest", lambda bound: INTEL.quote(GUEST.but(report_data=bound)))
            )
        if kind == "sgx":
            return "gramine", GramineCollector(
                FakeGramine(lambda bound: INTEL.quote(ENCLAVE.but(report_data=bound)))
            )

        def document(given):
            at = int(datetime.now(UTC).timestamp() * 1000)
            said = nitros.Document().but(
                user_data=given["user_data"], nonce=given["nonce"], timestamp=at
            )
            return AWS.sign(said)

        return "nitro", NitroCollector(FakeNsm(document))


def gpu():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return NvidiaCollector(
            FakeNvml(lambda nonce: NVIDIA.sign(gpus.Report(nonce=nonce)), c.pem(NVIDIA.chain))
        )


@pytest.fixture
def activated(entered):
    """Activates a client on a machine whose kernel shows ``kinds``."""

    def make(*kinds):
        table = dict(processor(kind) for kind in kinds if kind != "nvidia")
        if "nvidia" in kinds:
            table["nvidia"] = gpu()
        shown = {name: (lambda one=one: one) for name, one in table.items()}
        return entered("tee", kernel={"collectors": lambda: shown})

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_confidential_machine_opens_what_demands_level_four_and_nothing_above(
    shop, activated, kind
):
    client = activated(kind)
    with pytest.raises(KeyNotInLease):
        opens(client, shop.swap)
    modelseal.use(client)
    with modelseal.open(shop.sealed["swap.onnx"]) as sealed:
        assert bytes(sealed.read("swap.onnx")) == PLAIN
    status = client.status()
    assert (status.proved.level, status.proved.kinds) == (4, [kind])
    assert status.level == 0
    with pytest.raises(LevelNotReached) as refused:
        modelseal.open(shop.sealed["restore.onnx"])
    assert refused.value.params["verdict"] == "level_short"
    assert refused.value.params["needed"] == "L5"
    [missing] = client.status().level_missing
    assert (missing.entitlement, missing.needed) == ("face.restore", 5)


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_confidential_gpu_beside_it_it_is_level_five(shop, activated, kind):
    client = activated(kind, "nvidia")
    modelseal.use(client)
    with modelseal.open(shop.sealed["restore.onnx"]) as sealed:
        assert bytes(sealed.read("restore.onnx")) == PLAIN[::-1]
    assert client.proved_level(shop.restore) == 5
    assert client.status().level_missing == []


def test_a_gpu_alone_and_an_ordinary_computer_open_neither(shop, activated):
    for kinds in (("nvidia",), ()):
        client = activated(*kinds)
        with pytest.raises(LevelNotReached) as refused:
            client.prove(shop.sealed["swap.onnx"])
        assert refused.value.params["verdict"] == "no_hardware"
        assert client.status().level_missing[0].why


def test_collateral_that_is_over_is_said_with_what_to_do(shop, activated):
    shop.offset[0] = timedelta(0)
    client = activated("tdx")
    bundle = shop.server.home / "server" / "endorsements" / "bundle.mse"
    kept = bundle.read_bytes()
    bundle.unlink()
    try:
        with pytest.raises(LevelNotReached) as refused:
            client.prove(shop.sealed["swap.onnx"])
    finally:
        bundle.write_bytes(kept)
    assert "collateral" in refused.value.params["verdict"]
    assert "import" in refused.value.reason


def test_an_older_answer_or_another_devices_is_none_to_this_question(shop, activated):
    """Whoever stands between may keep what came and play it again; it is signed, and not ours."""
    client = activated("snp")
    client.prove(shop.sealed["swap.onnx"])
    kept = []

    class Between:
        def __init__(self, inner):
            self.inner = inner

        def exchange(self, method, path, **more):
            answer = self.inner.exchange(method, path, **more)
            if path.endswith(":attest"):
                kept.append(answer)
                return kept[0]
            return answer

        def close(self):
            self.inner.close()

    client._core._transport = Between(client._core.transport)
    client.prove(shop.sealed["swap.onnx"])
    client._core.run_keys.wipe()
    with pytest.raises(AnswerInvalid):
        client.prove(shop.sealed["swap.onnx"])
    assert client.proved_level(shop.swap) == 0
    other = activated("snp")
    other._core._transport = Between(other._core.transport)
    with pytest.raises(AnswerInvalid):
        other.prove(shop.sealed["swap.onnx"])
