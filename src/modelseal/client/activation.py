"""Entering a license key: what is checked here, what is asked, what is stored in which order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from modelseal.client import answering, asking, identity
from modelseal.client.asking import Denied, Question
from modelseal.client.config import check_digest
from modelseal.client.core import Core, Held
from modelseal.client.identity import Identity
from modelseal.client.pulled import Progress
from modelseal.client.settings import NO_SERVER
from modelseal.errors import (
    AnswerInvalid,
    ClockSetBack,
    ConfigInvalid,
    DeviceChanged,
    Misuse,
    ModelsealError,
    NotActivated,
    StateDamaged,
    TokenAudience,
    UnknownProduct,
)
from modelseal.license import clock, license_key
from modelseal.license.claims import LeaseClaims, SealedText
from modelseal.license.license_key import KeyBinding
from modelseal.trust import Use

LOCK_SECONDS = 60.0
_MAX_LABEL = 64

_STEPS = ("reading this computer", "asking the server", "storing the lease")


class Holder(msgspec.Struct, frozen=True):
    """A device that holds a seat, by the label its user chose."""

    device_id: str
    label: str | None = None
    last_contact_at: datetime | None = None


class EulaTerms(msgspec.Struct, frozen=True):
    """The agreement that activation binds: SHA-256 of its bytes (base64url), where it lies."""

    digest: str
    uri: str | None = None


class LicenseInfo(msgspec.Struct, frozen=True):
    """What the server says about a license key before anything is decided."""

    product: str
    plan: str
    seats: int
    holders: list[Holder]
    license_expires_at: datetime | None = None
    eula: EulaTerms | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for besides the license key."""

    eula: str | None = None
    replace: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.eula is not None:
            check_digest(self.eula)
        if self.label is not None and not 0 < len(self.label) <= _MAX_LABEL:
            raise Misuse(f"a label has 1 to {_MAX_LABEL} characters")
        if self.replace is not None and not 0 < len(self.replace) <= 128:
            raise Misuse("a device to replace is named by its id")

    def parts(self) -> tuple[str, ...]:
        """What makes one wish differ from another."""
        return (self.eula or "", self.replace or "", self.label or "")


def activate(core: Core, key: str, wish: Wish, progress: Progress | None = None) -> LeaseClaims:
    """This device holds a lease of the license with ``key``; it is stored.

    Raises ``LicenseKeyMistyped`` before anything is sent; a refusal of the tree; ``Unavailable``
    errors, after which the same call asks the same question again and gets the same answer.
    """
    text = license_key.format_key(license_key.parse(key))
    _check_product(core)
    _tell(progress, 0)
    before = _lease_id(core)
    with core.locked(LOCK_SECONDS):
        me = identity_for(core)
        by = me.keyed_hash("license-key", text).hex()
        held = core.held(tolerant=True)
        done = _done_meanwhile(held, before, by)
        if done is not None:
            return done
        question = asking.prepare(core, me, held, "activate", text, *wish.parts())
        more: dict[str, Any] = {
            "license_key": sealed_key(core, me, question.nonce, text),
            "replace": wish.replace,
            "label": wish.label,
            "eula": wish.eula,
        }
        return _ask(core, question, "/v1/devices", "activate", more, wish, by, progress)[0]


def start_trial(
    core: Core, plan: str, email: str | None, wish: Wish, progress: Progress | None = None
) -> tuple[LeaseClaims, str]:
    """This device holds a lease of a fresh trial of ``plan``; also the trial's license key."""
    _check_product(core)
    _tell(progress, 0)
    with core.locked(LOCK_SECONDS):
        me = identity_for(core)
        held = core.held(tolerant=True)
        question = asking.prepare(core, me, held, "trial", plan, email or "", *wish.parts())
        more = {"plan": plan, "email": email, "label": wish.label, "eula": wish.eula}
        lease, found = _ask(core, question, "/v1/trials", "trial", more, wish, None, progress)
    return lease, asking.text_of(found, "license_key")


