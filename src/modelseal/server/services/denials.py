"""Signed refusals: a decision that says no, its event and its denial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelseal.errors import ModelsealError
from modelseal.license import tokens
from modelseal.license.claims import Confirmation, DenialClaims, RequestClaims
from modelseal.license.decide import Decision
from modelseal.license.facts import Action
from modelseal.license.lease import DENIED_STATES
from modelseal.server.services.context import Context, NotDelegated
from modelseal.server.services.recorder import Recorded
from modelseal.server.store.rows import DeviceRow
from modelseal.types import LeaseState, to_numeric

_ATTRIBUTE = "_modelseal_refusal"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decision that says no, as it is answered."""

    decision: Decision
    recorded: Recorded
    jti: str
    denial: str
    params: Mapping[str, object]

    @property
    def event_id(self) -> str:
        """The event in which it is recorded."""
        return self.recorded.event_id

    def error(self) -> ModelsealError:
        """The error to raise; it carries this refusal to whoever renders it."""
        error = self.decision.error(self.recorded.reference)
        error.params.update(self.params)
        setattr(error, _ATTRIBUTE, self)
        return error


def refusal_of(error: ModelsealError) -> Refusal | None:
    """The refusal an error carries; None for an error that denies nothing."""
    found = getattr(error, _ATTRIBUTE, None)
    return found if isinstance(found, Refusal) else None


def is_chained(action: Action, device: DeviceRow | None) -> bool:
    """Whether the refusal of that action takes a number in the chain of its device."""
    return device is not None and action in (Action.RENEW, Action.RELEASE, Action.RETURN)


def sign(
    context: Context,
    claims: RequestClaims,
    decision: Decision,
    recorded: Recorded,
    now: datetime,
    *,
    chained: bool,
    device: DeviceRow | None,
    seq: int,
    more: Mapping[str, object] | None = None,
) -> Refusal:
    """The refusal with its denial.

    Entering a license key never ends what a device already holds, nor does evidence that proves
    too little: such a denial has ``seq`` 0 and erases nothing. Every other one (``chained``) has
    the chain's next ``seq``, erases, and names the new state. In a relay ``NotDelegated``.
    """
    if context.delegation is not None:
        raise NotDelegated(decision.code)
    params = {**decision.params, **(more or {})}
    state = (
        DENIED_STATES.get(decision.code, LeaseState.EXPIRED)
        if chained
        else LeaseState.NOT_ACTIVATED
    )
    denial = DenialClaims(
        iss=context.server_id,
        aud=context.product,
        sub=device.device_id if chained and device is not None else claims.iss,
        product=context.product,
        jti=recorded.event_id,
        iat=to_numeric(now),
        seq=seq if chained else 0,
        request_nonce=claims.nonce,
        cnf=Confirmation(jkt=claims.iss),
        code=decision.code,
        state=state.value,
        erase=chained,
        reference=recorded.reference,
        lic=device.license_id if device is not None else None,
        prev=claims.prev,
        params={name: _told(value) for name, value in params.items()},
    )
    token = tokens.sign(denial, context.signers("lease", now))
    return Refusal(decision, recorded, denial.jti, token, params)


def _told(value: object) -> Any:
    """A parameter as a denial may carry it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, (list, tuple)):
        if all(isinstance(item, dict) for item in value):
            return [dict(item) for item in value]
        return [str(item) for item in value]
    return str(value)
