"""Publishing sealed models: the blob is checked, its data keys are checked, then they are wrapped.

Grants are decided from the expression and level in the signed header of the stored file, read here
from the blob; the columns of the database are for lists only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from modelseal import cbor, container
from modelseal.admin import ModelRecord, Page, PublishedModel, PublishModel, check_count
from modelseal.audit import EventKind
from modelseal.cbor import CborInvalid
from modelseal.container import SectionInfo, VerifiedModel
from modelseal.crypto import hpke
from modelseal.errors import (
    CatalogInvalid,
    ConfigInvalid,
    Conflict,
    ContainerDamaged,
    ContainerMalformed,
    NotFound,
    SealedKeyInvalid,
)
from modelseal.license.claims import SealedText
from modelseal.license.plans import STABLE, check_channels
from modelseal.server.services import catalog, recorder
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.blobs import FileSource, sealed_size
from modelseal.server.services.bucket import BucketSource
from modelseal.server.services.context import Context
from modelseal.server.services.paging import page_of
from modelseal.server.store import models as store
from modelseal.server.store.rows import ModelRow
from modelseal.strict_json import JsonInvalid, b64u, unb64u
from modelseal.trust import Trust

PUBLISH_LABEL = "publish"
_MAX_KEYS_BYTES = 1 << 20
_KEPT_FRONTS = 256
_STEP = 1 << 20


class Models:
    """The sealed models of the product."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._guard = threading.Lock()
        self._fronts: OrderedDict[str, tuple[SectionInfo, ...]] = OrderedDict()
        self._channels: tuple[Trust, dict[str, frozenset[str]]] | None = None

    def put_blob(self, actor: Actor, path: Path, progress: Any = None) -> str:
        """The digest of the sealed model at ``path``, which is in the folder of blobs now."""
        actor.need(Right.MODELS)
        size = sealed_size(path)
        writer = self._context.blobs.receive()
        try:
            with path.open("rb") as file:
                while writer.size_bytes < size:
                    piece = file.read(min(_STEP, size - writer.size_bytes))
                    if not piece:
                        break
                    writer.write(piece)
                    if progress is not None:
                        progress(writer.size_bytes, size)
            return writer.commit()
        except BaseException:
            writer.abort()
            raise

    def publish(self, actor: Actor, wish: PublishModel) -> PublishedModel:
        """The model is in the catalog and its keys in later leases; the same again changes nothing.

        Raises the container's errors for a file that is not the publisher's, ``ContainerDamaged``
        for a data key that is not its section's, ``CatalogInvalid`` for targets that do not name
        it as its header does, ``Conflict`` for a release that is taken.
        """
        actor.need(Right.MODELS)
        context, now = self._context, self._context.now()
        digest = wish.blob_digest
        with context.blobs.source(digest) as source:
            model = self._verified(source, digest)
            entries = catalog.verify_targets(context, wish.targets, now)
            name = _check_listed(model, digest, entries)
            data_keys = self._data_keys(model, digest, wish.sealed_keys, now)
        known = recorder.fresh(context, now)
        row = ModelRow(
            record_id=context.new_id("mod", now),
            product=model.product,
            model=model.model,
            release=model.release,
            model_version=model.model_version,
            name=name,
            file_id=model.file_id,
            blob_digest=digest,
            size_bytes=model.file_bytes,
            entitlements=_entitlements(model),
            published_at=now,
            withdrawn_at=None,
            event_id=known.event_id,
        )

        def act(tx: Connection) -> tuple[ModelRow, bool]:
            before = catalog.channels(tx).get(digest)
            found = store.by_digest(tx, digest)
            if found is not None and found.withdrawn_at is None:
                catalog.check_models_listed(context, tx, wish.targets)
                catalog.put_targets(tx, wish.targets)
                catalog.sign_online(context, tx, now)
                if catalog.channels(tx).get(digest) != before:
                    self._record(tx, known, actor, found, now)
                return found, True
            if found is not None or not store.add(tx, row):
                raise Conflict("this release is taken", model=model.model, release=model.release)
            wrapped = {
                section: context.wrap(tx, key, self.key_context(model.file_id, section))
                for section, key in data_keys.items()
            }
            store.add_keys(tx, model.file_id, wrapped)
            catalog.check_models_listed(context, tx, wish.targets)
            catalog.put_targets(tx, wish.targets)
            catalog.sign_online(context, tx, now)
            self._record(tx, known, actor, row, now)
            return row, False

        done, already = context.store.write(act)
        return _published(done, already=already)

    def _record(
        self, tx: Connection, known: recorder.Recorded, actor: Actor, row: ModelRow, now: datetime
    ) -> None:
        channels = catalog.channels(tx).get(row.blob_digest, frozenset())
        recorder.record(
            tx, known, EventKind.MODEL_PUBLISHED, at=now, actor=actor.name,
            subjects={"model": row.record_id},
            params={
                "model": row.model, "release": row.release, "digest": row.blob_digest,
                "channels": sorted(channels),
            },
        )  # fmt: skip

    def withdraw(self, actor: Actor, record_id: str, targets: bytes) -> ModelRecord:
        """The model is out of the catalog and of later leases; leases with its keys keep them."""
        actor.need(Right.MODELS)
        context, now = self._context, self._context.now()
        entries = catalog.verify_targets(context, targets, now)
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> ModelRow:
            row = store.by_record(tx, record_id)
            if row is None:
                raise NotFound("no such model", id=record_id)
            if catalog.listed(entries, row.blob_digest) is not None:
                raise CatalogInvalid("the targets role still names the model", model=row.model)
            catalog.check_models_listed(context, tx, targets, but=row)
            catalog.put_targets(tx, targets)
            catalog.sign_online(context, tx, now)
            if store.withdraw(tx, record_id, now):
                recorder.record(
                    tx, known, EventKind.MODEL_WITHDRAWN, at=now, actor=actor.name,
                    subjects={"model": record_id},
                    params={"model": row.model, "release": row.release},
                )  # fmt: skip
            found = store.by_record(tx, record_id)
            return row if found is None else found

        return _shown(context.store.write(act), {})

    def show(self, actor: Actor, which: str, release: int | None) -> ModelRecord:
        """One model by record id, file id (base64url) or model id."""
        actor.need(Right.READ)
        if release is not None:
            check_count(release, "a release")

        def find(tx: Connection) -> ModelRecord | None:
            if which.startswith("mod_"):
                found = store.by_record(tx, which)
            else:
                found = store.by_name(tx, self._context.product, which, release)
                found = found or store.by_file(tx, _file_id(which))
            return (
                None
                if found is None
                else _shown(found, self.channels(tx, self._context.trusted.within(tx)))
            )

        record = self._context.store.read(find)
        if record is None:
            raise NotFound("no such model", model=which)
        return record

    def list(self, actor: Actor, cursor: str | None) -> Page[ModelRecord]:
        """Every model, withdrawn ones too."""
        actor.need(Right.READ)
        rows = page_of(self._context, cursor, store.page, lambda row: row.record_id)
        channels = self._context.store.read(
            lambda tx: self.channels(tx, self._context.trusted.within(tx))
        )
        items = [_shown(row, channels) for row in rows.items]
        return Page(items=items, next_cursor=rows.next_cursor)

    def sections(self, digest: str) -> tuple[SectionInfo, ...]:
        """The section table in the signed header of a published file, verified when it is read."""
        with self._guard:
            kept = self._fronts.get(digest)
        if kept is None:
            with self._context.blobs.source(digest) as source:
                kept = self._verified(source, digest, whole=False).sections
            with self._guard:
                self._fronts[digest] = kept
                while len(self._fronts) > _KEPT_FRONTS:
                    self._fronts.popitem(last=False)
        return kept

    def channels(self, tx: Connection, trust: Trust) -> Mapping[str, frozenset[str]]:
        """The channels of every published blob; nothing is asked while ``trust``, which moves with
        the catalog, is the same.

        Not for a transaction that changes the catalog.
        """
        with self._guard:
            kept = self._channels
        if kept is None or kept[0] is not trust:
            kept = (trust, catalog.channels(tx))
            with self._guard:
                self._channels = kept
        return kept[1]

    def key_context(self, file_id: bytes, section: int) -> dict[str, str | int | bytes]:
        """What a stored data key is bound to."""
        return {"product": self._context.product, "file_id": file_id, "section": section}

    def _verified(
        self, source: FileSource | BucketSource, digest: str, *, whole: bool = True
    ) -> VerifiedModel:
        context = self._context
        sealed = container.parse(source)
        if sealed.has_crc_trailer:
            raise ContainerMalformed("a blob is stored without its CRC trailer")
        # Within an act there may be no second connection: everybody else holds one as well.
        trust = context.trust if whole else context.trusted.kept()
        keys = trust.publisher_keys()
        model = sealed.verify_signatures(keys, product=context.product)
        if whole:
            if not context.blobs.was_hashed(digest) and sealed.digest() != digest:
                raise ContainerDamaged("the stored blob is not the one of its digest")
            model.verify_leaves()
        return model

    def _data_keys(
        self, model: VerifiedModel, digest: str, sealed: SealedText, now: datetime
    ) -> dict[int, bytes]:
        """Every section's data key, opened and compared with its commitment."""
        context = self._context
        info = hpke.info(
            PUBLISH_LABEL,
            {
                "server": context.server_id,
                "product": context.product,
                "file": model.file_id,
                "digest": digest,
            },
        )
        if sealed.suite != hpke.SUITE:
            raise SealedKeyInvalid(f"the only suite here is {hpke.SUITE}")
        try:
            opened = context.opener(sealed.recipient, now).open(unb64u(sealed.ct), info)
            rows = cbor.decode(opened, max_bytes=_MAX_KEYS_BYTES)
        except (JsonInvalid, CborInvalid):
            raise SealedKeyInvalid("the sealed data keys do not follow the format") from None
        keys = _rows(rows)
        if sorted(keys) != [section.id for section in model.sections]:
            raise SealedKeyInvalid("one data key per section is needed")
        for section, key in keys.items():
            model.check_key(section, key)
        return keys


