"""Sealing: plain files in, sealed models out, data keys into the desk.

``seal_paths`` and opening with the keys it recorded undo each other. Sources are read once and
watched; an output appears whole or not at all and never over anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from modelseal import container
from modelseal.container import EntryPlan, SealPlan, SectionPlan, TogetherRef
from modelseal.desk import catalog, inputs, opening, optimising
from modelseal.desk.filesource import FileSource
from modelseal.desk.inputs import Bundle, Demand
from modelseal.desk.making import Progress, RandomBytes, SealedFile, seal_plan
from modelseal.desk.output import PendingFile
from modelseal.desk.resealing import reseal
from modelseal.desk.workspace import Workspace
from modelseal.errors import InputMissing, Misuse
from modelseal.keys import files
from modelseal.types import EntitlementExpression, Level, MemoryProtection, check_aware


def seal_paths(
    workspace: Workspace,
    paths: Sequence[Path | str],
    output: Path | str | None = None,
    *,
    entitlements: Sequence[str] = (),
    model: str | None = None,
    model_version: str = "",
    min_level: Level = Level.L0,
    memory: MemoryProtection = MemoryProtection.LOCKED,
    release: int | None = None,
    together_with: Sequence[Path | str] = (),
    optimise: bool = False,
    chunk_bytes: int = container.DEFAULT_CHUNK_BYTES,
    progress: Progress | None = None,
    now: datetime | None = None,
    random: RandomBytes = os.urandom,
) -> list[SealedFile]:
    """Every input sealed, signed and recorded; all outputs are there, or none.

    ``paths`` are files, folders or ``seal.toml`` files. One sealed model goes to the file
    ``output`` (default: beside the input, ending ``.sealed``), several into the folder ``output``.
    ``entitlements`` are alternatives, ``a+b`` within one means both. ``release`` is one more than
    the last of the model unless given. ``together_with`` names sealed models of this workspace
    without which the new one does not open. With ``optimise`` every ONNX model is also sealed in
    the form that ONNX Runtime gives it on machines like this one. Raises ``Misuse``,
    ``InputMissing``, ``OutputExists``, ``SourceNotSealable``, ``NotOptimisable``,
    ``SourceChanged``, ``DiskFull``, ``StateNotWritable``.
    """
    at = check_aware(now or datetime.now(UTC))
    others = tuple(Path(other) for other in together_with)
    demand = _demand(entitlements, min_level, memory, others)
    given = [Path(path) for path in paths]
    bundles = inputs.gather(
        given, demand, model=model, model_version=model_version, optimise=optimise
    )
    if release is not None and len(bundles) > 1:
        raise Misuse("a release number is for one model")
    targets = _targets(given, bundles, None if output is None else Path(output))
    with ExitStack() as undo:
        made = []
        pending = []
        for bundle, target in zip(bundles, targets, strict=True):
            file = PendingFile(target)
            undo.callback(file.discard)
            plan_of = _Planner(workspace, bundle, release, chunk_bytes, at, random)
            made.append(_seal_bundle(plan_of, file, progress, random))
            pending.append(file)
        for file in pending:
            file.commit()
        undo.pop_all()
    return made


def seal_into(
    workspace: Workspace,
    path: Path,
    file: PendingFile,
    *,
    entitlements: Sequence[str],
    model: str | None,
    model_version: str,
    min_level: Level,
    memory: MemoryProtection,
    progress: Progress | None,
    now: datetime,
    random: RandomBytes,
) -> SealedFile:
    """``file``, which is not committed yet, holds the one file at ``path``, sealed and recorded."""
    demand = _demand(entitlements, min_level, memory, ())
    (bundle,) = inputs.gather([path], demand, model=model, model_version=model_version)
    planner = _Planner(workspace, bundle, None, container.DEFAULT_CHUNK_BYTES, now, random)
    return _seal_bundle(planner, file, progress, random)


class _Planner:
    """One bundle on its way to a plan."""

    def __init__(
        self,
        workspace: Workspace,
        bundle: Bundle,
        release: int | None,
        chunk_bytes: int,
        at: datetime,
        random: RandomBytes,
    ) -> None:
        self.workspace = workspace
        self.bundle = bundle
        self.at = at
        self._release = release
        self._chunk_bytes = chunk_bytes
        self._random = random

    def plan(self, sources: dict[Path, FileSource]) -> SealPlan:
        """The plan over the open ``sources``, with a release of its own."""
        sections = self._sections(sources)
        carried = newest_secret(self.workspace, self.bundle.model)
        release = self.workspace.models.reserve_release(
            self.bundle.model,
            published=catalog.newest_release(self.workspace, self.bundle.model),
            wanted=self._release,
        )
        return SealPlan(
            product=self.workspace.product,
            model=self.bundle.model,
            model_version=self.bundle.model_version or str(release),
            release=release,
            created_at=self.at,
            sections=sections,
            chunk_bytes=self._chunk_bytes,
            secret_for_together=True,
            together_secret=carried,
        )

    def _sections(self, sources: dict[Path, FileSource]) -> list[SectionPlan]:
        grouped: dict[Demand, list[EntryPlan]] = {}
        for item in self.bundle.items:
            entries = grouped.setdefault(item.demand, [])
            entries.append(EntryPlan(item.name, sources[item.path]))
            if item.optimise:
                entries += optimising.entries(item, self.bundle.items, self._random)
        return [
            SectionPlan(
                entitlement=demand.entitlement,
                entries=entries,
                min_level=demand.min_level,
                memory=demand.memory,
                together_with=self._together(demand.together_with),
            )
            for demand, entries in grouped.items()
        ]

    def _together(self, paths: Sequence[Path]) -> tuple[TogetherRef, ...]:
        return tuple(opening.together_ref(self.workspace, path) for path in paths)


def _seal_bundle(
    planner: _Planner, file: PendingFile, progress: Progress | None, random: RandomBytes
) -> SealedFile:
    with ExitStack() as opened:
        sources: dict[Path, FileSource] = {}
        for item in planner.bundle.items:
            if item.path not in sources:
                source = opened.enter_context(FileSource(item.path))
                inputs.check_not_sealed(source, item.path)
                sources[item.path] = source
        plan = planner.plan(sources)
        return seal_plan(
            planner.workspace, plan, planner.bundle.name, file, progress=progress, random=random
        )


def newest_secret(workspace: Workspace, model: str) -> bytes | None:
    """The *together with* secret of the model's last release, which the next one carries on."""
    record = workspace.models.newest(model)
    return None if record is None else workspace.models.keys_of(record).together


