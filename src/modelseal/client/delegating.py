"""Asking for a relay's delegation, as the device of the license that the relay runs on.

The evidence is that of an attested key release, bound to one signed request in which the relay's
own keys stand. Normative: ``docs/spec/protocol.md``, section 4.6.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelseal.client import asking, evidence, releases, trusting
from modelseal.client.core import Core
from modelseal.client.proving import Exchange
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import AnswerInvalid, KeyNotInLease
from modelseal.license import attested
from modelseal.license.claims import DelegationClaims, RelayKey
from modelseal.strict_json import JsonInvalid, b64u, unb64u

if TYPE_CHECKING:
    from modelseal.attest.collect import Collector
    from modelseal.client.transport import Transport


Collectors = Sequence["str | Collector"]


@dataclass(frozen=True, slots=True)
class Wish:
    """For which relay and its two keys, at which level.

    ``tell`` gets the line to the license server before anything is asked.
    """

    relay: str
    jwk: Mapping[str, str]
    kem: KemPrivateKey = field(repr=False)
    level: int
    tell: Callable[[Transport], object] = lambda _line: None


@dataclass(frozen=True, slots=True)
class Delegated:
    """The verified delegation, the server's whole answer, and what its keys are bound to."""

    claims: DelegationClaims
    answer: Mapping[str, Any] = field(repr=False)
    transcript: bytes
    result: bytes


def ask(core: Core, wish: Wish, collectors: Collectors | None = None) -> Delegated:
    """What the relay of ``wish`` may give by itself from now on.

    Raises the denial's error, ``BudgetRefused``, ``LevelNotReached`` where nothing here can prove
    the level, ``KeyNotInLease`` without a lease, ``Unavailable`` errors.
    """
    relay, level = wish.relay, wish.level
    wish.tell(core.transport)
    me = core.unlock()
    with releases.alone(core):
        held = core.held()
        lease = held.lease
        if lease is None:
            raise KeyNotInLease("there is no lease")
        by = evidence.chosen(core, me, level, collectors)
        held = releases.at_its_lease(held, lease)
        exchange = Exchange(core, me, held, lease, by, kem=wish.kem)
        key = RelayKey(relay=relay, jwk=dict(wish.jwk))
        found = exchange.ask("delegations", attested.DELEGATE, level, delegate=key)
        token = asking.text_of(found.answer, "delegation")
        claims = trusting.read_token(core, token, DelegationClaims)
        mine = (claims.sub, claims.device, claims.cnf.jkt) == (relay, held.device_id, me.kid)
        if not mine or claims.request_nonce != found.claims.nonce:
            raise AnswerInvalid("the answer to another request")
        if claims.attested.transcript != b64u(found.transcript):
            raise AnswerInvalid("a delegation for another transcript")
        try:
            result = unb64u(claims.attested.result)
        except JsonInvalid:
            raise AnswerInvalid("the delegation names no result") from None
        core.journal.write("delegated", relay=relay, number=claims.number)
        return Delegated(claims, found.answer, found.transcript, result)
