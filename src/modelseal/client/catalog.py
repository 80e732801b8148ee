"""The catalog of sealed models and keys: python-tuf's client over our transport.

Metadata lies in the state folder and is bootstrapped from the pinned root, so that a server can
neither invent nor withhold a model, nor bring an older state back. python-tuf is imported at first
use.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from modelseal import trust as trusts
from modelseal.client import answers
from modelseal.client.folder import FOLDER_MODE, Folder, translate
from modelseal.client.transport import Transport
from modelseal.errors import (
    CatalogInvalid,
    Misuse,
    ModelsealError,
    ServerFailed,
    TrustExpired,
    TrustRollback,
)
from modelseal.license.claims import LicenseClaims
from modelseal.license.plans import STABLE
from modelseal.strict_json import JsonInvalid, unb64u
from modelseal.trust import Trust
from modelseal.types import EntitlementExpression

if TYPE_CHECKING:
    from tuf.ngclient.updater import Updater

_PAGES = frozenset({"", "text/html", "application/xhtml+xml", "text/plain"})
"""What portals and proxies answer with and our server never does."""
_ROOTS = "root_history"
_TARGETS = "targets"
_MAX_FILE_BYTES = 8 << 20
_DOCUMENT_SECONDS = 120.0
_MAX_ROOTS = 1024


class _Custom(msgspec.Struct, frozen=True):
    """``custom.modelseal`` of a TUF target; members this release does not know are ignored."""

    product: str
    model: str
    release: int
    file_id: str
    name: str
    entitlements: list[list[str]]
    size: int
    model_version: str = ""
    min_release: int = 0
    channels: list[str] = msgspec.field(default_factory=lambda: list(STABLE))
    crc32: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")] | None = None


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One published sealed model; ``sections`` holds each section's expression, None for free."""

    name: str
    model: str
    model_version: str
    release: int
    min_release: int
    digest: str
    size_bytes: int
    file_id: bytes
    sections: tuple[EntitlementExpression | None, ...]
    channels: frozenset[str] = frozenset(STABLE)
    crc32: int | None = None

    def granted_by(self, entitlements: frozenset[str]) -> bool:
        """True when at least one section besides the index opens with ``entitlements``."""
        body = self.sections[1:] or self.sections
        return any(expr is None or expr.satisfied_by(entitlements) for expr in body)

    def lacking(self, entitlements: frozenset[str]) -> str | None:
        """The nearest alternative's missing entitlements as one text; None when granted."""
        if self.granted_by(entitlements):
            return None
        groups = [group for expr in self.sections if expr for group in expr.alternatives]
        missing = [(len(group - entitlements), sorted(group - entitlements)) for group in groups]
        return "+".join(min(missing)[1])


@dataclass(frozen=True, slots=True)
class Catalog:
    """The verified catalog: every published model, and the trust it brought along."""

    models: tuple[CatalogModel, ...]
    trust: Trust

    def newest(self, license_: LicenseClaims | None = None) -> tuple[CatalogModel, ...]:
        """The newest release of every model in the license's channels, if it is not too old.

        Too old is what is below the model's ``min_release`` or the license's own minimum.
        """
        wanted = (license_.channels if license_ else None) or STABLE
        least = license_.min_releases if license_ else {}
        best: dict[str, CatalogModel] = {}
        floor: dict[str, int] = {}
        for item in self.models:
            floor[item.model] = max(floor.get(item.model, 0), item.min_release)
            if item.channels.isdisjoint(wanted):
                continue
            if item.model not in best or best[item.model].release < item.release:
                best[item.model] = item
        kept = (m for m in best.values() if m.release >= max(floor[m.model], least.get(m.model, 0)))
        return tuple(sorted(kept, key=lambda m: m.name))

    def file(self, file_id: bytes) -> CatalogModel | None:
        """The published model with that file id."""
        return next((m for m in self.models if m.file_id == file_id), None)

    def min_release(self, model: str) -> int:
        """The oldest release of ``model`` that its publisher still allows."""
        return max((m.min_release for m in self.models if m.model == model), default=0)


def refresh(
    folder: Path, trust: Trust, transport: Transport, server: str, now: datetime
) -> Catalog:
    """The catalog as the server has it now, verified from ``trust``'s pinned root.

    Raises ``CatalogInvalid``, ``TrustExpired``, ``TrustRollback``, ``Unavailable`` errors. The
    caller holds a lock; ``folder`` keeps the metadata for the next time.
    """
    with _translated(folder):
        drop_odd_files(folder)
        updater = _updater(folder, trust, transport, server)
        updater.refresh()
        newer = _newer_trust(folder, updater, trust, now)
    return Catalog(_models((folder / "targets.json").read_bytes(), newer.product), newer)


def stored(folder: Path, trust: Trust) -> Catalog | None:
    """What the last ``refresh`` found, without asking anybody; None when there was none."""
    try:
        targets = Folder(folder).read("targets.json", _MAX_FILE_BYTES)
        return None if targets is None else Catalog(_models(targets, trust.product), trust)
    except ModelsealError:
        return None


def roots_after(folder: Path, version: int) -> list[bytes]:
    """The stored TUF roots that follow root ``version`` up to the newest that python-tuf trusts."""
    try:
        root = Folder(folder).read("root.json", _MAX_FILE_BYTES) or b""
        newest = int(msgspec.json.decode(root)["signed"]["version"])
        numbers = range(version + 1, min(newest, version + _MAX_ROOTS) + 1)
        history = Folder(folder / _ROOTS)
        found = [history.read(f"{number}.root.json", _MAX_FILE_BYTES) for number in numbers]
    except (ModelsealError, ValueError, LookupError, TypeError):
        return []
    return [] if None in found else [data for data in found if data is not None]


