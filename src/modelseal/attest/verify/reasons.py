"""A verdict in words an operator can act on, from the catalogue of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelseal.texts import said


def reason(code: str, params: Mapping[str, Any]) -> str:
    """The sentence of ``code``; a third party's code that has none is told as it stands."""
    try:
        return said(f"attest_{code}", **params)
    except KeyError:
        return said("attest_other", code=code, detail=params.get("detail", ""))
