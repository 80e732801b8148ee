"""Collectors, on fakes that keep the kernel's rules and on a real emulated TPM."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
from types import SimpleNamespace

import cbor2
import pytest
from tests.attest.authorities import nvidia as gpus
from tests.attest.authorities.event_logs import Line, separator, variable, write
from tests.attest.judging import judge, verdict
from tests.tpm import emulator, requires_swtpm

from modelseal.attest import collect as collecting
from modelseal.attest.collect.azure import ATTESTATION_KEY, REPORT_INDEX, AzureCollector
from modelseal.attest.collect.gramine import GramineCollector
from modelseal.attest.collect.nitro import NitroCollector
from modelseal.attest.collect.nvidia import NvidiaCollector
from modelseal.attest.collect.ports import SystemFiles
from modelseal.attest.collect.software import SoftwareCollector
from modelseal.attest.collect.tpm2 import Tpm2Collector
from modelseal.attest.collect.tsm import CCEL, TsmCollector
from modelseal.errors import EvidenceUnavailable, ExtraMissing, Misuse
from modelseal.testing.kernel import FakeGramine, FakeKernelWarning, FakeNsm, FakeNvml, FakeTsm
from modelseal.tpm2.chip import nv, objects, state
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.attest import Attest
from modelseal.tpm2.wire.codes import Hierarchy, NvAttribute

BOUND = bytes(range(64))


def tsm(provider="tdx_guest", **given) -> FakeTsm:
    with pytest.warns(FakeKernelWarning):
        return FakeTsm(provider, lambda bound: b"report of " + bound, **given)


@pytest.mark.parametrize(
    ("provider", "kind"), [("sev_guest", "snp"), ("tdx_guest", "tdx"), ("arm_cca_guest", "cca")]
)
def test_configfs_tsm_answers_for_each_provider_and_leaves_no_folder(provider, kind):
    kernel = tsm(provider)
    found = TsmCollector(kernel).collect(BOUND)
    assert found.kind == kind
    assert found.parts[0].data == b"report of " + BOUND
    assert kernel.folders == ()


def test_a_report_that_somebody_else_wrote_between_is_asked_again():
    kernel = tsm(disturbed=2)
    assert TsmCollector(kernel).collect(BOUND).parts[0].data == b"report of " + BOUND
    assert kernel.folders == ()


def test_somebody_who_always_writes_between_gets_no_report_through():
    kernel = tsm(disturbed=99)
    with pytest.raises(EvidenceUnavailable, match="somebody else"):
        TsmCollector(kernel).collect(BOUND)
    assert kernel.folders == ()


def test_an_unknown_provider_is_no_evidence():
    with pytest.raises(EvidenceUnavailable, match="provider"):
        TsmCollector(tsm("other_guest")).collect(BOUND)


def test_the_event_log_of_a_tdx_guest_comes_along():
    found = TsmCollector(tsm(files={CCEL: b"log"})).collect(BOUND)
    assert [part.data for part in found.parts][1:] == [b"log"]
    assert len(TsmCollector(tsm("sev_guest", files={CCEL: b"log"})).collect(BOUND).parts) == 1


def _table(*certificates: bytes) -> bytes:
    head, body = b"", b""
    start = 24 * (len(certificates) + 1)
    for data in certificates:
        where = (start + len(body)).to_bytes(4, "little") + len(data).to_bytes(4, "little")
        head += b"\x11" * 16 + where
        body += data
    return head + bytes(24) + body


def test_the_hosts_certificates_come_along_as_endorsements():
    table = _table(b"first", b"second")
    found = TsmCollector(tsm("sev_guest", auxblob=table + bytes(100))).collect(BOUND)
    assert [part.data for part in found.endorsements] == [b"first", b"second"]


@pytest.mark.parametrize("table", [b"", b"\x11" * 23, b"\x11" * 24, b"\xff" * 4096])
def test_a_damaged_table_of_the_host_harms_nothing(table):
    found = TsmCollector(tsm("sev_guest", auxblob=table)).collect(BOUND)
    assert found.endorsements == ()


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_a_value_of_another_length_is_refused_and_never_padded(length):
    with pytest.warns(FakeKernelWarning):
        gramine = FakeGramine(bytes)
    for collector in (TsmCollector(tsm()), GramineCollector(gramine)):
        with pytest.raises(Misuse):
            collector.collect(bytes(length))


def test_the_kernels_own_errors_become_ours():
    class Refusing:
        def __getattr__(self, _name):
            def refuse(*_given):
                raise OSError(errno.EACCES, "Permission denied")

            return refuse

    for collector in (TsmCollector(Refusing()), GramineCollector(Refusing())):
        with pytest.raises(EvidenceUnavailable, match="Permission denied"):
            collector.collect(BOUND)


def test_gramine_quotes_what_was_written():
    with pytest.warns(FakeKernelWarning):
        kernel = FakeGramine(lambda bound: b"quote of " + bound)
    collector = GramineCollector(kernel)
    assert collector.is_here()
    found = collector.collect(BOUND)
    assert (found.kind, found.parts[0].data) == ("sgx", b"quote of " + BOUND)


def test_gramine_without_dcap_gives_no_evidence():
    with pytest.warns(FakeKernelWarning):
        kernel = FakeGramine(bytes, attestation_type="none")
    with pytest.raises(EvidenceUnavailable, match="none"):
        GramineCollector(kernel).collect(BOUND)


def test_the_nitro_module_binds_the_value_as_user_data():
    with pytest.warns(FakeKernelWarning):
        module = FakeNsm(lambda asked: b"document " + (asked["user_data"] or b""))
    found = NitroCollector(module).collect(b"bound")
    assert (found.kind, found.parts[0].data) == ("nitro", b"document bound")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        cbor2.dumps({"Error": "InternalError"}),
        cbor2.dumps({"Attestation": {"document": b""}}),
        cbor2.dumps([1]),
    ],
)
def test_an_odd_answer_of_the_nitro_module_is_no_evidence(answer):
    module = SimpleNamespace(exists=lambda: True, ask=lambda _request: answer)
    with pytest.raises(EvidenceUnavailable):
        NitroCollector(module).collect(b"bound")


@pytest.mark.parametrize("length", [0, 513])
def test_nitro_binds_no_other_length(length):
    with pytest.warns(FakeKernelWarning):
        module = FakeNsm(lambda _asked: b"document")
    with pytest.raises(Misuse):
        NitroCollector(module).collect(bytes(length))


def nvml(count=2):
    maker = gpus.Maker()
    with pytest.warns(FakeKernelWarning):
        made = FakeNvml(
            lambda nonce: maker.sign(gpus.Report(nonce=nonce)), gpus.c.pem(maker.chain), count
        )
    return made, maker


def test_every_gpu_answers_one_nonce_and_the_verifier_reads_it():
    library, maker = nvml()
    collector = NvidiaCollector(library)
    assert collector.is_here()
    nonce = b"\x07" * 32
    found = collector.collect(nonce)
    assert library.users == 0
    roots = [gpus.c.pem([maker.pin]).decode()]
    result = judge("nvidia", found.parts[0].data, expected=nonce, roots=roots)
    assert result.genuine and len(result.claims["gpus"]) == 2


def test_without_a_gpu_or_its_library_there_is_no_evidence(monkeypatch):
    with pytest.raises(EvidenceUnavailable):
        NvidiaCollector(nvml(count=0)[0]).collect(bytes(32))
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert not NvidiaCollector().is_here()
    with pytest.raises(ExtraMissing):
        NvidiaCollector().collect(bytes(32))


def test_software_is_believed_by_nobody_who_has_not_asked_for_it():
    found = SoftwareCollector().collect(b"bound")
    data, root = found.parts[0].data, found.endorsements[0].data.decode()
    assert verdict(judge("software", data, expected=b"bound")) == (
        False,
        "chain",
        "chain_not_anchored",
    )
    pinned = judge("software", data, expected=b"bound", roots=[root])
    assert verdict(pinned) == (True, "platform", "software_only")
    asked = judge(
        "software",
        data,
        expected=b"bound",
        roots=[root],
        options={"accept_software": True},
        rules={"accept_unknown": ["measurement"]},
    )
    assert asked.affirming and asked.level == 0


def test_a_changed_byte_of_softwares_word_is_noticed():
    found = SoftwareCollector().collect(b"bound")
    data, root = found.parts[0].data, found.endorsements[0].data.decode()
    for place in range(len(data)):
        bent = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert not judge("software", bent, roots=[root]).genuine


def test_the_first_collector_that_is_here_is_asked():
    def here(name, answer):
        return SimpleNamespace(name=name, is_here=lambda: answer, collect=lambda _b: name)

    table = {"a": lambda: here("a", False), "b": lambda: here("b", True)}
    assert collecting.collect(b"x", known=table) == "b"
    assert collecting.collect(b"x", "a", known=table) == "a"
    with pytest.raises(Misuse):
        collecting.collect(b"x", "c", known=table)
    with pytest.raises(EvidenceUnavailable):
        collecting.collect(b"x", known={"a": table["a"]})


def test_nobody_falls_back_to_software_by_itself():
    assert "software" in collecting.collectors()
    assert not SoftwareCollector().is_here()


def test_system_files_read_and_write_below_their_base(tmp_path):
    files = SystemFiles(tmp_path)
    files.make_folder("/folder")
    (tmp_path / "folder" / "inblob").touch()
    files.write("/folder/inblob", b"value")
    assert files.read("/folder/inblob") == b"value" and files.exists("/folder")
    (tmp_path / "folder" / "inblob").unlink()
    files.remove_folder("/folder")
    assert not files.exists("/folder")


class Log:
    """The firmware's log, behind ``KernelFiles``."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, _path):
        return self.data

    def exists(self, _path):
        return True


