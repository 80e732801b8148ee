"""Proving what this run is, and keeping the data keys that come only for that.

nonce -> signed request -> evidence bound to it -> keys for the KEM key in the request, which never
leaves this process. Normative: ``docs/spec/protocol.md``, section 4.6.1.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from modelseal import container
from modelseal.client import asking, bundles, evidence, hardware, releases, trusting
from modelseal.client.asking import Denied
from modelseal.client.contact import ASK_AGAIN_SECONDS
from modelseal.client.core import Core, Held
from modelseal.client.filesource import FileSource
from modelseal.client.identity import Identity
from modelseal.client.opening import open_claims
from modelseal.client.record import ProvedNote
from modelseal.client.settings import PathLike
from modelseal.client.standing import Standing
from modelseal.client.tpm import HardwareKey
from modelseal.container import SectionInfo, VerifiedModel
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    AnswerInvalid,
    EvidenceOutdated,
    InputMissing,
    KeyNotInLease,
    KeyStoreUnavailable,
    LevelNotReached,
    ModelsealError,
    NotEntitled,
)
from modelseal.license import attested, lease_keys, tokens
from modelseal.license.attested import Transcript
from modelseal.license.claims import KeyWish, LeaseClaims, ReleaseClaims, RequestClaims
from modelseal.license.decide import granted, narrowed
from modelseal.license.facts import EntitlementFact, entitlement_facts
from modelseal.strict_json import b64u
from modelseal.trust import Use
from modelseal.types import from_numeric, to_numeric

if TYPE_CHECKING:
    from modelseal.attest.collect import Collected, Collector

_JSON = "application/json"
_SECONDS = 30.0
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Proved:
    """What the server took this run for, by which kinds of evidence, and until when."""

    level: int
    kinds: tuple[str, ...]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """A piece of evidence and what it is bound to, about to be sent."""

    evidence: Collected
    bound: bytes


class Prover:
    """Proving this run of one client. What was refused is not asked again within some seconds."""

    def __init__(self, core: Core, collectors: Sequence[str | Collector] | None) -> None:
        self._core = core
        self.collectors = collectors
        self._guard = threading.Lock()
        self._refused: dict[tuple[bytes, int], tuple[float, ModelsealError]] = {}

    def after_fork(self) -> None:
        """In a forked child: the lock may have been held by a thread that is not here."""
        self._guard = threading.Lock()

    def tries(self, level: int) -> bool:
        """Whether evidence is worth collecting for ``level``: above what leases prove, or where
        somebody named what collects it."""
        return level > hardware.LEVEL or bool(self.collectors)

    def prove(
        self,
        model: VerifiedModel | PathLike,
        level: int | None,
        found: Standing,
        shown: Callable[[Shown], object] | None = None,
    ) -> Proved:
        """See ``Client.prove``; ``found`` is where the device stands."""
        with _verified(self._core, model) as known, self._guard:
            file_id, grants = known.file_id, _grants(found)
            demands = _demands(known, grants, found)
            asked = max(1, *demands.values()) if level is None else level
            sections = [number for number, demand in demands.items() if demand <= asked]
            if not any(known.section(n).entitlement or n for n in sections):
                raise NotEntitled("no section of the model is granted at that level")
            place = (file_id, asked)
            self._not_again(place)
            try:
                return release(self._core, {file_id: sections}, asked, self.collectors, shown)
            except LevelNotReached as error:
                self._refused[place] = (self._core.ports.monotonic(), error)
                raise

    def _not_again(self, place: tuple[bytes, int]) -> None:
        """Many sections are judged one after the other; the same refusal need not be asked for."""
        since, error = self._refused.get(place, (float("-inf"), None))
        if error is not None and self._core.ports.monotonic() < since + ASK_AGAIN_SECONDS:
            raise error
        self._refused.pop(place, None)


def release(
    core: Core,
    wanted: Mapping[bytes, Collection[int]],
    level: int,
    collectors: Sequence[str | Collector] | None = None,
    shown: Callable[[Shown], object] | None = None,
) -> Proved:
    """The keys of exactly the ``wanted`` sections are kept for this run.

    Raises the denial's error, ``LevelNotReached`` where nothing here can prove that level,
    ``KeyNotInLease`` without a lease, ``EvidenceUnavailable``, ``Unavailable`` errors.
    """
    me = core.unlock()
    with releases.alone(core):
        held = core.held()
        lease = held.lease
        if lease is None:
            raise KeyNotInLease("there is no lease")
        try:
            by = evidence.chosen(core, me, level, collectors)
        except LevelNotReached as error:
            note(core, level, str(error.params["verdict"]), lease.jti)
            raise
        held = releases.at_its_lease(held, lease)
        return Exchange(core, me, held, lease, by, shown).run(wanted, level)


@dataclass(frozen=True, slots=True)
class Answered:
    """What the server said to one question that evidence was bound to."""

    answer: Mapping[str, Any]
    claims: RequestClaims
    transcript: bytes


class Exchange:
    """One question that evidence goes with, asked again with what the server wants made anew."""

    def __init__(
        self,
        core: Core,
        me: Identity,
        held: Held,
        lease: LeaseClaims,
        by: Sequence[Collector],
        shown: Callable[[Shown], object] | None = None,
        kem: KemPrivateKey | None = None,
    ) -> None:
        self._core, self._me, self._held, self._lease, self._by = core, me, held, lease, by
        self._shown = shown or (lambda _piece: None)
        self._kem = kem or KemPrivateKey.generate()
        self._with_tpm = any(one.name == evidence.TPM for one in by)
        self._key: HardwareKey | None = None
        self._enrolled = False

    def run(self, wanted: Mapping[bytes, Collection[int]], level: int) -> Proved:
        """See ``release``."""
        want = [KeyWish(file=b64u(f), sections=sorted(s)) for f, s in sorted(wanted.items())]
        found = self.ask("key-releases:attest", attested.OP, level, want=want)
        return self._accept(found.answer, found.claims, found.transcript, wanted)

    def ask(self, path: str, op: str, level: int, **more: Any) -> Answered:
        """The server's answer; the denial's error where it says no."""
        error: EvidenceOutdated | None = None
        for _attempt in range(_TRIES):
            try:
                return self._ask(path, op, level, error, more)
            except EvidenceOutdated as again:
                error = again
            except Denied as denied:
                refused = evidence.explained(asking.error_of(denied.claims))
                self._note_refusal(refused, level)
                raise refused from None
        raise error or KeyStoreUnavailable("the proof is never new enough")

    def _note_refusal(self, error: ModelsealError, level: int) -> None:
        verdict = error.params.get("verdict")
        if isinstance(error, LevelNotReached) and isinstance(verdict, str):
            note(self._core, level, verdict, self._lease.jti, params=evidence.values(error))

    def _ask(
        self, path: str, op: str, level: int, error: EvidenceOutdated | None, more: dict[str, Any]
    ) -> Answered:
        core, me = self._core, self._me
        base = f"/v1/devices/{self._held.device_id}"
        nonce, server_key, knows_tpm = self._nonce(f"{base}/key-releases")
        mine = asking.fresh_nonce(core)
        claims = asking.claims(
            core, me, self._held, op=op, nonce=mine, kem=self._kem.to_bytes(),
            tpm=self._tpm(mine, error, known=knows_tpm),
            server_nonce=nonce, server_key=server_key, level=level, **more,
        )  # fmt: skip
        token = tokens.sign(claims, [me.signer])
        transcript = attested.of(claims, token)
        found = [self._collect(one, transcript) for one in self._by]
        body = _body(token, found)
        answer = asking.exchange(
            core, me, claims, "POST", f"{base}/{path}", body, content_type=_JSON, seconds=_SECONDS
        )
        return Answered(answer, claims, transcript.digest)

    def _collect(self, collector: Collector, transcript: Transcript) -> Collected:
        bound = transcript.bound(collector.name)
        found = collector.collect(bound)
        self._shown(Shown(found, bound))
        return found

    def _nonce(self, path: str) -> tuple[str, str, bool]:
        """The server's nonce, its key as the trust lists it, and whether it knows our TPM."""
        core, me = self._core, self._me
        asked = asking.claims(
            core, me, self._held, op="nonce", nonce=asking.fresh_nonce(core), kem=None
        )
        found, _ = asking.show(
            core, me, self._held, asked, "POST", f"{path}:nonce", seconds=_SECONDS
        )
        server_key = asking.text_of(found, "server_key")
        trusting.check_listed(core, Use.LEASE, server_key)
        return asking.text_of(found, "nonce"), server_key, found.get("tpm") is True

    def _tpm(self, nonce: str, error: EvidenceOutdated | None, *, known: bool) -> Any:
        """The proof of this device's TPM, where its quote is part of the evidence."""
        if not self._with_tpm:
            return None
        core, me, held = self._core, self._me, self._held
        verdict = "" if error is None else str(error.params.get("verdict", ""))
        if self._key is None or verdict.startswith("key_"):
            self._key = self._made(error)
        credential = None
        if not known or verdict in ("ak_unknown", "credential_late"):
            credential = hardware.enrol(core, me, held)
            if credential is None:  # nobody vouches for this TPM; the server says what that means
                return None
        return hardware.statement(core, me, nonce, self._kem, self._key, credential)

    def _made(self, error: EvidenceOutdated | None) -> HardwareKey:
        core, held = self._core, self._held
        left = hardware.left_of(self._lease, core.ports.now())
        ends = hardware.Ends(left, hardware.ends_of(core, held).power_cuts)
        told = hardware.told(core, held, error) if error is not None else ends
        return hardware.make(core, hardware.Ends(min(told.seconds, left), told.power_cuts))

    def _accept(
        self,
        answer: Mapping[str, Any],
        asked: RequestClaims,
        transcript: bytes,
        wanted: Mapping[bytes, Collection[int]],
    ) -> Proved:
        core = self._core
        claims = trusting.read_token(core, asking.text_of(answer, "release"), ReleaseClaims)
        asking.check(claims, asked, self._me)
        proved = claims.attested
        if proved is None or not hmac.compare_digest(proved.transcript, b64u(transcript)):
            raise AnswerInvalid("keys for another transcript")
        if claims.lease != self._lease.jti or claims.level != asked.level:
            raise AnswerInvalid("keys for another lease or level")
        key = self._key if asked.tpm is not None else None
        sealed_in_tpm = any(item.recipient != self._kem.kid for item in claims.keys)
        nested = hardware.private(core, key) if key is not None and sealed_in_tpm else None
        opened = open_claims(claims, self._kem, nested)
        keys = opened | bundles.open_keys(core, claims, opened, store=False)
        places = {(file_id, section) for file_id, s in wanted.items() for section in s}
        if not places <= set(keys):
            raise AnswerInvalid("a key that was asked for is not there")
        lease = self._lease.jti
        note(core, claims.level, "ok", lease, kinds=list(proved.kinds), exp=claims.exp)
        core.run_keys.keep(lease, {at: keys[at] for at in places}, ())
        lease_keys.wipe(keys)
        core.run_keys.prove(lease, wanted, claims.level, claims.exp)
        core.journal.write("proved", level=claims.level, kinds=",".join(proved.kinds))
        return Proved(claims.level, tuple(proved.kinds), from_numeric(claims.exp))


