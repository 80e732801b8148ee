"""Data keys for one device: those of the granted sections of published files, sealed to its key.

What is granted is decided from the expressions and levels in the signed header of each stored
file. Up to 64 keys travel in the token; more in a key bundle whose key the token carries.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.container import SectionInfo
from modelseal.crypto.hpke import KemPublicKey
from modelseal.crypto.hpke_p256 import P256PublicKey
from modelseal.errors import InternalError, InvalidBytes, NotFound
from modelseal.license import bundle as bundles
from modelseal.license import lease_keys
from modelseal.license.claims import BundleRef, SealedKeys
from modelseal.license.decide import granted
from modelseal.license.facts import EntitlementFact
from modelseal.license.plans import Plan
from modelseal.server.services import recorder
from modelseal.server.services.context import Context
from modelseal.server.services.models import Models
from modelseal.server.store import models as store
from modelseal.server.store.rows import ModelRow
from modelseal.strict_json import b64u
from modelseal.trust import Trust

BUNDLE_SECRET = "key-bundle"
HYBRID_KEYS = 24
_log = logging.getLogger("modelseal.server")
KeyMap = dict[tuple[bytes, int], bytes]
Published = dict[bytes, tuple[ModelRow, dict[int, SectionInfo]]]


class Granted(Struct, frozen=True):
    """The keys as they stand in a token; ``files`` are the file ids they open (base64url)."""

    keys: list[SealedKeys]
    bundle: BundleRef | None
    files: list[str]


NO_KEYS = Granted([], None, [])


def sections_granted(
    sections: Sequence[SectionInfo], names: frozenset[str], level: int
) -> list[int]:
    """The sections of one file whose keys a licensee gets who holds ``names`` at ``level``.

    What has no expression (the index above all) goes with any granted section of the file. A
    section above the level and a traced (variant) section are never among them.
    """
    fit = [s for s in sections if int(s.level) <= level and not s.is_variant]
    asking = [s for s in sections if s.entitlement is not None]
    got = {s.id for s in fit if s.entitlement is not None and s.entitlement.satisfied_by(names)}
    if asking and not got:
        return []
    return sorted(got | {s.id for s in fit if s.entitlement is None})


def most(signatures: int) -> int:
    """How many keys travel in a token with so many signatures; more need a key bundle."""
    return lease_keys.MAX_KEYS if signatures == 1 else HYBRID_KEYS


def _reaches(plan: Plan, row: ModelRow, published_in: Mapping[str, frozenset[str]]) -> bool:
    """True when the file is in a channel of the plan and not too old for it."""
    channels = published_in.get(row.blob_digest, frozenset())
    return row.release >= plan.min_releases.get(row.model, 0) and not channels.isdisjoint(
        plan.channels
    )


class Grants:
    """Collecting and sealing data keys."""

    def __init__(self, context: Context, models: Models) -> None:
        self._context = context
        self._models = models

    def collect(
        self,
        tx: Connection,
        trust: Trust,
        entitlements: Iterable[EntitlementFact],
        level: int,
        now: datetime,
        wanted: Mapping[bytes, frozenset[int]] | None = None,
        *,
        plan: Plan,
    ) -> KeyMap:
        """The data keys that are granted now, unwrapped; of ``wanted`` files only, where given.

        Only files that the ``plan`` reaches are among them: published in one of its channels, and
        in no release below its minimum.
        """
        names = granted(entitlements, now, level)
        context, reached = self._context, dict[bytes, list[int]]()
        published_in = self._models.channels(tx, trust)
        for row in store.published(tx, context.product):
            if wanted is not None and row.file_id not in wanted:
                continue
            if not _reaches(plan, row, published_in):
                continue
            sections = self._sections(row.blob_digest)
            chosen = sections_granted(sections, names, level)
            if wanted is not None and wanted[row.file_id]:
                chosen = [section for section in chosen if section in wanted[row.file_id]]
            if chosen:
                reached[row.file_id] = chosen
        return self._unwrapped(tx, reached)

    def published(self, tx: Connection, wanted: Iterable[bytes], plan: Plan) -> Published:
        """Those of the ``wanted`` files that the plan reaches, with the
        signed table of their sections."""
        published_in = self._models.channels(tx, self._context.trusted.within(tx))
        asked = frozenset(wanted)
        return {
            row.file_id: (row, {section.id: section for section in self._sections(row.blob_digest)})
            for row in store.published(tx, self._context.product)
            if row.file_id in asked and _reaches(plan, row, published_in)
        }

    def unwrapped(self, tx: Connection, wanted: Mapping[bytes, Collection[int]]) -> KeyMap:
        """The data keys of exactly these sections, of which each was decided about before."""
        return self._unwrapped(tx, {name: sorted(some) for name, some in sorted(wanted.items())})

    def _unwrapped(self, tx: Connection, wanted: Mapping[bytes, Sequence[int]]) -> KeyMap:
        found, wrapped = KeyMap(), store.keys(tx, list(wanted))
        for file_id, sections in wanted.items():
            for section in sections:
                if section not in wrapped[file_id]:
                    raise InternalError("a published file has no key for one of its sections")
                bound = self._models.key_context(file_id, section)
                key = self._context.provider.unwrap(wrapped[file_id][section], bound)
                found[(file_id, section)] = key
        return found

    def _sections(self, digest: str) -> tuple[SectionInfo, ...]:
        """The signed section table; none for a file that is gone or no longer the publisher's.

        One damaged file must not keep every device from its lease; a store that cannot be read
        now must.
        """
        try:
            return self._models.sections(digest)
        except (InvalidBytes, NotFound) as error:
            _log.error("no keys are given for blob %s: %s", digest, error.code)
            return ()

    def seal(
        self,
        tx: Connection,
        keys: KeyMap,
        to: KemPublicKey,
        binding: lease_keys.Binding,
        *,
        ends_at: datetime,
        signatures: int,
        known_bundle: str | None = None,
        bundle_of: lease_keys.Binding | None = None,
        hardware: P256PublicKey | None = None,
    ) -> Granted:
        """``keys`` sealed to ``to``; through a key bundle when they are too many for a token.

        Where there is a key in ``hardware``, it is an outer layer, and there is no other copy.
        ``known_bundle`` is the digest of the bundle this token named before (a lost reply), or of
        the one that the lease ``bundle_of`` carries, with whose key it opens.
        """
        files = sorted({b64u(file_id) for file_id, _section in keys})
        limit = most(signatures)
        if not keys:
            return NO_KEYS
        if len(keys) <= limit:
            return Granted([lease_keys.seal(keys, to, binding, hardware)], None, files)
        context = self._context
        owner = bundle_of or binding
        bundle_key = context.keyed_hash(
            BUNDLE_SECRET, f"{owner.label}:{owner.lease}:{owner.nonce or ''}".encode()
        )
        digest = known_bundle
        if digest is None or store.bundle(tx, digest) is None:
            data = bundles.seal_bundle(
                keys,
                product=binding.product,
                license=binding.license,
                bundle_key=bundle_key,
                random=context.random,
            )
            digest = hashlib.sha256(data).hexdigest()
            store.put_bundle(tx, digest, binding.license, binding.device, ends_at, data)
            self._record_bundle(tx, binding, digest, len(keys))
        raw = bytes.fromhex(digest)
        carried = {(raw, lease_keys.BUNDLE_SECTION): bundle_key}
        sealed = lease_keys.seal(carried, to, binding, hardware)
        return Granted([sealed], BundleRef(digest=b64u(raw)), files)

    def _record_bundle(
        self, tx: Connection, binding: lease_keys.Binding, digest: str, keys: int
    ) -> None:
        now = self._context.now()
        recorder.record(
            tx, recorder.fresh(self._context, now), EventKind.BUNDLE_STORED, at=now,
            actor=f"device:{binding.device}",
            subjects={"license": binding.license, "device": binding.device},
            params={"digest": digest, "keys": keys, "lease": binding.lease},
        )  # fmt: skip