def _rows(rows: object) -> dict[int, bytes]:
    keys: dict[int, bytes] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, list) or len(row) != 2:
            raise SealedKeyInvalid("the sealed data keys do not follow the format")
        section, key = row
        if not isinstance(section, int) or not isinstance(key, bytes) or len(key) != 32:
            raise SealedKeyInvalid("the sealed data keys do not follow the format")
        keys[section] = key
    return keys


def _check_listed(model: VerifiedModel, digest: str, entries: dict[str, dict[str, Any]]) -> str:
    """The file name the catalog gives the model, after comparing the entry with the header."""
    found = catalog.listed(entries, digest)
    if found is None:
        raise CatalogInvalid("the targets role does not name the blob", digest=digest)
    path, entry = found
    told = catalog.told(entry)
    if not told:
        raise CatalogInvalid("the entry has no custom part for modelseal", digest=digest)
    expected = {
        "product": model.product,
        "model": model.model,
        "model_version": model.model_version,
        "release": model.release,
        "file_id": b64u(model.file_id),
        "entitlements": [
            [] if section.entitlement is None else section.entitlement.texts()
            for section in model.sections
        ],
        "size": model.file_bytes,
    }
    for name, value in expected.items():
        if told.get(name) != value:
            raise CatalogInvalid(f"the entry says another {name} than the signed header")
    if entry.get("length") != model.file_bytes:
        raise CatalogInvalid("the entry says another size than the file has")
    file_name = told.get("name")
    if not isinstance(file_name, str) or len(file_name) > 512 or container.name_problem(file_name):
        raise CatalogInvalid("the entry's name is no file name")
    try:
        check_channels(told.get("channels", STABLE))
    except ConfigInvalid as error:
        raise CatalogInvalid(f"the entry's {error.detail}") from None
    prefix = f"models/{model.model}/{model.release}/"
    if not path.startswith(prefix):
        raise CatalogInvalid("the target's path is not the model's", path=path)
    return file_name