def lookup(core: Core, key: str) -> LicenseInfo:
    """What the license with ``key`` is: plan, end, seats, their holders, the agreement to accept.

    Nothing is stored and no seat is taken. Raises as ``activate`` does.
    """
    text = license_key.format_key(license_key.parse(key))
    me = _passing_identity(core)
    held = Held(None, None, None, None, None)
    nonce = asking.fresh_nonce(core)
    sealed = sealed_key(core, me, nonce, text)
    asked = asking.claims(core, me, held, op="lookup", nonce=nonce, kem=None, license_key=sealed)
    try:
        found = asking.send(core, me, asked, "POST", "/v1/licenses:lookup")
    except Denied as denied:
        raise asking.error_of(denied.claims) from None
    except TokenAudience as error:
        raise _unknown_product(core, error) from None
    try:
        return msgspec.convert(found, LicenseInfo, strict=True)
    except msgspec.ValidationError as error:
        raise AnswerInvalid(f"lookup: {error}"[:200]) from None


def sealed_key(core: Core, me: Identity, nonce: str, text: str) -> SealedText:
    """The license key, readable by the server only, bound to this one question.

    ``ClockSetBack`` on a computer whose clock is behind the first sealing key: before the first
    activation there is no other time to go by.
    """
    trust = core.trust
    first = min((key.not_before for key in trust.keys(Use.SEALING)), default=None)
    verdict = clock.judge(core.ports.now(), first)
    if verdict.set_back:
        now = core.ports.now().isoformat(timespec="seconds")
        raise ClockSetBack(now=now, floor=verdict.at.isoformat(timespec="seconds"))
    binding = KeyBinding(trust.server_id, trust.product, me.kid, nonce)
    return license_key.seal(text, trust.sealing_key(verdict.at), binding)


def _ask(
    core: Core,
    question: Question,
    path: str,
    op: str,
    more: dict[str, Any],
    wish: Wish,
    by: str | None,
    progress: Progress | None,
) -> tuple[LeaseClaims, dict[str, Any]]:
    _tell(progress, 1)
    try:
        found, asked = asking.put(core, question, "POST", path, op=op, **more)
    except Denied as denied:
        error = answering.accept_denial(core, question.identity, question.keys, denied, first=True)
        core.store.put_back()
        raise error from None
    except TokenAudience as error:
        raise _unknown_product(core, error) from None
    _tell(progress, 2)
    lease = answering.accept(
        core, question, asked, found, license_needed=True,
        activated_by=by, label=wish.label, eula=wish.eula, last_refusal=None, returned=False,
    )  # fmt: skip
    core.use_trust(core.trust)
    core.store.drop_previous()
    _tell(progress, 3)
    return lease, found


def identity_for(core: Core) -> Identity:
    """The device's identity; a new one where there is none that this computer can unlock."""
    try:
        return core.unlock(asking=True)
    except NotActivated:
        pass
    except (DeviceChanged, StateDamaged) as error:
        core.journal.write("device_key_set_aside", code=error.code, durable=True)
        core.store.set_aside()
    fresh, wrapped = identity.create(core.traits(), core.ports.random)
    core.store.write_device_key(wrapped)
    core.adopt()
    return fresh


def _passing_identity(core: Core) -> Identity:
    """The device's identity, or one for this question only."""
    try:
        return core.unlock(asking=True)
    except ModelsealError:
        return identity.create_passing(core.ports.random)


def _done_meanwhile(held: Held, before: str | None, by: str) -> LeaseClaims | None:
    """The lease that another process got with the same license key while this one waited."""
    if held.lease is None or held.record is None or held.lease.jti == before:
        return None
    return held.lease if held.record.activated_by == by else None


def _lease_id(core: Core) -> str | None:
    try:
        lease = core.held(tolerant=True).lease
    except ModelsealError:
        return None
    return None if lease is None else lease.jti


def _check_product(core: Core) -> None:
    named = core.settings.product
    if named is not None and named != core.trust.product:
        raise UnknownProduct("the trust is another product's", product=named)
    if not core.server:
        raise ConfigInvalid(NO_SERVER)


def _unknown_product(core: Core, error: TokenAudience) -> UnknownProduct:
    """The server says that the question was meant for another one: ours is not its product."""
    return UnknownProduct(error.detail, reference=error.reference, product=core.trust.product)


def _tell(progress: Progress | None, step: int) -> None:
    if progress is not None:
        progress(step, len(_STEPS), _STEPS[min(step, len(_STEPS) - 1)])
