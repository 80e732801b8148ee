"""The appraisal policy: data that says what is good enough. Strict where it is silent.

A file (JSON or TOML) holds rules and, under ``entitlements``, rules that replace some of them for
one entitlement. Unknown members are refused: a misspelt demand would otherwise demand nothing.
Normative: ``docs/spec/attestation.md``, "Policy".
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelseal import strict_json
from modelseal.attest.verify.kinds import Kind
from modelseal.attest.verify.rules import checked
from modelseal.attest.verify.steps import Step
from modelseal.errors import AppraisalPolicyInvalid, InvalidBytes
from modelseal.types import check_entitlement

TYP = "modelseal-appraisal-policy"
VERSION = 1
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for one use. ``digest`` names them for ever: SHA-256 of their canonical JSON.

    ``kinds`` None admits every known kind. ``accept_unknown`` are the steps that may stay unknown.
    ``chips`` and ``owners`` None admit any. ``composite``: of each group one kind has to be
    affirming. ``roots`` replace the shipped ones of a kind. ``rules`` is the source of all this.
    """

    rules: Mapping[str, Any]
    digest: bytes
    kinds: frozenset[str] | None = None
    accept_unknown: frozenset[Step] = frozenset()
    reference: Mapping[str, tuple[Mapping[str, tuple[str, ...]], ...]] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chips: frozenset[str] | None = None
    owners: frozenset[str] | None = None
    composite: tuple[frozenset[str], ...] = ()
    max_lease_seconds: int | None = None
    roots: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)

    def options_of(self, kind: Kind) -> dict[str, Any]:
        """Every option of ``kind``: what the policy says, the strict value where it is silent."""
        said = self.options.get(kind.name, {})
        return {name: said.get(name, option.default) for name, option in kind.options.items()}


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy with its rules for single entitlements."""

    base: Policy
    entitlements: Mapping[str, Policy]

    def for_entitlement(self, name: str | None) -> Policy:
        """The rules for ``name``; the base where it has none of its own."""
        return self.base if name is None else self.entitlements.get(name, self.base)


def strict() -> Policy:
    """The shipped policy: every step demanded, nothing known by itself to be a good machine."""
    return _policy({}, {})


def parse(data: bytes, kinds: Mapping[str, Kind]) -> PolicyFile:
    """The policy of a JSON or TOML file; ``AppraisalPolicyInvalid`` names the member at fault."""
    document = _document(data)
    if document.pop("typ", None) != TYP:
        raise AppraisalPolicyInvalid(f"typ is not {TYP}", member="typ")
    if document.pop("version", None) != VERSION:
        raise AppraisalPolicyInvalid("a version this release does not know", member="version")
    per = document.pop("entitlements", {})
    if not isinstance(per, dict) or not all(isinstance(rules, dict) for rules in per.values()):
        raise AppraisalPolicyInvalid("not a map of rules", member="entitlements")
    base = _policy(document, kinds)
    return PolicyFile(
        base,
        {
            check_entitlement(name): _policy({**document, **rules}, kinds)
            for name, rules in per.items()
        },
    )


def write(rules: Mapping[str, Any]) -> bytes:
    """The policy file that ``parse`` reads back to ``rules``."""
    return strict_json.encode({"typ": TYP, "version": VERSION, **rules}) + b"\n"


def _policy(rules: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Policy:
    digest = hashlib.sha256(strict_json.encode({"typ": TYP, "version": VERSION, **rules})).digest()
    return Policy(rules, digest, **checked(rules, kinds))


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise AppraisalPolicyInvalid(f"longer than {MAX_BYTES} bytes")
    try:
        if data.lstrip()[:1] == b"{":
            document = strict_json.decode(data, max_bytes=MAX_BYTES)
        else:
            document = tomllib.loads(data.decode("utf-8"))
            strict_json.decode(strict_json.encode(document), max_bytes=MAX_BYTES)
    except (InvalidBytes, ValueError, TypeError, RecursionError) as error:
        raise AppraisalPolicyInvalid(f"neither strict JSON nor TOML: {error}") from None
    if not isinstance(document, dict):
        raise AppraisalPolicyInvalid("not a map of rules")
    return document
