"""Azure's instance metadata service, as far as evidence goes: the host's certificates, TDX quotes.

It answers at a link-local address, over plain HTTP, and only inside the virtual machine. What it
says is signed by AMD or Intel, or worth nothing.
"""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any, Protocol

from modelseal.attest.collect.ports import MAX_READ_BYTES, unavailable
from modelseal.errors import EvidenceUnavailable

HOST, PORT = "169.254.169.254", 80
CERTIFICATES, TD_QUOTE = "/metadata/THIM/amd/certification", "/acc/tdquote"
_SOURCE = "Azure instance metadata service"
_SECONDS = 10.0


class Imds(Protocol):
    """What a virtual machine asks its host for. Raises ``EvidenceUnavailable``."""

    def certificates(self) -> bytes:
        """The chip's VCEK and AMD's chain above it, in PEM."""
        ...

    def td_quote(self, report: bytes) -> bytes:
        """The quote that the host's quoting enclave makes of a TDREPORT."""
        ...


class SystemImds:
    """The service of this machine. No proxy stands between."""

    def __init__(self, host: str = HOST, port: int = PORT) -> None:
        self._host = host
        self._port = port

    def certificates(self) -> bytes:
        """See ``Imds``."""
        found = self._ask("GET", CERTIFICATES)
        return (_text(found, "vcekCert") + _text(found, "certificateChain")).encode()

    def td_quote(self, report: bytes) -> bytes:
        """See ``Imds``."""
        sent = base64.urlsafe_b64encode(report).rstrip(b"=").decode()
        told = _text(self._ask("POST", TD_QUOTE, json.dumps({"report": sent})), "quote")
        try:
            return base64.urlsafe_b64decode(told + "=" * (-len(told) % 4))
        except ValueError:
            raise EvidenceUnavailable(f"{_SOURCE}: a quote that is none", source=_SOURCE) from None

    def _ask(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        headers = {"Metadata": "true", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_SECONDS)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read(MAX_READ_BYTES)
        except OSError as error:
            raise unavailable(error, _SOURCE) from None
        except http.client.HTTPException as error:
            name = type(error).__name__
            raise EvidenceUnavailable(f"{_SOURCE}: {name}", source=_SOURCE) from None
        finally:
            connection.close()
        try:
            found = json.loads(data) if answer.status == http.client.OK else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise EvidenceUnavailable(f"{_SOURCE} answered {answer.status}", source=_SOURCE)
        return found


def _text(found: dict[str, Any], name: str) -> str:
    text = found.get(name)
    if not isinstance(text, str) or not text or not text.isascii():
        raise EvidenceUnavailable(f"{_SOURCE}: no {name}", source=_SOURCE)
    return text
