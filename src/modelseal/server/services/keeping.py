"""The server's own keys: showing them by their public half, and making new ones.

A new key lies here and signs nothing until the desk listed it and ``put_trust`` brought the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from modelseal.admin import ServerKey, ServerKeys, TrustDocuments, check_count
from modelseal.audit import EventKind
from modelseal.crypto.hpke import SUITE, KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import CatalogInvalid, Conflict, Misuse
from modelseal.keys import reference
from modelseal.keys.folder import KeyEntry
from modelseal.keys.online import ROOT_USES
from modelseal.server.services import recorder, statuses, trusted
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.config import load
from modelseal.server.services.context import Context
from modelseal.server.store import devices as device_store
from modelseal.server.store import prepared as prepared_store
from modelseal.server.store import tuf
from modelseal.trust import Trust, Use
from modelseal.types import from_numeric, to_numeric

# Another clock may be behind this one, and a lost reply is signed anew under its old time.
CLOCK_MARGIN = timedelta(days=1)
IN_HARDWARE = ("license", "lease", "status", "checkpoint", "attestation")
"""Uses whose keys hardware may keep."""
_NUMBER = re.compile(r".*-([0-9]{1,9})")


class Keeping:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, actor: Actor) -> ServerKeys:
        """Every key of the server, oldest first."""
        actor.need(Right.READ)
        context, now = self._context, self._context.now()
        trust = context.trust
        given, ahead = context.store.read(
            lambda tx: (device_store.last_lease_end(tx), prepared_store.last_end(tx))
        )
        config = load(context.folder)
        return ServerKeys(
            at=now,
            keys=[self._shown(entry, trust) for entry in self._entries()],
            leases_end_at=max(now, given or now, ahead or now),
            lists_end_at=now + statuses.LIFE,
            kek=config.kek,
            kek_id=str(context.provider.describe().get("key_id", "")),
            kek_old=list(config.kek_old),
        )

    def make(self, actor: Actor, uses: Iterable[str], to: str | None = None) -> ServerKeys:
        """There is a key, or a set of them, for each of ``uses`` that is not listed yet.

        ``to`` is where hardware makes and keeps them. Raises ``Misuse`` for uses that it cannot
        have, and ``Conflict`` when other keys wait to be listed.

        What was made before and never listed is taken again, so that the call can be repeated.
        """
        actor.need(Right.TRUST)
        context, now = self._context, self._context.now()
        trust, offered = context.trust, []
        wanted = list(dict.fromkeys(uses))
        if to is not None and not set(wanted) <= set(IN_HARDWARE):
            raise Misuse(f"hardware keeps signing keys: {', '.join(IN_HARDWARE)}")
        for use in wanted:
            offered += self._make(use, trust, now, to)
        if offered:
            known = recorder.fresh(context, now)

            def act(tx: Connection) -> None:
                recorder.record(
                    tx, known, EventKind.KEY_ROTATED, at=now, actor=actor.name, subjects={},
                    params={"step": "made", "kids": offered},
                )  # fmt: skip

            context.store.write(act)
        return self.show(actor)

    def documents(self, actor: Actor, after_root: int) -> TrustDocuments:
        """The signed trust in force, with the roots after version ``after_root``."""
        actor.need(Right.READ)
        check_count(after_root, "a version")

        def look(tx: Connection) -> TrustDocuments:
            targets, keys = tuf.newest(tx, "targets"), tuf.newest(tx, "keys")
            if targets is None or keys is None:
                raise CatalogInvalid("the store holds no catalog")
            content = tuf.file(tx, trusted.list_digest(keys.data))
            if content is None:
                raise CatalogInvalid("the store holds no key list")
            roots = [row.data for row in tuf.since(tx, "root", after_root)]
            return TrustDocuments(
                roots=roots, targets=targets.data, keys_role=keys.data, key_list=content
            )

        return self._context.store.read(look)

    def _entries(self) -> list[KeyEntry]:
        return self._context.online.entries()

    def _shown(self, entry: KeyEntry, trust: Trust) -> ServerKey:
        key = self._context.online.open_key(entry)
        public = key.public_key() if isinstance(key, KemPrivateKey) else key.verify_key()
        return ServerKey(
            use=entry.use,
            alg=entry.alg,
            kid=entry.kid,
            set=entry.set,
            not_before=entry.not_before,
            jwk=dict(public.jwk),
            listed=entry.kid in _in_force(trust, entry.use),
        )

    def _make(self, use: str, trust: Trust, now: datetime, to: str | None) -> list[str]:
        """The ids of the keys that wait to be listed; those of a call that failed are taken again.

        A key lies in a file before its event is written, so each call records all that wait.
        """
        mine = [entry for entry in self._entries() if entry.use == use]
        listed = _in_force(trust, use)
        names = [entry.set for entry in mine if entry.kid in listed]
        if use not in ROOT_USES:
            names += [key.set for key in trust.keys(Use(use))]
        last = max(map(_number, names), default=0)
        waiting = [entry for entry in mine if _number(entry.set) > last]
        name = waiting[-1].set if waiting else f"{use}-{last + 1}"
        there = {entry.alg: entry.kid for entry in waiting if entry.set == name}
        # Whole seconds: the moment travels as a NumericDate.
        start = from_numeric(to_numeric(now - CLOCK_MARGIN))
        if to is not None and not all(
            reference.is_reference(self._context.online.private_bytes(entry)) for entry in waiting
        ):
            raise Conflict(f"a {use} key in a file waits to be listed; rotate without --to first")
        for alg in _algorithms(trust, use, now):
            if alg in there:
                continue
            if to is not None:
                made = self._context.online.make_in(to, use, alg, not_before=start, set_name=name)
                there[alg] = made.kid
            else:
                key = KemPrivateKey.generate() if alg == SUITE else SigningKey.generate(alg)
                self._context.online.add(use, key, not_before=start, set_name=name)
                there[alg] = key.kid
        return list(there.values())


def _in_force(trust: Trust, use: str) -> frozenset[str]:
    """The ids of the keys that a signed document names for ``use``, ended ones too."""
    if use in ROOT_USES:
        return frozenset(trust.role_kids(use))
    return frozenset(key.kid for key in trust.keys(Use(use)))


def _algorithms(trust: Trust, use: str, now: datetime) -> list[str]:
    if use in ROOT_USES:
        return ["Ed25519"]
    listed = frozenset(key.kid for key in trust.keys(Use(use)))
    if use == Use.ATTESTATION and not listed:
        return ["Ed25519"]  # a workspace from before results were signed
    return [key.alg for key in trust.signing_set(Use(use), listed, now)]


def _number(name: str) -> int:
    """The count at the end of a set's name; 0 when there is none."""
    found = _NUMBER.fullmatch(name)
    return int(found[1]) if found else 0
