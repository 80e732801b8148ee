"""A person signs in: at the identity provider the server names, then at the server.

The code grant with PKCE (RFC 6749, 7636, 8252) comes back to a socket of this process on loopback;
the device grant (RFC 8628) needs no browser here. The ID token is judged by the server; its nonce
is made of a proof that only this process knows.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
import msgspec

from modelseal import strict_json
from modelseal import trust as trusts
from modelseal.admin import Session, SignInOffer
from modelseal.desk.channel import Channel, trusting
from modelseal.desk.redirect import Redirect
from modelseal.errors import (
    AnswerInvalid,
    ProviderUnavailable,
    SignInOff,
    SignInRefused,
)
from modelseal.strict_json import JsonInvalid, b64u

T = TypeVar("T")
WAIT_SECONDS = 300.0
_PURPOSE = b"modelseal sign-in v1\n"
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_MAX_BYTES = 256 * 1024
_SLOWEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Code:
    """What a person types at ``url``, on any screen."""

    url: str
    code: str
    complete_url: str | None


def sign_in(
    server: str,
    *,
    show: Callable[[str], None] | None,
    show_code: Callable[[Code], None],
    trust: bytes | None = None,
    ca: Path | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Session:
    """A session of whoever signs in. ``show`` brings an address before the person; None: by a code.

    Raises the errors of ``Channel``, ``SignInOff``, ``SignInRefused`` and its kinds,
    ``SignInNotAllowed`` and ``ProviderUnavailable``.
    """
    pinned = None if trust is None else trusts.parse(trust).tls_ca
    with contextlib.closing(Channel(server, None, pinned_ca=pinned, ca=ca)) as channel:
        offer = _decode(channel.call("GET", "/v1/sign-in"), SignInOffer)
        with _Provider(offer, ca, wait_seconds) as provider:
            proof = None
            if show is None:
                if not offer.device:
                    raise SignInOff("the server takes no device grant")
                token = provider.by_device(show_code)
            else:
                proof = os.urandom(32)
                token = provider.by_browser(show, b64u(hashlib.sha256(_PURPOSE + proof).digest()))
        body = {"id_token": token} | ({} if proof is None else {"proof": b64u(proof)})
        return _decode(channel.call("POST", "/v1/sign-in", body=body), Session)


class _Provider:
    def __init__(self, offer: SignInOffer, ca: Path | None, wait_seconds: float) -> None:
        self._offer, self._wait = offer, wait_seconds
        self._client = httpx.Client(
            verify=trusting(None, ca), timeout=httpx.Timeout(20.0), follow_redirects=False
        )
        try:
            _check(offer.issuer, "issuer")
            where = f"{offer.issuer.rstrip('/')}/.well-known/openid-configuration"
            _, self._known = self._ask("GET", where)
            if self._known.get("issuer") != offer.issuer:
                raise ProviderUnavailable("the provider calls itself by another name")
        except BaseException:
            self._client.close()
            raise

    def __enter__(self) -> _Provider:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def by_browser(self, show: Callable[[str], None], nonce: str) -> str:
        """The ID token of whoever signs in in a browser on this computer."""
        verifier, state = b64u(os.urandom(32)), b64u(os.urandom(32))
        place, exchange = self._place("authorization_endpoint"), self._place("token_endpoint")
        with Redirect() as redirect:
            asked = {
                "response_type": "code",
                "client_id": self._offer.client_id,
                "redirect_uri": redirect.url,
                "scope": " ".join(self._offer.scopes),
                "state": state,
                "nonce": nonce,
                "code_challenge": b64u(hashlib.sha256(verifier.encode()).digest()),
                "code_challenge_method": "S256",
            }
            show(f"{place}{'&' if urlsplit(place).query else '?'}{urlencode(asked)}")
            told = redirect.wait(lambda answer: _same(answer.get("state"), state), self._wait)
        self._check_answer(told)
        status, answer = self._ask(
            "POST",
            exchange,
            {
                "grant_type": "authorization_code",
                "code": told["code"],
                "redirect_uri": redirect.url,
                "client_id": self._offer.client_id,
                "code_verifier": verifier,
            },
        )
        if status != 200:
            raise SignInRefused(f"the provider: {_word(answer)}")
        return _token(answer)

    def _check_answer(self, told: Mapping[str, str]) -> None:
        if "error" in told:
            raise SignInRefused(f"the provider: {_word(told)}")
        named = self._known.get("authorization_response_iss_parameter_supported") is True
        if told.get("iss", None if named else self._offer.issuer) != self._offer.issuer:
            raise SignInRefused("the answer comes from another provider (RFC 9207)")
        if "code" not in told:
            raise SignInRefused("the provider gave no code")

    def by_device(self, show_code: Callable[[Code], None]) -> str:
        """The ID token of whoever types the code that is shown."""
        place = self._place("device_authorization_endpoint")
        exchange = self._place("token_endpoint")
        scope = " ".join(self._offer.scopes)
        asked = {"client_id": self._offer.client_id, "scope": scope}
        status, given = self._ask("POST", place, asked)
        names = ("device_code", "user_code", "verification_uri")
        if status != 200 or not all(isinstance(given.get(name), str) for name in names):
            raise SignInRefused(f"the provider: {_word(given)}")
        complete = given.get("verification_uri_complete")
        _check(given["verification_uri"], "verification_uri")
        show_code(
            Code(
                given["verification_uri"],
                given["user_code"],
                complete if isinstance(complete, str) else None,
            )
        )
        pause, ends = _seconds(given, "interval", 5.0), time.monotonic() + self._wait
        ends = min(ends, time.monotonic() + _seconds(given, "expires_in", self._wait))
        while time.monotonic() + pause < ends:
            time.sleep(pause)
            status, answer = self._ask(
                "POST",
                exchange,
                {
                    "grant_type": _DEVICE_GRANT,
                    "device_code": given["device_code"],
                    "client_id": self._offer.client_id,
                },
            )
            if status == 200:
                return _token(answer)
            if answer.get("error") == "slow_down":
                pause = min(pause + 5.0, _SLOWEST_SECONDS)
            elif answer.get("error") != "authorization_pending":
                raise SignInRefused(f"the provider: {_word(answer)}")
        raise SignInRefused("nobody typed the code in time")

    def _place(self, name: str) -> str:
        found = self._known.get(name)
        if not isinstance(found, str):
            raise ProviderUnavailable(f"the provider has no {name}")
        return _check(found, name)

    def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and members of the answer; ``ProviderUnavailable`` where it is none."""
        try:
            with self._client.stream(
                method, url, data=form, headers={"Accept": "application/json"}
            ) as answer:
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _MAX_BYTES:
                        raise ProviderUnavailable("the provider's answer is too long")
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderUnavailable(f"{type(error).__name__}: {error}"[:200]) from None
        if status != 200 and (form is None or status not in (400, 401, 403)):
            raise ProviderUnavailable(f"the provider answered with status {status}")
        try:
            found = strict_json.decode(body, max_bytes=_MAX_BYTES)
        except JsonInvalid as error:
            raise ProviderUnavailable(f"the provider's answer: {error.detail}") from None
        if not isinstance(found, dict):
            raise ProviderUnavailable("the provider's answer is no JSON object")
        return status, found


def _check(url: str, name: str) -> str:
    """``url`` when a browser and this process may go there."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise ProviderUnavailable(f"the provider's {name} is no https:// address")
    return url


def _same(said: str | None, wanted: str) -> bool:
    return said is not None and hmac.compare_digest(said.encode(), wanted.encode())


def _seconds(given: Mapping[str, Any], name: str, usual: float) -> float:
    value = given.get(name)
    return float(value) if isinstance(value, int) and 0 < value <= 3600 else usual


def _word(answer: Mapping[str, Any]) -> str:
    """The provider's error code, which is one word."""
    return str(answer.get("error", "no reason given"))[:64]


def _token(answer: Mapping[str, Any]) -> str:
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise SignInRefused("the provider gave no ID token")
    return token


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind, strict=True)
    except msgspec.MsgspecError as error:
        raise AnswerInvalid(f"not the answer that was asked for: {error}"[:200]) from None


__all__ = ["Code", "sign_in"]
