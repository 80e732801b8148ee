"""AWS Nitro Enclaves: the attestation document, a COSE_Sign1 with its chain inside.

Normative: ``docs/attestation_process.md`` of aws-nitro-enclaves-nsm-api. AWS publishes no
revocation for these certificates: the leaf lives for three hours instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from modelseal.attest.verify import eat, nitro_roots, pki, wrappers
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.errors import EvidenceInvalid
from modelseal.types import Level

_BOUND = ("nonce", "user_data", "public_key")
_MAX_BOUND = {"nonce": 512, "user_data": 512, "public_key": 1024}
_PCR_BYTES = 48
_MAX_PCRS = 32
_MAX_CHAIN = 8
_MAX_CERTIFICATE = 4096
_YEAR_9999 = 253402300800000


def _judge(case: Case, ledger: Ledger) -> None:
    parts = wrappers.flatten(case.parts, ("attestation_document", "document", "evidence", "quote"))
    if len(parts) != 1:
        malformed("an attestation document is one file")
    try:
        value = eat.decode(parts[0])
        token = eat.sign1(value)
        if getattr(value, "value", value)[1] != {} or set(token.header) != {1}:
            malformed("a header with more than the algorithm, or unsigned")
        document = eat.decode(token.payload)
    except EvidenceInvalid as error:
        malformed(error.detail)
    _check_form(document)
    leaf = pki.load(document["certificate"], "the signing certificate")
    bundle = [pki.load(der, "a certificate of the bundle") for der in document["cabundle"]]
    ledger.ok(Step.PARSE)
    chain = pki.to_root(leaf, bundle, case.roots)
    _check_bundle(bundle, chain)
    ledger.ok(Step.CHAIN)
    ledger.claims["revocation"] = "absent"
    ledger.ok(Step.REVOCATION)
    key = pki.ec_key(leaf, ec.SECP384R1)
    if key is None:
        raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail="no key on P-384")
    try:
        token.check(key)
    except EvidenceInvalid as error:
        raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail=error.detail) from None
    ledger.ok(Step.SIGNATURE)
    _tell(document, case, ledger)
    if pki.judge_validity(chain, case.now, ledger):
        ledger.ok(Step.FRESHNESS)


def _check_form(document: Any) -> None:
    """Every member known, of its type and within the sizes that AWS names."""
    if not isinstance(document, Mapping):
        malformed("a document that is no map")
    known = {"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle", *_BOUND}
    if not set(document) <= known or not known - set(_BOUND) <= set(document):
        malformed("members other than those of an attestation document")
    if not isinstance(document["module_id"], str) or not 0 < len(document["module_id"]) <= 256:
        malformed("module_id")
    if document["digest"] != "SHA384":
        malformed("digest is not SHA384")
    stamp = document["timestamp"]
    if type(stamp) is not int or not 0 < stamp < _YEAR_9999:
        malformed("timestamp")
    pcrs = document["pcrs"]
    if not isinstance(pcrs, Mapping) or not 0 < len(pcrs) <= _MAX_PCRS or 0 not in pcrs:
        malformed("pcrs")
    for index, value in pcrs.items():
        whole = type(index) is int and 0 <= index < _MAX_PCRS
        if not whole or not isinstance(value, bytes) or len(value) != _PCR_BYTES:
            malformed("a pcr")
    _check_certificates(document["certificate"], document["cabundle"])
    for name in _BOUND:
        value = document.get(name)
        if value is not None and (not isinstance(value, bytes) or len(value) > _MAX_BOUND[name]):
            malformed(name)


def _check_certificates(leaf: Any, bundle: Any) -> None:
    if not isinstance(bundle, (list, tuple)) or not 0 < len(bundle) <= _MAX_CHAIN:
        malformed("cabundle")
    for der in (leaf, *bundle):
        if not isinstance(der, bytes) or not 0 < len(der) <= _MAX_CERTIFICATE:
            malformed("a certificate's length")


def _check_bundle(bundle: list[x509.Certificate], chain: tuple[x509.Certificate, ...]) -> None:
    """Nothing rides along: the bundle is exactly the chain above the leaf, the root first."""
    if tuple(bundle) != chain[:0:-1]:
        raise NotGenuine(Step.CHAIN, "chain_not_anchored", issuer=pki.name_of(bundle[0].subject))


def _tell(document: Mapping[str, Any], case: Case, ledger: Ledger) -> None:
    pcrs = {index: value.hex() for index, value in sorted(document["pcrs"].items())}
    stamp = datetime.fromtimestamp(document["timestamp"] // 1000, UTC)
    ledger.claims.update(
        module_id=document["module_id"],
        timestamp=pki.when(stamp),
        pcrs={str(index): value for index, value in pcrs.items() if value.strip("0")},
        debug=not pcrs[0].strip("0"),
    )
    ledger.measured.update({f"pcr{index}": value for index, value in pcrs.items()})
    for name in _BOUND:
        value = document.get(name)
        if value is None:
            continue
        ledger.claims[name] = value.hex()
        if name in case.options["bound_by"]:
            ledger.bound[name] = value
    ledger.owner = "aws"
    if ledger.claims["debug"] and not case.options["allow_debug"]:
        ledger.refuse(Step.PLATFORM, "debug_enabled")
    else:
        ledger.ok(Step.PLATFORM)


KIND = Kind(
    name="nitro",
    level=Level.L4,
    judge=_judge,
    reference=("pcr(?:[0-9]|[12][0-9]|3[01])",),
    options={
        "allow_debug": Option(False),
        "bound_by": Option(["nonce", "user_data"], _BOUND),
    },
    roots=nitro_roots.ROOTS,
    golden=("pcr0", "pcr1", "pcr2"),
)
