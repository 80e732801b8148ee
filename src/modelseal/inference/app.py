"""The calls of the service, as one small ASGI application: the Open Inference Protocol, and the
evidence that comes before it.

    GET  /v1/evidence?nonce=…             fresh evidence for this nonce and this TLS key
    GET  /v2, /v2/health/live, /v2/health/ready
    GET  /v2/models/{name}[/versions/1][/ready]
    POST /v2/models/{name}[/versions/1]/infer
    GET  /metrics
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec

import modelseal
from modelseal import errors, texts
from modelseal.inference import metrics, tensors
from modelseal.inference.batching import Batcher, Limits
from modelseal.inference.models import Model
from modelseal.inference.proving import Prover
from modelseal.strict_json import unb64u

MAX_BODY_BYTES = 64 << 20
ANSWER_SECONDS = 60.0
BODY_SECONDS = 60.0
_SMALL_BYTES = 64 << 10
_PATH = re.compile(r"/v2/models/([^/]{1,128})(?:/versions/([^/]{1,16}))?(/ready|/infer)?")
_STATUS: Sequence[tuple[type[errors.ModelsealError], int]] = (
    (errors.NotFound, 404),
    (errors.CredentialInvalid, 401),
    (errors.Misuse, 400),
    (errors.Refused, 403),
    (errors.AssuranceNotReached, 403),
    (errors.RateLimited, 503),
    (errors.Unavailable, 503),
)
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one caller may cost: bytes of a question, questions under way, seconds of an answer.

    ``tokens`` are SHA-256 of the bearer tokens that may ask for an inference; empty: anybody may.
    """

    body_bytes: int = MAX_BODY_BYTES
    under_way: int = 128
    answer_seconds: float = ANSWER_SECONDS
    tokens: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": tensors.JSON})


