"""Every device call from its token to its answer; a refusal leaves as an error with its denial."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from modelseal.errors import NotFound, SealedKeyInvalid
from modelseal.license.claims import RequestClaims
from modelseal.server.services import intake, limits
from modelseal.server.services.activation import Activated, Activation
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.granting import Grants
from modelseal.server.services.issuing import Issuing
from modelseal.server.services.licensing import Licensing
from modelseal.server.services.limits import Limiter
from modelseal.server.services.lookup import Looked, Lookup
from modelseal.server.services.models import Models
from modelseal.server.services.releasing import Released, Releasing
from modelseal.server.services.renewal import Renewal, Renewed
from modelseal.server.services.returning import Returned, Returning
from modelseal.server.services.trials import Trials
from modelseal.server.store import models as model_store
from modelseal.server.store.rows import DeviceRow

T = TypeVar("T")


class DeviceCalls:
    """What devices ask. ``token`` is the request; ``network`` its sender, for limits only.

    Every call raises the refusal's error with its signed denial (``denials.refusal_of``), an
    ``InvalidBytes`` error for a request that does not verify, ``RateLimited``, ``Unavailable``.
    """

    def __init__(self, context: Context, models: Models, licensing: Licensing) -> None:
        self._context = context
        grants = Grants(context, models)
        issuing = Issuing(context, grants)
        self._activation = Activation(context, issuing)
        self._renewal = Renewal(context, issuing)
        self._returning = Returning(context)
        self._releasing = Releasing(context, grants)
        self._lookup = Lookup(context)
        self._trials = Trials(context, licensing, self._activation)
        self.limiter = Limiter()

    def activate(self, token: bytes, *, network: str = "local") -> Activated:
        """A device, its license and its first lease."""
        claims = self._introducing(token, "activate", network)
        return self._typed(network, lambda: self._activation.activate(claims))

    def trial(self, token: bytes, *, network: str = "local") -> Activated:
        """As ``activate``, under a license of its own."""
        claims = self._introducing(token, "trial", network)
        return _answered(self._trials.start(claims))

    def lookup(self, token: bytes, *, network: str = "local") -> Looked:
        """What a license key is for."""
        claims = self._introducing(token, "lookup", network)
        return self._typed(network, lambda: self._lookup.look(claims))

    def renew(self, device_id: str, token: bytes, *, network: str = "local") -> Renewed:
        """The next lease."""
        claims, row = self._enrolled(token, "renew", device_id, limits.RENEWAL, network)
        return _answered(self._renewal.renew(claims, device_id, row))

    def give_back(self, device_id: str, token: bytes, *, network: str = "local") -> Returned:
        """The seat is free, now or when the last lease ends."""
        claims, row = self._enrolled(token, "return", device_id, limits.RENEWAL, network)
        return _answered(self._returning.give_back(claims, device_id, row))

    def release(self, device_id: str, token: bytes, *, network: str = "local") -> Released:
        """Keys for one run."""
        claims, row = self._enrolled(token, "release", device_id, limits.RELEASE, network)
        return _answered(self._releasing.release(claims, device_id, row))

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
        self.limiter.take(limits.ACTIVATION, f"key {claims.iss}", now)
        return claims

    def _enrolled(
        self, token: bytes, op: str, device_id: str, limit: limits.Limit, network: str
    ) -> tuple[RequestClaims, DeviceRow | None]:
        now = self._now()
        self.limiter.take(limits.NETWORK, network, now)
        claims, row = intake.enrolled(self._context, token, op, device_id)
        self.limiter.take(limit, device_id, now)
        self._context.trusted.freshen()
        return claims, row

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