def _entitlements(model: VerifiedModel) -> list[str]:
    texts = {
        text
        for section in model.sections
        if section.entitlement is not None
        for text in section.entitlement.texts()
    }
    return sorted(texts)


def _file_id(text: str) -> bytes:
    try:
        return unb64u(text)
    except JsonInvalid:
        return b""


def _published(row: ModelRow, *, already: bool) -> PublishedModel:
    return PublishedModel(
        record_id=row.record_id,
        product=row.product,
        model=row.model,
        release=row.release,
        model_version=row.model_version,
        blob_digest=row.blob_digest,
        file_id=b64u(row.file_id),
        size_bytes=row.size_bytes,
        entitlements=row.entitlements,
        published_at=row.published_at,
        event_id=row.event_id,
        already=already,
    )


def _shown(row: ModelRow, channels: Mapping[str, frozenset[str]]) -> ModelRecord:
    return ModelRecord(
        record_id=row.record_id,
        product=row.product,
        model=row.model,
        release=row.release,
        model_version=row.model_version,
        name=row.name,
        blob_digest=row.blob_digest,
        file_id=b64u(row.file_id),
        size_bytes=row.size_bytes,
        entitlements=row.entitlements,
        published_at=row.published_at,
        withdrawn_at=row.withdrawn_at,
        channels=sorted(channels.get(row.blob_digest, ())),
    )
