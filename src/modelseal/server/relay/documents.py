"""Which addresses a relay knows, and which of two documents is the newer. Nothing is verified.

Devices verify all of it by their pinned trust; a relay only keeps itself from going back.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from modelseal.errors import ModelsealError
from modelseal.license import jws

TIMESTAMP = "/v1/catalog/timestamp.json"
CHECKPOINT = "/v1/log/checkpoint"
KNOWN = ("/.well-known/jwks.json", "/.well-known/modelseal", CHECKPOINT)
_DEVICE = r"[A-Za-z0-9_-]{1,128}"
_CALLS = {
    "POST": re.compile(rf"/v1/devices(/{_DEVICE}:return)?"),
    "PUT": re.compile(rf"/v1/leases/{_DEVICE}"),
}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STATUS = re.compile(r"/v1/status-lists/[0-9]{1,9}")
_BUNDLE = re.compile(r"/v1/bundles/[0-9a-f]{64}")
_CATALOG = re.compile(
    r"/v1/catalog/(timestamp|[1-9][0-9]{0,8}\.(root|snapshot|targets|keys))\.json"
    r"|/v1/catalog/targets/[0-9a-f]{64}\.keys"
)


def is_digest(name: str) -> bool:
    """True for the name of a sealed model."""
    return _DIGEST.fullmatch(name) is not None


def is_call(method: str, path: str) -> bool:
    """True for the call of a device that a relay carries, at its address."""
    wanted = _CALLS.get(method)
    return wanted is not None and wanted.fullmatch(path) is not None


def is_wanted(path: str) -> bool:
    """True for what a sync brings because a device asked for it."""
    return bool(_STATUS.fullmatch(path) or _BUNDLE.fullmatch(path))


def is_document(path: str) -> bool:
    """True for every path a relay may hold something under."""
    return path in KNOWN or is_wanted(path) or bool(_CATALOG.fullmatch(path))


def is_fixed(path: str) -> bool:
    """True for what never changes under its path."""
    return is_document(path) and not (
        path in KNOWN or path == TIMESTAMP or bool(_STATUS.fullmatch(path))
    )


def is_newer(path: str, body: bytes, before: bytes) -> bool:
    """True unless ``body`` is older than ``before`` under ``path``."""
    return _age(path, body) >= _age(path, before)


def _age(path: str, body: bytes) -> int:
    """A number that grows with every later document of ``path``; -1 for what is none."""
    try:
        if path == TIMESTAMP:
            return int(msgspec.json.decode(body)["signed"]["version"])
        if _STATUS.fullmatch(path):
            return int(jws.parse(body, max_bytes=len(body)).payload["iat"])
        if path == CHECKPOINT:
            return int(body.split(b"\n")[1])
    except (ModelsealError, msgspec.MsgspecError, LookupError, TypeError, ValueError):
        return -1
    return 0


def catalog_after(read: Any) -> list[str]:
    """The paths of the catalog that ``read(path)`` names: from the timestamp on, roots not."""
    signed = _signed(read(TIMESTAMP))
    snapshot = f"/v1/catalog/{_version(signed, 'snapshot.json')}.snapshot.json"
    roles = _signed(read(snapshot))
    found = [snapshot]
    for role in ("targets", "keys"):
        found.append(f"/v1/catalog/{_version(roles, f'{role}.json')}.{role}.json")
    digest = str(_signed(read(found[-1]))["targets"]["keys"]["hashes"]["sha256"])
    return [*found, f"/v1/catalog/targets/{digest}.keys"]


def models_of(targets: bytes) -> list[str]:
    """The digests of the sealed models that signed targets name."""
    named = _signed(targets)["targets"].values()
    found = (item for item in named if (item.get("custom") or {}).get("modelseal"))
    return sorted({str(item["hashes"]["sha256"]) for item in found})


def _signed(data: bytes) -> Any:
    return msgspec.json.decode(data)["signed"]


def _version(signed: Any, name: str) -> int:
    return int(signed["meta"][name]["version"])
