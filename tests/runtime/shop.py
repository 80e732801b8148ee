"""A publisher and a licensee for tests of the runtime, without server or client.

The licensee is a real implementation of ``runtime.ports.Licensee``: signatures are verified with
pinned keys, grants are judged from the signed header, keys come from a file as the lease would
bring them. ``SHOP`` in the environment names the folder, so that child processes have it too.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from modelseal import container
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey, VerifyKey
from modelseal.errors import KeyNotInLease, LicenseExpired, ModelsealError, NotEntitled
from modelseal.memory import SecretBytes
from modelseal.types import EntitlementExpression, MemoryProtection

NOW = datetime(2026, 7, 1, tzinfo=UTC)
PRODUCT = "facefusion"


class Shop:
    """Seals models into ``folder`` and remembers their keys in ``folder/shop.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = [SigningKey.generate("Ed25519"), SigningKey.generate("ML-DSA-65")]
        self.recovery = KemPrivateKey.generate().public_key()
        self.keys: dict[str, dict[str, str]] = {}
        self.granted = ["face.swap"]
        self.expired = False
        self.stops_now = False
        self.memory = "none"
        self.save()

    def save(self) -> None:
        told = {
            "publisher": [[key.alg, key.jwk] for key in self.publisher],
            "keys": self.keys,
            "granted": self.granted,
            "expired": self.expired,
            "stops_now": self.stops_now,
            "memory": self.memory,
        }
        place = self.folder / "shop.json"
        place.with_suffix(".new").write_text(json.dumps(told))
        place.with_suffix(".new").replace(place)

    def grant(self, *entitlements: str) -> None:
        self.granted = list(entitlements)
        self.save()

    def seal(
        self,
        name: str,
        files: Mapping[str, bytes] | bytes,
        *,
        entitlement: str | Mapping[str, str] = "face.swap",
        model: str | None = None,
        together: Sequence[container.TogetherRef] = (),
        secret_for_together: bool = False,
        publisher: Sequence[SigningKey] | None = None,
        chunk_bytes: int = 65536,
        release: int = 1,
        added: Sequence[container.EntryPlan] = (),
    ) -> tuple[Path, container.SealedResult]:
        """The sealed model at ``folder/name``; one section per entitlement. ``added`` stands in
        the first, beside the files."""
        if isinstance(files, bytes):
            files = {Path(name).name: files}
        by_right: dict[str, list[container.EntryPlan]] = {}
        for inner, data in files.items():
            right = entitlement if isinstance(entitlement, str) else entitlement[inner]
            source = container.BytesSource(data)
            by_right.setdefault(right, []).append(container.EntryPlan(inner, source))
        next(iter(by_right.values())).extend(added)
        plan = container.SealPlan(
            product=PRODUCT,
            model=model or Path(name).stem,
            model_version="1.0",
            release=release,
            created_at=NOW,
            sections=[
                container.SectionPlan(
                    EntitlementExpression.parse([right]), entries, together_with=tuple(together)
                )
                for right, entries in by_right.items()
            ],
            chunk_bytes=chunk_bytes,
            secret_for_together=secret_for_together,
        )
        sink = container.BytesSink()
        result = container.seal(
            plan,
            sink,
            publisher=publisher or self.publisher,
            recovery=self.recovery,
            random=os.urandom,
        )
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sink.getvalue())
        self.keys[result.file_id.hex()] = {str(k): v.hex() for k, v in result.data_keys.items()}
        self.save()
        return path, result


class ShopLicensee:
    """What the lease would allow, read from ``shop.json`` at every question."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refusals: list[ModelsealError] = []
        self.notes: list[tuple[str, str, str | None]] = []
        self.key_requests: list[tuple[bytes, tuple[int, ...]]] = []
        self.live_secrets: list[SecretBytes] = []
        self.protections: list[MemoryProtection] = []
        self.records: set[tuple[object, ...]] = set()

    def verify(self, model: container.SealedModel) -> container.VerifiedModel:
        keys = [VerifyKey.from_jwk(jwk, alg) for alg, jwk in self._told()["publisher"]]
        return model.verify_signatures(keys, product=PRODUCT)

    def pinned(self) -> object:
        return self.folder

    def look(self) -> ShopLicensee:
        return self  # looks anew at every question

    def authorize(self, model: container.VerifiedModel, sections: Sequence[int]) -> None:
        told = self._told()
        if told["expired"]:
            raise LicenseExpired("over", expires_at="2026-06-30")
        have = frozenset(told["granted"])
        if list(sections) == [0]:
            others = [s.entitlement for s in model.sections[1:]]
            if any(e is None or e.satisfied_by(have) for e in others):
                return
            sections = [1]
        for section in sections:
            wanted = model.section(section).entitlement
            if wanted is not None and not wanted.satisfied_by(have):
                raise NotEntitled("no", entitlement=wanted.texts()[0], model=model.model)

    def memory(self) -> MemoryProtection:
        return MemoryProtection(self._told().get("memory", "none"))

    def stops_now(self) -> bool:
        return bool(self._told().get("stops_now"))

    @contextlib.contextmanager
    def data_keys(
        self, model: container.VerifiedModel, sections: Sequence[int]
    ) -> Iterator[Mapping[int, memoryview]]:
        self.key_requests.append((model.file_id, tuple(sections)))
        known = self._told()["keys"].get(model.file_id.hex())
        if known is None:
            raise KeyNotInLease("unknown file", model=model.model)
        secrets = {s: SecretBytes(bytes.fromhex(known[str(s)])) for s in sections}
        self.live_secrets = list(secrets.values())
        try:
            yield {section: secret.view for section, secret in secrets.items()}
        finally:
            for secret in secrets.values():
                secret.close()

    def recorded(self, seen: os.stat_result, leaf_hash: bytes) -> bool:
        return _numbers(seen, leaf_hash) in self.records

    def record(self, seen: os.stat_result, leaf_hash: bytes) -> None:
        self.records.add(_numbers(seen, leaf_hash))

    def reached(self, protection: MemoryProtection, *, swap_safe: bool) -> None:
        self.protections.append(protection)

    def note(self, kind: str, reason: str, path: str | None) -> None:
        self.notes.append((kind, reason, path))

    def refusal(self, error: ModelsealError) -> None:
        self.refusals.append(error)
        with (self.folder / "journal").open("a") as file:
            file.write(f"{error.code}\n")

    def _told(self) -> dict:
        return json.loads((self.folder / "shop.json").read_text())


def _numbers(seen: os.stat_result, leaf_hash: bytes) -> tuple[object, ...]:
    times = seen.st_mtime_ns, seen.st_ctime_ns
    return (seen.st_dev, seen.st_ino, seen.st_size, *times, leaf_hash)


def use_from_environment() -> None:
    """The process uses the shop named by ``SHOP``; called by the tests' own sitecustomize."""
    from modelseal.runtime import default

    default.use_licensee(ShopLicensee(Path(os.environ["SHOP"])))
