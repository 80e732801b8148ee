"""TPM 2.0 evidence in a file: a quote over the registers, with the log of the boot.

1. parse: the quote's parts as ``attest collect`` writes them, the event log beside
2. chain: the attestation key is pinned, or has a certificate that reaches a pinned root
3. signature: that key, restricted and of the endorsement hierarchy, made the quote
4. platform: the log replays to the registers that were quoted; Secure Boot was on

A key that is neither pinned nor certified can still be proved by a credential; that takes a
conversation, which the server has (``docs/spec/tpm.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelseal import cbor
from modelseal.attest.verify import arm_keys, chains, encodings, event_log, tpm2, x509
from modelseal.attest.verify.event_log import EventLog
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.attest.verify.tpm2 import Point
from modelseal.attest.verify.x509 import Certificate
from modelseal.cbor import CborInvalid
from modelseal.errors import EvidenceInvalid
from modelseal.tpm2.wire.attest import Attest
from modelseal.tpm2.wire.codes import Alg
from modelseal.tpm2.wire.public import Public
from modelseal.types import Level

TYP = "modelseal-tpm2-evidence"
VERSION = 1
PCRS = 24
_PCR_BYTES = 32
_MAX_BYTES = 65536
_MAX_PATH = 5
_FIRMWARE = range(8)


def judge(case: Case, ledger: Ledger) -> None:
    """Judge one quote with the log beside it; see the steps above."""
    found, log = _read(case.parts)
    key, stated = _parsed(found)
    pcrs: list[bytes] = found["pcrs"]
    ledger.claims.update(
        pcrs={str(number): value.hex() for number, value in enumerate(pcrs)},
        clock_ms=stated.clock.clock,
        reset_count=stated.clock.reset_count,
        revocation="absent",
    )
    ledger.ok(Step.PARSE)
    _check_key(key, case, ledger)
    values = {(int(Alg.SHA256), number): value for number, value in enumerate(pcrs)}
    point = _point(key)
    tpm2.quoted(found["attest"], found["signature"], by=point, bound=stated.extra, values=values)
    ledger.ok(Step.SIGNATURE)
    ledger.bound["qualifying_data"] = stated.extra
    ledger.measured.update({f"pcr{n}": value.hex() for n, value in enumerate(pcrs)})
    _judge_boot(case, ledger, pcrs, log)


def attestation_key(parts: Sequence[bytes]) -> bytes:
    """The key that quoted, in PEM, as the evidence says it; nobody has vouched for it.

    ``EvidenceInvalid`` for anything else than one quote, with its log or without.
    """
    try:
        key, _ = _parsed(_read([encodings.peel(part) for part in parts])[0])
    except NotGenuine as no:
        raise EvidenceInvalid(str(no.params.get("detail", no.code))) from None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read(parts: Sequence[bytes]) -> tuple[dict[str, Any], EventLog | None]:
    quotes = [part for part in parts if part[:1] in (b"\xa6",)]
    logs = [part for part in parts if part not in quotes]
    if len(quotes) != 1 or len(logs) > 1:
        malformed("one quote is needed, and at most one event log")
    try:
        found = cbor.decode(quotes[0], max_bytes=_MAX_BYTES)
        log = event_log.read(logs[0]) if logs else None
    except (CborInvalid, EvidenceInvalid) as error:
        malformed(error.detail)
    wanted = {"typ", "version", "ak_public", "attest", "signature", "pcrs"}
    if not isinstance(found, dict) or set(found) != wanted or found["typ"] != TYP:
        malformed("not the quote of a TPM as it is collected here")
    if found["version"] != VERSION:
        malformed("of a version that is not known here")
    octets = [found["ak_public"], found["attest"], found["signature"]]
    pcrs = found["pcrs"] if isinstance(found["pcrs"], list) else []
    if not all(isinstance(part, bytes) for part in (*octets, *pcrs)) or len(pcrs) != PCRS:
        malformed("a member of another type")
    if any(len(value) != _PCR_BYTES for value in pcrs):
        malformed("a register of another length")
    return found, log


def _parsed(found: dict[str, Any]) -> tuple[ec.EllipticCurvePublicKey, Attest]:
    try:
        public = Public.from_bytes(found["ak_public"])
        key = public.public_key()
        stated = Attest.from_bytes(found["attest"])
    except EvidenceInvalid as error:
        malformed(error.detail)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        malformed("an attestation key that is not on P-256")
    if tpm2.attestation_public(_point(key)) != public:
        malformed("a key of other attributes than an attestation key's")
    return key, stated


def _point(key: ec.EllipticCurvePublicKey) -> Point:
    numbers = key.public_numbers()
    return Point(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))


def _check_key(key: ec.EllipticCurvePublicKey, case: Case, ledger: Ledger) -> None:
    """Pinned itself, or under a certificate among the endorsements."""
    mine = _spki(key)
    pinned = {_spki(found) for root in case.roots for found in arm_keys.public_keys(root)}
    if mine in pinned:
        for step in (Step.CHAIN, Step.REVOCATION, Step.FRESHNESS):
            ledger.ok(step)
        return
    path = _path(mine, case)
    if not path:
        raise NotGenuine(Step.CHAIN, "tpm2_key_not_endorsed")
    chains.check(path, frozenset(pinned))
    ledger.ok(Step.CHAIN)
    chains.check_revocation(path, case.endorsements.crls, case.now, ledger)
    chains.check_dates(path, case.now, ledger)


def _path(spki: bytes, case: Case) -> tuple[Certificate, ...]:
    """The certificate of the key and those above it, as far as the endorsements hold them."""
    known: list[Certificate] = []
    for each in case.endorsements.certificates:
        try:
            known.append(x509.read(each.public_bytes(Encoding.DER)))
        except EvidenceInvalid:
            continue
    path = [each for each in known if each.spki == spki][:1]
    while path and len(path) < _MAX_PATH and path[-1].issuer != path[-1].subject:
        above = [each for each in known if each.subject == path[-1].issuer]
        if not above:
            break
        path.append(above[0])
    return tuple(path)


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _judge_boot(case: Case, ledger: Ledger, pcrs: list[bytes], log: EventLog | None) -> None:
    if log is None:
        ledger.unknown(Step.PLATFORM, "event_log_missing")
        return
    try:
        replayed = log.replay("sha256")
    except EvidenceInvalid as error:
        malformed(error.detail)
    zero = bytes(_PCR_BYTES)
    wrong = [n for n, value in replayed.items() if n >= PCRS or pcrs[n] != value]
    wrong += [n for n in _FIRMWARE if n not in replayed and pcrs[n] != zero]
    if wrong:
        names = [f"PCR {number}" for number in sorted(wrong)]
        ledger.refuse(Step.MEASUREMENT, "event_log_mismatch", names=names)
        return
    facts = log.facts("sha256")
    ledger.claims["boot"] = facts
    if facts["secure_boot"] is not True and not case.options["allow_insecure_boot"]:
        ledger.refuse(Step.PLATFORM, "secure_boot_off")
    else:
        ledger.ok(Step.PLATFORM)


KIND = Kind(
    name="tpm2",
    level=Level.L3,
    judge=judge,
    reference=(r"pcr(?:[0-9]|1[0-9]|2[0-3])",),
    options={"allow_insecure_boot": Option(False)},
    golden=tuple(f"pcr{number}" for number in range(10)),
)
