"""Forms that chips and tools of other years write: each is read, and the wrong one told apart."""

from __future__ import annotations

import base64
import json

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.attest.authorities import arm, nitro, snp
from tests.attest.authorities import azure as azures
from tests.attest.authorities import certificates as c
from tests.attest.authorities import nvidia as gpus
from tests.attest.authorities.crls import crl
from tests.attest.judging import NOW, judge, verdict

from modelseal.strict_json import b64u
from modelseal.types import Level

TURIN_TCB = {**snp.TCB, "fmc": 1}
LINES = {
    "Milan-B0": ("Milan", 0x19, 0x01, snp.TCB),
    "Milan": ("Milan", 0x19, 0x01, snp.TCB),
    "Genoa-B1": ("Genoa", 0x19, 0x11, snp.TCB),
    "Siena-A0": ("Genoa", 0x19, 0xA0, snp.TCB),
    "Turin-C1": ("Turin", 0x1A, 0x02, TURIN_TCB),
}


@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("product", LINES)
def test_each_line_of_epyc_is_judged_in_each_version_of_its_report(product, version):
    line, family, model, tcb = LINES[product]
    amd = snp.Amd(line)
    chip = snp.CHIP_ID[:8] if line == "Turin" else snp.CHIP_ID
    report = snp.Report().but(
        version=version, family=family, model=model, reported=tcb, launched=tcb, chip_id=chip
    )
    leaf = amd.certificate(snp.Endorsed(product=product, tcb=tcb, hwid=chip))
    beside = [leaf, amd.intermediate, crl(amd.ark, NOW)]
    given = {
        "roots": [amd.pin], "endorsements": beside, "options": {"minimum_tcb": tcb},
        "expected": report.report_data, "reference": {"measurement": snp.MEASUREMENT.hex()},
    }  # fmt: skip
    result = judge("snp", amd.sign(report), **given)
    assert result.affirming and result.level is Level.L4
    assert result.claims["product"] == line
    other = "Genoa-B1" if line != "Genoa" else "Milan-B0"
    wrong = amd.certificate(snp.Endorsed(product=other, tcb=snp.TCB, hwid=snp.CHIP_ID))
    given["endorsements"] = [wrong, *beside[1:]]
    assert verdict(judge("snp", amd.sign(report), **given)) == (False, "chain", "snp_product")


@pytest.mark.parametrize("microcode", [0, 127, 128, 219, 255])
def test_a_security_version_of_any_byte_is_compared_as_it_is(microcode):
    amd, tcb = snp.Amd(), {**snp.TCB, "microcode": microcode}
    report = snp.Report().but(reported=tcb, launched=tcb)
    beside = [amd.certificate(snp.Endorsed(tcb=tcb)), amd.intermediate, crl(amd.ark, NOW)]
    result = judge(
        "snp", amd.sign(report), roots=[amd.pin], endorsements=beside,
        options={"minimum_tcb": tcb}, expected=report.report_data,
        reference={"measurement": snp.MEASUREMENT.hex()},
    )  # fmt: skip
    assert result.affirming and result.claims["reported_tcb"]["microcode"] == microcode


# -- Arm: chips with keys on other curves


def keyed(curve: ec.EllipticCurve) -> arm.Maker:
    made = arm.Maker()
    made.iak = ec.generate_private_key(curve)
    return made


def jwk(maker: arm.Maker) -> str:
    numbers = maker.iak.public_key().public_numbers()
    size = (maker.iak.key_size + 7) // 8
    x, y = (b64u(n.to_bytes(size, "big")) for n in (numbers.x, numbers.y))
    return json.dumps({"kty": "EC", "crv": f"P-{maker.iak.key_size}", "x": x, "y": y})


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name
)
def test_an_attestation_key_on_each_curve_signs_psa_and_cca_tokens(monkeypatch, curve):
    import hashlib

    from cryptography.hazmat.primitives import hashes

    monkeypatch.setitem(arm._ALGORITHMS, 521, (-36, hashes.SHA512, 66))
    maker = keyed(curve)
    psa = cbor2.dumps(arm.sign1(maker.iak, maker.psa()))
    result = judge(
        "psa", psa, roots=[jwk(maker)], expected=b"\x0a" * 32,
        reference={"component_0": "01" * 32, "signer_0": "02" * 32},
    )  # fmt: skip
    assert result.affirming, result.code
    digest = hashlib.sha256(arm.cose_key(maker.rak)).digest()
    cca = maker.cca(maker.platform(k10=digest))
    result = judge(
        "cca", cca, roots=[jwk(maker)], expected=b"\x0b" * 64,
        reference={"realm_initial": "0d" * 32, "platform_0": "01" * 32},
    )  # fmt: skip
    assert result.affirming, result.code
    stranger = jwk(keyed(curve))
    assert verdict(judge("psa", psa, roots=[stranger]))[2] == "signature_invalid"


