"""One sealing at the desk: signed by the publisher, recoverable, its data keys recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from modelseal import container, processors
from modelseal.container import SealedResult, SealPlan
from modelseal.desk import optimising
from modelseal.desk.output import PendingFile
from modelseal.desk.records import DataKeys, ModelRecord
from modelseal.desk.workspace import Workspace
from modelseal.strict_json import b64u

Progress = Callable[[int, int, str], None]
"""Called with the bytes done, the bytes in all and the name of the model."""

RandomBytes = Callable[[int], bytes]


class SealedFile(msgspec.Struct, frozen=True):
    """A sealed model that was made. ``file_id`` is base64url.

    ``optimised`` names the files beside which an optimised form was sealed.
    """

    path: str
    model: str
    model_version: str
    release: int
    name: str
    file_id: str
    size_bytes: int
    entitlements: list[str]
    optimised: list[str] = []


def seal_plan(
    workspace: Workspace,
    plan: SealPlan,
    name: str,
    file: PendingFile,
    *,
    progress: Progress | None,
    random: RandomBytes,
) -> SealedFile:
    """``file`` holds the sealed model of ``plan``, and the desk its data keys."""
    result = container.seal(
        plan,
        file,
        publisher=workspace.desk_signers("publisher", plan.created_at),
        recovery=workspace.recovery_key(plan.created_at).public_key(),
        random=random,
        progress=None if progress is None else _named(progress, plan.model),
        threads=processors.count(),
    )
    record = ModelRecord(
        file_id=result.file_id,
        model=plan.model,
        model_version=plan.model_version,
        release=plan.release,
        digest="",
        size_bytes=result.size_bytes,
        name=name,
        created_at=plan.created_at,
    )
    workspace.models.add(record, DataKeys(result.data_keys, result.together_secret))
    return _shown(file.path, record, result, optimising.names(plan))


def entitlement_texts(header: container.Header) -> list[str]:
    """Every alternative that a section of the model names, each once."""
    texts = [t for s in header.sections if s.entitlement is not None for t in s.entitlement.texts()]
    return list(dict.fromkeys(texts))


def _shown(
    path: Path, record: ModelRecord, result: SealedResult, optimised: list[str]
) -> SealedFile:
    return SealedFile(
        path=str(path),
        model=record.model,
        model_version=record.model_version,
        release=record.release,
        name=record.name,
        file_id=b64u(record.file_id),
        size_bytes=record.size_bytes,
        entitlements=entitlement_texts(result.header),
        optimised=optimised,
    )


def _named(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(done, total, name)