@pytest.fixture(scope="module")
def booted():
    """An emulated TPM after a boot with Secure Boot, and that boot's log."""
    lines = [
        variable("SecureBoot", b"\x01"),
        *(separator(register) for register in range(8)),
        Line(8, 0xD, b"kernel_cmdline: quiet\0", hashlib.sha256(b"quiet").digest()),
    ]
    with emulator() as chip:
        with chip.connect() as tpm:
            for line in lines:
                state.extend_pcr(tpm, line.register, line.digest("sha256"))
        yield chip, write(lines)


def _pem(found) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from modelseal.tpm2.wire.public import Public

    public = Public.from_bytes(cbor2.loads(found.parts[0].data)["ak_public"]).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@requires_swtpm
def test_a_real_quote_with_its_log_is_affirmed_where_its_key_is_pinned(booted):
    chip, log = booted
    found = Tpm2Collector(chip.address, Log(log)).collect(b"\x05" * 32)
    parts = [part.data for part in found.parts]
    given = {"expected": b"\x05" * 32, "roots": [_pem(found)]}
    first = judge("tpm2", *parts, **given)
    assert verdict(first) == (True, "measurement", "reference_missing")
    assert first.claims["boot"]["secure_boot"] is True
    golden = {f"pcr{n}": first.claims["pcrs"][str(n)] for n in range(10)}
    assert judge("tpm2", *parts, reference=golden, **given).affirming
    assert first.claims["boot"]["kernel_command_lines"] == ["quiet"]
    other = judge("tpm2", *parts, reference={**golden, "pcr8": "00" * 32}, **given)
    assert verdict(other) == (True, "measurement", "measurement_mismatch")
    assert verdict(judge("tpm2", *parts)) == (False, "chain", "tpm2_key_not_endorsed")


