"""Resealing: the same files under new data keys and a new release, after a data key leaked.

The plaintext passes through memory chunk by chunk and never touches a disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from modelseal import container
from modelseal.container import (
    EntryPlan,
    Extent,
    Index,
    SealPlan,
    SectionInfo,
    SectionPlan,
    TogetherRef,
    VerifiedModel,
)
from modelseal.desk import catalog, opening
from modelseal.desk.making import Progress, RandomBytes, SealedFile, seal_plan
from modelseal.desk.output import PendingFile
from modelseal.desk.records import DataKeys
from modelseal.desk.workspace import Workspace
from modelseal.errors import Misuse, NotFound, TogetherMissing
from modelseal.types import EntitlementExpression, check_aware


class _ExtentSource:
    """One piece of a sealed file's plaintext as a source; decrypts what is read, keeps nothing."""

    def __init__(
        self, model: VerifiedModel, extent: Extent, key: bytes, together: Mapping[str, bytes]
    ) -> None:
        self._model = model
        self._extent = extent
        self._key = key
        self._together = together

    @property
    def size_bytes(self) -> int:
        """The length of the piece."""
        return self._extent.size_bytes

    def read_into(self, offset: int, target: memoryview) -> None:
        """``target`` holds the plaintext from ``offset`` on."""
        extent = self._extent
        self._model.read_range(
            extent.section, self._key, extent.offset + offset, target, together=self._together
        )


def reseal(
    workspace: Workspace,
    path: Path | str,
    output: Path | str,
    *,
    progress: Progress | None = None,
    now: datetime | None = None,
    random: RandomBytes = os.urandom,
) -> SealedFile:
    """``output`` holds the same files, demands and names as ``path``, under fresh data keys.

    Its release is the next of the model; the secret for *together with* is carried on, so that
    models that demand this one need no resealing. Raises the container's errors for ``path``,
    ``OutputExists``, ``DiskFull``, ``Misuse`` for a model with variants.
    """
    at = check_aware(now or datetime.now(UTC))
    with opening.opened(workspace, Path(path)) as model:
        keys = opening.data_keys(workspace, model, at)
        plan, name = _plan(workspace, model, keys, at)
        file = PendingFile(Path(output))
        try:
            made = seal_plan(workspace, plan, name, file, progress=progress, random=random)
            file.commit()
        except BaseException:
            file.discard()
            raise
    return made


def _plan(
    workspace: Workspace, model: VerifiedModel, keys: DataKeys, at: datetime
) -> tuple[SealPlan, str]:
    if any(info.is_variant for info in model.sections):
        raise Misuse("a model with variants is sealed anew from its files", model=model.model)
    index = model.open_index(keys.keys[0])
    together = secrets(workspace, model)
    sections = [
        _section(model, info, index, keys.keys[info.id], together) for info in model.sections[1:]
    ]
    release = workspace.models.reserve_release(
        model.model, published=max(model.release, catalog.newest_release(workspace, model.model))
    )
    same = model.model_version == str(model.release)
    plan = SealPlan(
        product=model.product,
        model=model.model,
        model_version=str(release) if same else model.model_version,
        release=release,
        created_at=at,
        sections=sections,
        chunk_bytes=model.prologue.chunk_bytes,
        suite=model.prologue.suite,
        secret_for_together=True,
        together_secret=index.secret,
    )
    return plan, _name(workspace, model, index)


def _section(
    model: VerifiedModel,
    info: SectionInfo,
    index: Index,
    key: bytes,
    together: Mapping[str, bytes],
) -> SectionPlan:
    pieces = [
        (extent, entry) for entry in index for extent in entry.extents if extent.section == info.id
    ]
    entries = [
        EntryPlan(
            entry.name,
            _ExtentSource(model, extent, key, together),
            file_offset=extent.file_offset,
            role=entry.role,
        )
        for extent, entry in sorted(pieces, key=lambda pair: pair[0].offset)
    ]
    return SectionPlan(
        entitlement=_demanded(info),
        entries=entries,
        kind=info.kind,
        name=index.section_names.get(info.id),
        min_level=info.level,
        memory=info.memory,
        key_source=info.key_source,
        together_with=tuple(
            TogetherRef(other.model, together[other.model]) for other in info.together_with
        ),
    )


def _demanded(info: SectionInfo) -> EntitlementExpression:
    if info.entitlement is None:
        raise Misuse("a section without an entitlement cannot be resealed", section=info.id)
    return info.entitlement


def secrets(workspace: Workspace, model: VerifiedModel) -> dict[str, bytes]:
    """The secrets of the models that ``model`` demands, found among the desk's records."""
    wanted = {
        other.model: other.secret_hash for info in model.sections for other in info.together_with
    }
    found: dict[str, bytes] = {}
    for record in workspace.models.all() if wanted else []:
        if record.model in wanted and record.model not in found:
            secret = workspace.models.keys_of(record).together
            if secret is not None and container.secret_hash(secret) == wanted[record.model]:
                found[record.model] = secret
    for name in wanted:
        if name not in found:
            raise TogetherMissing("the desk has no record of a demanded model", model=name)
    return found


def _name(workspace: Workspace, model: VerifiedModel, index: Index) -> str:
    try:
        return workspace.models.get(model.file_id).name
    except NotFound:
        names = [entry.name for entry in index.originals]
        only = len(names) == 1 and "/" not in names[0]
        return names[0] if only else f"{model.model}.sealed"
