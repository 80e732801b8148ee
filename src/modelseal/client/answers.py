"""What an HTTP answer means: data, a signed refusal, or nothing at all.

Only a ``denial+jwt`` denies. A captive portal, a proxy, a plain 4xx or a redirect changes nothing
and becomes an error that says what was seen; a problem document of the server without a denial
becomes an error of the same code unless that code would be a refusal.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from modelseal import strict_json
from modelseal.client.transport import MAX_ANSWER_BYTES, Answer
from modelseal.errors import (
    AnswerUnsigned,
    AssuranceNotReached,
    InternalError,
    ModelsealError,
    RateLimited,
    Refused,
    ServerFailed,
    Unavailable,
    by_code,
)
from modelseal.strict_json import JsonInvalid

_TITLE = re.compile(rb"<title[^>]{0,100}>([^<]{0,200})", re.IGNORECASE)
_REFERENCE = re.compile(r"[0-9A-Z]{8}")
_PROBLEM = "application/problem+json"
_RETRY_CAP_SECONDS = 24 * 3600


class Problem(msgspec.Struct, frozen=True):
    """A problem document (RFC 9457); members this release does not know are ignored."""

    status: int | None = None
    title: str = ""
    detail: str = ""
    code: str = ""
    params: dict[str, Any] = {}
    reference: str | None = None
    event_id: str | None = None
    denial: str | None = None


@dataclass(frozen=True, slots=True)
class SignedRefusal:
    """A problem document with a denial in it, not verified yet; ``answer`` is what was seen."""

    denial: str = field(repr=False)
    problem: Problem
    answer: Answer = field(repr=False)


def read(answer: Answer, *, server: str) -> dict[str, Any] | SignedRefusal:
    """The JSON object of a 2xx answer, or the signed refusal in a problem document.

    Raises ``AnswerUnsigned``, ``RateLimited``, ``ServerFailed`` or the problem's own error.
    """
    if 200 <= answer.status < 300 and answer.media_type == "application/json":
        value = _object(answer)
        if value is None:
            raise unsigned(answer, server)
        return value
    problem = _problem(answer)
    if problem is None:
        raise _plain_failure(answer, server)
    if problem.denial is not None:
        return SignedRefusal(problem.denial, problem, answer)
    raise _error(problem, answer, server)


def is_problem(media_type: str) -> bool:
    """Whether an answer of that type is a problem document, as a server like ours writes them."""
    return media_type == _PROBLEM


def require(answer: Answer, *, server: str) -> None:
    """Returns for a 2xx answer of any type; raises as ``read`` does for everything else."""
    if 200 <= answer.status < 300:
        return
    problem = _problem(answer)
    raise _plain_failure(answer, server) if problem is None else _error(problem, answer, server)


def unsigned(answer: Answer, server: str) -> AnswerUnsigned:
    """The error for an answer that is not the license server's; says what was seen."""
    saw = f"a {answer.media_type or 'nameless'} page"
    title = _TITLE.search(answer.body[:65536])
    if 300 <= answer.status < 400:
        target = re.sub(r"[?#].*", "", answer.headers.get("location", ""))
        saw = f"a redirect to {_clean(target)}"
    elif title is not None:
        saw += f" titled '{_clean(html.unescape(title.group(1).decode('utf-8', 'replace')))}'"
    return AnswerUnsigned(
        f"{saw}, status {answer.status}", server=server, status=answer.status, saw=saw
    )


def retry_after(answer: Answer) -> int | None:
    """Seconds of ``Retry-After`` (delta form), at most a day; None without one."""
    value = answer.headers.get("retry-after", "").strip()
    return min(int(value), _RETRY_CAP_SECONDS) if value.isascii() and value.isdigit() else None


def _plain_failure(answer: Answer, server: str) -> ModelsealError:
    if answer.status == 429:
        return RateLimited("", retry_after_seconds=retry_after(answer), server=server)
    if answer.status in (500, 502, 503, 504):
        return ServerFailed("no problem document", status=answer.status, server=server)
    return unsigned(answer, server)


def _error(problem: Problem, answer: Answer, server: str) -> ModelsealError:
    reference = problem.reference if _REFERENCE.fullmatch(problem.reference or "") else None
    if answer.status == 429:
        return RateLimited(
            reference=reference, retry_after_seconds=retry_after(answer), server=server
        )
    cls = by_code(problem.code)
    failed = answer.status >= 500 or cls is InternalError
    broken = failed and not (cls is not None and issubclass(cls, Unavailable))
    if cls is None or cls is ModelsealError or broken:
        return ServerFailed(
            _clean(problem.title), reference=reference, status=answer.status, server=server
        )
    if issubclass(cls, (Refused, AssuranceNotReached)):
        saw = f"the refusal '{cls.code}' without a signature"
        return AnswerUnsigned(saw, server=server, status=answer.status, saw=saw)
    params = {**_params(problem.params), "server": server, "status": answer.status}
    return cls(_clean(problem.detail), reference=reference, **params)


def _params(params: dict[str, Any]) -> dict[str, Any]:
    """Named values only: nothing may collide with the constructor's own arguments."""
    names = (n for n in params if n.isidentifier() and n not in ("detail", "reference", "self"))
    return {name: params[name] for name in names}


def _problem(answer: Answer) -> Problem | None:
    if not is_problem(answer.media_type):
        return None
    value = _object(answer)
    if value is None:
        return None
    try:
        return msgspec.convert(value, Problem, strict=True)
    except msgspec.ValidationError:
        return None


def _object(answer: Answer) -> dict[str, Any] | None:
    try:
        value = strict_json.decode(answer.body, max_bytes=MAX_ANSWER_BYTES)
    except JsonInvalid:
        return None
    return value if isinstance(value, dict) else None


def _clean(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text[:200])
    return " ".join(shown.split())[:120]
