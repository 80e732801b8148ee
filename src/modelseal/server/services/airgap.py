"""Answering a request file on a host without a network: the same acts as online, another carrier.

A request goes through the services of the online calls; what differs is that everything the device
may need travels in the one response: license, key bundle, newer trust, status list, leases ahead.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from modelseal.admin import Responded
from modelseal.audit import EventKind
from modelseal.errors import Misuse, TokenClaims, TokenType
from modelseal.license import air_gap, jws, tokens
from modelseal.license.air_gap import Response, TrustDocuments
from modelseal.license.claims import LeaseClaims, RequestClaims
from modelseal.server.services import acting, intake, recorder
from modelseal.server.services.activation import Activated, Activation
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.airgap_ahead import Ahead, shown
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.granting import Grants
from modelseal.server.services.issuing import Issuing
from modelseal.server.services.keeping import Keeping
from modelseal.server.services.models import Models
from modelseal.server.services.proving import Proving
from modelseal.server.services.renewal import Renewal, Renewed
from modelseal.server.services.returning import Returned, Returning
from modelseal.server.services.statuses import StatusLists
from modelseal.server.store import models as model_store
from modelseal.server.store.rows import PreparedRow
from modelseal.strict_json import unb64u
from modelseal.types import from_numeric, to_numeric

Outcome = Activated | Renewed | Returned | Refusal


class AirGap:
    """See the module. ``ahead`` gives out the codes of leases made ahead."""

    def __init__(
        self, context: Context, models: Models, keeping: Keeping, statuses: StatusLists
    ) -> None:
        self._context = context
        self._keeping = keeping
        self._statuses = statuses
        grants = Grants(context, models)
        issuing = Issuing(context, grants)
        prover = Proving(context)
        self._activation = Activation(context, issuing, prover)
        self._renewal = Renewal(context, issuing, prover)
        self._returning = Returning(context)
        self.ahead = Ahead(context, grants)

    def respond(self, actor: Actor, request: bytes) -> Responded:
        """The response to a request file; the same file again gets the same answer.

        Once another answer followed, or after a refusal, it is ``RequestReplayed``.
        A refusal is an answer too: the response then holds the signed denial. Raises as the
        online call does for a request that does not verify, ``StoreBehind``, ``Misuse`` for an
        operation that needs a network.
        """
        actor.need(Right.DEVICES)
        claims, outcome = self._answer(request.strip())
        now = self._context.now()
        if isinstance(outcome, (Refusal, Returned)):
            return self._simple(actor, claims, outcome, now)
        return self._leased(actor, claims, outcome, now)

    def _answer(self, token: bytes) -> tuple[RequestClaims, Outcome]:
        context, cap = self._context, tokens.MAX_AIR_GAP_BYTES
        parsed = jws.parse(token, max_bytes=cap)
        if parsed.typ != RequestClaims.TYP:
            raise TokenType("this is no request", wanted=RequestClaims.TYP)
        op, device_id = parsed.payload.get("op"), parsed.payload.get("sub")
        if op == "activate":
            claims = intake.introducing(context, token, op, max_bytes=cap)
            return claims, self._activation.activate(claims)
        if op not in ("renew", "return"):
            raise Misuse("a request file asks to activate, to renew or to return", op=str(op)[:32])
        if not isinstance(device_id, str):
            raise TokenClaims("the request names no device")
        claims, row = intake.enrolled(context, token, op, device_id, max_bytes=cap)
        if op == "renew":
            return claims, self._renewal.renew(claims, device_id, row)
        return claims, self._returning.give_back(claims, device_id, row)

    def _simple(
        self, actor: Actor, claims: RequestClaims, outcome: Refusal | Returned, now: datetime
    ) -> Responded:
        """The response without a lease: a denial, or the seat given back."""
        refused = isinstance(outcome, Refusal)
        free_at = None if isinstance(outcome, Refusal) else outcome.seat_free_at
        response = self._response(
            actor,
            claims,
            outcome.event_id,
            denial=outcome.denial if isinstance(outcome, Refusal) else None,
            seat_free_at=None if free_at is None else to_numeric(free_at),
        )
        self._context.store.write(self._record, actor, claims, outcome.event_id, None, 0, now)
        return Responded(
            response=air_gap.encode(response),
            op=claims.op,
            device_id=claims.sub,
            code=outcome.decision.code if isinstance(outcome, Refusal) else None,
            reference=outcome.recorded.reference if isinstance(outcome, Refusal) else None,
            seat_free_at=None if refused else free_at,
            event_id=outcome.event_id,
        )

    def _leased(
        self, actor: Actor, claims: RequestClaims, outcome: Activated | Renewed, now: datetime
    ) -> Responded:
        context = self._context
        lease = tokens.read(outcome.lease, LeaseClaims, context.trust)

        def act(tx: Connection) -> tuple[list[PreparedRow], bytes | None, int]:
            rows = self.ahead.prepare(tx, claims, lease, now)
            bundle = None
            if lease.bundle is not None:
                bundle = model_store.bundle(tx, unb64u(lease.bundle.digest).hex())
            self._record(tx, actor, claims, outcome.event_id, lease, len(rows), now)
            return rows, bundle, acting.device(tx, lease.sub).status_list

        rows, bundle, number = context.store.write(act)
        response = self._response(
            actor,
            claims,
            outcome.event_id,
            lease=outcome.lease,
            license=outcome.license,
            bundle=bundle,
            status=self._statuses.token(number).decode("ascii"),
            next=[shown(place, row) for place, row in enumerate(rows, start=1)],
        )
        return Responded(
            response=air_gap.encode(response),
            op=claims.op,
            device_id=lease.sub,
            license_id=lease.lic,
            seq=lease.seq,
            expires_at=from_numeric(lease.exp),
            next_count=len(rows),
            next_expires_at=rows[-1].ends_at if rows else None,
            event_id=outcome.event_id,
        )

    def _response(
        self, actor: Actor, claims: RequestClaims, event_id: str, **answer: Any
    ) -> Response:
        return Response(
            server=self._context.server_id,
            product=self._context.product,
            jkt=claims.iss,
            nonce=claims.nonce,
            op=claims.op,
            event_id=event_id,
            trust=self._trust(actor, claims),
            **answer,
        )

    def _trust(self, actor: Actor, claims: RequestClaims) -> TrustDocuments | None:
        """The trust in force when the device says that its own is older."""
        root, keys = claims.trust_root, claims.trust_keys
        current = self._context.trust
        if root is None or keys is None:
            return None
        if root >= current.root_version and keys >= current.keys_version:
            return None
        found = self._keeping.documents(actor, root)
        return TrustDocuments(
            roots=found.roots,
            targets=found.targets,
            keys_role=found.keys_role,
            key_list=found.key_list,
        )

    def _record(
        self,
        tx: Connection,
        actor: Actor,
        claims: RequestClaims,
        answer: str,
        lease: LeaseClaims | None,
        ahead: int,
        now: datetime,
    ) -> None:
        """That the answer went out as a file, and with how many leases ahead, stands in the log."""
        recorder.record(
            tx, recorder.fresh(self._context, now), EventKind.LEASE_RESPONDED, at=now,
            actor=actor.name,
            subjects={
                "device": claims.sub if lease is None else lease.sub,
                "license": claims.lic if lease is None else lease.lic,
                "key": claims.iss,
            },
            params={"op": claims.op, "answer": answer, "ahead": ahead},
        )  # fmt: skip
