"""Publishing: the sealed file and its keys to the server, the catalog signed in the desk.

Every step can be repeated: after a crash the same call again ends in the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from modelseal import cbor, container, processors
from modelseal.admin import AdminApi, ModelRecord, PublishedModel, PublishModel
from modelseal.container import VerifiedModel
from modelseal.crypto import hpke
from modelseal.desk import catalog, lock, opening
from modelseal.desk.records import DataKeys
from modelseal.desk.workspace import Workspace
from modelseal.errors import CatalogInvalid, Conflict, NotFound, SourceChanged, TrustRollback
from modelseal.license.claims import SealedText
from modelseal.license.plans import check_channels
from modelseal.strict_json import b64u
from modelseal.types import check_aware

PUBLISH_LABEL = "publish"
_ATTEMPTS = 3
_PIECE_BYTES = 1 << 20
Answer = TypeVar("Answer")

Progress = Callable[[int, int], None]
"""Called with the bytes sent and the bytes in all."""


def publish(
    workspace: Workspace,
    api: AdminApi,
    path: Path | str,
    *,
    min_release: int | None = None,
    channels: Iterable[str] = (),
    progress: Progress | None = None,
    now: datetime | None = None,
) -> PublishedModel:
    """The sealed model at ``path`` is in the catalog and its data keys are with the server.

    ``channels`` are those whose plans get it (default: as it is published already, else
    ``stable``); publishing it again with others moves it.
    ``min_release`` is the oldest release of the model that clients may still open (default: what
    the catalog says already). Raises the container's errors for a file that is not this
    publisher's or damaged, ``Conflict`` when the release is taken by another file, ``Misuse`` when
    ``min_release`` is newer than the file.
    """
    at = check_aware(now or datetime.now(UTC))
    path = Path(path)
    wanted = check_channels(tuple(channels)) if (channels := tuple(channels)) else None
    with opening.opened(workspace, path) as model:
        keys = opening.data_keys(workspace, model, at)
        name = _name(workspace, model, keys)
        model.verify_leaves(threads=processors.count())
        digest = model.digest()
        crc32 = _crc32(path) if model.has_crc_trailer else None
    if api.put_blob(path, progress) != digest:
        raise SourceChanged("the file changed while it was sent", path=str(path))
    sealed_keys = _seal_keys(workspace, model, keys, digest, at)
    listing = _Listing(workspace, model, name, digest, min_release, wanted, crc32, at)
    return _with_targets(
        workspace,
        api,
        listing.targets,
        lambda targets: api.publish_model(
            PublishModel(blob_digest=digest, sealed_keys=sealed_keys, targets=targets)
        ),
    )


def withdraw(
    workspace: Workspace,
    api: AdminApi,
    which: str,
    *,
    release: int | None = None,
    now: datetime | None = None,
) -> ModelRecord:
    """The model is out of the catalog and of later leases; leases that hold its keys keep them.

    ``which`` is a model id, record id or file id; ``release`` defaults to the newest.
    """
    at = check_aware(now or datetime.now(UTC))
    record = api.show_model(which, release)
    if record.withdrawn_at is not None:
        return record

    def targets(served: bytes) -> bytes:
        before = catalog.current(workspace, served)
        kept = {
            path: item
            for path, item in catalog.entries(before).items()
            if item["hashes"].get("sha256") != record.blob_digest
        }
        if len(kept) == len(catalog.entries(before)) and _is_served(workspace, served):
            return served
        return catalog.signed_next(workspace, before, kept, at)

    return _with_targets(
        workspace, api, targets, lambda signed: api.withdraw_model(record.record_id, signed)
    )


class _Listing:
    """One model's entry on its way into the signed targets."""

    def __init__(
        self,
        workspace: Workspace,
        model: VerifiedModel,
        name: str,
        digest: str,
        min_release: int | None,
        channels: tuple[str, ...] | None,
        crc32: str | None,
        at: datetime,
    ) -> None:
        self._workspace = workspace
        self._model = model
        self._name = name
        self._digest = digest
        self._min_release = min_release
        self._channels = channels
        self._crc32 = crc32
        self._at = at

    def targets(self, served: bytes) -> bytes:
        """The targets that list the model: ``served`` when they do already, else the next."""
        before = catalog.current(self._workspace, served)
        listed = catalog.entries(before)
        known = self._known(listed)
        path, entry = catalog.entry(
            self._model.header,
            file_id=self._model.file_id,
            name=self._name,
            digest=self._digest,
            size_bytes=self._model.file_bytes,
            min_release=self._floor(listed),
            channels=self._channels or catalog.channels_of(known),
            crc32=self._crc32 or catalog.custom_of(known).get("crc32"),
        )
        if listed.get(path) == entry and _is_served(self._workspace, served):
            return served
        self._check_free(listed)
        return catalog.signed_next(self._workspace, before, {**listed, path: entry}, self._at)

    def _floor(self, listed: catalog.Entries) -> int:
        customs = [catalog.custom_of(item) for item in listed.values()]
        same = [c for c in customs if c.get("model") == self._model.model]
        known = max((c.get("min_release", 0) for c in same), default=0)
        wanted = known if self._min_release is None else self._min_release
        if wanted > self._model.release or wanted < known:
            raise Conflict(
                "min_release only grows and is no newer than the file",
                model=self._model.model,
                release=self._model.release,
                min_release=wanted,
            )
        return wanted

    def _known(self, listed: catalog.Entries) -> Mapping[str, Any]:
        """What is listed of this very file; empty when nothing is."""
        mine = b64u(self._model.file_id)
        found = (i for i in listed.values() if catalog.custom_of(i).get("file_id") == mine)
        return next(found, {})

    def _check_free(self, listed: catalog.Entries) -> None:
        for item in listed.values():
            custom = catalog.custom_of(item)
            same = (custom.get("model"), custom.get("release"))
            if same != (self._model.model, self._model.release):
                continue
            if custom.get("file_id") != b64u(self._model.file_id):
                raise Conflict(
                    "this release is taken by another sealed file",
                    model=self._model.model,
                    release=self._model.release,
                )


