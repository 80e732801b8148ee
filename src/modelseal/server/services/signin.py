"""People sign in: an ID token of the configured provider becomes an admin token for some hours."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection

from modelseal.admin import EndedSession, Role, Session, SignInOffer
from modelseal.audit import EventKind
from modelseal.errors import (
    ConfigInvalid,
    ModelsealError,
    NotFound,
    SignInMalformed,
    SignInNonce,
    SignInNotAllowed,
    SignInOff,
    SignInRefused,
    SignInReplayed,
)
from modelseal.server.services import idtoken, recorder, tokens
from modelseal.server.services.actors import RIGHTS, Actor, Right
from modelseal.server.services.config import SignInConfig
from modelseal.server.services.context import Context
from modelseal.server.services.limits import GUESSING, Limiter
from modelseal.server.services.provider import Provider
from modelseal.server.store import tokens as store
from modelseal.server.store.rows import TokenRow
from modelseal.strict_json import JsonInvalid, b64u, unb64u

SECRET = "sign-in-person"
PURPOSE = b"modelseal sign-in v1\n"
PROOF_BYTES = 32
_REMEMBERED = timedelta(hours=2)
"""Longer than any ID token is fresh."""

ENVIRONMENT = "MODELSEAL_SIGN_IN_"
SETTINGS = ("ISSUER", "CLIENT_ID", "ROLES")
"""What the environment, and so a flag, can say of ``[sign_in]``."""


class SignIn:
    """Signing in and out. Without ``[sign_in]`` in the configuration every call is refused."""

    def __init__(self, context: Context, limiter: Limiter) -> None:
        self._context, self._limiter = context, limiter
        self._config = settings(context.config.sign_in, os.environ)
        self._provider: Provider | None = None
        if self._config is not None:
            self._provider = Provider(self._config, context.folder, context.now)

    def offer(self) -> SignInOffer:
        """Where people sign in; ``SignInOff``."""
        config, _ = self._on()
        return SignInOffer(
            issuer=config.issuer, client_id=config.client_id, scopes=config.scopes,
            device=config.device,
        )  # fmt: skip

    def open(self, id_token: str, proof: str | None, network: str) -> Session:
        """A session for whoever ``id_token`` is about.

        ``proof`` is what the token's nonce was made of; without one the token came by a device
        grant, which the configuration must allow. Raises one ``SignIn…`` error for each thing that
        may be wrong, ``ProviderUnavailable``, ``RateLimited``.
        """
        config, provider = self._on()
        now = self._context.now()
        self._limiter.take(GUESSING, network, now)
        person = None
        try:
            expected = _expected(config, proof)
            parts = idtoken.parse(id_token, config.algorithms)
            key = idtoken.key_for(parts, provider.keys_for(parts))
            claims = idtoken.verify(parts, key, expected, now)
            person = self._person(claims)
            role = role_of(config, claims)
            spent = hashlib.sha256(parts.signing_input).digest()
            return self._context.store.write(
                self._open, config, claims, person, role, spent, b64u(self._context.random(32))
            )
        except (SignInRefused, SignInNotAllowed) as error:
            self._refused(error, person)
            raise

    def close(self, actor: Actor) -> EndedSession:
        """The session that asks is over; ``NotFound`` for a token that is no session."""
        actor.need(Right.READ)
        context, now = self._context, self._context.now()
        token_id = actor.name.removeprefix("token:")
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> EndedSession:
            row = store.get(tx, token_id)
            if row is None or row.person is None:
                raise NotFound("this token is no session of a person")
            store.revoke(tx, token_id, now)
            recorder.record(
                tx, known, EventKind.SIGNED_OUT, at=now, actor=actor.name,
                subjects={"token": token_id, "person": row.person}, params={},
            )  # fmt: skip
            return EndedSession(token_id=token_id, ended_at=now)

        return context.store.write(act)

    def _on(self) -> tuple[SignInConfig, Provider]:
        if self._config is None or self._provider is None:
            raise SignInOff("this server has no [sign_in]")
        return self._config, self._provider

    def _person(self, claims: Mapping[str, Any]) -> str:
        whom = f"{claims['iss']}\n{claims['sub']}".encode("utf-8", "replace")
        return "per_" + self._context.keyed_hash(SECRET, whom)[:16].hex()

    def _open(
        self,
        tx: Connection,
        config: SignInConfig,
        claims: Mapping[str, Any],
        person: str,
        role: Role,
        spent: bytes,
        random: str,
    ) -> Session:
        context, now = self._context, self._context.now()
        if not store.spend_sign_in(tx, spent, now, now - _REMEMBERED):
            raise SignInReplayed("the ID token opened a session before")
        token = tokens.PREFIX + random
        row = TokenRow(
            token_id=context.new_id("tok", now),
            role=role.value,
            label="sign-in",
            created_at=now,
            expires_at=now + timedelta(seconds=config.session_seconds),
            revoked_at=None,
            person=person,
            idle_seconds=config.idle_seconds,
            used_at=now,
        )
        ended = store.end_sessions(tx, person, now, but=role.value)
        store.add(tx, row, context.keyed_hash(tokens.SECRET, token.encode()))
        known = recorder.record(
            tx, recorder.fresh(context, now), EventKind.SIGNED_IN, at=now,
            actor=f"token:{row.token_id}", subjects={"token": row.token_id, "person": person},
            params={
                "role": role.value, "expires_at": row.expires_at.isoformat(),
                "ended": ended or None,
            },
            personal=recorder.personal(context, email=_text(claims, "email")),
        )  # fmt: skip
        return Session(
            token_id=row.token_id,
            token=token,
            role=role,
            person=person,
            created_at=now,
            expires_at=row.expires_at,
            idle_seconds=config.idle_seconds,
            event_id=known.event_id,
        )

    def _refused(self, error: ModelsealError, person: str | None) -> None:
        """The refusal stands in the log; whoever is not let in any more is out altogether."""
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> None:
            gone = isinstance(error, SignInNotAllowed) and person is not None
            ended = store.end_sessions(tx, str(person), now) if gone else 0
            recorder.record(
                tx, known, EventKind.SIGN_IN_REFUSED, at=now, actor="system",
                subjects={"person": person}, params={"code": error.code, "ended": ended or None},
            )  # fmt: skip

        context.store.write(act)
        error.reference = known.reference


def settings(table: SignInConfig | None, env: Mapping[str, str]) -> SignInConfig | None:
    """The table ``[sign_in]`` with what the environment says; ``ConfigInvalid`` for an odd one.

    Without a table the environment may say it all.
    """
    issuer, client_id, roles = (env.get(ENVIRONMENT + name) for name in SETTINGS)
    if table is None and not (issuer or client_id or roles):
        return None
    table = table or SignInConfig(issuer="", client_id="", roles={})
    table = msgspec.structs.replace(
        table,
        issuer=issuer or table.issuer,
        client_id=client_id or table.client_id,
        roles=_roles(roles) if roles else table.roles,
    )
    _check_url(table.issuer, "sign_in.issuer")
    if table.jwks_uri is not None:
        _check_url(table.jwks_uri, "sign_in.jwks_uri")
    if not table.client_id or not table.roles or not table.algorithms or not table.role_claim:
        raise ConfigInvalid("client_id, roles, role_claim and algorithms are not empty",
                            setting="sign_in")  # fmt: skip
    if not all(Right.READ in RIGHTS[role] for role in table.roles.values()):
        raise ConfigInvalid("a role that may not read is no person's", setting="sign_in.roles")
    if "openid" not in table.scopes:
        raise ConfigInvalid("the scopes hold openid", setting="sign_in.scopes")
    return table


def _roles(text: str) -> dict[str, Role]:
    """``VALUE=ROLE;VALUE=ROLE``; a value may hold ``=`` and ``,`` as names in directories do."""
    found: dict[str, Role] = {}
    for part in text.split(";"):
        value, _, role = part.strip().rpartition("=")
        if not value or role not in {each.value for each in Role}:
            raise ConfigInvalid("a role is named as VALUE=ROLE", setting="sign_in.roles")
        found[value] = Role(role)
    return found


def role_of(config: SignInConfig, claims: Mapping[str, Any]) -> Role:
    """The role with the most rights that the claims give; ``SignInNotAllowed`` for none."""
    values = set(_values(claims, config.role_claim))
    if config.allowed_groups and not values & set(config.allowed_groups):
        raise SignInNotAllowed("none of the groups that are let in")
    if config.allowed_domains:
        domain = (_text(claims, "email") or "").rpartition("@")[2].lower()
        if claims.get("email_verified") is not True:
            raise SignInNotAllowed("the provider did not verify the e-mail address")
        if domain not in [each.lower() for each in config.allowed_domains]:
            raise SignInNotAllowed("an e-mail address of another domain")
    roles = [role for value, role in config.roles.items() if value in values]
    if not roles:
        raise SignInNotAllowed("no role is meant for this person")
    return max(roles, key=lambda role: len(RIGHTS[role]))


def nonce_of(proof: str) -> str:
    """The nonce that whoever knows ``proof`` (base64url of 32 bytes) asks a provider with."""
    try:
        known = unb64u(proof)
    except JsonInvalid:
        raise SignInMalformed("the proof is base64url") from None
    if len(known) != PROOF_BYTES:
        raise SignInMalformed("the proof has 32 bytes")
    return b64u(hashlib.sha256(PURPOSE + known).digest())


def _expected(config: SignInConfig, proof: str | None) -> idtoken.Expected:
    if proof is None and not config.device:
        raise SignInNonce("without a proof only a device grant signs in, which is off here")
    return idtoken.Expected(
        issuer=config.issuer,
        audience=config.audience or config.client_id,
        client_id=config.client_id,
        algorithms=config.algorithms,
        nonce=None if proof is None else nonce_of(proof),
    )


def _values(claims: Mapping[str, Any], path: str) -> Iterable[str]:
    """The texts under a claim; its whole name comes before a way through members."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    several = found if isinstance(found, list) else [found]
    return [each for each in several if isinstance(each, str)]


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 254 else None


def _check_url(url: str, setting: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None or parts.query or parts.fragment:
        raise ConfigInvalid("an https:// address without a query", setting=setting)
