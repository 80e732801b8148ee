"""What the license server in memory remembers of licenses and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class License:
    license_id: str
    entitlements: list[str]
    seats: int = 1
    state: str = "active"
    plan: str = "trial"
    jti: str = ""


@dataclass
class Device:
    device_id: str
    jkt: str
    jwk: dict[str, str]
    license: License
    label: str | None
    idx: int
    seq: int = 0
    nonce: str = ""
    answer: tuple[int, dict[str, Any]] | None = None
    state: str = "active"
    asked_seq: int = -1
    lease_id: str = ""
    lease_exp: int = 0
