"""The client: it judges a service's evidence before it sends anything, on that very connection.

    with modelseal.attest.connect("https://10.0.0.7:8444", "policy.json") as service:
        answer = service.infer("swap", {"input": photo})

Steps, for every TLS connection anew:

1. TLS 1.3; the certificate is taken as it comes, only its public key counts
2. a nonce made here goes out; the evidence for it comes back
3. the evidence is judged at this moment by the caller's policy, bound to the nonce and to the key
   that this connection's handshake proved: a relay has another key, a recording another nonce
4. only then is the connection used, and never another one: one that breaks is made and judged anew

No proxy may open the connection on the way; one that passes bytes on (CONNECT) is used where the
environment names it.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from modelseal import errors, structs
from modelseal.attest import kinds
from modelseal.attest.verify import AttestationResult, Endorsements, Policy, PolicyFile, appraise
from modelseal.attest.verify import policy as policies
from modelseal.attest.verify.endorsements import certificates_in
from modelseal.errors import (
    AnswerInvalid,
    ClientClosed,
    EvidenceInvalid,
    EvidenceRefused,
    InputMissing,
    Misuse,
    ModelsealError,
    ServerUnreachable,
)
from modelseal.inference import binding, peer, statement, tensors
from modelseal.inference.proving import spki_digest
from modelseal.strict_json import b64u

if TYPE_CHECKING:
    from modelseal.inference.tensors import Array

PolicyLike: TypeAlias = Policy | PolicyFile | bytes | str | os.PathLike[str]
MAX_ANSWER_BYTES = 256 << 20
MAX_PROVED_SECONDS = 3600.0
_FILES_BYTES = 16 << 20


@dataclass(frozen=True)
class Ports:
    """The client's surroundings; the defaults are the real ones."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[int], bytes] = os.urandom
    proxies: Callable[[], Mapping[str, str]] = field(default=urllib.request.getproxies)


def connect(
    url: str,
    policy: PolicyLike,
    *,
    entitlement: str | None = None,
    endorsements: Sequence[bytes | os.PathLike[str]] = (),
    token: str | None = None,
    timeout_seconds: float = 60.0,
    ports: Ports | None = None,
) -> Connection:
    """A proved connection to the inference service at ``url`` (``https://host:port``).

    ``policy`` says what is good enough: a policy, its bytes, or the path of its file;
    ``entitlement`` chooses among its rules. ``endorsements`` are what vendors say of their hardware
    (bytes or paths), beside what the service sends along. ``token`` is shown where the service
    wants one, once it is proved.

    Raises ``EvidenceInvalid`` when the evidence is not genuine, ``EvidenceRefused`` when it is and
    is not acceptable (``step`` and ``verdict`` in ``params``), ``AppraisalPolicyInvalid`` for a
    policy that cannot be read, ``Unavailable`` errors. Nothing was sent but the nonce then.
    """
    structs.prepare()  # several threads may read answers at once
    made = Connection(
        url, _policy(policy, entitlement), _items(endorsements), token, timeout_seconds,
        ports or Ports(),
    )  # fmt: skip
    try:
        made.prove()
    except BaseException:
        made.close()
        raise
    return made