def _demand(
    entitlements: Sequence[str],
    min_level: Level,
    memory: MemoryProtection,
    together_with: tuple[Path, ...],
) -> Demand | None:
    if not entitlements:
        return None
    expression = EntitlementExpression.parse(tuple(entitlements))
    return Demand(expression, min_level, memory, together_with)


def _targets(given: Sequence[Path], bundles: Sequence[Bundle], output: Path | None) -> list[Path]:
    """Where each sealed model goes; never into a folder that is being sealed."""
    if len(bundles) == 1:
        source = Path(os.path.abspath(given[0]))  # noqa: PTH100 - a link keeps its name
        beside = source.parent / f"{bundles[0].model}.sealed"
        one = beside if output is None else output
        if output is not None and output.is_dir():
            one = output / f"{bundles[0].model}.sealed"
        targets = [one]
    else:
        folder = Path() if output is None else output
        if not folder.exists():
            _make_folder(folder)
        targets = [folder / f"{bundle.model}.sealed" for bundle in bundles]
    for target in targets:
        _check_outside(target, given)
    return targets


def _check_outside(target: Path, given: Sequence[Path]) -> None:
    parents = Path(os.path.realpath(target)).parents
    for path in given:
        if path.is_dir() and Path(os.path.realpath(path)) in parents:
            raise Misuse("the output lies inside the folder that is sealed", path=str(target))


def _make_folder(folder: Path) -> None:
    if not folder.parent.is_dir():
        raise InputMissing("there is no such folder", path=str(folder.parent))
    try:
        folder.mkdir()
    except OSError as error:
        raise files.not_written(error, folder) from None


__all__ = ["Progress", "SealedFile", "reseal", "seal_into", "seal_paths"]
