"""Reading one set of appraisal rules: every member known, of its type, and meaning something."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from modelseal.attest.verify.endorsements import certificates_in
from modelseal.attest.verify.kinds import Kind, Option
from modelseal.attest.verify.steps import Step
from modelseal.errors import AppraisalPolicyInvalid

WAIVABLE = (Step.REVOCATION, Step.MEASUREMENT)
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_MAX_LEASE = 400 * 86400
_PLAIN = ("name",)


def checked(rules: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The members of a ``Policy`` that ``rules`` say; raises ``AppraisalPolicyInvalid``."""
    found: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for member, value in rules.items():
        if member in _READERS:
            found[member] = _READERS[member](member, value, kinds)
        elif member in kinds:
            options[member] = _options(kinds[member], value)
        elif member not in _PLAIN:
            raise AppraisalPolicyInvalid("no such rule", member=member)
        elif not isinstance(value, str):
            raise AppraisalPolicyInvalid("not a text", member=member)
    return {**found, "options": options}


def _texts(member: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(t, str) for t in value):
        raise AppraisalPolicyInvalid("not a list of texts with at least one", member=member)
    return value


def _kinds(member: str, value: Any, kinds: Mapping[str, Kind]) -> frozenset[str]:
    return frozenset(_known(member, name, kinds) for name in _texts(member, value))


def _known(member: str, name: str, kinds: Mapping[str, Kind]) -> str:
    if name not in kinds:
        raise AppraisalPolicyInvalid(f"no evidence kind {name[:32]!r}", member=member)
    return name


def _accept_unknown(member: str, value: Any, _kinds: Mapping[str, Kind]) -> frozenset[Step]:
    steps = _texts(member, value)
    if not set(steps) <= set(WAIVABLE):
        allowed = ", ".join(WAIVABLE)
        raise AppraisalPolicyInvalid(f"only {allowed} may stay unknown", member=member)
    return frozenset(Step(step) for step in steps)


def _owners(member: str, value: Any, _kinds: Mapping[str, Kind]) -> frozenset[str]:
    return frozenset(_texts(member, value))


def _chips(member: str, value: Any, _kinds: Mapping[str, Kind]) -> frozenset[str]:
    return frozenset(_hex(member, text) for text in _texts(member, value))


def _hex(member: str, text: Any) -> str:
    if not isinstance(text, str) or not _HEX.fullmatch(text.lower()):
        raise AppraisalPolicyInvalid("not hex", member=member)
    return text.lower()


def _reference(member: str, value: Any, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AppraisalPolicyInvalid("not a map by kind", member=member)
    return {
        _known(member, name, kinds): _machines(f"{member}.{name}", kinds[name], machines)
        for name, machines in value.items()
    }


def _machines(member: str, kind: Kind, machines: Any) -> tuple[Mapping[str, tuple[str, ...]], ...]:
    if not isinstance(machines, list) or not machines:
        raise AppraisalPolicyInvalid("not a list of machines with at least one", member=member)
    return tuple(_machine(member, kind, machine) for machine in machines)


def _machine(member: str, kind: Kind, machine: Any) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(machine, dict) or not machine:
        raise AppraisalPolicyInvalid("a machine without a value would match all", member=member)
    return {
        name: tuple(_hex(f"{member}.{name}", text) for text in _one_or_more(member, values))
        for name, values in machine.items()
        if _measures(member, kind, name)
    }


def _measures(member: str, kind: Kind, name: str) -> bool:
    if not any(re.fullmatch(pattern, name) for pattern in kind.reference):
        raise AppraisalPolicyInvalid(f"{kind.name} measures no {name[:64]!r}", member=member)
    return True


def _one_or_more(member: str, values: Any) -> list[str]:
    return [values] if isinstance(values, str) else _texts(member, values)


def _composite(member: str, value: Any, kinds: Mapping[str, Kind]) -> tuple[frozenset[str], ...]:
    if not isinstance(value, list) or not value:
        raise AppraisalPolicyInvalid("not a list of groups with at least one", member=member)
    return tuple(_kinds(member, group, kinds) for group in value)


def _max_lease(member: str, value: Any, _kinds: Mapping[str, Kind]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 60 <= value <= _MAX_LEASE:
        raise AppraisalPolicyInvalid(f"not between 60 and {_MAX_LEASE} seconds", member=member)
    return value


def _roots(member: str, value: Any, kinds: Mapping[str, Kind]) -> dict[str, tuple[bytes, ...]]:
    if not isinstance(value, dict):
        raise AppraisalPolicyInvalid("not a map by kind", member=member)
    return {
        _known(member, name, kinds): tuple(
            _anchor(f"{member}.{name}", text) for text in _texts(f"{member}.{name}", texts)
        )
        for name, texts in value.items()
    }


def _anchor(member: str, text: str) -> bytes:
    """One certificate in PEM, or another anchor (a public key in PEM or JWK) as its own text."""
    data = text.encode("utf-8")
    found = certificates_in(data)
    if b"CERTIFICATE" not in data:
        return data
    if len(found) != 1:
        raise AppraisalPolicyInvalid("not one certificate in PEM each", member=member)
    from cryptography.hazmat.primitives.serialization import Encoding

    return found[0].public_bytes(Encoding.DER)


def _options(kind: Kind, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AppraisalPolicyInvalid("not a map of options", member=kind.name)
    for name, said in value.items():
        if name not in kind.options:
            raise AppraisalPolicyInvalid("no such option", member=f"{kind.name}.{name}")
        if not fits(kind.options[name], said):
            raise AppraisalPolicyInvalid("not a value for it", member=f"{kind.name}.{name}")
    return value


def fits(option: Option, value: Any) -> bool:
    """True when ``value`` is of the default's type and among the choices."""
    default = option.default
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, int):
        return isinstance(value, int) and value >= 0
    if isinstance(default, str):
        return isinstance(value, str) and (not option.choices or value in option.choices)
    if isinstance(default, dict):
        names = set(option.choices)
        keys_fit = isinstance(value, dict) and (not names or set(value) <= names)
        return keys_fit and all(type(v) is int and v >= 0 for v in value.values())
    known = set(option.choices)
    return isinstance(value, list) and all(
        isinstance(item, (str, int)) and (not known or item in known) for item in value
    )


_READERS: Mapping[str, Callable[[str, Any, Mapping[str, Kind]], Any]] = {
    "kinds": _kinds,
    "accept_unknown": _accept_unknown,
    "owners": _owners,
    "chips": _chips,
    "reference": _reference,
    "composite": _composite,
    "max_lease_seconds": _max_lease,
    "roots": _roots,
}
