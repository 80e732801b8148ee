"""Models, the signed catalog and the pinned trust as the admin calls show them."""

from __future__ import annotations

from datetime import datetime

from modelseal.admin._base import Answered, Asked, Digest
from modelseal.license.claims import SealedText


class PublishModel(Asked, frozen=True):
    """A sealed model whose blob the server already holds.

    ``sealed_keys`` opens to deterministic CBOR, a list of ``[section, data key]``, sealed under
    the HPKE label ``publish`` with {server, product, file, digest}. ``targets`` is the next
    version of the catalog's targets role, signed in the desk, that names the blob.
    """

    blob_digest: Digest
    sealed_keys: SealedText
    targets: bytes


class PublishedModel(Answered, frozen=True):
    """A model in the catalog; ``already`` is True when it had been published before."""

    record_id: str
    product: str
    model: str
    release: int
    model_version: str
    blob_digest: str
    file_id: str
    size_bytes: int
    entitlements: list[str]
    published_at: datetime
    event_id: str
    already: bool = False


class ModelRecord(Answered, frozen=True):
    """A published model. ``file_id`` is base64url, ``blob_digest`` SHA-256 in hex.

    ``channels`` are those whose plans get it; none for a withdrawn one.
    """

    record_id: str
    product: str
    model: str
    release: int
    model_version: str
    name: str
    blob_digest: str
    file_id: str
    size_bytes: int
    entitlements: list[str]
    published_at: datetime
    withdrawn_at: datetime | None = None
    channels: list[str] = []


class SignedMetadata(Answered, frozen=True):
    """One TUF role as it is served: its version, its end and the signed bytes."""

    role: str
    version: int
    expires_at: datetime
    data: bytes


class ProductRecord(Answered, frozen=True):
    """A product of the server: what tokens name as ``product``, and whose trust apps ship."""

    product: str
    server_id: str
    root_version: int
    keys_version: int


class CatalogState(Answered, frozen=True):
    """The current roles; the desk needs ``targets`` to sign the next one."""

    root: SignedMetadata
    targets: SignedMetadata
    keys: SignedMetadata
    snapshot: SignedMetadata
    timestamp: SignedMetadata


class PutTrust(Asked, frozen=True):
    """New trust, signed in the desk: any new roots in order, and the three parts below them."""

    roots: list[bytes]
    targets: bytes
    keys_role: bytes
    key_list: bytes


class TrustState(Answered, frozen=True):
    """What trust the server now works with."""

    root_version: int
    keys_version: int
    event_id: str
