"""Facts as an audit event holds them: no floats, no free text, never too large.

``unfloat(floatless(x)) == x``; judged again, recorded facts give the recorded code.
"""

from __future__ import annotations

from typing import Any

import msgspec

from modelseal import strict_json
from modelseal.license.facts import Facts

_FLOAT = "float"
_MAX_BYTES = 12_000
_HOLDERS = 32


def recorded(facts: Facts) -> dict[str, Any]:
    """``facts`` for the log: without the publisher's free text; shortened when very long.

    What is cut (entitlements, holders past 32) decides nothing at the calls that record facts.
    """
    value = _without_reasons(facts).to_builtins()
    match = value.get("device", {}).get("match")
    if match is not None:  # the one float there is; an event with another would be refused
        match["score"] = floatless(match["score"])
    if len(strict_json.encode_plain(value)) <= _MAX_BYTES:
        return dict(value)
    for part in ("license", "lease"):
        if part in value:
            value[part]["entitlements"] = []
    if "seat" in value:
        value["seat"]["holders"] = value["seat"].get("holders", [])[:_HOLDERS]
    return dict(value)


def unfloat(value: Any) -> Any:
    """The inverse of what ``recorded`` did to floats."""
    if isinstance(value, dict):
        if set(value) == {_FLOAT} and isinstance(value[_FLOAT], str):
            return float(value[_FLOAT])
        return {name: unfloat(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unfloat(item) for item in value]
    return value


def floatless(value: Any) -> Any:
    """``value`` without floats; ``unfloat`` is the inverse."""
    kind = type(value)
    if kind is float:
        return {_FLOAT: repr(value)}
    if kind is dict:
        return {n: i if type(i) in _WITHOUT else floatless(i) for n, i in value.items()}
    if kind is list or kind is tuple:
        return [item if type(item) in _WITHOUT else floatless(item) for item in value]
    return value


_WITHOUT = frozenset({str, int, bool, type(None)})


def _without_reasons(facts: Facts) -> Facts:
    device, license_ = facts.device, facts.license
    if not device.reason and (license_ is None or not license_.reason):
        return facts
    device = msgspec.structs.replace(device, reason="")
    if license_ is not None:
        license_ = msgspec.structs.replace(license_, reason="")
    return msgspec.structs.replace(facts, device=device, license=license_)