class Connection:
    """A proved connection; use it as a context manager. Threads take turns.

    ``result`` is the verdict over the service, ``models`` its models by name with the file id (hex)
    of the sealed file each was opened from; both are what the evidence of the present TLS
    connection said.
    """

    def __init__(
        self,
        url: str,
        policy: Policy,
        endorsements: tuple[bytes, ...],
        token: str | None,
        timeout_seconds: float,
        ports: Ports,
    ) -> None:
        self._place = peer.Place.of(url)
        self._policy = policy
        self._endorsements = endorsements
        self._token = token
        self._timeout = timeout_seconds
        self._ports = ports
        self._turn = threading.RLock()
        self._http: http.client.HTTPSConnection | None = None
        self._proved_at = float("-inf")
        self._closed = False
        self._result: AttestationResult | None = None
        self._models: Mapping[str, str] = {}

    @property
    def result(self) -> AttestationResult:
        """The verdict over the service; affirming."""
        if self._result is None:
            raise ClientClosed("this connection was not proved")
        return self._result

    @property
    def models(self) -> Mapping[str, str]:
        """The file id of each model by name."""
        return dict(self._models)

    def prove(self) -> AttestationResult:
        """A fresh connection with fresh evidence stands; the verdict over it."""
        with self._turn:
            self._drop()
            if self._closed:
                raise ClientClosed("this connection is closed")
            opened, spki = self._opened()
            try:
                self._judge(opened, spki)
            except BaseException:
                opened.close()
                raise
            self._http = opened
            self._proved_at = self._ports.monotonic()
            return self.result

    def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()
    ) -> dict[str, Array]:
        """The outputs of ``model`` for ``inputs``, arrays by name; ``outputs`` names some.

        The inputs go to the service that was proved and to nobody else. Raises ``Misuse`` for what
        does not fit the model, ``NotFound``, ``RateLimited`` when the service is busy, the errors
        of ``connect`` when the connection had to be made anew, the refusals of its license.
        """
        import numpy as np

        if not statement.is_name(model):
            raise errors.NotFound("no model has such a name", name=str(model)[:64])
        message = tensors.request({n: np.asarray(a) for n, a in inputs.items()}, outputs)
        path = f"/v2/models/{quote(model, safe='')}/infer"
        headers, body = self._ask("POST", path, message.body, message.headers)
        try:
            return tensors.read_response(body, headers.get(tensors.LENGTH_HEADER.lower()))
        except Misuse as error:
            raise AnswerInvalid(error.detail) from None

    def metadata(self, model: str) -> dict[str, Any]:
        """Inputs and outputs of ``model`` as the protocol describes them; ``NotFound``."""
        if not statement.is_name(model):
            raise errors.NotFound("no model has such a name", name=str(model)[:64])
        _, body = self._ask("GET", f"/v2/models/{quote(model, safe='')}", None, {})
        found = peer.json_of(body)
        if not isinstance(found, dict):
            raise AnswerInvalid("the description of a model is a map")
        return found

    def close(self) -> None:
        """The connection is closed; it cannot be used any more."""
        with self._turn:
            self._closed = True
            self._drop()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[dict[str, str], bytes]:
        with self._turn:
            age = self._ports.monotonic() - self._proved_at
            if self._http is None or age > MAX_PROVED_SECONDS or not peer.is_quiet(self._http):
                self.prove()
            opened = self._http
            if opened is None:
                raise ClientClosed("this connection is closed")
            sent = dict(headers)
            if self._token is not None:
                sent["Authorization"] = f"Bearer {self._token}"
            try:
                return self._exchange(opened, method, path, body, sent, MAX_ANSWER_BYTES)
            except ModelsealError as error:
                if isinstance(error, ServerUnreachable | AnswerInvalid):
                    self._drop()
                raise

    def _opened(self) -> tuple[http.client.HTTPSConnection, bytes]:
        """A TLS 1.3 connection and the digest of the key that its handshake proved."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        # No authority vouches for this key: evidence does, below, and for this key alone.
        context.verify_mode = ssl.CERT_NONE
        place = self._place
        opened = place.connection(context, self._timeout, self._ports.proxies())
        try:
            opened.connect()
            opened.auto_open = 0  # http.client would quietly connect to somebody else again
            der = opened.sock.getpeercert(binary_form=True) or b""
        except (OSError, http.client.HTTPException) as error:
            opened.close()
            raise peer.unreachable(error, str(place)) from None
        try:
            return opened, spki_digest(x509.load_der_x509_certificate(der))
        except Exception as error:  # noqa: BLE001 - hostile bytes: whatever the parser says
            opened.close()
            raise EvidenceInvalid(f"no certificate to judge: {type(error).__name__}") from None

    def _judge(self, opened: http.client.HTTPSConnection, spki: bytes) -> None:
        nonce = self._ports.random(binding.NONCE_BYTES)
        _, body = self._exchange(
            opened, "GET", f"/v1/evidence?nonce={b64u(nonce)}", None, {}, statement.MAX_BYTES
        )
        said = statement.read(body)
        known = kinds.known()
        for one in said.evidence:
            if one.kind not in known:
                raise EvidenceInvalid(f"no evidence kind {one.kind!r}")
        encoded = binding.transcript(nonce, spki, said.models)
        expected = {one.kind: binding.bound(one.kind, encoded) for one in said.evidence}
        # Certificates alone: of lists and collateral a service could choose outdated ones.
        sent = [
            found.public_bytes(Encoding.DER)
            for item in said.endorsements
            for found in certificates_in(item)
        ]
        given = Endorsements((*self._endorsements, *sent))
        result = appraise(
            said.evidence, expected, given, self._policy, self._ports.now(), kinds=known
        )
        if not result.genuine:
            raise EvidenceInvalid(result.reason, step=result.step.value, verdict=result.code)
        if not result.affirming:
            raise EvidenceRefused(
                result.reason, server=str(self._place), step=result.step.value, verdict=result.code
            )
        self._result, self._models = result, said.models

    def _exchange(
        self,
        opened: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        max_bytes: int,
    ) -> tuple[dict[str, str], bytes]:
        try:
            opened.request(method, path, body, {"Accept-Encoding": "identity", **headers})
            answer = opened.getresponse()
            data = self._read(answer, max_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise peer.unreachable(error, str(self._place)) from None
        found = {name.lower(): value for name, value in answer.getheaders()}
        if answer.status != 200:
            raise peer.refusal(answer.status, found, data, proved=opened is self._http)
        return found, data

    def _read(self, answer: http.client.HTTPResponse, max_bytes: int) -> bytes:
        until = self._ports.monotonic() + self._timeout
        parts, size = [], 0
        while part := answer.read1(1 << 20):
            size += len(part)
            if size > max_bytes:
                raise AnswerInvalid(f"the answer is longer than {max_bytes} bytes")
            if self._ports.monotonic() > until:
                raise ServerUnreachable("the answer took too long", server=str(self._place))
            parts.append(part)
        if answer.length:
            raise ServerUnreachable("the answer was cut off", server=str(self._place))
        answer.close()  # the connection goes on
        return b"".join(parts)

    def _drop(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


def _policy(given: PolicyLike, entitlement: str | None) -> Policy:
    if isinstance(given, Policy):
        if entitlement is not None:
            raise Misuse("a single policy has no rules for an entitlement to choose among")
        return given
    if isinstance(given, PolicyFile):
        return given.for_entitlement(entitlement)
    if given is None:
        raise Misuse("a policy says what is good enough; without one nothing is")
    data = given if isinstance(given, bytes) else _file(given)
    return policies.parse(data, kinds.known()).for_entitlement(entitlement)


def _items(given: Sequence[bytes | os.PathLike[str]]) -> tuple[bytes, ...]:
    return tuple(one if isinstance(one, bytes) else _file(one) for one in given)


def _file(path: str | os.PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_FILES_BYTES + 1)
    except (OSError, TypeError, ValueError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise InputMissing(said, path=str(path)[:200]) from None
    if len(data) > _FILES_BYTES:
        raise InputMissing(f"larger than {_FILES_BYTES} bytes", path=str(path)[:200])
    return data
