"""A Nitro hypervisor of our own, every field of whose documents can be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.attest.authorities import certificates as c

NONCE, USER_DATA = b"n" * 32, b"u" * 20
PCRS = {i: bytes([i + 1]) * 48 for i in range(16)}
ES384 = b"\xa1\x01\x38\x22"


@dataclass(frozen=True)
class Document:
    """What the hypervisor shall say. ``changes`` replace or (None) drop members."""

    pcrs: Mapping[Any, Any] = field(default_factory=lambda: PCRS)
    nonce: Any = NONCE
    user_data: Any = USER_DATA
    public_key: Any = None
    digest: Any = "SHA384"
    timestamp: Any = 1_748_736_000_000
    module_id: Any = "i-0123-enc4567"
    more: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Document:
        return replace(self, **changes)


class Aws:
    """Root, region, zone and the enclave's certificate."""

    def __init__(self) -> None:
        self.root = c.Plan({c.COMMON_NAME: "aws.nitro-enclaves"}, c.p384(), c.CA)
        self.region = c.Plan({c.COMMON_NAME: "eu-west-1"}, c.p384(), c.CA, serial=2)
        self.instance = c.Plan({c.COMMON_NAME: "i-0123"}, c.p384(), c.CA, serial=3)
        self.enclave = c.Plan({c.COMMON_NAME: "enclave"}, c.p384(), c.LEAF, serial=4)
        self.above = c.chain([self.instance, self.region, self.root])

    @property
    def pin(self) -> str:
        return c.pem(self.above[-1:]).decode()

    def chain(self, **changes: Any) -> list[bytes]:
        """Leaf first; ``changes`` are made to the leaf."""
        return [c.issue(self.enclave.but(**changes), self.instance), *self.above]

    def document(self, said: Document = Document(), chain: list[bytes] | None = None) -> bytes:
        """The payload, in the order in which the hypervisor writes it."""
        leaf, *above = self.chain() if chain is None else chain
        members = {
            "module_id": said.module_id,
            "digest": said.digest,
            "timestamp": said.timestamp,
            "pcrs": said.pcrs,
            "certificate": leaf,
            "cabundle": above[::-1],
            "public_key": said.public_key,
            "user_data": said.user_data,
            "nonce": said.nonce,
            **said.more,
        }
        return cbor2.dumps({name: value for name, value in members.items() if value is not ...})

    def sign(
        self,
        said: Document | bytes = Document(),
        *,
        key: Any = None,
        header: bytes = ES384,
        unprotected: Mapping[Any, Any] | None = None,
        tagged: bool = True,
        chain: list[bytes] | None = None,
    ) -> bytes:
        payload = said if isinstance(said, bytes) else self.document(said, chain)
        key = key or self.enclave.key
        signed = cbor2.dumps(["Signature1", header, b"", payload])
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        body = cbor2.dumps([header, dict(unprotected or {}), payload, signature])
        return b"\xd2" + body if tagged else body
