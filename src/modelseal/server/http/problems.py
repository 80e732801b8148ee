"""Errors as HTTP: the one table, and problem documents (RFC 9457)."""

from __future__ import annotations

import functools
import logging
import secrets
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from modelseal import errors, texts
from modelseal.server.services.denials import refusal_of

STATUS: dict[type[errors.ModelsealError], int] = {
    errors.ModelsealError: 500,
    errors.Misuse: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Refused: 403,
    errors.CredentialInvalid: 401,
    errors.InvalidBytes: 400,
    errors.TokenTooLarge: 413,
    errors.Unavailable: 503,
    errors.RateLimited: 429,
    errors.RequestReplayed: 409,
    errors.EvidenceOutdated: 409,
    errors.AssuranceNotReached: 403,
}
"""The whole table: the nearest class above an error decides."""

MEDIA_TYPE = "application/problem+json"
_TITLES = {"misuse": "The request makes no sense as given."}
"""Where the text for people at a terminal speaks of a command."""
_SAID = {
    404: "no such address",
    405: "this address takes other methods",
    413: "the body is longer than is read here",
}
"""What the framework says in the words of HTTP alone."""
_log = logging.getLogger("modelseal.server")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document. ``denial`` is a signed refusal; without one nothing was denied."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    params: dict[str, Any]
    reference: str | None = None
    event_id: str | None = None
    denial: str | None = None


def status_of(error: errors.ModelsealError) -> int:
    """The HTTP status of ``error`` by the table."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def render(error: errors.ModelsealError) -> Response[bytes]:
    """The problem document of ``error``, in English; programs read ``code`` and ``params``."""
    refusal = refusal_of(error)
    problem = Problem(
        type=f"urn:modelseal:error:{error.code}",
        title=_title(error.code),
        status=status_of(error),
        detail=error.detail,
        code=error.code,
        params={name: _plain(value) for name, value in error.params.items()},
        reference=error.reference,
        event_id=refusal.event_id if refusal else None,
        denial=refusal.denial if refusal else None,
    )
    headers = {"Cache-Control": "no-store"}
    wait = error.params.get("retry_after_seconds")
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(wait if isinstance(wait, int) else 5)
    if isinstance(error, errors.CredentialInvalid):
        headers["WWW-Authenticate"] = 'Bearer realm="modelseal"'
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


@functools.cache
def _title(code: str) -> str:
    """What all problems of ``code`` are called: the same every time (RFC 9457, section 3.1.3)."""
    return _TITLES.get(code) or texts.render(code, {}, language="en").what


def on_error(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Any exception as a problem document; what is not ours is logged and says nothing."""
    return rendered(error)


def rendered(error: Exception) -> Response[bytes]:
    """The same where there is no request of the framework's."""
    if isinstance(error, errors.ModelsealError):
        return render(error)
    if isinstance(error, HTTPException):
        return _framework(error)
    reference = secrets.token_hex(4).upper()
    _log.error("internal error, reference %s", reference, exc_info=error)
    return render(errors.InternalError("an unexpected failure", reference=reference))


def _framework(error: HTTPException) -> Response[bytes]:
    """What the framework refused before any service was asked, under its own status.

    Its 400 (a parameter that is none) is a ``Misuse`` like every other.
    """
    if error.status_code >= 500:
        return render(errors.InternalError("an unexpected failure"))
    if error.status_code in (400, 404):
        code = errors.NotFound if error.status_code == 404 else errors.Misuse
        return render(code(_describe(error)))
    answer = refused(error.status_code, _describe(error))
    if error.headers and "Content-Range" in error.headers:
        answer.headers["Content-Range"] = error.headers["Content-Range"]
    if error.status_code == 405:
        answer.headers["Allow"] = ""  # ``front`` knows the methods of the address
    if error.status_code == 408:
        answer.headers["Connection"] = "close"
    return answer


def refused(status: int, detail: str) -> Response[bytes]:
    """What HTTP itself refuses: a ``Misuse`` under another status than its own."""
    answer = render(errors.Misuse(detail))
    body = msgspec.json.decode(answer.content)
    body["status"] = answer.status_code = status
    answer.content = msgspec.json.encode(body)
    return answer


def _describe(error: HTTPException) -> str:
    """What the framework found, without the address that it repeats: each parameter and why."""
    extra = error.extra if isinstance(error.extra, list) else []
    if not extra and error.status_code in _SAID:
        return _SAID[error.status_code]
    reasons = [
        f"{str(item.get('key', ''))[:64]}: {str(item.get('message', ''))[:200]}"
        for item in extra if isinstance(item, dict)
    ]  # fmt: skip
    return "; ".join(reasons[:4]) or error.detail[:200]


def _plain(value: object) -> Any:
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return str(value)


__all__ = ["MEDIA_TYPE", "STATUS", "Problem", "on_error", "refused", "render", "status_of"]