class Service:
    """The application over ``models``, proved by ``prover``. ``close`` ends its threads."""

    def __init__(
        self,
        models: Sequence[Model],
        prover: Prover,
        *,
        limits: Limits | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._bounds = bounds or Bounds()
        self._prover = prover
        self._under_way = 0
        self.metrics = _metrics(self)
        self._coming = dict.fromkeys((model.name for model in models), 0)
        self._batchers = {
            model.name: Batcher(
                model,
                limits or Limits(),
                self._ran(model.name),
                coming=functools.partial(self._coming.__getitem__, model.name),
            )
            for model in models
        }

    def close(self) -> None:
        """What waits is answered; then the threads of the models end."""
        for batcher in self._batchers.values():
            batcher.close()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        self._under_way += 1
        try:
            answer = await self._answered(scope, receive)
        except errors.ModelsealError as error:
            answer = _refusal(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours is an answer, too
            answer = _refusal(errors.InternalError(type(error).__name__))
        finally:
            self._under_way -= 1
        await _send(send, answer, scope["method"] == "HEAD")

    def gauges(self, what: str) -> Mapping[metrics.Labels, float]:
        """What ``metrics`` shows of this moment."""
        if what == "under_way":
            return {(): self._under_way}
        return {(("model", name),): b.depth for name, b in self._batchers.items()}

    async def _answered(self, scope: Mapping[str, Any], receive: Receive) -> _Answer:
        path, method = scope["path"].rstrip("/") or "/", scope["method"]
        found = _PATH.fullmatch(path)
        if found is not None and found[3] == "/infer":
            if method != "POST":
                raise errors.Misuse("an inference is asked by POST")
            return await self._infer(found, scope, receive)
        if method not in ("GET", "HEAD"):
            raise errors.NotFound("no such call", name=path[:64])
        if found is not None:
            return self._model(found)
        if path == "/v1/evidence":
            return await self._evidence(scope)
        plain = self._plain().get(path)
        if plain is None:
            raise errors.NotFound("no such call", name=path[:64])
        return plain()

    def _plain(self) -> Mapping[str, Callable[[], _Answer]]:
        about = {
            "name": "modelseal",
            "version": modelseal.__version__,
            "extensions": ["binary_tensor_data", "attested_channel"],
        }
        return {
            "/v2": lambda: _json(about),
            "/v2/health/live": lambda: _json({"live": True}),
            "/v2/health/ready": lambda: _json({"ready": True}),
            "/v2/models": lambda: _json({"models": sorted(self._batchers)}),
            "/metrics": lambda: _Answer(
                200, self.metrics.text().encode(), {"Content-Type": metrics.MEDIA_TYPE}
            ),
        }

    def _batcher(self, found: re.Match[str]) -> Batcher:
        batcher = self._batchers.get(found[1])
        if batcher is None or found[2] not in (None, "1"):
            raise errors.NotFound("no model of that name and version", name=found[1][:64])
        return batcher

    def _model(self, found: re.Match[str]) -> _Answer:
        model = self._batcher(found).model
        if found[3] == "/ready":
            return _json({"name": model.name, "ready": True})
        return _json(model.metadata())

    async def _evidence(self, scope: Mapping[str, Any]) -> _Answer:
        given = parse_qs(scope["query_string"].decode("ascii", "replace"), max_num_fields=4)
        nonces = given.get("nonce", [])
        if len(nonces) != 1:
            raise errors.Misuse("evidence is for one nonce: ?nonce=… in base64url")
        try:
            nonce = unb64u(nonces[0])
        except errors.InvalidBytes:
            raise errors.Misuse("a nonce is base64url without padding") from None
        started = time.monotonic()
        try:
            body = await asyncio.to_thread(self._prover.prove, nonce)
        except errors.ModelsealError as error:
            self.metrics.count("modelseal_evidence_total", outcome=error.code)
            raise
        self.metrics.count("modelseal_evidence_total", outcome="ok")
        self.metrics.observe("modelseal_evidence_seconds", time.monotonic() - started)
        return _Answer(200, body, {"Content-Type": tensors.JSON, "Cache-Control": "no-store"})

    async def _infer(
        self, found: re.Match[str], scope: Mapping[str, Any], receive: Receive
    ) -> _Answer:
        name, started, code = found[1], time.monotonic(), "ok"
        batcher = self._batcher(found)
        try:
            headers = {k.decode("latin-1").lower(): v for k, v in scope["headers"]}
            self._check_token(headers)
            if self._under_way > self._bounds.under_way:
                raise errors.RateLimited("too many questions at once", retry_after_seconds=1)
            self._coming[name] += 1
            try:
                asked = await self._asked(headers, receive)
            finally:
                self._coming[name] -= 1
            future = asyncio.wrap_future(batcher.ask(asked))
            try:
                outputs = await asyncio.wait_for(future, self._bounds.answer_seconds)
            except TimeoutError:
                raise errors.Unavailable("the model did not answer in time") from None
            message = await asyncio.to_thread(tensors.response, name, outputs, asked)
            return _Answer(200, message.body, message.headers)
        except errors.ModelsealError as error:
            code = error.code
            raise
        finally:
            self.metrics.count("modelseal_inference_requests_total", model=name, outcome=code)
            seconds = time.monotonic() - started
            self.metrics.observe("modelseal_inference_request_seconds", seconds, model=name)

    async def _asked(self, headers: Mapping[str, bytes], receive: Receive) -> tensors.Request:
        body = await self._body(headers, receive)
        length = headers.get(tensors.LENGTH_HEADER.lower())
        said = None if length is None else length.decode("latin-1")
        if len(body) <= _SMALL_BYTES:  # quicker than handing it to a thread
            return tensors.read_request(body, said)
        return await asyncio.to_thread(tensors.read_request, body, said)

    def _check_token(self, headers: Mapping[str, bytes]) -> None:
        if not self._bounds.tokens:
            return
        scheme, _, token = headers.get("authorization", b"").partition(b" ")
        shown = hashlib.sha256(token.strip()).digest()
        known = [hmac.compare_digest(shown, one) for one in self._bounds.tokens]
        if scheme.lower() != b"bearer" or not any(known):
            raise errors.CredentialInvalid("this service wants a bearer token that it knows")

    async def _body(self, headers: Mapping[str, bytes], receive: Receive) -> bytes:
        if headers.get("content-encoding", b"identity") != b"identity":
            raise errors.Misuse("bodies are sent uncompressed")
        most = self._bounds.body_bytes
        said = headers.get("content-length", b"0")
        if said.isdigit() and int(said[:20]) > most:
            raise errors.Misuse("the question is too large", limit=most)
        parts, size = [], 0
        until = time.monotonic() + BODY_SECONDS
        while True:
            try:
                event = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise errors.Misuse("the question did not come to its end in time") from None
            if event["type"] == "http.disconnect":
                raise errors.Misuse("the caller went away")
            part = event.get("body", b"")
            size += len(part)
            if size > most:
                raise errors.Misuse("the question is too large", limit=most)
            parts.append(part)
            if not event.get("more_body", False):
                return b"".join(parts)

    def _ran(self, name: str) -> Callable[[int, int, float], None]:
        def ran(rows: int, questions: int, seconds: float) -> None:
            self.metrics.observe("modelseal_inference_run_seconds", seconds, model=name)
            self.metrics.observe("modelseal_inference_run_rows", rows, model=name)
            self.metrics.observe("modelseal_inference_run_questions", questions, model=name)

        return ran


def _metrics(service: Service) -> metrics.Metrics:
    made = metrics.Metrics()
    made.counter("modelseal_inference_requests_total", "Questions answered, by outcome.")
    made.histogram(
        "modelseal_inference_request_seconds", "From question to answer.", metrics.SECONDS
    )
    made.histogram("modelseal_inference_run_seconds", "One run of a model.", metrics.SECONDS)
    made.histogram("modelseal_inference_run_rows", "Rows in one run.", metrics.ROWS)
    made.histogram("modelseal_inference_run_questions", "Questions in one run.", metrics.ROWS)
    made.counter("modelseal_evidence_total", "Evidence asked for, by outcome.")
    made.histogram("modelseal_evidence_seconds", "The hardware's answer.", metrics.SECONDS)
    made.gauge("modelseal_inference_queue", "Questions that wait.", lambda: service.gauges("queue"))
    made.gauge(
        "modelseal_inference_under_way",
        "Calls under way.",
        lambda: service.gauges("under_way"),
    )
    return made


def _json(value: object) -> _Answer:
    return _Answer(200, msgspec.json.encode(value))


def _refusal(error: errors.ModelsealError) -> _Answer:
    """The protocol's error with our code beside it, in English: programs read it."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, errors.Misuse) and error.detail == "the question is too large":
        status = 413
    text = texts.render(error.code, error.params, error.detail, language="en")
    body = {
        "error": f"{text.what} {text.why}" if not error.detail else error.detail,
        "code": error.code,
        "reference": error.reference,
    }
    headers = {"Content-Type": tensors.JSON}
    if isinstance(error, errors.RateLimited):
        headers["Retry-After"] = str(error.params.get("retry_after_seconds", 1))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _Answer(status, msgspec.json.encode(body), headers)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def _send(send: Send, answer: _Answer, head: bool) -> None:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    raw = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
