"""A device that loses nothing by losing requests and replies: ADR 70 and 55 as a few lines."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from tests.server.world import Computer

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import ModelsealError, Unavailable
from modelseal.license import tokens
from modelseal.license.claims import DenialClaims
from modelseal.server.services.denials import refusal_of
from modelseal.strict_json import b64u

CHAINED = ("renew", "release", "return")


@dataclass
class Pending:
    """A question that may have reached the server."""

    ask: tuple[str, ...]
    nonce: str
    kem: KemPrivateKey
    seq: int


@dataclass
class Careful(Computer):
    """A device that keeps asking the same question until it is answered.

    ``sent`` is every request that reached the server; ``heard`` are the events of every answer that
    arrived. What is no error of ours (a broken connection) and an outage leave the question
    pending.
    """

    pending: Pending | None = None
    returned: bool = False
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def ask(self, op: str, lost: str, *wish: str, key: str = "") -> str:
        """What came of it: ``allowed``, the code of a refusal, ``unavailable``, or ``lost``."""
        question = self._question(op, wish)
        if lost == "request":
            return "lost"
        try:
            answer = self._send(op, question, wish, key)
        except ModelsealError as error:
            refusal = refusal_of(error)
            if refusal is None and isinstance(error, Unavailable):
                return "unavailable"
            assert refusal is not None, f"{op}: {error!r}"
            if lost == "nothing":
                self._denied(refusal.denial, op)
            return "lost" if lost == "reply" else error.code
        if lost == "reply":
            return "lost"
        self.heard.append(answer.event_id)
        self._answered(op, answer, question)
        return "allowed"

    def _question(self, op: str, wish: tuple[str, ...]) -> Pending:
        if op == "release":
            return Pending((op,), b64u(os.urandom(32)), KemPrivateKey.generate(), self.seq)
        known, ask = self.pending, (op, *wish)
        again = known is not None and known.seq == self.seq
        if known is None or not again or not (known.ask == ask or self.seq > 0):
            known = Pending(ask, b64u(os.urandom(32)), KemPrivateKey.generate(), self.seq)
            self.pending = known
        return known

    def _send(self, op: str, question: Pending, wish: tuple[str, ...], key: str) -> Any:
        nonce = question.nonce
        if op == "activate":
            label = wish[0] if wish else None
            token = self.activation(key, question.kem, nonce, label=label)
        else:
            token = self.sign(self.request(op, nonce=nonce, kem=self.kem(question.kem)))
        self.sent.append((op, token))
        return self.deliver(op, token)

    def deliver(self, op: str, token: bytes) -> Any:
        """What the server says to these bytes, whoever sends them."""
        calls = self.shop.server.devices
        if op == "activate":
            return calls.activate(token)
        call = getattr(calls, "give_back" if op == "return" else op)
        return call(self.device_id or "", token)

    def _answered(self, op: str, answer: Any, question: Pending) -> None:
        if op == "release":
            return
        if op == "return":
            self.lease, self.returned, self.pending = None, True, None
            return
        before = self.seq
        wanted = op == "activate" or self.license_id is None
        assert bool(answer.license) or not wanted, "the license token is missing"
        claims = self._accept(answer.lease, answer.license, question.kem)
        assert op == "activate" or claims.seq > before
        assert claims.request_nonce == question.nonce
        self.returned, self.pending = False, None

    def _denied(self, token: str, op: str) -> None:
        denial = tokens.read(token, DenialClaims, self.shop.trust)
        self.heard.append(denial.jti)
        if op in CHAINED and denial.seq > self.seq:
            self.seq, self.prev, self.lease = denial.seq, denial.jti, None
        if op in CHAINED or self.seq == 0:
            self.pending = None
