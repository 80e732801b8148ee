"""What the claims of Arm's PSA and CCA platform tokens have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelseal.attest.verify.steps import Ledger, Step
from modelseal.errors import EvidenceInvalid

HASH_BYTES = (32, 48, 64)
UEID_BYTES = 33
LIFECYCLES = (
    "unknown",
    "assembly_and_test",
    "rot_provisioning",
    "secured",
    "non_rot_debug",
    "recoverable_debug",
    "decommissioned",
)
MAX_COMPONENTS = 64
_TYPE, _VALUE, _VERSION, _SIGNER, _HASH = 1, 2, 4, 5, 6


def octets(claims: Mapping[Any, Any], key: int, name: str, sizes: tuple[int, ...] = ()) -> bytes:
    """The byte string under ``key``, of one of ``sizes``; ``EvidenceInvalid`` otherwise."""
    value = claims.get(key)
    if not isinstance(value, bytes) or (sizes and len(value) not in sizes):
        raise EvidenceInvalid(f"the claim {name} is missing or of another length")
    return value


def text(claims: Mapping[Any, Any], key: int, name: str) -> str:
    """The text under ``key``; ``EvidenceInvalid`` otherwise."""
    value = claims.get(key)
    if not isinstance(value, str) or len(value) > 1024:
        raise EvidenceInvalid(f"the claim {name} is missing or no text")
    return value


def optional_text(claims: Mapping[Any, Any], key: int, name: str) -> str | None:
    """The text under ``key``; None where the claim is absent."""
    return text(claims, key, name) if key in claims else None


def ueid(claims: Mapping[Any, Any], key: int) -> bytes:
    """The instance id: a random UEID (RFC 9711, section 4.2.1) of 33 bytes."""
    value = octets(claims, key, "instance id", (UEID_BYTES,))
    if value[0] != 1:
        raise EvidenceInvalid("an instance id that is no random UEID")
    return value


def lifecycle(claims: Mapping[Any, Any], key: int) -> str:
    """The security state's name: the upper byte counts, the lower is the maker's."""
    value = claims.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 0x7000:
        raise EvidenceInvalid("the claim lifecycle is missing or out of range")
    return LIFECYCLES[value >> 12] if value & 0x0F00 == 0 else "unknown"


def components(claims: Mapping[Any, Any], key: int) -> list[dict[str, str]]:
    """The software components in their order: measurement and signer in hex, type and version."""
    listed = claims.get(key)
    if not isinstance(listed, (list, tuple)) or not 1 <= len(listed) <= MAX_COMPONENTS:
        raise EvidenceInvalid("the claim software components is missing or too long")
    return [_component(component) for component in listed]


def judge_lifecycle(ledger: Ledger, found: str, allowed: list[str]) -> None:
    """Write the platform step from the lifecycle alone."""
    if found in allowed:
        ledger.ok(Step.PLATFORM)
    else:
        ledger.refuse(Step.PLATFORM, "arm_lifecycle", state=found)


def _component(component: Any) -> dict[str, str]:
    if not isinstance(component, Mapping):
        raise EvidenceInvalid("a software component that is no map")
    found = {
        "measurement": octets(component, _VALUE, "measurement value", HASH_BYTES).hex(),
        "signer": octets(component, _SIGNER, "signer id", HASH_BYTES).hex(),
    }
    for key, name in ((_TYPE, "type"), (_VERSION, "version"), (_HASH, "hash")):
        value = optional_text(component, key, name)
        if value is not None:
            found[name] = value
    return found
