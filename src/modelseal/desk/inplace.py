"""Sealing in place, for programs that check their files; and back again.

``seal_in_place`` and ``restore`` undo each other, byte for byte. A file is replaced by one rename,
after what replaces it has been read back and compared; until then it is what it was. The sealed
file carries a CRC trailer, so that its CRC-32 is that of the plain one (design, section 5).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import blake3
import msgspec

from modelseal import container, processors
from modelseal.container import Entry, VerifiedModel
from modelseal.desk import opening, resealing, sealing
from modelseal.desk.filesource import FileSource
from modelseal.desk.making import Progress, RandomBytes, SealedFile
from modelseal.desk.output import PendingFile
from modelseal.desk.workspace import Workspace
from modelseal.errors import (
    ContainerDamaged,
    ContainerTruncated,
    InputMissing,
    InternalError,
    Misuse,
    SourceNotSealable,
)
from modelseal.types import Level, MemoryProtection, check_aware

PIECE_BYTES = 8 * 1024 * 1024


class RestoredFile(msgspec.Struct, frozen=True):
    """A plain file that was written: the one that had been sealed, byte for byte."""

    path: str
    model: str
    release: int
    size_bytes: int


def seal_in_place(
    workspace: Workspace,
    paths: Sequence[Path | str],
    *,
    entitlements: Sequence[str],
    model: str | None = None,
    model_version: str = "",
    min_level: Level = Level.L0,
    memory: MemoryProtection = MemoryProtection.LOCKED,
    progress: Progress | None = None,
    now: datetime | None = None,
    random: RandomBytes = os.urandom,
) -> list[SealedFile]:
    """Every plain file of ``paths`` is a sealed one of the same name, permissions and CRC-32.

    Files that come before one that fails stay sealed; each of them alone is whole at any time.
    Raises ``SourceNotSealable`` for a folder or a link, ``Misuse`` for a ``model`` of several
    files, and what ``seal_paths`` raises.
    """
    at = check_aware(now or datetime.now(UTC))
    if model is not None and len(paths) > 1:
        raise Misuse("one model id names one file; seal them one by one")
    places = [_place(path) for path in paths]
    made = []
    for place in places:
        with FileSource(place) as source:
            file = PendingFile(place, replacing=True)
            try:
                sealed = sealing.seal_into(
                    workspace, place, file, entitlements=entitlements, model=model,
                    model_version=model_version, min_level=min_level, memory=memory,
                    progress=progress, now=at, random=random,
                )  # fmt: skip
                plain_crc = _prove(workspace, file, source, at)
                file.write(container.crc_trailer(_crc(file), plain_crc))
                source.check_unchanged()
                file.commit()
            except BaseException as error:
                file.discard()
                if isinstance(error, ContainerTruncated):
                    source.check_unchanged()
                raise
        made.append(msgspec.structs.replace(sealed, path=str(place), size_bytes=file.size_bytes))
    return made


def restore(
    workspace: Workspace,
    path: Path | str,
    output: Path | str | None = None,
    *,
    now: datetime | None = None,
) -> list[RestoredFile]:
    """The plain files of the sealed model at ``path``, with the desk's keys.

    Without ``output`` the sealed file itself is replaced by its one plain file. With it the file,
    or a new folder with the files, is written there. Raises the container's errors for a damaged
    or foreign one, ``OutputExists``, ``DiskFull``, ``StateNotWritable``, ``Misuse``.
    """
    at = check_aware(now or datetime.now(UTC))
    place = _place(path)
    with opening.opened(workspace, place) as model:
        keys = opening.data_keys(workspace, model, at)
        index = model.open_index(keys.keys[0])
        reader = _Reader(model, keys.keys, resealing.secrets(workspace, model))
        with ExitStack() as undo:
            pairs = []
            for entry, place_of in _targets(index.originals, place, output):
                pairs.append((entry, PendingFile(place_of, replacing=output is None)))
                undo.callback(pairs[-1][1].discard)
            for entry, target in pairs:
                reader.copy(entry, target)
            for _, target in pairs:
                target.commit()
            undo.pop_all()
    return [
        RestoredFile(str(target.path), model.model, model.release, entry.size_bytes)
        for entry, target in pairs
    ]


def _place(path: Path | str) -> Path:
    place = Path(os.path.abspath(path))  # noqa: PTH100 - a link is told, not followed
    if place.is_symlink() or place.is_dir():
        raise SourceNotSealable("in place means one regular file", path=str(place))
    if not place.exists():
        raise InputMissing("no such file", path=str(place))
    return place


def _targets(
    entries: Sequence[Entry], sealed: Path, output: Path | str | None
) -> Iterator[tuple[Entry, Path]]:
    """Each file inside, and where it goes; its folder is there then."""
    single = len(entries) == 1 and "/" not in entries[0].name
    if output is None:
        if len(entries) != 1:
            raise Misuse("a model of several files is restored into a folder: name it")
        yield entries[0], sealed
    elif single and not Path(output).is_dir():
        yield entries[0], Path(output)
    else:
        for entry in entries:
            place = Path(output).joinpath(*entry.name.split("/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            yield entry, place


class _Reader:
    """The plaintext of one sealed model, piece by piece."""

    def __init__(
        self, model: VerifiedModel, keys: Mapping[int, bytes], secrets: Mapping[str, bytes]
    ) -> None:
        self._model, self._keys, self._secrets = model, keys, secrets

    def pieces(self, entry: Entry) -> Iterator[memoryview]:
        """The file ``entry`` from its start; each piece is valid until the next."""
        held = memoryview(bytearray(min(PIECE_BYTES, entry.size_bytes)))
        try:
            for start in range(0, entry.size_bytes, PIECE_BYTES):
                part = held[: min(PIECE_BYTES, entry.size_bytes - start)]
                self._model.read_entry(
                    entry, self._keys, part, file_offset=start, together=self._secrets,
                    threads=processors.count(),
                )  # fmt: skip
                yield part
        finally:
            held[:] = bytes(len(held))

    def copy(self, entry: Entry, target: PendingFile) -> None:
        """``target`` holds the file; ``ContainerDamaged`` when its digest is not the sealed one."""
        seen = blake3.blake3()
        for piece in self.pieces(entry):
            target.write(piece)
            seen.update(piece)
        if len(entry.extents) == 1 and seen.digest() != entry.digest:
            raise ContainerDamaged("the file is not the one that was sealed", entry=entry.name)


def _crc(file: PendingFile) -> int:
    found, held = 0, memoryview(bytearray(PIECE_BYTES))
    for start in range(0, file.size_bytes, PIECE_BYTES):
        part = held[: min(PIECE_BYTES, file.size_bytes - start)]
        file.read_into(start, part)
        found = container.crc_update(found, part)
    return found


def _prove(workspace: Workspace, file: PendingFile, source: FileSource, at: datetime) -> int:
    """The source's CRC-32, once the sealed file opens to exactly it; it is lost after this.

    The source is read anew: comparing digests would not show what went wrong in the first reading.
    """
    parsed = container.parse(file)
    model = parsed.verify_signatures(workspace.trust.publisher_keys(), product=workspace.product)
    keys = opening.data_keys(workspace, model, at)
    (entry,) = model.open_index(keys.keys[0])
    at_byte, crc = 0, 0
    for piece in _Reader(model, keys.keys, {}).pieces(entry):
        plain = bytearray(len(piece))  # two memoryviews would be compared item by item
        source.read_into(at_byte, memoryview(plain))
        at_byte += len(piece)
        crc = container.crc_update(crc, plain)
        if plain != piece:
            raise InternalError("what was sealed does not open to what was there")
    if at_byte != source.size_bytes:
        raise InternalError("what was sealed is not as long as what was there")
    return crc


__all__ = ["RestoredFile", "restore", "seal_in_place"]
