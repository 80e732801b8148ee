"""A device call answered by the relay itself, by its delegation; or left to the license server.

The same services decide as there, over the relay's own store. Whatever they refuse, and whatever is
not the plain next question of a device that entered here, is carried. What was given is noted
durably, with the request, before the answer leaves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from modelseal.admin import ServedDevice
from modelseal.crypto.hpke import KemPublicKey
from modelseal.crypto.hpke_p256 import P256PublicKey
from modelseal.errors import (
    DelegationExceeded,
    InvalidBytes,
    KeyStoreUnavailable,
    NotFound,
    RelayBudgetSpent,
    RelaySeals,
    RelayWaiting,
    RequestReplayed,
    SealedKeyInvalid,
    StoreBehind,
)
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import LeaseClaims, RequestClaims
from modelseal.license.facts import EntitlementFact
from modelseal.license.plans import Plan
from modelseal.server.relay.box import Question, Reply
from modelseal.server.relay.budget import Budget, Opened
from modelseal.server.relay.counting import RolledBack
from modelseal.server.relay.given import Act, Given
from modelseal.server.services import forks, intake, judging
from modelseal.server.services.activation import Activated, Activation
from modelseal.server.services.context import NotDelegated
from modelseal.server.services.denials import Refusal
from modelseal.server.services.granting import Granted, Grants, KeyMap
from modelseal.server.services.issuing import Issuing
from modelseal.server.services.proving import Proving
from modelseal.server.services.renewal import Renewal, Renewed
from modelseal.server.store import devices as device_store
from modelseal.server.store import models as model_store
from modelseal.server.store import packing
from modelseal.trust import Trust
from modelseal.types import from_numeric, to_numeric

RETRY_SECONDS = 300
_SEALED_SIGNATURES = 2
"""A lease has the signatures of its delegation in it: fewer keys have room beside them."""
_CARRIED = (KeyStoreUnavailable, NotDelegated, NotFound, StoreBehind, RequestReplayed)
MAX_SERVED = 2000


class HeldGrants(Grants):
    """The data keys that came with the delegation, for every lease by it."""

    def __init__(self, opened: Opened) -> None:
        self._context = opened.context
        self._opened = opened

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
        """Those of the delegation, whose end is no later than that of any entitlement."""
        return self._opened.data_keys()

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
        """As the license server does; ``keys`` are zeros afterwards."""
        with lease_keys.wiped(keys):
            return super().seal(
                tx, keys, to, binding, ends_at=ends_at, signatures=_SEALED_SIGNATURES,
                known_bundle=known_bundle, bundle_of=bundle_of, hardware=hardware,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Services:
    """What decides by one delegation."""

    opened: Opened
    activation: Activation
    renewal: Renewal

    @classmethod
    def over(cls, opened: Opened) -> _Services:
        context = opened.context
        issuing, prover = Issuing(context, HeldGrants(opened)), Proving(context)
        activation = Activation(context, issuing, prover)
        return cls(opened, activation, Renewal(context, issuing, prover))


class Giving:
    """See the module. Safe for several threads and processes: one act at a time."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._box = budget, budget.box
        self._acts = Given(budget.box)
        self._kept: _Services | None = None

    def _services(self) -> _Services:
        """By the delegation that lies in the folder now."""
        opened, kept = self._budget.read(), self._kept
        if kept is None or kept.opened is not opened:
            kept = _Services.over(opened)
            self._kept = kept
        return kept

    def answer(self, question: Question, claims: RequestClaims) -> Reply | None:
        """The relay's own answer; None where the license server is to be asked.

        Raises ``RelaySeals`` for a license key that only the server can read, ``RelayBudgetSpent``
        when there is nothing left to give; the caller notes the question then.
        """
        if claims.tpm is not None or claims.replace is not None or claims.handover is not None:
            return None
        if claims.op not in ("activate", "renew") or self._acts.has_answer(question):
            return None
        if self._acts.leaves(claims.iss, claims.nonce):
            return None
        opened = self._services().opened
        if not opened.by.iat <= to_numeric(opened.context.now()) < opened.by.exp:
            return None
        if claims.op == "activate":
            return self._activate(question, claims, opened)
        return self._renew(question, claims, opened)

    def _activate(self, question: Question, claims: RequestClaims, opened: Opened) -> Reply | None:
        sealed = claims.license_key
        if sealed is None:
            return None
        again = _is_again(claims, opened)
        mine = sealed.recipient == opened.keys.kem.kid
        if not again and self._acts.spent("seats") >= opened.by.seats:
            raise self._left_to_server(claims) if mine else self._spent()
        if not mine:
            raise _seals(opened)
        try:
            return self._given(question, claims, 201, lambda by: by.activation.activate(claims))
        except (*_CARRIED, SealedKeyInvalid, RelayBudgetSpent):
            raise self._left_to_server(claims) from None

    def _renew(self, question: Question, claims: RequestClaims, opened: Opened) -> Reply | None:
        context, device_id = opened.context, claims.sub or ""
        row = context.store.read(device_store.get, device_id)
        if row is None or row.jkt != claims.iss or self._acts.is_stopped(device_id):
            return None
        again = forks.is_repeat(row, claims)
        if not again and not forks.is_ordinary(row, claims, judging.enrolled(row, claims)):
            return None
        _, row = intake.enrolled(context, question.token, "renew", device_id)
        try:
            return self._given(
                question, claims, 200,
                lambda by: by.renewal.renew(claims, device_id, row),
            )  # fmt: skip
        except _CARRIED:
            return None

    def _given(
        self,
        question: Question,
        claims: RequestClaims,
        status: int,
        act: Callable[[_Services], Activated | Renewed | Refusal],
    ) -> Reply:
        """What ``act`` gives, spent and noted before it is answered."""
        kind, kem = "seats" if claims.op == "activate" else "renewals", intake.kem_key(claims).kid
        try:
            with self._acts.spending(claims.iss, claims.nonce, kem) as spend:
                services = self._services()  # a new delegation waits until an act is over
                opened = services.opened
                spend.settle(opened.counting)
                if spend.reply is not None:  # by an earlier delegation, perhaps
                    return spend.reply
                most = opened.by.seats if kind == "seats" else opened.by.renewals
                if not spend.is_noted and spend.spent(kind) >= most:
                    raise self._spent()
                found = act(services)
                if isinstance(found, Refusal):
                    raise NotDelegated(found.decision.code)
                reply = _reply(found, status, opened)
                if not spend.is_noted:
                    spend.note(kind, _noted(question, claims, found, reply), opened.counting)
        except RolledBack as error:
            self._acts.note(stopped_why=str(error))
            raise
        self._acts.settle(opened.counting)
        return reply

    def _left_to_server(self, claims: RequestClaims) -> RelayWaiting:
        """The question, sealed to this relay, is nobody's; the same one sealed to the server is."""
        self._acts.leave(claims.iss, claims.nonce)
        return RelayWaiting(
            "ask again, sealed to the license server",
            synced_at=self._box.noted("synced_at"),
            retry_after_seconds=RETRY_SECONDS,
        )

    def follow(self, reply: Reply) -> None:
        """A device that the license server answered goes on from there, where it entered here."""
        with contextlib.suppress(InvalidBytes, msgspec.DecodeError, LookupError, TypeError):
            token = msgspec.json.decode(reply.body)["lease"]
            opened = self._budget.read()
            lease = tokens.read(token, LeaseClaims, opened.trust)
            if opened.context.store.write(_follow, lease):
                self._acts.go_on(lease.sub)

    def serves(self) -> list[ServedDevice]:
        """Devices that get their leases here, those that were silent longest last."""
        opened = self._budget.read()
        rows = opened.context.store.read(device_store.of_license, opened.by.lic)
        rows = [row for row in rows if not self._acts.is_stopped(row.device_id)]
        rows.sort(key=lambda row: row.last_contact_at, reverse=True)
        return [ServedDevice(device=row.device_id, seq=row.seq) for row in rows[:MAX_SERVED]]

    def bundle(self, digest: str) -> bytes | None:
        """A key bundle of a lease that was given here."""
        return self._budget.read().context.store.read(model_store.bundle, digest)

    def _spent(self) -> RelayBudgetSpent:
        return RelayBudgetSpent(
            "nothing is left of its budget",
            synced_at=self._box.noted("synced_at"),
            retry_after_seconds=RETRY_SECONDS,
        )


