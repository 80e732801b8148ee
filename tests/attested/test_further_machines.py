"""Azure, Arm and Android from end to end: asked as they are asked in life, judged by the running
server, and none of their evidence good for another question, device or kind.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import cbor2
import pytest
import tests.attested.machines as machines
from tests.attest.authorities import android as phones
from tests.attest.authorities import arm, snp
from tests.attest.authorities import azure as azures
from tests.attest.authorities import certificates as c
from tests.attest.authorities import intel as intels
from tests.attest.authorities.crls import crl
from tests.client.real_shop import PLAIN, opens, running
from tests.tpm import emulator, requires_swtpm

import modelseal
from modelseal import trust
from modelseal.admin import PlanDraft
from modelseal.attest.collect import Collected, Collector, Part
from modelseal.attest.collect.azure import ATTESTATION_KEY, REPORT_INDEX, AzureCollector
from modelseal.attest.collect.tsm import TsmCollector
from modelseal.desk import endorsing
from modelseal.desk import workspace as workspaces
from modelseal.errors import KeyNotInLease, LevelNotReached
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.strict_json import b64u
from modelseal.testing.kernel import FakeImds, FakeTsm
from modelseal.tpm2.chip import nv, objects
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.codes import Alg, Hierarchy, NvAttribute
from modelseal.tpm2.wire.public import Rsa, Scheme

CLOUD, ARM, PHONES, GUEST = azures.Azure(), arm.Maker(), phones.Maker(), intels.Guest()
AMD, INTEL = CLOUD.amd, CLOUD.intel
PHONE = phones.Description()
LEVELS = {"azure-snp": 4, "azure-tdx": 4, "cca": 4, "psa": 2, "android": 2}
MACHINES = [
    pytest.param(name, marks=requires_swtpm if name.startswith("azure") else ())
    for name in LEVELS
]  # fmt: skip
RULES = {
    "roots": {
        "azure-vtpm": CLOUD.pins, "cca": [ARM.jwk.decode()], "psa": [ARM.jwk.decode()],
        "android": [c.pem([PHONES.pin]).decode()],
    },
    "azure-vtpm": {"minimum_tcb": snp.TCB},
    "reference": {
        "azure-vtpm": [
            {"measurement": [snp.MEASUREMENT.hex()]}, {"mr_td": [GUEST.mr_td.hex()]},
        ],
        "cca": [{"realm_initial": ["0d" * 32], "platform_0": ["01" * 32]}],
        "psa": [{"component_0": ["01" * 32], "signer_0": ["02" * 32]}],
        "android": [{"boot_key": [phones.BOOT_KEY.hex()], "signer": [phones.SIGNER.hex()]}],
    },
}  # fmt: skip


def plan(level: int) -> Plan:
    return Plan(entitlements=[PlanEntitlement(id="face.swap", min_level=level)], seats=99)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """``swap.onnx`` for machines of L2 or, by another plan, of L4."""
    with running(tmp_path_factory.mktemp("shop")) as made:
        for level in (2, 4):
            made.server.admin.create_plan(PlanDraft(name=f"l{level}", terms=plan(level)))
        now, home = datetime.now(UTC), made.server.home
        clean = json.dumps({"entries": {}}).encode()
        items = [crl(AMD.ark, now), INTEL.collateral(now, tdx=True), clean]
        with workspaces.open(home) as desk:
            named = [(f"item-{n}", data) for n, data in enumerate(items)]
            _, data = endorsing.create(desk, named, days=30, now=now)
        pinned = trust.parse((home / "trust.json").read_bytes())
        endorsing.take_in(home / "server" / "endorsements", data, pinned, now)
        machines.set_policy(home, RULES)
        yield made


@dataclass
class Device:
    """What has evidence made by a chip of our own: a phone's keystore, a PSA secure element."""

    name: str
    made: Callable[[bytes], bytes]

    def is_here(self) -> bool:
        return True

    def collect(self, report_data: bytes) -> Collected:
        part = Part("evidence", self.made(report_data))
        return Collected(self.name, "a device of the tests", (part,))


def paravisor(stack: ExitStack, *, tdx: bool) -> Collector:
    """An Azure virtual machine of ours: its virtual TPM holds the paravisor's report."""
    chip = stack.enter_context(emulator())
    template = templates.attestation_key()
    body = Rsa(2048, bytes(256), scheme=Scheme(Alg.RSASSA, Alg.SHA256))
    with chip.connect() as tpm:
        made = replace(template, body=body)
        with objects.primary(tpm, Hierarchy.OWNER, made) as key:
            objects.persist(tpm, key, ATTESTATION_KEY)
            modulus = key.public.body.n
        ak = {"kid": "HCLAkPub", "kty": "RSA", "e": "AQAB", "n": b64u(modulus)}
        vm = azures.Vm(keys=[ak], behind=b"")
        guest = GUEST.but(report_data=CLOUD.bound(vm))
        report = (
            CLOUD.hcl(vm, azures.td_report(guest), 4)
            if tdx
            else CLOUD.hcl(vm, AMD.sign(snp.Report().but(report_data=CLOUD.bound(vm))), 2)
        )
        rights = NvAttribute.OWNER_READ | NvAttribute.AUTH_READ | NvAttribute.AUTH_WRITE
        nv.write(tpm, nv.define(tpm, REPORT_INDEX, len(report), rights), report)
    host = (
        FakeImds(td_quote=lambda asked: INTEL.quote(guest) if asked == report[32:1056] else b"")
        if tdx
        else FakeImds(c.pem([AMD.certificate(), AMD.intermediate]))
    )
    return AzureCollector(chip.address, imds=host)