def _crc32(path: Path) -> str:
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            crc = container.crc_update(crc, piece)
    return f"{crc:08x}"


def _with_targets(
    workspace: Workspace,
    api: AdminApi,
    targets: Callable[[bytes], bytes],
    act: Callable[[bytes], Answer],
) -> Answer:
    """``act`` with the next targets; again from the start when another desk was faster."""
    with lock.exclusive(workspace.desk / "tuf"):
        for attempt in range(1, _ATTEMPTS + 1):
            signed = targets(api.catalog_state().targets.data)
            try:
                answer = act(signed)
            except (Conflict, TrustRollback):
                if attempt == _ATTEMPTS or not _moved_on(workspace, api, signed):
                    raise
                continue
            catalog.keep(workspace, signed)
            return answer
    raise CatalogInvalid("the catalog changes faster than it can be signed")


def _moved_on(workspace: Workspace, api: AdminApi, signed: bytes) -> bool:
    """True when the server meanwhile holds targets that are as new as ``signed``, or newer."""
    theirs = catalog.current(workspace, api.catalog_state().targets.data)
    return theirs.version >= catalog.current(workspace, signed).version


def _is_served(workspace: Workspace, served: bytes) -> bool:
    """True when ``served`` is as new as the desk's own targets."""
    return catalog.current(workspace, served).version <= catalog.version_of(served)


def _name(workspace: Workspace, model: VerifiedModel, keys: DataKeys) -> str:
    """What the file is called when it is pulled."""
    try:
        return workspace.models.get(model.file_id).name
    except NotFound:
        names = [entry.name for entry in model.open_index(keys.keys[0]).originals]
        only = len(names) == 1 and "/" not in names[0]
        return names[0] if only else f"{model.model}.sealed"


def _seal_keys(
    workspace: Workspace, model: container.SealedModel, keys: DataKeys, digest: str, at: datetime
) -> SealedText:
    """The data keys, sealed to the server's sealing key for this one file."""
    recipient = workspace.trust.sealing_key(at)
    info = hpke.info(
        PUBLISH_LABEL,
        {
            "server": workspace.server_id,
            "product": workspace.product,
            "file": model.file_id,
            "digest": digest,
        },
    )
    rows = [[section, key] for section, key in sorted(keys.keys.items())]
    ct = recipient.seal(cbor.encode(rows), info)
    return SealedText(recipient=recipient.kid, suite=hpke.SUITE, ct=b64u(ct))
