"""``python -m bench.keys``: what wrapping and opening a key takes, by key provider, in turns.

Files, a SoftHSM token (AES-GCM and AES key wrap), signatures in the token, and Vault's transit
engine as the tests play it, with and without kept working keys. Cloud services are not measured:
their network is theirs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.keys.stores.softhsm import SoftHsm
from tests.keys.stores.transit import Transit

from bench.turns import take
from modelseal import keys
from modelseal.crypto.signing import SigningKey
from modelseal.keys import dispatch

CONTEXT = {"purpose": "data-key", "product": "bench", "section": 1}
KEY = b"k" * 32
REPEATED = 20


def main() -> int:
    """Measures, and prints one object: milliseconds for one operation, medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory(prefix="modelseal-bench-") as scratch:
        folder = Path(scratch)
        transit = Transit()
        os.environ["VAULT_TOKEN"] = "root-token"
        try:
            found = measure(folder, SoftHsm(folder), transit, rounds)
        finally:
            transit.close()
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


def measure(folder: Path, token: SoftHsm, transit: Transit, rounds: int) -> dict[str, object]:
    """The table, by operation."""
    uris = {
        "file": f"file:{folder}/kek.key",
        "pkcs11, AES-GCM": token.uri("gcm"),
        "pkcs11, AES-GCM, without a time limit": token.uri("bare", "&x-limit-seconds=0"),
        "pkcs11, AES key wrap": token.uri("wrap", "&x-mechanism=aes-key-wrap"),
        "pkcs11, kept 60 s": token.uri("kept", "&x-cache-seconds=60"),
        "vault on loopback": transit.uri("bare", "?cache_seconds=0"),
        "vault on loopback, kept": transit.uri("kept"),
    }
    opened: dict[str, Callable[[], object]] = {}
    wrapping: dict[str, Callable[[], object]] = {}
    for name, uri in uris.items():
        provider = keys.create(uri)
        wrapped = provider.wrap(KEY, CONTEXT)
        opened[name] = lambda p=provider, w=wrapped: p.unwrap(w, CONTEXT)  # type: ignore[misc]
        wrapping[name] = lambda p=provider: p.wrap(KEY, CONTEXT)  # type: ignore[misc]
    signed: dict[str, Callable[[], object]] = {}
    for alg in ("Ed25519", "ES256", "RS256"):
        here = SigningKey.generate(alg)
        _, there = dispatch.create_signer(token.token_uri, alg, f"bench {alg}")
        signed[f"{alg} in memory"] = lambda key=here: key.sign(KEY)  # type: ignore[misc]
        signed[f"{alg} in the token"] = lambda key=there: key.sign(KEY)  # type: ignore[misc]
    return {
        "unwrap": _in_turns(opened, "file", rounds),
        "wrap, opened again as a proof": _in_turns(wrapping, "file", rounds),
        "sign, verified": _in_turns(signed, "Ed25519 in memory", rounds),
    }


def _in_turns(acts: dict[str, Callable[[], object]], base: str, rounds: int) -> dict[str, object]:
    took = take({name: _timed(act) for name, act in acts.items()}, base, rounds)
    return {
        name: {"ms": round(each["seconds"] * 1e3, 3), "ratio": round(each["seconds_ratio"], 1)}
        for name, each in took.items()
    }


def _timed(act: Callable[[], object]) -> Callable[[], dict[str, float]]:
    def timed() -> dict[str, float]:
        began = time.perf_counter()
        for _ in range(REPEATED):
            act()
        return {"seconds": (time.perf_counter() - began) / REPEATED}

    return timed


if __name__ == "__main__":
    sys.exit(main())