@pytest.fixture
def machine():
    """Makes one by name."""
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def make(name: str) -> Collector:
            if name.startswith("azure"):
                return paravisor(stack, tdx=name == "azure-tdx")
            if name == "cca":
                return TsmCollector(
                    FakeTsm("arm_cca_guest", lambda bound: ARM.cca(realm=ARM.realm(k10=bound)))
                )
            if name == "psa":
                return Device("psa", lambda b: cbor2.dumps(arm.sign1(ARM.iak, ARM.psa(k10=b))))
            return Device("android", lambda b: PHONES.evidence(PHONE.but(challenge=b)))

        yield make


@pytest.fixture
def activated(entered):
    """Activates a client under the plan of that level on a machine with these collectors."""
    return lambda level, *collectors: entered(f"l{level}", collectors=collectors)


def refusal(client, shop) -> tuple[str, str]:
    with pytest.raises(LevelNotReached) as refused:
        client.prove(shop.sealed["swap.onnx"])
    assert client.proved_level(shop.swap) == 0
    return refused.value.params["verdict"], refused.value.reason


@pytest.mark.parametrize("name", MACHINES)
def test_each_opens_what_demands_its_level(shop, machine, activated, name):
    level = LEVELS[name]
    client = activated(level, machine(name))
    with pytest.raises(KeyNotInLease):
        opens(client, shop.swap)
    modelseal.use(client)
    with modelseal.open(shop.sealed["swap.onnx"]) as sealed:
        assert bytes(sealed.read("swap.onnx")) == PLAIN
    proved = client.status().proved
    kind = "azure-vtpm" if name.startswith("azure") else name
    assert (proved.level, proved.kinds) == (level, [kind])


@pytest.mark.parametrize("name", ["psa", "android"])
def test_a_device_of_level_two_does_not_open_what_demands_more(shop, machine, activated, name):
    assert refusal(activated(4, machine(name)), shop)[0] == "level_short"


@dataclass
class Other:
    """Hands out what ``inner`` made, altered on its way."""

    inner: Collector
    alter: Callable[[Collector, bytes], Collected]

    @property
    def name(self) -> str:
        return self.inner.name

    def is_here(self) -> bool:
        return True

    def collect(self, report_data: bytes) -> Collected:
        return self.alter(self.inner, report_data)


def replayed(inner: Collector, report_data: bytes) -> Collected:
    """What was made for an earlier question."""
    return inner.collect(bytes(len(report_data)))


@pytest.mark.parametrize("name", MACHINES)
def test_evidence_of_an_earlier_question_is_refused(shop, machine, activated, name):
    client = activated(LEVELS[name], Other(machine(name), replayed))
    assert refusal(client, shop)[0] == "binding_mismatch"


@pytest.mark.parametrize("name", MACHINES)
def test_evidence_that_a_good_machine_made_for_another_device_is_refused(
    shop, machine, activated, name
):
    """The relay: this device forwards what a good machine said in a release of its own."""
    level, good = LEVELS[name], machine(name)
    kept: list[Collected] = []

    def keep(inner: Collector, report_data: bytes) -> Collected:
        kept.append(inner.collect(report_data))
        return kept[-1]

    assert activated(level, Other(good, keep)).prove(shop.sealed["swap.onnx"]).level == level
    thief = activated(level, Other(good, lambda _inner, _bound: kept[0]))
    assert refusal(thief, shop)[0] == "binding_mismatch"


@pytest.mark.parametrize("name", MACHINES)
def test_evidence_under_the_name_of_another_kind_is_none(shop, machine, activated, name):
    inner = machine(name)
    kind = "psa" if name != "psa" else "cca"

    def renamed(found: Collector, report_data: bytes) -> Collected:
        return replace(found.collect(report_data), kind=kind)

    verdict, _ = refusal(activated(LEVELS[name], Other(inner, renamed)), shop)
    assert verdict == "evidence_malformed"


@requires_swtpm
@pytest.mark.parametrize("name", ["azure-snp", "azure-tdx"])
def test_the_report_of_another_virtual_machine_does_not_carry_this_ones_quote(
    shop, machine, activated, name
):
    mine, victim = machine(name), machine(name)

    def mixed(inner: Collector, report_data: bytes) -> Collected:
        found, other = inner.collect(report_data), victim.collect(report_data)
        said, borrowed = (json.loads(each.parts[0].data) for each in (found, other))
        for member in ("hcl_report", "td_quote"):
            if member in borrowed:
                said[member] = borrowed[member]
        return replace(found, parts=(Part("azure.json", json.dumps(said).encode()),))

    assert refusal(activated(4, Other(mine, mixed)), shop)[0] == "signature_invalid"


def test_a_realm_on_another_chip_and_an_unlocked_phone_are_refused_in_words(shop, activated):
    stranger = arm.Maker()
    realm = Device("cca", lambda b: stranger.cca(realm=stranger.realm(k10=b)))
    assert refusal(activated(4, realm), shop)[0] == "signature_invalid"
    unlocked = PHONE.but(locked=False, boot_state=2)
    phone = Device("android", lambda b: PHONES.evidence(unlocked.but(challenge=b)))
    verdict, reason = refusal(activated(2, phone), shop)
    assert "bootloader" in reason.lower(), verdict
