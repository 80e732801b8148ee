"""Every device call from its token to its answer; a refusal leaves as an error with its denial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ParamSpec, TypeVar

import msgspec
from msgspec import Struct

from modelseal.errors import ModelsealError, NotFound, RateLimited, SealedKeyInvalid
from modelseal.license.claims import RequestClaims
from modelseal.server.services import intake, limits, ticks
from modelseal.server.services.activation import Activated, Activation
from modelseal.server.services.acts import DelegatedAct
from modelseal.server.services.attesting import AttestedRequest, Attesting, ReleaseNonce
from modelseal.server.services.booking import Booked, Booking
from modelseal.server.services.context import Context
from modelseal.server.services.delegating import Delegated, Delegating
from modelseal.server.services.denials import Refusal
from modelseal.server.services.granting import Grants
from modelseal.server.services.issuing import Issuing
from modelseal.server.services.licensing import Licensing
from modelseal.server.services.limits import Limiter, Pace
from modelseal.server.services.lookup import Looked, Lookup
from modelseal.server.services.models import Models
from modelseal.server.services.ordinary import Asked, Ordinary
from modelseal.server.services.proving import Challenged, Proving
from modelseal.server.services.relayed import RelayedLeases
from modelseal.server.services.releasing import Released, Releasing
from modelseal.server.services.renewal import Renewal, Renewed
from modelseal.server.services.returning import Returned, Returning
from modelseal.server.services.ticks import Outcome, Tick
from modelseal.server.services.trials import Trials
from modelseal.server.store import models as model_store
from modelseal.server.store.rows import DeviceRow
from modelseal.server.store.together import MOST, Wanted

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A", Activated, Renewed)


MOST_ENTER = MOST
"""So many activations are written as one."""


class Entering(Struct, frozen=True):
    """One who asks for an activation."""

    token: bytes
    network: str


class _Entered(Struct, frozen=True):
    claims: RequestClaims
    network: str
    wanted: Wanted[Activated | Refusal]


class DeviceCalls:
    """What devices ask. ``token`` is the request; ``network`` its sender, for limits and for the
    anomaly rule ``address_spread``.

    Every call raises the refusal's error with its signed denial (``denials.refusal_of``), an
    ``InvalidBytes`` error for a request that does not verify, ``RateLimited``, ``Unavailable``.
    """

    def __init__(
        self, context: Context, models: Models, licensing: Licensing, relayed: RelayedLeases
    ) -> None:
        self._context = context
        self._relayed = relayed
        grants = Grants(context, models)
        issuing = Issuing(context, grants)
        self._prover = Proving(context)
        self._activation = Activation(context, issuing, self._prover)
        self._renewal = Renewal(context, issuing, self._prover)
        self._returning = Returning(context)
        self._releasing = Releasing(context, grants, self._prover)
        self._attesting = Attesting(context, grants, self._prover)
        self._delegating = Delegating(context, grants, self._attesting)
        self._booking = Booking(context)
        self._lookup = Lookup(context)
        self._trials = Trials(context, licensing, self._activation, self._prover)
        self.limiter = Limiter()
        self._pace = Pace(context.config.heartbeats_per_second)
        self._ordinary = Ordinary(context, issuing, grants, self._prover, self.limiter)

    def activate(self, token: bytes, *, network: str = "local") -> Activated:
        """A device, its license and its first lease."""
        [outcome] = self.activate_many([Entering(token, network)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def activate_many(self, asked: Sequence[Entering]) -> list[Activated | Exception]:
        """What ``activate`` returns or raises for each of them, written as one."""
        read = [self._tried(self._entering, item) for item in asked]
        wanted = [one.wanted for one in read if isinstance(one, _Entered)]
        outcomes = self._context.store.all_together(wanted)
        answers = iter(outcomes)
        return [
            self._tried(self._entered, one, next(answers)) if isinstance(one, _Entered) else one
            for one in read
        ]

    @staticmethod
    def _tried(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Exception:
        try:
            return act(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - it is one's own among many
            return error

    def _entering(self, asked: Entering) -> _Entered:
        claims = self._introducing(asked.token, "activate", asked.network)
        wanted = self._typed(
            asked.network, lambda: self._activation.wanted(claims, asked.network, self._opened)
        )
        return _Entered(claims, asked.network, wanted)

    def _entered(self, one: _Entered, outcome: Activated | Refusal | Exception) -> Activated:
        if isinstance(outcome, Exception):
            raise outcome
        return self._with_ahead(one.claims, self._typed(one.network, lambda: outcome))

    def trial(self, token: bytes, *, network: str = "local") -> Activated:
        """As ``activate``, under a license of its own."""
        claims = self._introducing(token, "trial", network)
        return _answered(self._trials.start(claims, network))

    def lookup(self, token: bytes, *, network: str = "local") -> Looked:
        """What a license key is for."""
        claims = self._introducing(token, "lookup", network)
        return self._typed(network, lambda: self._lookup.look(claims, self._opened))

    def challenge(self, token: bytes, *, network: str = "local") -> Challenged:
        """What only the TPM that the request names can read; nothing is stored."""
        return self._prover.challenge(self._introducing(token, "challenge", network))

    def renew(self, device_id: str, token: bytes, *, network: str = "local") -> Renewed:
        """The next lease."""
        asked = Asked(device_id, token, network)
        [outcome] = self.renew_many([asked])
        if isinstance(outcome, ModelsealError):
            raise outcome
        return self.renew_alone(asked) if outcome is None else outcome

    def renew_many(self, asked: Sequence[Asked]) -> list[Outcome]:
        """The next leases, written as one; None where ``renew_alone`` has to answer."""
        outcomes = list[Outcome]()
        for item in asked:
            try:
                self.let_in(item)
                outcomes.append(None)
            except RateLimited as error:
                outcomes.append(error)
        let_in = [item for item, outcome in zip(asked, outcomes, strict=True) if outcome is None]
        answers = iter(ticks.finish(self.tick(let_in)))
        return [next(answers) if outcome is None else outcome for outcome in outcomes]

    def let_in(self, asked: Asked) -> None:
        """Returns for a renewal that may be part of a ``tick``; ``RateLimited`` otherwise."""
        now = self._now()
        self.limiter.take(limits.NETWORK, asked.network, now)
        self._pace.take(now)

    def tick(self, asked: Sequence[Asked]) -> Tick:
        """Renewals that were let in, to be answered together."""
        return Tick(self._context, self._ordinary, asked)

    def renew_alone(self, asked: Asked) -> Renewed:
        """The next lease of whoever went through ``renew_many`` without an answer."""
        claims, row = self._known(asked.token, "renew", asked.device_id, limits.RENEWAL)
        answer = _answered(self._renewal.renew(claims, asked.device_id, row, asked.network))
        return self._with_ahead(claims, answer)

    def give_back(self, device_id: str, token: bytes, *, network: str = "local") -> Returned:
        """The seat is free, now or when the last lease ends."""
        claims, row = self._enrolled(token, "return", device_id, limits.RENEWAL, network)
        return _answered(self._returning.give_back(claims, device_id, row))

    def release(self, device_id: str, token: bytes, *, network: str = "local") -> Released:
        """Keys for one run."""
        claims, row = self._enrolled(token, "release", device_id, limits.RELEASE, network)
        return _answered(self._releasing.release(claims, device_id, row))

    def release_nonce(
        self, device_id: str, token: bytes, *, network: str = "local"
    ) -> ReleaseNonce:
        """A nonce for one attested key release."""
        claims, row = self._enrolled(token, "nonce", device_id, limits.RELEASE, network)
        return self._attesting.nonce(claims, device_id, row)

    def attested_release(
        self, device_id: str, sent: AttestedRequest, *, network: str = "local"
    ) -> Released:
        """Keys for one run that proved what it is."""
        token = sent.request.encode()
        claims, row = self._enrolled(token, "attest", device_id, limits.RELEASE, network)
        if row is None:  # before its nonce is looked at: nobody learns which devices there are
            raise NotFound("no such device", device=device_id)
        return _answered(self._attesting.release(claims, device_id, token, sent))

    def delegate(
        self, device_id: str, sent: AttestedRequest, *, network: str = "local"
    ) -> Delegated:
        """What a relay that proved what it is may give by itself."""
        token = sent.request.encode()
        claims, row = self._enrolled(token, "delegate", device_id, limits.RELEASE, network)
        if row is None:
            raise NotFound("no such device", device=device_id)
        return _answered(self._delegating.delegate(claims, device_id, token, sent))

    def book(self, relay: str, sent: DelegatedAct, *, network: str = "local") -> Booked:
        """What a relay gave by itself stands in the store and the log."""
        self.limiter.take(limits.NETWORK, network, self._now())
        self._context.trusted.freshen()
        return self._booking.book(relay, sent)

    def bundle(self, digest: str) -> bytes:
        """The key bundle with this SHA-256 (hex); useless without the key in its lease."""
        data = self._context.store.read(model_store.bundle, digest)
        if data is None:
            raise NotFound("no such key bundle", digest=digest[:64])
        return data

    def _introducing(self, token: bytes, op: str, network: str) -> RequestClaims:
        now = self._now()
        self.limiter.take(limits.NETWORK, network, now)
        self.limiter.take(limits.ACTIVATION, network, now)
        claims = intake.introducing(self._context, token, op)
        self._context.trusted.freshen()
        self.limiter.take(limits.KEY, claims.iss, now)
        return claims

    def _enrolled(
        self, token: bytes, op: str, device_id: str, limit: limits.Limit, network: str
    ) -> tuple[RequestClaims, DeviceRow | None]:
        self.limiter.take(limits.NETWORK, network, self._now())
        return self._known(token, op, device_id, limit)

    def _known(
        self, token: bytes, op: str, device_id: str, limit: limits.Limit
    ) -> tuple[RequestClaims, DeviceRow | None]:
        claims, row = intake.enrolled(self._context, token, op, device_id)
        now = self._now()
        self.limiter.take(limit, device_id, now)
        if row is not None:
            self.limiter.take(limits.LICENSE, row.license_id, now)
        self._context.trusted.freshen()
        return claims, row

    def _with_ahead(self, claims: RequestClaims, answer: A) -> A:
        """The answer with its leases ahead. Made after it, they are made by its repetition where a
        crash came between.
        """
        ahead = self._relayed.made(claims, answer.lease)
        return msgspec.structs.replace(answer, next=ahead) if ahead else answer

    def _opened(self, key_hash: bytes) -> None:
        """A license key was typed, known or not: so many activations and lookups it may ask for."""
        self.limiter.take(limits.ACTIVATION, f"license {key_hash.hex()}", self._now())

    def _typed(self, network: str, act: Callable[[], T | Refusal]) -> T:
        """An act that a typed license key opens: wrong keys are counted, right ones are not."""
        try:
            outcome = act()
        except SealedKeyInvalid:
            self.limiter.take(limits.GUESSING, network, self._now())
            raise
        if isinstance(outcome, Refusal) and outcome.decision.code == "unknown_license_key":
            self.limiter.take(limits.GUESSING, network, self._now())
        return _answered(outcome)

    def _now(self) -> datetime:
        return self._context.now()


def _answered(outcome: T | Refusal) -> T:
    if isinstance(outcome, Refusal):
        raise outcome.error()
    return outcome
