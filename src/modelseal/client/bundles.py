"""The key bundle a lease names: fetched by its digest, stored beside the lease, erased with it."""

from __future__ import annotations

import hashlib

from modelseal.client import answers
from modelseal.client.core import Core
from modelseal.errors import DownloadDamaged, ModelsealError
from modelseal.license import bundle
from modelseal.license.claims import LeaseClaims, ReleaseClaims
from modelseal.license.lease_keys import DataKeys
from modelseal.strict_json import unb64u


def prefetch(core: Core, lease: LeaseClaims) -> None:
    """The bundle of ``lease`` is stored if it could be had; a load fetches it otherwise."""
    if lease.bundle is None:
        return
    try:
        read(core, unb64u(lease.bundle.digest))
    except ModelsealError as error:
        core.journal.write("bundle_missing", code=error.code)


def read(core: Core, digest: bytes, *, store: bool = True) -> bytes:
    """The bundle with that SHA-256, stored or fetched now, and then stored unless told otherwise.

    Raises ``DownloadDamaged`` for other bytes, ``Unavailable`` errors.
    """
    held = core.store.bundle(digest)
    if held is not None:
        return held
    answer = core.transport.exchange(
        "GET", f"/v1/bundles/{digest.hex()}", max_bytes=bundle.MAX_BYTES
    )
    answers.require(answer, server=core.server)
    if hashlib.sha256(answer.body).digest() != digest:
        if "html" in answer.media_type:
            raise answers.unsigned(answer, core.server)
        raise DownloadDamaged("the key bundle is not the one the lease names", name="lease.bundle")
    if not store:
        return answer.body
    try:
        core.store.write_bundle(answer.body)
    except ModelsealError as error:  # a folder that cannot be written: it is fetched again
        core.journal.write("bundle_not_stored", code=error.code)
    return answer.body


def open_keys(
    core: Core, claims: LeaseClaims | ReleaseClaims, keys: DataKeys, *, store: bool = True
) -> DataKeys:
    """The keys in the bundle that ``claims`` names, opened with the bundle key among ``keys``."""
    if claims.bundle is None:
        return {}
    digest = unb64u(claims.bundle.digest)
    bundle_key = keys.get((digest, -1))
    if bundle_key is None:
        return {}
    return bundle.open_bundle(
        read(core, digest, store=store),
        digest=digest,
        product=claims.product,
        license=claims.lic,
        bundle_key=bundle_key,
    )
