"""Entering a license key: what is checked here, what is asked, what is stored in which order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from modelseal.client import (
    answering,
    asking,
    bundles,
    hardware,
    identity,
    relayed,
    renewal,
    trusting,
)
from modelseal.client import standing as standings
from modelseal.client.asking import Denied, Question
from modelseal.client.config import check_digest
from modelseal.client.core import Core, Held
from modelseal.client.identity import Identity
from modelseal.client.pulled import Progress
from modelseal.client.settings import NO_SERVER
from modelseal.crypto.hpke import SUITE, KemPublicKey
from modelseal.errors import (
    AnotherLicense,
    AnswerInvalid,
    ClockSetBack,
    ConfigInvalid,
    Conflict,
    DelegationOver,
    DeviceChanged,
    EnforcementNotReached,
    KeyOfAnotherTpm,
    LevelNotReached,
    Misuse,
    ModelsealError,
    NotActivated,
    Refused,
    RelaySeals,
    RelayWaiting,
    StateDamaged,
    TokenAudience,
    TpmCleared,
    UnknownProduct,
)
from modelseal.license import clock, license_key
from modelseal.license.claims import (
    DelegationClaims,
    LeaseClaims,
    RequestClaims,
    SealedText,
)
from modelseal.license.license_key import KeyBinding
from modelseal.trust import Use
from modelseal.types import to_numeric

T = TypeVar("T")
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
    license_id: str
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
    switch: bool = False

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
    _leave_another(core, text, wish)
    before = _lease_id(core)
    with core.locked(LOCK_SECONDS):

        def enter(proving: ModelsealError | None) -> LeaseClaims:
            me = identity_for(core)
            by = me.keyed_hash("license-key", text).hex()
            held = core.held(tolerant=True)
            done = _done_meanwhile(held, before, by)
            if done is not None:
                return done
            asked = ("activate", text, *wish.parts())
            question = _prepared(core, me, held, asked, proving=proving)
            more: dict[str, Any] = {
                "license_key": sealed_key(core, me, question.nonce, text),
                "replace": wish.replace,
                "label": wish.label,
                "eula": wish.eula,
            }
            path = "/v1/devices"
            return _ask(core, question, path, "activate", more, wish, by, progress, text)[0]

        lease = _entered(core, enter)
    return _moved_up(core, lease)


def start_trial(
    core: Core, plan: str, email: str | None, wish: Wish, progress: Progress | None = None
) -> tuple[LeaseClaims, str]:
    """This device holds a lease of a fresh trial of ``plan``; also the trial's license key."""
    _check_product(core)
    _tell(progress, 0)
    with core.locked(LOCK_SECONDS):

        def enter(proving: ModelsealError | None) -> tuple[LeaseClaims, dict[str, Any]]:
            me = identity_for(core)
            held = core.held(tolerant=True)
            asked = ("trial", plan, email or "", *wish.parts())
            question = _prepared(core, me, held, asked, proving=proving)
            more = {"plan": plan, "email": email, "label": wish.label, "eula": wish.eula}
            return _ask(core, question, "/v1/trials", "trial", more, wish, None, progress)

        lease, found = _entered(core, enter)
    return _moved_up(core, lease), asking.text_of(found, "license_key")


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


def _leave_another(core: Core, text: str, wish: Wish) -> None:
    """Returns when no running lease of another license would be left with its seat taken.

    A license key is another one's when it is not the one entered here and the server names another
    license for it: a license that was rekeyed is the same license, and so is one whose seat the
    server has taken from this device.
    """
    if not core.has_trust:
        return
    held = core.held(tolerant=True)
    if held.lease is None or held.record is None:
        return
    if standings.take(core, core.ports.now(), held).state not in standings.RUNNING:
        return
    if held.record.activated_by == _passing_identity(core).keyed_hash("license-key", text).hex():
        return
    known = lookup(core, text)
    if known.license_id == held.license_id:
        return
    if not wish.switch:
        plan = None if held.license is None else held.license.plan
        raise AnotherLicense("a seat of it is held here", license_id=held.license_id, plan=plan)
    if wish.replace is None and len(known.holders) >= known.seats:
        return  # it will be refused, and the seat that is held stays held
    with contextlib.suppress(Refused):  # then there is no seat to give back
        renewal.give_back(core)


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
    text: str | None = None,
) -> tuple[LeaseClaims, dict[str, Any]]:
    _tell(progress, 1)
    try:
        question, found, asked = _put(core, question, path, op, more, text)
    except Denied as denied:
        error = answering.accept_denial(core, question.identity, question.keys, denied, first=True)
        core.store.put_back()
        raise error from None
    except TokenAudience as error:
        raise _unknown_product(core, error) from None
    _tell(progress, 2)
    lease = answering.accept(
        core, question, asked, found, license_needed=True,
        keep=relayed.keeper(core, question, found),
        activated_by=by, label=wish.label, eula=wish.eula, last_refusal=None, returned=False,
    )  # fmt: skip
    core.use_trust(core.trust)
    core.store.drop_previous()
    _tell(progress, 3)
    return lease, found