def note(core: Core, level: int, verdict: str, lease: str, **more: Any) -> None:
    """``status`` shows what the evidence came to, where the folder can be written."""
    made = ProvedNote(level, verdict, to_numeric(core.ports.now()), lease, **more)
    with contextlib.suppress(ModelsealError):
        if verdict != "ok":
            core.note(unproved=made)
            return
        record = core.store.read(tolerant=True).record
        before = None if record is None else record.unproved
        core.note(proved=made, unproved=before if before and before.level > level else None)


def _body(token: str, found: Sequence[Collected]) -> bytes:
    """The request and its evidence, as ``AttestedRequest``."""
    return msgspec.json.encode(
        {
            "request": token,
            "evidence": [
                {"kind": one.kind, "parts": [_base64(part.data) for part in one.parts]}
                for one in found
            ],
            "endorsements": [_base64(part.data) for one in found for part in one.endorsements],
        }
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@contextlib.contextmanager
def _verified(core: Core, model: VerifiedModel | PathLike) -> Iterator[VerifiedModel]:
    """The sealed model, whose publisher's signatures hold; opened here where it is a path."""
    if isinstance(model, VerifiedModel):
        yield model
        return
    path = Path(model)
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputMissing(error.strerror or "", path=str(path)) from None
    with file:
        sealed = container.parse(FileSource(file))
        catalog, trust = core.stored_catalog(), core.trust
        least = 0 if catalog is None else catalog.min_release(sealed.model)
        yield sealed.verify_signatures(
            trust.publisher_keys(), product=trust.product, min_release=least
        )


def _grants(found: Standing) -> tuple[EntitlementFact, ...]:
    if found.license is None or found.lease is None:
        return ()
    return narrowed(entitlement_facts(found.license.ent), entitlement_facts(found.lease.ent))


def _demands(
    model: VerifiedModel, grants: tuple[EntitlementFact, ...], found: Standing
) -> dict[int, int]:
    """The level that each granted section of the model demands."""
    names = {item.id: item.min_level for item in grants if item.id in granted(grants, found.now)}
    demands = {}
    for section in model.sections:
        lowest = _lowest(section, names)
        if lowest is not None and not section.is_variant:
            demands[section.id] = max(int(section.level), lowest)
    return demands


def _lowest(section: SectionInfo, names: Mapping[str, int]) -> int | None:
    """The lowest level at which a granted alternative opens; None where none is granted."""
    if section.entitlement is None:
        return 0
    levels = [
        max(names[name] for name in group)
        for group in section.entitlement.alternatives
        if group <= set(names)
    ]
    return min(levels, default=None)
