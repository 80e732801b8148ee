"""A device call at a relay: answered with what the license server said to it, or noted.

Without a budget (``giving``) the relay looks at a request only to know whose question it is: its
signature by its own key, the server and product it is for, the address it came to. Whether anything
is granted it does not know then.
"""

from __future__ import annotations

import re
from datetime import datetime

from modelseal.errors import (
    Misuse,
    NotFound,
    RelayBudgetSpent,
    RelayCannot,
    RelayWaiting,
    TokenAudience,
)
from modelseal.license import tokens
from modelseal.license.claims import RequestClaims
from modelseal.server.relay import carrying, documents
from modelseal.server.relay.box import MAX_WANTED, Box, Question, Reply
from modelseal.server.relay.giving import RETRY_SECONDS, Giving

_CARRIED = {
    "activate": ("POST", "/v1/devices"),
    "renew": ("PUT", "/v1/leases/{device}"),
    "return": ("POST", "/v1/devices/{device}:return"),
}
_REFUSED = {
    "/v1/trials": "a trial begins at the license server",
    "/v1/licenses:lookup": "what a license key is worth only the license server knows",
    "/v1/devices:challenge": "a TPM is proved to the license server itself",
}
_RELEASE = re.compile(r"/v1/devices/[^/]{1,128}/key-releases(:nonce|:attest)?")


def answer(
    box: Box,
    method: str,
    path: str,
    token: bytes,
    now: datetime,
    giving: Giving | None = None,
) -> Reply:
    """The license server's own answer to this very question, or the relay's by its budget.

    Raises ``RelayWaiting`` (``RelayBudgetSpent`` where a budget is used up) when it is not there
    yet, and the question is noted durably; ``RelaySeals`` for a license key that the relay would
    have to read; ``RelayCannot`` for what is not carried; token errors, ``Misuse``, ``DiskFull``.
    """
    check(path)
    claims = tokens.read_request(token, server_id=box.about.server, any_operation=True)
    if claims.product != box.about.product:
        raise TokenAudience("this relay is for another product")
    _check_address(claims, method, path)
    question = Question(claims.iss, claims.nonce, method, path, token)
    spent: RelayWaiting | None = None
    if giving is not None:
        try:
            given = giving.answer(question, claims)
        except RelayBudgetSpent as error:
            given, spent = None, error
        if given is not None:
            for named in carrying.named_in(given):
                box.want(named, MAX_WANTED)
            return given
    found = box.ask(question, claims, now)
    if found is None:
        raise spent or waiting(box)
    return found


def check(path: str) -> None:
    """Returns for the address of a call that is carried; ``RelayCannot``, ``NotFound``."""
    if path in _REFUSED:
        raise RelayCannot(_REFUSED[path])
    if _RELEASE.fullmatch(path):
        raise RelayCannot("keys for one run are released by the license server, run by run")
    carried = path == "/v1/devices" or path.startswith(("/v1/leases/", "/v1/devices/"))
    if not carried:
        raise NotFound("a relay has no such address")


def waiting(box: Box) -> RelayWaiting:
    """The error for what the next sync brings."""
    return RelayWaiting(
        "the next synchronisation brings it",
        synced_at=box.noted("synced_at"),
        ahead=int(box.noted("ahead") or 0),
        retry_after_seconds=RETRY_SECONDS,
    )


def _check_address(claims: RequestClaims, method: str, path: str) -> None:
    wanted = _CARRIED.get(claims.op)
    if wanted is None:
        raise RelayCannot(f"the operation {claims.op} is not carried")
    if not documents.is_call(method, path):  # a sync asks there, so it has to be an address
        raise NotFound("a relay has no such address")
    if (method, path) != (wanted[0], wanted[1].format(device=claims.sub)):
        raise Misuse("this address takes another operation", op=claims.op)
