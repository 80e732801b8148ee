"""``python -m bench.status_list``: a status list of ten million entries, one in a hundred revoked.

Prints what it weighs deflated and how long a client takes to read its token, in milliseconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from modelseal.crypto.signing import SigningKey, VerifyKey
from modelseal.license import status, tokens
from modelseal.license.claims import StatusListClaims
from modelseal.license.status import Status
from modelseal.strict_json import unb64u
from modelseal.types import to_numeric

ENTRIES, REVOKED = 10_000_000, 100_000
MAX_BYTES, MAX_MILLISECONDS = 160_000, 50.0
SERVER, URI = "srv_bench", "/v1/status-lists/1"


class OneKey:
    """A trust that lists one key."""

    product, server_id = "bench", SERVER

    def __init__(self, key: SigningKey) -> None:
        self._keys = (key.verify_key(),)

    def verify_keys(self, use: str, kid: str, at: datetime) -> tuple[VerifyKey, ...]:
        return self._keys


def took(work: Callable[[], object], rounds: int) -> float:
    """The median of ``rounds``, in milliseconds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1000)
    return statistics.median(found)


def measure(rounds: int) -> dict[str, Any]:
    """Sizes in bytes, times in milliseconds; which entries are revoked is drawn once, by a seed."""
    revoked = np.random.default_rng(1).choice(ENTRIES, REVOKED, replace=False).tolist()
    bits = status.pack(dict.fromkeys(revoked, Status.REVOKED), ENTRIES)
    now, key = datetime.now(UTC), SigningKey.generate()
    body = status.body(bits)
    claims = StatusListClaims(
        iss=SERVER,
        sub=URI,
        iat=to_numeric(now),
        exp=to_numeric(now) + 3600,
        ttl=300,
        number=1,
        status_list=body,
    )
    token, trust = tokens.sign(claims, [key]), OneKey(key)
    parsed = status.parse(token, trust, uri=URI)
    if parsed.bits != bits or parsed.get(revoked[0]) is not Status.REVOKED:
        raise SystemExit("what was read is not what was written")
    return {
        "entries": ENTRIES,
        "revoked": REVOKED,
        "deflated_bytes": len(unb64u(body.lst)),
        "token_bytes": len(token),
        "make_milliseconds": took(lambda: status.body(bits), 1),
        "parse_milliseconds": took(lambda: status.parse(token, trust, uri=URI), rounds),
    }


def main() -> int:
    """Prints what was measured; 1 when a bound of the design does not hold."""
    found = measure(rounds=15)
    sys.stdout.write(json.dumps(found) + "\n")
    fits = found["deflated_bytes"] <= MAX_BYTES
    return 0 if fits and found["parse_milliseconds"] < MAX_MILLISECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
