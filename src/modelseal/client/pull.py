"""All that is granted, sealed, under original names."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath

from modelseal import container, processors
from modelseal.client import download, keys, places, renewal, trusting, verified
from modelseal.client.catalog import Catalog, CatalogModel
from modelseal.client.core import Core, Held
from modelseal.client.filesource import FileSource
from modelseal.client.folder import open_file, translate
from modelseal.client.identity import Identity
from modelseal.client.partial import Expected
from modelseal.client.pulled import Progress, Pulled, PulledModel
from modelseal.client.standing import Standing, take
from modelseal.errors import (
    CatalogInvalid,
    InvalidBytes,
    ModelsealError,
    NotActivated,
    OutputExists,
    StateDamaged,
)

_MODELS = "models"


def pull(core: Core, to: Path | None, progress: Progress | None) -> Pulled:
    """Every granted model of the catalog lies in ``to``, sealed, verified, under its own name.

    Renews first when the lease lacks the keys of a granted file. What is there and verified is
    not fetched again; a file that is not ours is never overwritten (``OutputExists``). Raises the
    refusal when nothing may be opened, ``CatalogInvalid``, ``Unavailable`` errors and what
    ``download.fetch`` raises; files that were done stay.
    """
    if not core.has_trust:
        raise NotActivated("nothing was activated here", path=str(core.store.path))
    catalog = trusting.refresh(core)
    standing = take(core, core.ports.now())
    granted, beyond = _split(catalog, standing)
    renewed = not standing.running or _lacks_keys(core, standing.held, granted)
    if renewed:
        lease = standing.lease
        renewal.renew(core, seen=None if lease is None else lease.jti)
        standing = take(core, core.ports.now())
        granted, beyond = _split(catalog, standing)
    refusal = standing.refusal()
    if refusal is not None:
        raise refusal
    folder = to if to is not None else core.store.path / _MODELS
    me = core.unlock()
    models = tuple(_one(core, me, item, folder, progress) for item in granted)
    return Pulled(models, tuple(item.name for item in beyond), renewed)


def _split(catalog: Catalog, standing: Standing) -> tuple[list[CatalogModel], list[CatalogModel]]:
    """What the license grants and what it does not; the lease may still lack what it grants."""
    license_ = standing.license
    names = frozenset() if license_ is None else frozenset(e.id for e in license_.ent)
    newest = catalog.newest(license_)
    return (
        [item for item in newest if item.granted_by(names)],
        [item for item in newest if not item.granted_by(names)],
    )


def _lacks_keys(core: Core, held: Held, granted: list[CatalogModel]) -> bool:
    if held.lease is None:
        return True
    try:
        have = keys.file_ids(core, held)
    except StateDamaged:
        return True
    return have is not None and any(item.file_id not in have for item in granted)


def _one(
    core: Core, me: Identity, item: CatalogModel, folder: Path, progress: Progress | None
) -> PulledModel:
    target = folder / safe_name(item.name)
    expected = Expected(
        name=item.name,
        digest=item.digest,
        size_bytes=item.size_bytes,
        file_id=item.file_id,
        product=core.trust.product,
        min_release=item.min_release,
        publisher_keys=core.trust.publisher_keys(),
        crc32=item.crc32,
    )
    outcome = "present"
    if not _is_present(core, me, target, expected):
        urls = [*(f"{mirror}/{item.digest}" for mirror in core.settings.mirrors)]
        urls += places.of(core, item.digest)
        urls.append(f"{core.server}/v1/blobs/{item.digest}")
        download.fetch(
            expected, target, transport=core.transport, urls=urls,
            monotonic=core.ports.monotonic, progress=progress,
        )  # fmt: skip
        _remember(core, me, target)
        outcome = "downloaded"
        core.journal.write("pulled", name=item.name, release=item.release, size=item.size_bytes)
    elif progress is not None:
        progress(item.size_bytes, item.size_bytes, item.name)
    return PulledModel(
        name=item.name,
        path=str(target),
        model=item.model,
        model_version=item.model_version,
        release=item.release,
        size_bytes=item.size_bytes,
        outcome=outcome,
    )


def safe_name(name: str) -> Path:
    """``name`` as a path below the target folder; ``CatalogInvalid`` for one that leads out."""
    problem = container.name_problem(name)
    if problem is not None or name.startswith("."):
        raise CatalogInvalid(f"a model's name cannot be a file's: {problem or 'hidden'}"[:200])
    return Path(*PurePosixPath(name).parts)


def _is_present(core: Core, me: Identity, target: Path, expected: Expected) -> bool:
    """Whether ``target`` is the expected file, wholly verified now or by a record that holds."""
    try:
        with os.fdopen(open_file(target), "rb") as file:
            if not container.is_sealed(file.read(len(container.MAGIC))):
                raise OutputExists("a file that is not sealed has this name", path=str(target))
            source = FileSource(file)
            try:
                model = container.parse(source).verify_signatures(
                    expected.publisher_keys,
                    product=expected.product,
                )
                if model.file_id != expected.file_id:
                    return False
                if expected.crc32 is not None and not model.has_crc_trailer:
                    return False
                leaf = model.leaf_hash
                if verified.holds(core.store.folder, me, file.fileno(), leaf):
                    return True
                model.verify_leaves(threads=processors.count())
            except InvalidBytes:
                return False  # damaged or old: it is fetched again and replaced as a whole
            verified.remember(core.store.folder, me, file.fileno(), leaf)
            return True
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return False
    except IsADirectoryError:
        raise OutputExists("a folder has this name", path=str(target)) from None
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP):
            raise OutputExists(
                "something that is no file has this name", path=str(target)
            ) from None
        raise translate(error, target, writing=False) from None


def _remember(core: Core, me: Identity, target: Path) -> None:
    try:
        with target.open("rb") as file:
            leaf = container.parse(FileSource(file)).leaf_hash
            verified.remember(core.store.folder, me, file.fileno(), leaf)
    except (OSError, ModelsealError):
        return
