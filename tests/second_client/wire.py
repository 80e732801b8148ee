"""HTTPS: one request, one answer, sorted by the table of protocol.md, section 2."""

from __future__ import annotations

import hashlib
import ssl
from typing import Any

import httpx

from .encoding import Refused, expect, strict_json, unb64u

_CAP, _BUNDLE, _STATUS = 4 << 20, 1 << 20, 2 << 20
_PROBLEM = "application/problem+json"
_REFUSALS = (  # the codes of protocol.md, section 2, under 403 and 401
    "refused not_activated unknown_license_key unknown_product license_not_yet_valid"
    " license_expired license_suspended license_revoked lease_expired lease_superseded"
    " not_entitled together_missing release_too_old wrong_device device_changed device_unbound"
    " device_revoked device_returned no_free_seat replace_pending rebinds_used_up forked"
    " eula_not_accepted platform_not_allowed trial_used meter_exceeded access_denied"
    " passphrase_wrong assurance_not_reached level_not_reached enforcement_not_reached"
    " memory_not_reached credential_invalid"
)
_UNAVAILABLE = (  # those under 503
    "unavailable certificate_invalid storage_failed store_behind disk_full state_not_writable"
    " state_not_readable key_store_unavailable memory_unavailable address_in_use"
)
REFUSALS, UNAVAILABLE = frozenset(_REFUSALS.split()), frozenset(_UNAVAILABLE.split())


class Wire:
    """A server, over TLS with the pinned authority beside the system's."""

    def __init__(self, base: str, tls_ca: str | None) -> None:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls_ca:
            context.load_verify_locations(cadata=tls_ca)
        timeout = httpx.Timeout(300, connect=60)
        self.http = httpx.Client(
            base_url=base, verify=context, timeout=timeout, follow_redirects=False
        )

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        nonce: str,
        status: int,
        media: str = "application/jwt",
    ) -> dict[str, Any]:
        """The members of an answer. A problem is raised under its code, a denial in `params`."""
        headers = {
            "Content-Type": media,
            "Accept": f"application/json, {_PROBLEM}",
            "Idempotency-Key": nonce,
        }
        request = self.http.build_request(method, path, headers=headers, content=body)
        found, told, kind = self._send(request, _CAP)
        if found == status and kind == "application/json":
            value = strict_json(told, "answer_unsigned")
            expect(isinstance(value, dict), "answer_unsigned", "no object")
            return dict(value)
        raise self._problem(found, kind, told)

    def get(self, path: str, kind: str, most: int = _CAP) -> bytes:
        """The body of what everybody may fetch."""
        found, body, got = self._send(self.http.build_request("GET", path), most)
        if found == 200 and got == kind:
            return body
        raise self._problem(found, got, body)

    def bundle(self, digest: str) -> bytes:
        """A key bundle, compared with its digest (base64url)."""
        wanted = unb64u(digest, "token_claims")
        body = self.get(f"/v1/bundles/{wanted.hex()}", "application/octet-stream", _BUNDLE)
        expect(hashlib.sha256(body).digest() == wanted, "download_damaged", "another bundle")
        return body

    def status_list(self, uri: str) -> str:
        """The status list at the path of `uri`, from our own server."""
        path = httpx.URL(uri).raw_path.decode()
        body = self.get(path, "application/statuslist+jwt", _STATUS)
        return body.decode("ascii", "replace")

    def _send(self, request: httpx.Request, most: int) -> tuple[int, bytes, str]:
        try:
            answer = self.http.send(request, stream=True)
            try:
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    expect(len(body) <= most, "answer_unsigned", "a longer answer than allowed")
            finally:
                answer.close()
        except httpx.TransportError as error:
            raise Refused("unavailable", type(error).__name__) from error
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        return answer.status_code, body, kind

    def _problem(self, status: int, kind: str, body: bytes) -> Refused:
        problem: dict[str, Any] = {}
        if kind == _PROBLEM:
            try:
                value = strict_json(body, "answer_unsigned")
            except Refused:
                value = None
            problem = value if isinstance(value, dict) else {}
        code = problem.get("code")
        why = str(problem.get("detail", f"status {status}, {kind}"))
        if isinstance(problem.get("denial"), str):
            return Refused("denied", why, problem)
        if status == 429:
            return Refused("rate_limited", why, problem)
        if isinstance(code, str) and code in REFUSALS:
            return Refused("answer_unsigned", f"{code} without a denial", problem)
        if isinstance(code, str) and (status < 500 or code in UNAVAILABLE):
            return Refused(code, why, problem)
        return Refused("server_failed" if status >= 500 else "answer_unsigned", why, problem)
