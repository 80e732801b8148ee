"""Storing what the server answered: a lease that replaces the old one, or a denial that ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelseal.client import asking, counting, trusting
from modelseal.client.asking import Denied, Question
from modelseal.client.core import Core
from modelseal.client.identity import Identity
from modelseal.client.leasekey import LeaseKeys
from modelseal.client.record import refusal_of
from modelseal.errors import AnswerInvalid, DiskFull, ModelsealError, RelayWaiting, StorageFailed
from modelseal.license import lease as leases
from modelseal.license.claims import DenialClaims, LeaseClaims, LicenseClaims, RequestClaims
from modelseal.types import LeaseState, to_numeric

Keep = Callable[[str, str | None], None]
_RUNNING = frozenset({LeaseState.ACTIVE, LeaseState.RENEW_DUE, LeaseState.OVERDUE})


def accept(
    core: Core,
    question: Question,
    asked: RequestClaims,
    found: Mapping[str, Any],
    *,
    license_needed: bool,
    keep: Keep | None = None,
    **noted: Any,
) -> LeaseClaims:
    """The lease in ``found`` answers the question, is stored and replaces what was held.

    ``keep`` stores lease and license in another way than as the next ones of the same key. Raises
    ``AnswerInvalid`` or a token error when it does not; then nothing has changed and the question
    stays pending. Under the lock.
    """
    if "next_code" in found:  # a relay's: the question itself still waits
        raise RelayWaiting("the next synchronisation brings the answer")
    token = asking.text_of(found, "lease")
    claims = trusting.read_token(core, token, LeaseClaims)
    asking.check(claims, asked, question.identity)
    license_ = _license(core, found, claims, asked, needed=license_needed)
    if keep is None:
        core.store.accept_lease(question.identity, question.keys, lease=token, license_=license_)
    else:
        keep(token, license_)
    core.note(
        device_id=claims.sub,
        license_id=claims.lic,
        seq=claims.seq,
        prev=claims.jti,
        code_from=None,
        server=core.known_server or "",
        product=claims.product,
        copyable=question.identity.copyable,
        last_contact=to_numeric(core.ports.now()),
        last_seen=to_numeric(core.ports.now()),
        heard_at=None,
        status=None,
        meters=counting.notes(found, asked.usage),
        **{"returned": False, **noted},
    )
    core.contact_made()
    return claims


def _license(
    core: Core,
    found: Mapping[str, Any],
    lease: LeaseClaims,
    asked: RequestClaims,
    *,
    needed: bool,
) -> str | None:
    if found.get("license") is None:
        check_license(None, lease, asked, needed=needed)
        return None
    token = asking.text_of(found, "license")
    check_license(trusting.read_token(core, token, LicenseClaims), lease, asked, needed=needed)
    return token


def check_license(
    license_: LicenseClaims | None, lease: LeaseClaims, asked: RequestClaims, *, needed: bool
) -> None:
    """Returns when the lease is for the license beside it, or for the one that is held."""
    if license_ is None:
        if needed or asked.lic is None:
            raise AnswerInvalid("the answer has no license")
        if lease.lic != asked.lic:
            raise AnswerInvalid("the lease is for another license")
    elif license_.sub != lease.lic:
        raise AnswerInvalid("license and lease do not belong together")


def accept_denial(
    core: Core, identity: Identity, keys: LeaseKeys, denied: Denied, *, first: bool
) -> ModelsealError:
    """The denial is stored and carried out; returns the error that it stands for. Under the lock.

    The refusal of an activation (``first``) tells nothing about a lease that may be there, so it
    ends the question only; in a chain not even that, for a renewal may be unanswered under it.
    """
    error = asking.error_of(denied.claims)
    try:
        _store_denial(core, identity, keys, denied, error, first=first)
    except (DiskFull, StorageFailed) as failed:  # the question is asked, and refused, again
        core.journal.write("denial_not_stored", durable=True, code=failed.code)
    return error


def _store_denial(
    core: Core,
    identity: Identity,
    keys: LeaseKeys,
    denied: Denied,
    error: ModelsealError,
    *,
    first: bool,
) -> None:
    claims = denied.claims
    if first or not _counts(core, claims):
        kept = keys.pending if first and core.held(tolerant=True).seq > 0 else None
        core.store.write_lease_keys(identity, LeaseKeys(keys.current, kept))
    else:
        core.run_keys.wipe()
        core.store.accept_denial(identity, keys, denial=denied.token, erase=claims.erase)
        core.note(
            device_id=claims.sub, seq=claims.seq, prev=claims.jti, heard_at=None, code_from=None
        )
    core.note(
        last_refusal=refusal_of(error, to_numeric(core.ports.now())),
        last_contact=to_numeric(core.ports.now()),
    )


def _counts(core: Core, claims: DenialClaims) -> bool:
    """Whether a denial says something about the lease: a new number, or a state that ends it."""
    held = core.held(tolerant=True)
    return claims.seq > held.seq or leases.denied_state(claims) not in _RUNNING
