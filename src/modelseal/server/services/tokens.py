"""Admin tokens: random, shown once, stored as a keyed hash, with a role and an end."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from modelseal.admin import IssuedToken, Page, Role, TokenRecord
from modelseal.audit import EventKind
from modelseal.errors import CredentialInvalid, Misuse, NotFound
from modelseal.server.services import recorder
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context
from modelseal.server.services.idempotency import once
from modelseal.server.services.paging import page_of
from modelseal.server.store import tokens as store
from modelseal.server.store.rows import TokenRow
from modelseal.strict_json import b64u

PREFIX = "mst_"
SECRET = "admin-token-hash"
MAX_LIFE_SECONDS = 2 * 366 * 86400
_TOKEN_BYTES = 32
_MAX_CHARACTERS = 128
_NOTED_SECONDS = 60.0
"""How exactly the last use of a session is known, at most."""


class Tokens:
    """Issuing, checking and ending admin tokens."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def authenticate(self, token: str) -> Actor:
        """Who holds ``token``; ``CredentialInvalid`` when it is unknown, revoked or over."""
        if not token.startswith(PREFIX) or len(token) > _MAX_CHARACTERS:
            raise CredentialInvalid("this is no admin token")
        row = self._context.store.read(store.by_hash, self._hash(token))
        now = self._context.now()
        if row is None or row.revoked_at is not None or now >= row.expires_at:
            raise CredentialInvalid("the admin token is unknown, revoked or has expired")
        self._use(row, now)
        return Actor(f"token:{row.token_id}", Role(row.role))

    def _use(self, row: TokenRow, now: datetime) -> None:
        """A session that stood idle is over; one that did not begins to stand idle now."""
        if row.idle_seconds is None or row.used_at is None:
            return
        idle = (now - row.used_at).total_seconds()
        if idle >= row.idle_seconds:
            raise CredentialInvalid("the session stood idle for too long")
        if idle >= min(_NOTED_SECONDS, row.idle_seconds / 4):
            self._context.store.write(store.used, row.token_id, now)

    def create(
        self,
        actor: Actor,
        role: Role,
        expires_in_seconds: int,
        label: str,
        idempotency_key: str | None = None,
    ) -> IssuedToken:
        """A new token."""
        actor.need(Right.TOKENS)
        if not 0 < expires_in_seconds <= MAX_LIFE_SECONDS or len(label) > 64:
            raise Misuse("a token lives 1 second to 2 years and has a label of 64 characters")
        context, now = self._context, self._context.now()
        token = PREFIX + b64u(context.random(_TOKEN_BYTES))
        row = TokenRow(
            token_id=context.new_id("tok", now),
            role=Role(role).value,
            label=label,
            created_at=now,
            expires_at=now + timedelta(seconds=expires_in_seconds),
            revoked_at=None,
        )
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> IssuedToken:
            store.add(tx, row, self._hash(token))
            recorder.record(
                tx, known, EventKind.TOKEN_CREATED, at=now, actor=actor.name,
                subjects={"token": row.token_id},
                params={"role": row.role, "expires_at": row.expires_at.isoformat()},
            )  # fmt: skip

            return IssuedToken(
                token_id=row.token_id,
                token=token,
                role=Role(role),
                label=label,
                created_at=now,
                expires_at=row.expires_at,
                event_id=known.event_id,
            )

        question = ["token_create", row.role, expires_in_seconds, label]
        return once(context, actor.name, idempotency_key, question, act, IssuedToken)

    def list(self, actor: Actor, cursor: str | None) -> Page[TokenRecord]:
        """Every token, without its secret."""
        actor.need(Right.TOKENS)
        rows = page_of(self._context, cursor, store.page, lambda row: row.token_id)
        return Page(items=[_shown(row) for row in rows.items], next_cursor=rows.next_cursor)

    def revoke(self, actor: Actor, token_id: str) -> TokenRecord:
        """The token opens nothing from now on."""
        actor.need(Right.TOKENS)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> TokenRow:
            row = store.get(tx, token_id)
            if row is None:
                raise NotFound("no such token", id=token_id)
            if row.revoked_at is None:
                store.revoke(tx, token_id, now)
                recorder.record(
                    tx, known, EventKind.TOKEN_REVOKED, at=now, actor=actor.name,
                    subjects={"token": token_id}, params={},
                )  # fmt: skip
            found = store.get(tx, token_id)
            return row if found is None else found

        return _shown(context.store.write(act))

    def record_denied(self, actor: Actor, call: str) -> None:
        """An admin call without the right to it stands in the log."""
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> None:
            recorder.record(
                tx, known, EventKind.ACCESS_DENIED, at=now, actor=actor.name, subjects={},
                params={"call": call, "role": actor.role.value},
            )  # fmt: skip

        context.store.write(act)

    def _hash(self, token: str) -> bytes:
        return self._context.keyed_hash(SECRET, token.encode("utf-8", "replace"))


def _shown(row: TokenRow) -> TokenRecord:
    return TokenRecord(
        token_id=row.token_id,
        role=Role(row.role),
        label=row.label,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        person=row.person,
    )
