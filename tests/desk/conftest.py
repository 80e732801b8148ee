"""A workspace, small models, and a server's catalog in memory."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelseal import cbor, container
from modelseal.admin import (
    CatalogState,
    ModelRecord,
    PublishedModel,
    PublishModel,
    SignedMetadata,
)
from modelseal.container import BytesSource
from modelseal.crypto import hpke
from modelseal.desk import workspace as workspaces
from modelseal.desk.workspace import Workspace
from modelseal.errors import CatalogInvalid, Conflict, NotFound, TrustRollback
from modelseal.strict_json import b64u, unb64u
from modelseal.trust import metadata

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    """One moment."""
    return NOW


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that is made once and never used."""
    return workspaces.init(tmp_path_factory.mktemp("t") / "shop", "facefusion", now=NOW).home


@pytest.fixture
def shop(tmp_path: Path, template: Path) -> Workspace:
    """A fresh workspace."""
    shutil.copytree(template, tmp_path / "shop")
    return workspaces.open(tmp_path / "shop")


@pytest.fixture
def model_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of random bytes and gives its path."""

    def write(name: str = "swap.onnx", size: int = 200_000) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        return path

    return write


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Limits how long a file may become, which the kernel reports as a full disk's cousin.

    Only inside the ``with`` block: pytest's own output may be a file that is longer already.
    """

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            signal.signal(signal.SIGXFSZ, handler)

    return limited


class MemoryCatalog:
    """The catalog calls of ``AdminApi`` in memory, as strict as a server is.

    ``failing`` makes the named call fail after it took effect (``after``) or before.
    """

    def __init__(self, shop: Workspace) -> None:
        self.shop = shop
        self.blobs: dict[str, bytes] = {}
        self.models: dict[str, ModelRecord] = {}
        self.keys: dict[str, dict[int, bytes]] = {}
        self.targets = (shop.desk / "tuf" / "targets.json").read_bytes()
        self.failing: dict[str, str] = {}
        self.puts = 0

    def _fail(self, call: str, when: str) -> None:
        if self.failing.get(call) == when:
            del self.failing[call]
            raise ConnectionError(f"{call} {when}")

    def put_blob(self, path: Any, progress: Any = None) -> str:
        self._fail("put_blob", "before")
        data = Path(path).read_bytes()
        data = data[: container.parse(BytesSource(data)).file_bytes]  # without a CRC trailer
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        self.puts += 1
        if progress is not None:
            progress(len(data), len(data))
        self._fail("put_blob", "after")
        return digest

    def catalog_state(self) -> CatalogState:
        def shown(role: str, data: bytes) -> SignedMetadata:
            return SignedMetadata(
                role=role, version=metadata.read(data, role).version, expires_at=NOW, data=data
            )

        targets = shown("targets", self.targets)
        return CatalogState(
            root=targets, targets=targets, keys=targets, snapshot=targets, timestamp=targets
        )

    def publish_model(self, wish: PublishModel) -> PublishedModel:
        self._fail("publish_model", "before")
        model = container.parse(BytesSource(self.blobs[wish.blob_digest]))
        known = model.verify_signatures(self.shop.trust.publisher_keys(), product="facefusion")
        info = hpke.info(
            "publish",
            {
                "server": self.shop.server_id,
                "product": "facefusion",
                "file": model.file_id,
                "digest": wish.blob_digest,
            },
        )
        opener = self.shop.online_keys.sealing_openers()[wish.sealed_keys.recipient]
        rows = cbor.decode(opener.open(unb64u(wish.sealed_keys.ct), info), max_bytes=1 << 20)
        for section, key in rows:
            known.check_key(section, key)
        entry = self._put_targets(wish.targets).get(
            f"models/{model.model}/{model.release}/{self._stem(wish)}"
        )
        if entry is None or entry["hashes"]["sha256"] != wish.blob_digest:
            raise CatalogInvalid("the targets do not name the blob")
        already = wish.blob_digest in self.models
        self.models.setdefault(
            wish.blob_digest,
            ModelRecord(
                record_id=f"mod_{len(self.models)}",
                product=model.product,
                model=model.model,
                release=model.release,
                model_version=model.model_version,
                name=entry["custom"]["modelseal"]["name"],
                blob_digest=wish.blob_digest,
                file_id=b64u(model.file_id),
                size_bytes=model.file_bytes,
                entitlements=[],
                published_at=NOW,
            ),
        )
        self.keys[wish.blob_digest] = dict(rows)
        self._fail("publish_model", "after")
        found = self.models[wish.blob_digest]
        return PublishedModel(
            **{
                name: getattr(found, name)
                for name in PublishedModel.__struct_fields__
                if name not in ("event_id", "already")
            },
            event_id="evt_1",
            already=already,
        )

    def _stem(self, wish: PublishModel) -> str:
        for path, entry in metadata.read(wish.targets, "targets").signed["targets"].items():
            if entry["hashes"]["sha256"] == wish.blob_digest:
                return str(path).rpartition("/")[2]
        return ""

    def _put_targets(self, data: bytes) -> dict[str, Any]:
        document = metadata.read(data, "targets")
        root = metadata.read(self.shop.trust.root_bytes, "root")
        document.verify(metadata.top_level_roles(root)["targets"])
        role = metadata.read((self.shop.desk / "tuf" / "keys.json").read_bytes(), "targets")
        role.verify(metadata.delegated_role(document, "keys"))
        old = metadata.read(self.targets, "targets")
        if document.version == old.version and data != self.targets:
            raise Conflict("another targets role of this version is in force")
        if document.version < old.version:
            raise TrustRollback("older")
        self.targets = data
        entries: dict[str, Any] = document.signed["targets"]
        return entries

    def show_model(self, model: str, release: int | None = None) -> ModelRecord:
        for found in sorted(self.models.values(), key=lambda m: -m.release):
            if model in (found.model, found.record_id) and release in (None, found.release):
                return found
        raise NotFound("no such model")

    def withdraw_model(self, record_id: str, targets: bytes) -> ModelRecord:
        entries = self._put_targets(targets)
        found = self.show_model(record_id)
        if any(e["hashes"]["sha256"] == found.blob_digest for e in entries.values()):
            raise CatalogInvalid("still named")
        fields = {name: getattr(found, name) for name in ModelRecord.__struct_fields__}
        gone = ModelRecord(**{**fields, "withdrawn_at": NOW})
        self.models[found.blob_digest] = gone
        return gone


@pytest.fixture
def catalog(shop: Workspace) -> MemoryCatalog:
    """The server's side of ``shop``."""
    return MemoryCatalog(shop)
