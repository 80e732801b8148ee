"""A product, its publisher's sealed models, a computer and a clock, for the client's tests."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from modelseal import container, device
from modelseal.client.transport import Stream
from modelseal.desk import founding
from modelseal.device import TraitKind, TraitReading, TraitValue
from modelseal.types import EntitlementExpression

PRODUCT = "facefusion"
SERVER_URL = "https://license.example.com"
SERVER_ID = "srv_01890a5d-ac96-774b-bcce-b302099a8057"
LEASE_SECONDS = 7 * 86400
START = datetime.now(UTC).replace(microsecond=0)


@functools.cache
def foundation(product: str = PRODUCT) -> founding.Foundation:
    return founding.found(
        product, SERVER_ID, token_alg="Ed25519", hosts=["127.0.0.1"], now=START, random=os.urandom
    )


def computer(name: str = "laptop") -> device.Traits:
    """Traits that no Argon2id is needed for, so that the tests stay fast."""
    values = {
        TraitKind.TPM_EK: f"endorsement key of {name}",
        TraitKind.SMBIOS_UUID: f"uuid of {name}",
        TraitKind.MACHINE_ID: f"machine id of {name}",
    }
    return device.gather(TraitReading(k, TraitValue(v.encode())) for k, v in values.items())


@dataclass
class Clock:
    """A wall clock that can be set and a monotonic clock that cannot."""

    at: datetime = START
    ticks: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.ticks

    def sleep(self, seconds: float) -> None:
        self.pass_(seconds)

    def pass_(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.ticks += seconds

    def set(self, seconds: float) -> None:
        """The wall clock jumps; no time passes."""
        self.at += timedelta(seconds=seconds)


@dataclass
class Published:
    name: str
    model: str
    release: int
    data: bytes
    keys: dict[int, bytes]
    file_id: bytes
    sections: list[list[str]]
    min_release: int = 0
    crc32: str | None = None

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def seal(
    name: str = "swap.onnx",
    plain: bytes = b"weights " * 40_000,
    *,
    entitlement: str = "face.swap",
    release: int = 1,
    founded: founding.Foundation | None = None,
    min_release: int = 0,
) -> Published:
    """A sealed model of this publisher, with small chunks."""
    founded = founded or foundation()
    keys = {new.use: [] for new in founded.desk_keys}
    for new in founded.desk_keys:
        keys[new.use].append(new.key)
    plan = container.SealPlan(
        product=founded.trust.product,
        model=name.split(".")[0],
        model_version="1.0",
        release=release,
        created_at=START,
        sections=[
            container.SectionPlan(
                EntitlementExpression.parse([entitlement]),
                [container.EntryPlan(name, container.BytesSource(plain))],
            )
        ],
        chunk_bytes=65536,
    )
    sink = container.BytesSink()
    result = container.seal(
        plan,
        sink,
        publisher=keys["publisher"],
        recovery=keys["recovery"][0].public_key(),
        random=os.urandom,
    )
    return Published(
        name=name,
        model=plan.model,
        release=release,
        data=sink.getvalue(),
        keys=dict(result.data_keys),
        file_id=result.file_id,
        sections=[[], [entitlement]],
        min_release=min_release,
    )


def serve(data: bytes, headers: dict[str, str], pieces: int = 50_000) -> Stream:
    """A blob as the server gives it, Range included."""
    start = 0
    status_ = 200
    answer = {
        "etag": f'"{hashlib.sha256(data).hexdigest()}"',
        "content-type": "application/octet-stream",
    }
    if "Range" in headers:
        start, status_ = int(headers["Range"].removeprefix("bytes=").rstrip("-")), 206
        answer["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return Stream(status_, answer, (data[i : i + pieces] for i in range(start, len(data), pieces)))
