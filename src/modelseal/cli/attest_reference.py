"""Turning a golden machine's evidence into the rules of a policy file."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelseal.cli import files
from modelseal.errors import AppraisalPolicyInvalid, EvidenceInvalid, Misuse

if TYPE_CHECKING:
    from modelseal.attest.verify.kinds import Kind
    from modelseal.attest.verify.policy import Policy
    from modelseal.attest.verify.result import AttestationResult

_MAX_ROOT_BYTES = 1 << 16


def rules_of(path: Path | None, kind: Kind, root: Path | None) -> dict[str, Any]:
    """The rules of ``path`` (none: strict), with ``root`` pinned for ``kind``."""
    rules = _rules(path)
    if root is not None:
        try:
            text = files.read(root, _MAX_ROOT_BYTES).decode("utf-8")
        except UnicodeError:
            raise Misuse("a root is a certificate or key in PEM, or a JWK") from None
        pinned = rules.setdefault("roots", {}).setdefault(kind.name, [])
        if text not in pinned:
            pinned.append(text)
    return rules


def parsed(rules: dict[str, Any]) -> Policy:
    """The policy of ``rules``."""
    from modelseal.attest.verify import policy as policies

    return policies.parse(written(rules), _known()).base


def vouched(kind: Kind, evidence: list[Path]) -> Policy:
    """A policy that pins the attestation key in a TPM's evidence, for whoever collected it."""
    from modelseal.attest.verify import policy as policies
    from modelseal.attest.verify import tpm2_evidence

    if kind.name != tpm2_evidence.KIND.name:
        raise Misuse("only a TPM's evidence carries a key of its own: --kind tpm2")
    key = tpm2_evidence.attestation_key([files.read(path) for path in evidence])
    rules = {"roots": {kind.name: [key.decode("ascii")]}}
    return policies.parse(policies.write(rules), _known()).base


def taken(
    kind: Kind, result: AttestationResult, rules: dict[str, Any], accept_unknown: list[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """``rules`` with this machine in them, and its reference values.

    ``EvidenceInvalid`` when it is not genuine: a forgery sets no standard.
    """
    from modelseal.attest.verify import policy as policies

    if not result.genuine:
        raise EvidenceInvalid(result.reason)
    one = result.submodules[0]
    names = kind.golden or tuple(one.measured)
    machine = {name: one.measured[name] for name in names if name in one.measured}
    if not machine:
        raise Misuse(f"evidence of {kind.name} measures nothing to refer to")
    reference = rules.setdefault("reference", {}).setdefault(kind.name, [])
    if machine not in reference:
        reference.append(machine)
    if kind.golden_options is not None:
        _lower(rules.setdefault(kind.name, {}), _options(kind, result))
    if accept_unknown:
        rules["accept_unknown"] = sorted({*rules.get("accept_unknown", []), *accept_unknown})
    policies.parse(written(rules), {kind.name: kind, **_known()})
    return rules, machine


def _options(kind: Kind, result: AttestationResult) -> dict[str, Any]:
    """What the machine's own claims say; nothing where its vendor's verdict over it is missing."""
    from modelseal.attest.verify.steps import NotGenuine

    try:
        return {} if kind.golden_options is None else kind.golden_options(result.claims)
    except NotGenuine:
        return {}


def _lower(rules: dict[str, Any], options: dict[str, Any]) -> None:
    """A second golden machine widens what the first allowed, and never narrows it."""
    for name, value in options.items():
        before = rules.get(name)
        if isinstance(value, dict):
            old = before if isinstance(before, dict) else value
            rules[name] = {k: min(v, old.get(k, v)) for k, v in value.items()}
        elif isinstance(value, list):
            old_list = before if isinstance(before, list) else []
            rules[name] = sorted({*old_list, *value}, key=str)
        elif isinstance(value, bool):
            rules[name] = value or before is True
        else:
            rules[name] = value


def _known() -> dict[str, Kind]:
    from modelseal.attest.kinds import known

    return dict(known())


def _rules(path: Path | None) -> dict[str, Any]:
    from modelseal.attest.verify import policy as policies

    if path is None or not os.path.lexists(path):
        return {}
    data = files.read(path)
    if data.lstrip()[:1] != b"{":
        raise AppraisalPolicyInvalid("only a JSON policy can be added to", path=str(path))
    try:
        policies.parse(data, _known())
    except AppraisalPolicyInvalid as error:
        error.params.setdefault("path", str(path))
        raise
    rules: dict[str, Any] = json.loads(data)
    return {name: value for name, value in rules.items() if name not in ("typ", "version")}


def written(rules: dict[str, Any]) -> bytes:
    """The policy file for people to read and keep."""
    from modelseal.attest.verify import policy as policies

    whole = {"typ": policies.TYP, "version": policies.VERSION, **rules}
    return json.dumps(whole, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"


def replace(path: Path, data: bytes) -> None:
    """``path`` holds ``data`` afterwards, whole or not at all."""
    if not path.parent.is_dir():
        raise Misuse("there is no such folder", path=str(path.parent))
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise files.translate(error, path) from None
