"""Android key attestation: a key in TrustZone or StrongBox, on a phone whose boot was verified.

1. parse: the certificates, leaf first, and the key description in the leaf
2. chain: signatures up to a pinned Google key, one description
3. freshness: dates of all but the leaf, whose dates are the device's own word
4. revocation: Google's status list, where an endorsement holds it
5. platform: security level, bootloader, boot state, origin, versions, application
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from modelseal.attest.verify import android_description, chains, x509
from modelseal.attest.verify.android_description import BOOT_STATES, VERSIONS, KeyDescription
from modelseal.attest.verify.android_roots import ROOTS
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.attest.verify.x509 import Certificate
from modelseal.errors import EvidenceInvalid
from modelseal.types import Level

_PRIVATE = ("id_serial", "id_imei", "id_meid", "id_second_imei", "application_id")
_SECURE = ("trusted_environment", "strongbox")


def judge(case: Case, ledger: Ledger) -> None:
    """Judge a chain with a key description in its leaf; see the steps above."""
    chain, descriptions = _read(case)
    leaf = descriptions[0]
    ledger.claims.update(_claims(chain, leaf))
    ledger.ok(Step.PARSE)
    _chain(case, ledger, chain, descriptions)
    _revocation(case, ledger, chain)
    ledger.ok(Step.SIGNATURE)
    ledger.bound["challenge"] = leaf.challenge
    _platform(case, ledger, leaf)
    _measured(ledger, leaf)


def _read(case: Case) -> tuple[tuple[Certificate, ...], dict[int, KeyDescription]]:
    try:
        chain = tuple(c for part in case.parts for c in x509.read_chain(part))
        if len(chain) > x509.MAX_CHAIN:
            malformed(f"more than {x509.MAX_CHAIN} certificates")
        found = {
            place: android_description.read(certificate.extensions[android_description.OID])
            for place, certificate in enumerate(chain)
            if android_description.OID in certificate.extensions
        }
    except EvidenceInvalid as error:
        malformed(error.detail)
    if 0 not in found:
        malformed("the leaf holds no key description")
    return chain, found


def _chain(
    case: Case,
    ledger: Ledger,
    chain: tuple[Certificate, ...],
    descriptions: dict[int, KeyDescription],
) -> None:
    """A description above the leaf belongs to a key that may only attest, or the chain is longer
    than its maker was allowed: an attested key that signs would mint phones."""
    attesting = max(descriptions)
    for place in range(1, attesting + 1):
        attester = descriptions.get(place)
        if attester is None or not _may_attest(attester, descriptions[0]):
            raise NotGenuine(Step.CHAIN, "chain_extended")
    for below, above in pairwise(chain[: attesting + 1]):
        chains.check_issued(below, above)
    chains.check(chain[attesting:], chains.anchors(case.roots))
    ledger.ok(Step.CHAIN)
    # the leaf's dates are the device's own word, and keys made by it carry the same
    dated = chain[attesting + 1 :]
    if case.options["accept_expired_root"] and dated and dated[-1].issuer == dated[-1].subject:
        dated = dated[:-1]
    chains.check_dates(dated, case.now, ledger)


def _may_attest(above: KeyDescription, leaf: KeyDescription) -> bool:
    rank = android_description.LEVELS.index
    return (
        above.hardware.values.get("purpose") == ["attest_key"]
        and above.hardware.values.get("origin") == "generated"
        and rank(above.level) >= rank(leaf.level)
    )


def _revocation(case: Case, ledger: Ledger, chain: tuple[Certificate, ...]) -> None:
    lists = [entries for entries in map(_entries, case.endorsements.documents) if entries]
    if not lists:
        ledger.unknown(Step.REVOCATION, "android_status_list_missing")
        return
    for certificate in chain:
        for entries in lists:
            entry = entries.get(certificate.serial_hex, entries.get(str(certificate.serial)))
            if entry is not None:
                name = f"{certificate.title} ({_why(entry)})"
                raise NotGenuine(Step.REVOCATION, "certificate_revoked", name=name)
    ledger.ok(Step.REVOCATION)


def _entries(document: Any) -> dict[str, Any] | None:
    """The entries of Google's status list; None for another document."""
    entries = document.get("entries") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        return None
    return {serial.lower(): entry for serial, entry in entries.items()} or {"": {}}


def _why(entry: dict[str, Any]) -> str:
    said = (entry.get("status"), entry.get("reason"))
    return ", ".join(word[:64] for word in said if isinstance(word, str))