@pytest.mark.parametrize("size", [32, 48, 64])
@pytest.mark.parametrize(
    "profile", ["tag:psacertified.org,2023:psa#tfm", "http://arm.com/psa/2.0.0"]
)
def test_a_nonce_of_each_length_binds_and_of_another_profile_nothing(profile, size):
    maker, nonce = arm.Maker(), b"\x0e" * size
    token = cbor2.dumps(arm.sign1(maker.iak, maker.psa(k10=nonce, k265=profile)))
    given = {"roots": [maker.jwk.decode()], "reference": {"component_0": "01" * 32}}
    assert judge("psa", token, expected=nonce, **given).affirming
    assert verdict(judge("psa", token, expected=nonce[:-1], **given))[1] == "binding"
    unknown = cbor2.dumps(arm.sign1(maker.iak, maker.psa(k10=nonce, k265=f"{profile}x")))
    assert verdict(judge("psa", unknown, expected=nonce, **given))[2] == "evidence_malformed"


def test_a_psa_token_may_bear_the_tag_of_a_cwt_once_round_its_own():
    maker = arm.Maker()
    given = {
        "roots": [maker.jwk.decode()], "expected": b"\x0a" * 32,
        "reference": {"component_0": "01" * 32},
    }  # fmt: skip
    tagged, bare = arm.sign1(maker.iak, maker.psa()), arm.sign1(maker.iak, maker.psa(), tag=None)
    assert judge("psa", cbor2.dumps(cbor2.CBORTag(61, tagged)), **given).affirming
    twice = cbor2.CBORTag(61, cbor2.CBORTag(61, tagged))
    for wrong in (cbor2.CBORTag(61, bare), twice, cbor2.CBORTag(62, tagged)):
        found = judge("psa", cbor2.dumps(wrong), **given)
        assert verdict(found) == (False, "parse", "evidence_malformed")


@pytest.mark.parametrize("value", [0x3000, 0x3001, 0x30FF])
def test_the_lower_byte_of_a_lifecycle_is_the_makers(value):
    maker = arm.Maker()
    token = cbor2.dumps(arm.sign1(maker.iak, maker.psa(k2395=value)))
    result = judge(
        "psa", token, roots=[maker.jwk.decode()], expected=b"\x0a" * 32,
        reference={"component_0": "01" * 32},
    )  # fmt: skip
    assert result.affirming and result.claims["lifecycle_value"] == value


# -- Nitro


@pytest.mark.parametrize("count", [1, 5, 16, 32])
def test_a_document_shows_as_many_registers_as_the_hypervisor_has(count):
    aws = nitro.Aws()
    pcrs = {i: bytes([i + 1]) * 48 for i in range(count)}
    said = nitro.Document().but(pcrs=pcrs)
    result = judge(
        "nitro", aws.sign(said), roots=[aws.pin], expected=nitro.NONCE,
        reference={"pcr0": pcrs[0].hex()}, now=NOW,
    )  # fmt: skip
    assert result.affirming and len(result.claims["pcrs"]) == count
    signed = {"pcr0": pcrs[0].hex(), "pcr8": (b"\x09" * 48).hex()}
    result = judge("nitro", aws.sign(said), roots=[aws.pin], expected=nitro.NONCE, reference=signed)
    assert result.affirming is (count > 8)  # PCR8: who signed the image


# -- Azure


@pytest.mark.parametrize("size", [0, 1, 20, 32, 48, 64])
@pytest.mark.parametrize("version", [..., 1, 2, 3])
def test_each_version_of_azures_json_with_each_length_of_nonce(version, size):
    cloud, nonce = CLOUD, b"\x11" * size
    raw = json.loads(cloud.on_amd(azures.Vm(nonce=nonce)))
    raw["version"] = version
    if version is ...:
        del raw["version"]
    raw["vcek"] = base64.urlsafe_b64encode(base64.b64decode(raw["vcek"])).decode()
    result = judge(
        "azure-vtpm", json.dumps(raw).encode(), roots=cloud.pins, expected=nonce or b"\0",
        endorsements=[cloud.amd.intermediate, crl(cloud.amd.ark, NOW)],
        options={"minimum_tcb": snp.TCB}, reference={"measurement": snp.MEASUREMENT.hex()},
    )  # fmt: skip
    assert result.genuine and result.affirming is (size > 0)


@pytest.mark.parametrize("version", [0, 4, "1", True, 1.5])
def test_azures_json_of_another_version_is_refused(version):
    raw = json.loads(CLOUD.on_amd())
    raw["version"] = version
    found = judge("azure-vtpm", json.dumps(raw).encode(), roots=CLOUD.pins)
    assert verdict(found) == (False, "parse", "evidence_malformed")


CLOUD = azures.Azure()


# -- NVIDIA


@pytest.mark.parametrize("model", ["GH100 A01 GSP BROM", "GB100 A01 GSP", "GB202 A01 GSP FMC LF"])
def test_each_generation_of_gpus_in_each_packing(model):
    maker, nonce = gpus.Maker(model), gpus.NONCE
    entry = maker.entry(gpus.Report())
    reference = {f"measurement_{i:02}": (bytes([i]) * 48).hex() for i in range(1, 65)}
    given = {
        "roots": [c.pem([maker.pin]).decode()], "expected": nonce, "reference": reference,
        "endorsements": [],
    }  # fmt: skip
    plain = judge("nvidia", gpus.as_json(entry), **given)
    packed = {"device_evidence_list": [{**entry, "uuid": "GPU-0", "arch": "any"}]}
    shouted = {**entry, "nonce": nonce.hex().upper()}
    for document in (packed, [shouted], entry):
        found = judge("nvidia", json.dumps(document).encode(), **given)
        assert (found.genuine, found.code) == (True, plain.code)
    assert plain.genuine and plain.claims["model"] == model
