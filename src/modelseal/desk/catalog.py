"""The TUF targets as the desk signs them: which sealed models are published.

The desk keeps what it signed last; the server's copy counts too when it is newer and bears the
desk's own signature, so that a restored desk catches up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from modelseal import container
from modelseal.desk.founding import TARGETS_LIFE
from modelseal.desk.workspace import Workspace, read_document
from modelseal.errors import CatalogInvalid, InvalidBytes
from modelseal.keys import files
from modelseal.license.plans import STABLE, check_channels
from modelseal.strict_json import b64u
from modelseal.trust import metadata, writing
from modelseal.trust.metadata import Metadata
from modelseal.trust.writing import RoleKeys

NAME = "targets.json"
Entries = dict[str, dict[str, Any]]


def path_of(workspace: Workspace) -> Path:
    """Where the desk keeps the targets it signed last."""
    return workspace.desk / "tuf" / NAME


def current(workspace: Workspace, served: bytes | None = None) -> Metadata:
    """The newest targets that bear the root's signature: the desk's own or ``served``."""
    own = _verified(workspace, read_document(path_of(workspace)))
    if served is None:
        return own
    theirs = _verified(workspace, served)
    return theirs if theirs.version >= own.version else own


def version_of(targets: bytes) -> int:
    """The version that signed targets bear."""
    return metadata.read(targets, "targets").version


def entries(document: Metadata) -> Entries:
    """The published models by target path."""
    found: Entries = document.signed["targets"]
    return dict(found)


def signed_next(
    workspace: Workspace, before: Metadata, listed: Mapping[str, object], at: datetime
) -> bytes:
    """The next version of the targets, listing ``listed``, signed by the desk's targets key."""
    role = metadata.delegated_role(before, writing.KEYS_ROLE)
    keys = RoleKeys(role.jwks(), role.threshold)
    signed = writing.targets(before.version + 1, at + TARGETS_LIFE, keys, listed)
    return writing.sign(signed, workspace.desk_signers("targets", at))


def keep(workspace: Workspace, targets: bytes) -> None:
    """Afterwards ``targets`` is what the desk signed last."""
    files.replace(path_of(workspace), targets)


def entry(
    header: container.Header,
    *,
    file_id: bytes,
    name: str,
    digest: str,
    size_bytes: int,
    min_release: int,
    channels: Sequence[str] = STABLE,
    crc32: str | None = None,
) -> tuple[str, dict[str, object]]:
    """Target path and entry of one sealed model; ``crc32`` is that of the file it came from."""
    custom: dict[str, object] = {
        "product": header.product,
        "model": header.model,
        "model_version": header.model_version,
        "release": header.release,
        "min_release": min_release,
        "file_id": b64u(file_id),
        "name": name,
        "entitlements": [
            [] if section.entitlement is None else section.entitlement.texts()
            for section in header.sections
        ],
        "size": size_bytes,
    }
    if tuple(channels) != STABLE:
        custom["channels"] = list(channels)
    if crc32 is not None:
        custom["crc32"] = crc32
    path = f"models/{header.model}/{header.release}/{name.removesuffix('.sealed')}.sealed"
    return path, writing.target(size_bytes, digest, {"modelseal": custom})


def custom_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an entry says about its model; empty when it says nothing."""
    found = item.get("custom", {}).get("modelseal", {})
    return found if isinstance(found, dict) else {}


def channels_of(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Who gets an entry's model: the channels of whose plans; ``CatalogInvalid``."""
    return check_channels(custom_of(item).get("channels", STABLE))


def newest_release(workspace: Workspace, model: str) -> int:
    """The newest published release of ``model`` that the desk knows of; 0 when none."""
    found = entries(current(workspace)).values()
    releases = [custom_of(item) for item in found]
    return max((c["release"] for c in releases if c.get("model") == model), default=0)


def _verified(workspace: Workspace, data: bytes) -> Metadata:
    try:
        document = metadata.read(data, "targets")
        root = metadata.read(workspace.trust.root_bytes, "root")
        document.verify(metadata.top_level_roles(root)["targets"])
    except InvalidBytes as error:
        raise CatalogInvalid(error.detail) from None
    return document