@requires_swtpm
def test_a_log_that_does_not_replay_or_is_missing_is_not_affirming(booted):
    chip, log = booted
    found = Tpm2Collector(chip.address, Log(log)).collect(b"\x05" * 32)
    quote, roots = found.parts[0].data, [_pem(found)]
    forged = write([variable("SecureBoot", b"\x01"), separator(7)])
    wrong = judge("tpm2", quote, forged, roots=roots)
    assert (wrong.genuine, wrong.code) == (True, "event_log_mismatch")
    missing = judge("tpm2", quote, roots=roots, expected=b"\x05" * 32)
    assert (missing.genuine, missing.code) == (True, "event_log_missing")


@requires_swtpm
def test_every_changed_byte_of_a_quote_and_a_key_that_is_not_its_own_are_noticed(booted):
    chip, log = booted
    found = Tpm2Collector(chip.address, Log(log)).collect(b"\x05" * 32)
    quote, roots = found.parts[0].data, [_pem(found)]
    assert judge("tpm2", quote, log, roots=roots).genuine
    for place in range(len(quote)):
        bent = quote[:place] + bytes([quote[place] ^ 1]) + quote[place + 1 :]
        assert not judge("tpm2", bent, log, roots=roots).genuine, place
    for cut in (0, 1, 50, len(quote) - 1):
        assert not judge("tpm2", quote[:cut], log, roots=roots).genuine
    assert not judge("tpm2", quote, quote, roots=roots).genuine


@requires_swtpm
def test_an_azure_virtual_tpm_gives_the_stored_report_and_a_fresh_quote():
    report = b"HCLA" + bytes(600)
    with emulator() as chip:
        assert not AzureCollector(chip.address).is_here()
        with pytest.raises(EvidenceUnavailable):
            AzureCollector(chip.address, Log(b"")).collect(b"\x06" * 32)
        with chip.connect() as tpm:
            rights = NvAttribute.OWNER_READ | NvAttribute.AUTH_READ | NvAttribute.AUTH_WRITE
            nv.write(tpm, nv.define(tpm, REPORT_INDEX, len(report), rights), report)
            with objects.primary(tpm, Hierarchy.OWNER, templates.attestation_key()) as key:
                objects.persist(tpm, key, ATTESTATION_KEY)
        collector = AzureCollector(chip.address)
        assert collector.is_here()
        found = collector.collect(b"\x06" * 32)
    document = json.loads(found.parts[0].data)
    assert Attest.from_bytes(bytes.fromhex(document["tpm_quote"]["message"])).extra == b"\x06" * 32
    assert len(document["tpm_quote"]["pcrs"]) == 24
    assert base64.urlsafe_b64decode(document["hcl_report"]) == report