def _put(
    core: Core,
    question: Question,
    path: str,
    op: str,
    more: dict[str, Any],
    text: str | None,
) -> tuple[Question, dict[str, Any], RequestClaims]:
    """As ``relayed.put``; a relay that may give leases gets the license key ``text`` sealed to it.

    What it then leaves to the license server is asked again as it was, so that it is carried.
    """
    try:
        return relayed.put(core, question, "POST", path, op=op, **more)
    except RelaySeals as wanted:
        if text is None:
            raise
        sealed = key_for_relay(core, question.identity, question.nonce, text, wanted.params)
    try:
        changed = {**more, "license_key": sealed}
        return relayed.put(core, question, "POST", path, op=op, **changed)
    except RelayWaiting:
        return relayed.put(core, question, "POST", path, op=op, **more)


def key_for_relay(
    core: Core, me: Identity, nonce: str, text: str, params: Mapping[str, object]
) -> SealedText:
    """The license key, readable by a relay whose delegation the license server signed.

    Raises token errors for what is none, ``AnswerInvalid`` for another key than the delegation's.
    """
    trust = core.trust
    by = trusting.read_token(core, str(params.get("delegation", "")), DelegationClaims)
    to = KemPublicKey({"kty": "AKP", "alg": SUITE, "pub": str(params.get("kem", ""))})
    if to.kid != by.kem:
        raise AnswerInvalid("another key than the one in the relay's delegation")
    if by.exp <= to_numeric(core.ports.now()):
        raise DelegationOver("the relay's delegation has ended")
    return license_key.seal(text, to, KeyBinding(trust.server_id, trust.product, me.kid, nonce))


def _prepared(
    core: Core, me: Identity, held: Held, asked: tuple[str, ...], *, proving: ModelsealError | None
) -> Question:
    """The question; with a key in the TPM where the license or the refusal ``proving`` wants it."""
    key = hardware.maker(core, held, demanded=proving)
    question = asking.prepare(core, me, held, *asked, key=key)
    if proving is not None and key is not None and question.pending.hardware is None:
        return question.with_key(core, key())  # it was denied just now, so it has no answer
    return question


def _entered(core: Core, enter: Callable[[ModelsealError | None], T]) -> T:
    """What ``enter`` gives; asked once more with the TPM's proof where the plan demands it."""
    try:
        return enter(None)
    except (EnforcementNotReached, LevelNotReached) as error:
        if not hardware.present(core):
            raise
        refusal = error
    return enter(refusal)


def _moved_up(core: Core, lease: LeaseClaims) -> LeaseClaims:
    """The lease, or its successor where the TPM's proof opens more of what the license grants.

    What it opens can be opened without the network from now on.
    """
    with contextlib.suppress(ModelsealError):
        held = core.held(tolerant=True)
        if lease.level < hardware.LEVEL and hardware.wanted(held) and hardware.present(core):
            return renewal.renew(core, seen=lease.jti)
    bundles.prefetch(core, lease)
    return lease


def identity_for(core: Core) -> Identity:
    """The device's identity; a new one where there is none that this computer can unlock.

    A new one is made where the settings say, or where the old one was: a device whose keys were in
    a TPM gets none in a file by itself. ``Conflict`` when the settings name a TPM and the keys of a
    device that holds a license lie in a file: they are moved, by a command of its own.
    """
    wanted, old = core.settings.device_key, True
    try:
        me = core.unlock(asking=True)
        if wanted is None or me.kind == identity.TPM2:
            return me
        if core.held(tolerant=True).lease is not None:
            raise Conflict("the device has a key already: move it with keys move device --to")
    except NotActivated:
        old = False
    except (DeviceChanged, KeyOfAnotherTpm, StateDamaged, TpmCleared) as error:
        core.journal.write("device_key_set_aside", code=error.code, durable=True)
        wanted = wanted or _place_of_old(core)
    fresh, wrapped = identity.create(core.traits, core.ports.random, wanted)
    if old:  # not before: where no TPM answers, everything stays as it is
        core.store.set_aside()
    core.store.write_device_key(wrapped)
    core.adopt()
    return fresh


def _place_of_old(core: Core) -> str | None:
    try:
        data = core.store.device_key() or b""
    except StateDamaged:  # not even a file
        return None
    try:
        return identity.uri_of(data, str(core.store.path))
    except StateDamaged:
        return f"{identity.TPM2}:"


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
