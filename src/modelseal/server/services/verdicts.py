"""Verdicts over evidence as signed results (EAR), beside the events that tell of them.

They hold what a machine says of itself, serial numbers too, so they stand where they can be
erased; the event, which cannot, holds their digests. They open nothing.
Normative: ``docs/spec/protocol.md``, section 4.6.1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from modelseal import __version__, strict_json
from modelseal.admin import Attestation, AttestationVerdict
from modelseal.attest.verify import ear
from modelseal.errors import InternalError, NotFound, TokenKeyUnknown
from modelseal.ids import new_id
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.appraising import MAX_RESULTS, Question, written
from modelseal.server.services.context import Context
from modelseal.server.store import results as store

_BUILD = f"modelseal {__version__}"
_MAX_POLICY_BYTES = 4 << 20
_log = logging.getLogger("modelseal.server")


def keep(
    context: Context,
    tx: Connection,
    question: Question,
    *,
    license_id: str,
    event_id: str,
    now: datetime,
) -> None:
    """Each verdict over ``question`` is signed and stands beside the event, for a limited time.

    Without a key for that (a workspace from before there was one) the digests in the event remain.
    """
    given = question.given[:MAX_RESULTS]
    if not given:
        return
    try:
        signer = context.signers("attestation", now, context.trusted.within(tx))[0]
    except TokenKeyUnknown:
        _log.warning("no key signs results: modelseal keys rotate signing --key attestation")
        return
    kept, policies = [], {}
    for result, by in given:
        policies[by.policy.digest] = written(by.policy.rules, None)
        kept.append(
            {
                "ear": ear.issue(result, signer, _BUILD),
                "policy": by.policy.digest.hex(),
                "pinned": by.pinned,
            }
        )
    store.add(tx, license_id, event_id, kept, policies)
    oldest = now - timedelta(days=context.config.attestation_results_days)
    store.forget(tx, new_id("evt", oldest, bytes))


def shown(tx: Connection, event_id: str, kept: Sequence[Mapping[str, Any]]) -> Attestation:
    """The results beside one event, each with the policy that it was given by."""
    return Attestation(event_id=event_id, verdicts=[_verdict(tx, one) for one in kept])


class Verdicts:
    """Showing them to whoever may read."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, actor: Actor, event_id: str) -> Attestation:
        """The verdicts beside an event; ``NotFound`` where there are none, or no more."""
        actor.need(Right.READ)

        def look(tx: Connection) -> Attestation:
            kept = store.of_event(tx, event_id)
            if not kept:
                raise NotFound("no attestation result stands beside that event")
            return shown(tx, event_id, kept)

        return self._context.store.read(look)


def _verdict(tx: Connection, kept: Mapping[str, Any]) -> AttestationVerdict:
    data = store.policy(tx, bytes.fromhex(kept["policy"]))
    if data is None:
        raise InternalError("the policy of a kept result is missing")
    pinned = kept["pinned"]
    if pinned is not None:
        rules = strict_json.decode(data, max_bytes=_MAX_POLICY_BYTES)
        data = written({k: v for k, v in rules.items() if k not in ("typ", "version")}, pinned)
    return AttestationVerdict(ear=kept["ear"], policy=data.decode("utf-8"))