def _reply(found: Activated | Renewed, status: int, opened: Opened) -> Reply:
    """What was given, as it is answered; a lease beyond the delegation is no answer."""
    try:
        lease = tokens.read(found.lease, LeaseClaims, opened.trust)
    except DelegationExceeded as error:
        raise NotDelegated(error.code) from None
    return Reply(status, "application/json", msgspec.json.encode(found), device=lease.sub)


def _noted(
    question: Question, claims: RequestClaims, found: Activated | Renewed, reply: Reply
) -> Act:
    request = question.token.decode("ascii")
    body = msgspec.json.encode({"request": request, "lease": found.lease})
    kem = intake.kem_key(claims).kid
    return Act(claims.iss, claims.nonce, reply.device or "", body, kem, reply)


def _is_again(claims: RequestClaims, opened: Opened) -> bool:
    row = opened.context.store.read(device_store.by_key, opened.by.lic, claims.iss)
    return row is not None and forks.is_repeat(row, claims)


def _follow(tx: Connection, lease: LeaseClaims) -> bool:
    row = device_store.get(tx, lease.sub)
    if row is None or row.jkt != lease.cnf.jkt or lease.seq <= row.seq:
        return False
    return device_store.change(
        tx, row, seq=lease.seq, lease_id=lease.jti, lease_seq=lease.seq, last_jti=lease.jti,
        lease_iat=from_numeric(lease.iat), lease_exp=from_numeric(lease.exp), asked_seq=None,
        answer=None, question=packing.question(lease.request_nonce), license_iat=None,
        last_contact_at=from_numeric(lease.iat),
    )  # fmt: skip


def _seals(opened: Opened) -> RelaySeals:
    return RelaySeals(
        "seal the license key to the relay",
        delegation=opened.kept.delegation,
        kem=opened.keys.kem.jwk["pub"],
        retry_after_seconds=0,
    )