def _platform(case: Case, ledger: Ledger, leaf: KeyDescription) -> None:
    before = len(ledger.findings)
    options = case.options
    hardware = leaf.hardware.values
    if leaf.version not in VERSIONS:
        ledger.unknown(Step.PLATFORM, "android_version_unknown", version=leaf.version)
    if leaf.level not in options["levels"]:
        ledger.refuse(Step.PLATFORM, "android_level", level=leaf.level)
    root = leaf.hardware.root_of_trust
    if root is None:
        ledger.refuse(Step.PLATFORM, "android_no_root_of_trust")
    else:
        if not root.device_locked and not options["accept_unlocked"]:
            ledger.refuse(Step.PLATFORM, "bootloader_unlocked")
        if root.boot_state not in options["boot_states"]:
            ledger.refuse(Step.PLATFORM, "boot_state", state=root.boot_state)
        elif not root.has_boot_key:
            ledger.refuse(Step.PLATFORM, "boot_key_empty")
    if hardware.get("origin") != "generated":
        ledger.refuse(Step.PLATFORM, "key_not_generated", origin=hardware.get("origin", "unknown"))
    for name in ("os_version", "os_patch_level", "vendor_patch_level", "boot_patch_level"):
        _at_least(ledger, name, hardware.get(name), options[f"min_{name}"])
    _application(case, ledger, leaf)
    if len(ledger.findings) == before:
        ledger.ok(Step.PLATFORM)


def _at_least(ledger: Ledger, name: str, found: int | None, least: int) -> None:
    if least and (found is None or _comparable(found, least) < least):
        ledger.refuse(Step.PLATFORM, "android_too_old", name=name, got=found or 0, wanted=least)


def _comparable(found: int, least: int) -> int:
    """Patch levels are YYYYMM or YYYYMMDD; a day is cut away where only the month is demanded."""
    return found // 100 if found >= 10_000_000 > least else found


def _application(case: Case, ledger: Ledger, leaf: KeyDescription) -> None:
    """The application id stands in the software list: the system server filled it in."""
    packages, signers = case.options["packages"], case.options["signers"]
    if not packages and not signers:
        return
    found = leaf.software.application or leaf.hardware.application
    names = {name for name, _ in found.packages} if found else set()
    digests = {signer.hex() for signer in found.signers} if found else set()
    if packages and not (names and names <= set(packages)):
        ledger.refuse(Step.PLATFORM, "android_application", found=", ".join(sorted(names))[:256])
    if signers and not (digests and digests <= set(signers)):
        ledger.refuse(Step.PLATFORM, "android_signer")


def _measured(ledger: Ledger, leaf: KeyDescription) -> None:
    root = leaf.hardware.root_of_trust
    if root is not None:
        ledger.measured["boot_key"] = root.boot_key.hex()
        if root.boot_hash is not None:
            ledger.measured["boot_hash"] = root.boot_hash.hex()
    application = leaf.software.application
    if application is not None and len(application.signers) == 1:
        ledger.measured["signer"] = application.signers[0].hex()


def _claims(chain: tuple[Certificate, ...], leaf: KeyDescription) -> dict[str, Any]:
    root = leaf.hardware.root_of_trust
    application = leaf.software.application or leaf.hardware.application
    return {
        "attestation_version": leaf.version,
        "attestation_level": leaf.attestation_level,
        "keymint_version": leaf.keymint_version,
        "keymint_level": leaf.keymint_level,
        "challenge": leaf.challenge.hex(),
        "public_key": chain[0].spki.hex(),
        "device_locked": None if root is None else root.device_locked,
        "boot_state": None if root is None else root.boot_state,
        "boot_key": None if root is None else root.boot_key.hex(),
        "boot_hash": root.boot_hash.hex() if root is not None and root.boot_hash else None,
        "hardware": _shown(leaf.hardware),
        "software": _shown(leaf.software),
        "packages": [list(package) for package in application.packages] if application else [],
        "signers": [signer.hex() for signer in application.signers] if application else [],
        "chain_certificates": len(chain),
    }


def _shown(listed: android_description.Authorizations) -> dict[str, Any]:
    """One list without what names a person's phone; unknown tags by number."""
    shown = {name: value for name, value in listed.values.items() if name not in _PRIVATE}
    return {**shown, "unknown_tags": list(listed.unknown)} if listed.unknown else shown


KIND = Kind(
    name="android",
    level=Level.L2,
    judge=judge,
    reference=("boot_key", "boot_hash", "signer"),
    options={
        "levels": Option(list(_SECURE), _SECURE),
        "boot_states": Option(["verified"], BOOT_STATES[:2]),
        "accept_unlocked": Option(False),
        "accept_expired_root": Option(False),
        "min_os_version": Option(0),
        "min_os_patch_level": Option(0),
        "min_vendor_patch_level": Option(0),
        "min_boot_patch_level": Option(0),
        "packages": Option([]),
        "signers": Option([]),
    },
    roots=ROOTS,
)
