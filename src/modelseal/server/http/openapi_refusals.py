"""Which refusals the OpenAPI document names for a call, and the responses that it names them by.

Whatever is not named is a problem document too (``default``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelseal.server.http.problems import MEDIA_TYPE

_WAIT = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_NAMED: dict[int, tuple[str, str, dict[str, Any]]] = {
    400: ("Unreadable", "Bytes or tokens that are not acceptable, or no HTTP of one meaning.", {}),
    401: ("NotSignedIn", "No token, or one that is not valid.", {
        "WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}}),
    403: ("Refused", "Not allowed. Of a device: refused, for good only with a denial.", {}),
    404: ("NotFound", "There is nothing of that name, or it is another's.", {}),
    409: ("Conflict", "It collides with what is there, or was answered before.", _WAIT),
    413: ("TooLarge", "The body is longer than this call takes.", {}),
    415: ("OtherMediaType", "The body is of another media type, or compressed.", {}),
    416: ("OutsideOfFile", "The range lies outside the file.", {
        "Content-Range": {"description": "`bytes */` and the size.",
                          "schema": {"type": "string"}}}),
    422: ("MakesNoSense", "A body, parameter or header that makes no sense as given.", {}),
    429: ("TooMany", "Too many requests.", _WAIT),
    503: ("Unavailable", "Nothing was changed: store, key store or provider is away.", _WAIT),
}  # fmt: skip
_ALWAYS_ANSWERED = frozenset({"/healthz", "/schema", "/schema/openapi.json"})
_NOT_EVERYWHERE = frozenset({"/metrics", "/v1/sign-in"})
_UNLIMITED = frozenset({"/healthz", "/readyz", "/metrics"})


def statuses(path: str, *, admin: bool, body: str | None, asked: bool) -> Iterator[int]:
    """The refusals of the call at ``path``.

    ``body`` is the media type it takes; ``asked`` is true when it reads queries or conditions.
    """
    if path not in _UNLIMITED:
        yield 429
    if path not in _ALWAYS_ANSWERED:
        yield 503
    if admin:
        yield from (401, 403)
    if "{" in path or path in _NOT_EVERYWHERE:
        yield 404
    if body is not None:  # which may name what is not there
        yield from (400, 404, 409, 413, 415, 422)
        if not admin:
            yield 403
    elif asked:
        yield 422


def reference(status: int) -> dict[str, Any]:
    """How an operation names the refusal ``status``."""
    return {"$ref": f"#/components/responses/{_NAMED[status][0]}"}


def responses(problem: dict[str, Any]) -> dict[str, Any]:
    """The named responses; ``problem`` is the schema of them all."""
    content = {MEDIA_TYPE: {"schema": problem}}
    made: dict[str, Any] = {
        "Problem": {
            "description": "A problem (RFC 9457). Only a member denial denies.",
            "headers": _WAIT,
            "content": content,
        }
    }
    for name, told, headers in _NAMED.values():
        made[name] = {"description": told, "content": content}
        if headers:
            made[name]["headers"] = headers
    return made


__all__ = ["reference", "responses", "statuses"]
