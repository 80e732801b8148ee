"""A program's word about itself: the format of evidence where there is no hardware. Shows L0.

``write`` and ``judge`` belong together. No key is pinned in any release; a policy that pins one has
pinned software.
"""

from __future__ import annotations

from typing import Any

from modelseal import cbor, strict_json
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.cbor import CborInvalid
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import InvalidBytes, TokenSignature
from modelseal.types import Level

TYP = "modelseal-software-evidence"
VERSION = 1
MAX_REPORT_DATA_BYTES = 64
_MAX_BYTES = 4096
_LABEL = b"modelseal/software-evidence/v1\0"


def write(report_data: bytes, key: Signer) -> bytes:
    """The statement of ``key`` that is bound to ``report_data``."""
    signed = _signed(report_data)
    members = {"kid": key.kid, "report_data": report_data, "signature": key.sign(signed)}
    return cbor.encode({"typ": TYP, "version": VERSION, **members})


def judge(case: Case, ledger: Ledger) -> None:
    """Judge one statement by the keys that the policy pins."""
    found = _read(case)
    ledger.claims.update(kid=found["kid"], report_data=found["report_data"].hex())
    ledger.ok(Step.PARSE)
    keys = [_key(root) for root in case.roots]
    matching = [key for key in keys if key.kid == found["kid"]]
    if not matching:
        raise NotGenuine(Step.CHAIN, "chain_not_anchored", issuer=found["kid"])
    ledger.ok(Step.CHAIN)
    try:
        matching[0].verify(found["signature"], _signed(found["report_data"]))
    except TokenSignature as error:
        raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail=error.detail) from None
    for step in (Step.SIGNATURE, Step.REVOCATION, Step.FRESHNESS):
        ledger.ok(step)
    if case.options["accept_software"]:
        ledger.ok(Step.PLATFORM)
    else:
        ledger.refuse(Step.PLATFORM, "software_only")
    ledger.bound["report_data"] = found["report_data"]


def _read(case: Case) -> dict[str, Any]:
    if len(case.parts) != 1:
        malformed("one statement is needed")
    try:
        found = cbor.decode(case.parts[0], max_bytes=_MAX_BYTES)
    except CborInvalid as error:
        malformed(error.detail)
    wanted = {"typ": str, "version": int, "kid": str, "report_data": bytes, "signature": bytes}
    if not isinstance(found, dict) or set(found) != set(wanted):
        malformed("not a statement of software")
    if not all(type(found[name]) is kind for name, kind in wanted.items()):
        malformed("a member of another type")
    if found["typ"] != TYP or found["version"] != VERSION or len(found["kid"]) > 64:
        malformed("of a type or version that is not known here")
    if not 1 <= len(found["report_data"]) <= MAX_REPORT_DATA_BYTES:
        malformed("report data of another length")
    return found


def _key(root: bytes) -> VerifyKey:
    try:
        return VerifyKey.from_jwk(strict_json.decode(root, max_bytes=_MAX_BYTES))
    except (InvalidBytes, AttributeError) as error:
        detail = getattr(error, "detail", "")
        raise NotGenuine(Step.CHAIN, "root_unreadable", detail=detail) from None


def _signed(report_data: bytes) -> bytes:
    return _LABEL + report_data


KIND = Kind(
    name="software",
    level=Level.L0,
    judge=judge,
    reference=(),
    options={"accept_software": Option(False)},
)