def drop_odd_files(folder: Path) -> None:
    """What is neither a file nor one of the two folders python-tuf keeps here is gone.

    A pipe would keep it waiting, a folder would fail it; all of it can be fetched again.
    """
    for path in folder.iterdir():
        wanted = stat.S_ISDIR if path.name in (_ROOTS, _TARGETS) else stat.S_ISREG
        try:
            fits = wanted(path.stat().st_mode)
        except OSError:
            fits = False
        if not fits and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not fits:
            path.unlink()
        elif path.name in (_ROOTS, _TARGETS):
            for inner in path.iterdir():
                if not inner.is_file():
                    shutil.rmtree(inner) if inner.is_dir() else inner.unlink()


def keep_roots(folder: Path, roots: Mapping[int, bytes]) -> None:
    """``roots`` by version lie where ``roots_after`` and python-tuf look for them."""
    if not roots:
        return
    history = folder / _ROOTS
    try:
        history.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for version, data in sorted(roots.items()):
            (history / f"{version}.root.json").write_bytes(data)
        newest = folder / "root.json"
        newest.unlink(missing_ok=True)  # python-tuf makes it a link into the history
        newest.write_bytes(roots[max(roots)])
    except OSError as error:
        raise translate(error, folder, writing=True) from None


def _updater(folder: Path, trust: Trust, transport: Transport, server: str) -> Updater:
    from tuf.ngclient.fetcher import FetcherInterface
    from tuf.ngclient.updater import Updater

    class Fetcher(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            return _fetch(transport, url, server)

    targets = folder / _TARGETS
    targets.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    base = f"{server}/v1/catalog"
    return Updater(
        metadata_dir=str(folder),
        metadata_base_url=base,
        target_dir=str(targets),
        target_base_url=f"{base}/targets",
        fetcher=Fetcher(),
        bootstrap=trust.root_bytes,
    )


def _fetch(transport: Transport, url: str, server: str) -> Iterator[bytes]:
    from tuf.api.exceptions import DownloadHTTPError

    path = url.removeprefix(server)
    answer = transport.exchange("GET", path, seconds=_DOCUMENT_SECONDS, max_bytes=_MAX_FILE_BYTES)
    if answer.status == 200 and answer.media_type not in _PAGES:
        yield answer.body
        return
    listed = answers.is_problem(answer.media_type)
    if answer.status == 404 and (url.endswith(".root.json") or listed):
        raise DownloadHTTPError("not there", answer.status)
    if answer.status == 200:
        raise answers.unsigned(answer, server)
    answers.require(answer, server=server)
    raise ServerFailed("an unexpected status", status=answer.status, server=server)


def _newer_trust(folder: Path, updater: Updater, trust: Trust, now: datetime) -> Trust:
    info = updater.get_targetinfo("keys")
    if info is None:
        raise CatalogInvalid("the catalog lists no keys")
    path = folder / _TARGETS / "keys"
    if updater.find_cached_target(info, str(path)) is None:
        updater.download_target(info, str(path))
    return trusts.update(
        trust,
        roots=roots_after(folder, trust.root_version),
        targets=(folder / "targets.json").read_bytes(),
        keys_role=(folder / "keys.json").read_bytes(),
        key_list=path.read_bytes(),
        now=now,
    )


def _models(targets: bytes, product: str) -> tuple[CatalogModel, ...]:
    try:
        signed: Any = msgspec.json.decode(targets)["signed"]
        items = [_model(path, item) for path, item in signed["targets"].items()]
    except (msgspec.DecodeError, LookupError, AttributeError, TypeError):
        raise CatalogInvalid("targets have an unknown form") from None
    return tuple(m for p, m in items if m is not None and p == product)


def _model(path: str, item: Any) -> tuple[str, CatalogModel | None]:
    custom = (item.get("custom") or {}).get("modelseal")
    if custom is None:
        return "", None
    try:
        known = msgspec.convert(custom, _Custom, strict=True)
        digest = str(item["hashes"]["sha256"])
        sections = tuple(EntitlementExpression.parse(e) if e else None for e in known.entitlements)
        if len(bytes.fromhex(digest)) != 32 or len(unb64u(known.file_id)) != 32:
            raise CatalogInvalid("a digest or file id of another length")
        model = CatalogModel(
            name=known.name,
            model=known.model,
            model_version=known.model_version,
            release=known.release,
            min_release=known.min_release,
            digest=digest,
            size_bytes=int(item["length"]),
            file_id=unb64u(known.file_id),
            sections=sections,
            channels=frozenset(known.channels),
            crc32=None if known.crc32 is None else int(known.crc32, 16),
        )
    except (msgspec.ValidationError, KeyError, ValueError, TypeError, Misuse, JsonInvalid) as error:
        raise CatalogInvalid(f"{path[:80]}: {type(error).__name__}") from None
    return known.product, model


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """python-tuf's errors as ours."""
    from tuf.api import exceptions as tuf

    try:
        yield
    except ModelsealError:
        raise
    except tuf.ExpiredMetadataError as error:
        raise TrustExpired(str(error)[:200]) from None
    except tuf.BadVersionNumberError as error:
        raise TrustRollback(str(error)[:200]) from None
    except tuf.DownloadHTTPError as error:
        raise CatalogInvalid(f"status {error.status_code} for a part of it") from None
    except tuf.RepositoryError as error:
        raise CatalogInvalid(str(error)[:200]) from None
    except tuf.DownloadError as error:
        raise CatalogInvalid(str(error)[:200]) from None
    except OSError as error:
        raise translate(error, folder, writing=True) from None
