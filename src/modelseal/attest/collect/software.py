"""Evidence that proves nothing, for trying a whole path on a machine without any such hardware.

The key is made for one collector, that is, mostly for one process. Whoever pins it has pinned what
a program said of itself; it shows level L0 and satisfies no policy that wants hardware.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable

from modelseal.attest.collect.collected import Collected, Part
from modelseal.attest.verify import software
from modelseal.crypto.signing import Signer, SigningKey
from modelseal.errors import Misuse


class SoftwareCollector:
    """A program's word about itself, signed by a key of its own."""

    name = "software"

    def __init__(self, make_key: Callable[[], Signer] = SigningKey.generate) -> None:
        self._make_key = functools.cache(make_key)

    def is_here(self) -> bool:
        """See ``Collector``: a program is always here, and it is never asked unless by name."""
        return False

    def collect(self, report_data: bytes) -> Collected:
        """See ``Collector``; 1 to 64 bytes are bound."""
        if not 1 <= len(report_data) <= software.MAX_REPORT_DATA_BYTES:
            raise Misuse(f"software binds 1 to {software.MAX_REPORT_DATA_BYTES} bytes")
        key = self._make_key()
        data = software.write(report_data, key)
        root = json.dumps(key.jwk, sort_keys=True).encode()
        return Collected(
            "software", "software", (Part("software.cbor", data),), (Part("root.jwk", root),)
        )
