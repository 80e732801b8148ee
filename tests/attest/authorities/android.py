"""A maker of Android phones: factory-provisioned chains whose every field can be made wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.attest.authorities import certificates as c
from tests.attest.authorities import der_writer as w

OID = "1.3.6.1.4.1.11129.2.1.17"
BOOT_KEY, BOOT_HASH = b"\x11" * 32, b"\x22" * 32
SIGNER = b"\x33" * 32


@dataclass(frozen=True)
class Description:
    """A key description; ``more`` adds tags of the hardware list or replaces them."""

    version: int = 300
    level: int = 1
    keymint_level: int = 1
    challenge: bytes = b"challenge of this test"
    locked: bool = True
    boot_state: int = 0
    boot_key: bytes = BOOT_KEY
    boot_hash: bytes | None = BOOT_HASH
    root_of_trust: bool = True
    purposes: tuple[int, ...] = (2, 3)
    origin: int | None = 0
    os_version: int = 140000
    patch_level: int = 202405
    packages: tuple[tuple[str, int], ...] = (("com.example.swap", 7),)
    signers: tuple[bytes, ...] = (SIGNER,)
    more: dict[int, bytes] = field(default_factory=dict)

    def but(self, **changes: Any) -> Description:
        return replace(self, **changes)

    def encoded(self) -> bytes:
        return w.sequence(
            w.integer(self.version),
            w.enumerated(self.level),
            w.integer(self.version),
            w.enumerated(self.keymint_level),
            w.octets(self.challenge),
            w.octets(b""),
            w.sequence(
                w.explicit(701, w.integer(1_700_000_000_000)),
                w.explicit(709, w.octets(self._application())),
            ),
            w.sequence(
                *(w.explicit(tag, value) for tag, value in sorted(self._hardware().items()))
            ),
        )

    def _application(self) -> bytes:
        packages = (w.sequence(w.octets(n.encode()), w.integer(v)) for n, v in self.packages)
        return w.sequence(w.set_(*packages), w.set_(*map(w.octets, self.signers)))

    def _hardware(self) -> dict[int, bytes]:
        listed = {
            1: w.set_(*map(w.integer, self.purposes)),
            2: w.integer(3),
            3: w.integer(256),
            10: w.integer(1),
            503: w.null(),
            705: w.integer(self.os_version),
            706: w.integer(self.patch_level),
            718: w.integer(self.patch_level * 100 + 5),
            719: w.integer(self.patch_level * 100 + 5),
        }
        if self.origin is not None:
            listed[702] = w.integer(self.origin)
        if self.root_of_trust:
            listed[704] = w.sequence(
                w.octets(self.boot_key),
                w.boolean(self.locked),
                w.enumerated(self.boot_state),
                *(() if self.boot_hash is None else (w.octets(self.boot_hash),)),
            )
        return {**listed, **self.more}


class Maker:
    """Root, factory intermediate and one phone; keys are made once."""

    def __init__(self) -> None:
        self.root = c.Plan({c.SERIAL_NUMBER: "f00d"}, c.p384(), c.CA, 1)
        self.factory = c.Plan({c.SERIAL_NUMBER: "fac", c.TITLE: "TEE"}, c.p256(), c.CA, 0xFAC)
        self.phone = c.Plan({c.SERIAL_NUMBER: "beef", c.TITLE: "TEE"}, c.p256(), c.CA, 0xBEEF)
        self.key = c.p256()

    @property
    def pin(self) -> bytes:
        """What a policy pins instead of Google's roots."""
        return c.issue(self.root, self.root)

    def leaf(self, description: Description, **changes: Any) -> c.Plan:
        extensions = {**c.LEAF, OID: description.encoded()}
        end = datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)
        name = {c.COMMON_NAME: "Android Keystore Key"}
        plan = c.Plan(name, self.key, extensions, 1, datetime(1970, 1, 1, tzinfo=UTC), end)
        return plan.but(**changes)

    def evidence(self, description: Description, **changes: Any) -> bytes:
        """A chain in PEM for ``description``; ``changes`` are of the leaf."""
        return c.pem(c.chain([self.leaf(description, **changes), *self.above]))

    @property
    def above(self) -> list[c.Plan]:
        return [self.phone, self.factory, self.root]
