"""Attested key release: data keys of the higher levels, for one run that proved what it is.

nonce -> evidence bound to one signed request -> appraisal by the policy of each entitlement ->
the keys, sealed to the KEM key in that request. Every section is judged by ``decide`` with the
level that the evidence reached for it; one that is refused refuses all.
Normative: ``docs/spec/protocol.md``, section 4.6.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct
from sqlalchemy import Connection

from modelseal.attest.verify import Evidence
from modelseal.attest.verify.tpm2 import Point
from modelseal.audit import EventKind
from modelseal.container import SectionInfo
from modelseal.errors import EvidenceOutdated, InternalError, LevelNotReached, TokenClaims
from modelseal.license import attested, tokens
from modelseal.license.attested import Transcript, Wanted
from modelseal.license.claims import RequestClaims
from modelseal.license.decide import Decision, at_level, decide, narrowed
from modelseal.license.facts import (
    Action,
    Chain,
    EntitlementFact,
    Facts,
    LeaseFacts,
    SectionFacts,
)
from modelseal.server.services import acting, judging, metering, recorder, verdicts
from modelseal.server.services.adoption import adopt, knows
from modelseal.server.services.appraising import Appraising, Question, Verdict
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.granting import Grants, Published
from modelseal.server.services.issuing import Terms
from modelseal.server.services.proving import NOTHING, Proof, Proving
from modelseal.server.services.releasing import (
    Proved,
    Released,
    for_one_run,
    lease_facts,
    within_lease,
)
from modelseal.server.store import devices as device_store
from modelseal.server.store import nonces
from modelseal.server.store.engine import Again
from modelseal.server.store.rows import DeviceRow
from modelseal.strict_json import JsonInvalid, b64u, unb64u
from modelseal.types import EntitlementExpression

NONCE_LIFE = timedelta(minutes=2)
MAX_NONCES = 16
_NONCE_BYTES = 32


class ReleaseNonce(Struct, frozen=True, kw_only=True):
    """A nonce for one attested key release, and the key that signs leases now.

    ``tpm`` is whether the server knows the TPM of this device.
    """

    nonce: str
    expires_at: datetime
    server_key: str
    tpm: bool


class EvidenceOfKind(Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence of one kind, in the parts that its verifier reads."""

    kind: Annotated[str, Meta(min_length=1, max_length=64)]
    parts: Annotated[list[bytes], Meta(min_length=1, max_length=32)]


class AttestedRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A signed request, and the evidence that was collected for it."""

    request: Annotated[str, Meta(min_length=1, max_length=65536)]
    evidence: Annotated[list[EvidenceOfKind], Meta(min_length=1, max_length=16)]
    endorsements: Annotated[
        list[Annotated[bytes, Meta(max_length=16384)]], Meta(max_length=64)
    ] = []


@dataclass(frozen=True, slots=True)
class Asked:
    """One attested request: what is asked, and what was proved for it."""

    claims: RequestClaims
    wanted: Wanted
    transcript: Transcript
    question: Question
    proof: Proof
    now: datetime

    @property
    def level(self) -> int:
        """The level that is to be proved."""
        return self.claims.level or 0


class Attesting:
    """Nonces, and the keys of levels that only evidence reaches."""

    def __init__(self, context: Context, grants: Grants, prover: Proving) -> None:
        self._context = context
        self._grants = grants
        self._prover = prover
        self._appraising = Appraising(context)

    def nonce(self, claims: RequestClaims, device_id: str, row: DeviceRow | None) -> ReleaseNonce:
        """A fresh nonce for this device, known to every process over this store."""
        context, now = self._context, self._context.now()
        if not knows(row, claims):
            adopt(context, claims, device_id, now)
        nonce, ends_at = context.random(_NONCE_BYTES), now + NONCE_LIFE
        server_key = context.signers("lease", now)[0].kid

        def act(tx: Connection) -> bool:
            device = acting.device(tx, device_id)
            nonces.add(tx, nonce, device_id, server_key, ends_at, MAX_NONCES)
            return device.tpm is not None

        known = context.store.write(act)
        return ReleaseNonce(nonce=b64u(nonce), expires_at=ends_at, server_key=server_key, tpm=known)

    def release(
        self, claims: RequestClaims, device_id: str, token: bytes, sent: AttestedRequest
    ) -> Released | Refusal:
        """The keys of every wanted section, or a denial that ends nothing but the question."""
        context = self._context
        asked, device, terms = self.asked(claims, device_id, token, sent)
        context.store.read(self._appraise, asked, device, terms)

        def act(tx: Connection) -> Released | Refusal:
            device, terms = self.known(tx, device_id)
            return self._decide(tx, asked, device, terms)

        return context.store.write(act)

    def asked(
        self, claims: RequestClaims, device_id: str, token: bytes, sent: AttestedRequest
    ) -> tuple[Asked, DeviceRow, Terms]:
        """The question with what its evidence is bound to, and who asks. Its nonce is used now."""
        now = self._context.now()
        transcript = attested.of(claims, token)
        self._take(claims, device_id, now)
        device, terms = self._context.store.read(self.known, device_id)
        proof = self._prover.judge(claims, device, within_lease(terms, device, now), now)
        evidence = [Evidence(one.kind, tuple(one.parts)) for one in sent.evidence]
        question = self._appraising.question(
            evidence, sent.endorsements, transcript, _ak(proof), now
        )
        wanted = attested.wishes(claims) if claims.op == attested.OP else {}
        return Asked(claims, wanted, transcript, question, proof, now), device, terms

    def known(self, tx: Connection, device_id: str) -> tuple[DeviceRow, Terms]:
        """The device with its license and plan."""
        device = acting.device(tx, device_id)
        return device, acting.terms(tx, acting.license_of(tx, device))

    def _take(self, claims: RequestClaims, device_id: str, now: datetime) -> None:
        """The nonce is used from now on, whatever comes of it."""
        nonce = _nonce(claims)
        why, server_key = self._context.store.write(nonces.take, nonce, device_id, now)
        if why != "ok":
            raise EvidenceOutdated("a nonce is good for one use, soon", verdict=why)
        if server_key != claims.server_key:
            raise TokenClaims("the request names another key than its nonce was given with")

    def _appraise(self, tx: Connection, asked: Asked, device: DeviceRow, terms: Terms) -> None:
        """Every policy that is asked has judged, before anybody waits for the store."""
        published = self._grants.published(tx, asked.wanted, terms.plan)
        lease = lease_facts(tx, asked.claims, device, terms)
        for _judged in self._sections(asked, terms, published, lease):
            pass

    def _decide(
        self, tx: Connection, asked: Asked, device: DeviceRow, terms: Terms
    ) -> Released | Refusal:
        published = self._grants.published(tx, asked.wanted, terms.plan)
        deciding: tuple[Facts, Decision] | None = None
        lease = lease_facts(tx, asked.claims, device, terms)
        judged = self._sections(asked, terms, published, lease)
        # the index last: a refusal shall name the entitlement
        for section, verdict in sorted(judged, key=lambda one: not one[0].alternatives):
            facts = self.facts(tx, asked, device, terms, lease, section, verdict)
            decision = decide(facts)
            if decision.code == LevelNotReached.code and verdict.code == "ok":
                short = replace(verdict, level=0, code="level_short")
                facts = self.facts(tx, asked, device, terms, lease, section, short)
                decision = decide(facts)
            if not decision.allowed:
                refusal = acting.refuse(
                    self._context, tx, facts, claims=asked.claims, license_row=terms.license,
                    device=device, kind=EventKind.LEASE_DENIED, in_chain=False,
                    more={"verdict_params": [verdict.params]} if verdict.params else None,
                    told={"evidence": asked.question.told()},
                )  # fmt: skip
                self.keep(tx, asked, terms, refusal.event_id)
                return refusal
            if deciding is None or section.min_level > _demand(deciding[0]):
                deciding = facts, decision
        if deciding is None:
            raise InternalError("an attested release without sections")
        return self._seal(tx, asked, device, terms, published, *deciding)

    def _sections(
        self, asked: Asked, terms: Terms, published: Published, lease: LeaseFacts | None
    ) -> Iterable[tuple[SectionFacts, Verdict]]:
        """Each wanted section as the law sees it, with the verdict over the evidence for it."""
        product, now = self._context.product, asked.now
        granted = terms.entitlements()
        if lease is not None:
            granted = narrowed(granted, lease.entitlements)
        known = at_level(granted, now)
        for file_id, numbers in sorted(asked.wanted.items()):
            row, table = published.get(file_id, (None, {}))
            found = {n: table[n] for n in numbers if n in table}
            verdicts = _verdicts(asked, found, known)
            for number in sorted(numbers):
                section = found.get(number)
                if row is None or section is None or section.is_variant:
                    yield _gone(product), Verdict(0, "")
                    continue
                groups = _groups(section)
                yield (
                    SectionFacts(
                        product=product,
                        model=row.model,
                        alternatives=groups,
                        min_level=max(int(section.level), asked.level),
                        release=row.release,
                    ),
                    verdicts[number],
                )

    def facts(
        self,
        tx: Connection,
        asked: Asked,
        device: DeviceRow,
        terms: Terms,
        lease: LeaseFacts | None,
        section: SectionFacts,
        verdict: Verdict,
    ) -> Facts:
        """What is judged: the device as it asks, at the level that was reached for ``section``."""
        product, claims = self._context.product, asked.claims
        reached = min(verdict.level, asked.level)
        why = "" if reached >= asked.level else verdict.code
        proof = replace(asked.proof, level=reached, why=why)
        return Facts(
            action=Action.RELEASE,
            now=asked.now,
            product=product,
            asked_product=claims.product,
            license=judging.license_facts(terms.license, terms.plan, product),
            device=judging.device_facts(claims, terms.plan, device, proof=proof),
            chain=Chain.NEXT,
            lease=lease,
            meters=metering.told(tx, terms, device.device_id, claims, asked.now),
            section=section,
        )

    def _seal(
        self,
        tx: Connection,
        asked: Asked,
        device: DeviceRow,
        terms: Terms,
        published: Published,
        facts: Facts,
        decision: Decision,
    ) -> Released:
        context, claims, now = self._context, asked.claims, asked.now
        if facts.lease is None:
            raise InternalError("a release without a lease")
        self.remember(tx, device, asked.proof)
        known = recorder.fresh(context, now)
        trust = context.trusted.within(tx)
        signers = context.signers("lease", now, trust)
        ends_at = facts.lease.expires_at
        longest = asked.question.max_lease_seconds()
        if longest is not None:
            ends_at = min(ends_at, now + timedelta(seconds=longest))
        granted, release = for_one_run(
            context, self._grants, tx, claims, device, self._grants.unwrapped(tx, asked.wanted),
            event_id=known.event_id, now=now, ends_at=ends_at, level=asked.level,
            hardware=asked.proof.key, signatures=len(signers),
            proved=Proved(
                asked.transcript.digest, asked.question.digest(), asked.question.kinds
            ),
        )  # fmt: skip
        acting.record(
            tx, known, EventKind.KEYS_RELEASED, facts, decision, claims=claims,
            license_row=terms.license, device_id=device.device_id,
            more={"release": release.jti, "files": granted.files, "seq": release.seq,
                  "level": asked.level, "exp": release.exp, "evidence": asked.question.told()},
        )  # fmt: skip
        self.keep(tx, asked, terms, known.event_id)
        return Released(release=tokens.sign(release, signers), event_id=known.event_id)

    def keep(self, tx: Connection, asked: Asked, terms: Terms, event_id: str) -> None:
        """The verdicts stand beside the event."""
        verdicts.keep(
            self._context, tx, asked.question,
            license_id=terms.license.license_id, event_id=event_id, now=asked.now,
        )  # fmt: skip

    def remember(self, tx: Connection, device: DeviceRow, proof: Proof) -> None:
        """The device's row is held, and knows the TPM that was proved."""
        device_store.hold(tx, device)
        if proof.enrolled is None or proof.enrolled == device.tpm:
            return
        if not device_store.change(tx, device, tpm=proof.enrolled):
            raise Again


def _nonce(claims: RequestClaims) -> bytes:
    try:
        return unb64u(claims.server_nonce or "")
    except JsonInvalid:
        raise TokenClaims("the server's nonce is no base64url") from None


def _gone(product: str) -> SectionFacts:
    """What the law sees of a section that is published for this plan no more, or never was."""
    return SectionFacts(product=product, model="", release=0, min_release=1)


def _verdicts(
    asked: Asked, sections: Mapping[int, SectionInfo], known: tuple[EntitlementFact, ...]
) -> dict[int, Verdict]:
    """By section. What has no expression (the index) goes with the best beside it, as in leases;
    where it is asked for alone the base policy says."""
    found = {
        number: _verdict(asked, section.entitlement, known)
        for number, section in sections.items()
        if section.entitlement is not None
    }
    bare = [number for number in sections if number not in found]
    if not bare:
        return found
    best = max(found.values(), key=_level, default=None)
    if best is None:
        best = asked.question.verdict(None)
    return found | dict.fromkeys(bare, best)


def _verdict(
    asked: Asked, wanted: EntitlementExpression, known: tuple[EntitlementFact, ...]
) -> Verdict:
    """By the policies of the best alternative that is granted.

    An alternative is as good as the worst of its entitlements, and none at all where that is less
    than one of them demands.
    """
    names = {item.id: item.min_level for item in known}
    best = Verdict(0, "")
    for group in wanted.alternatives:
        if not group <= set(names):
            continue
        worst = min((asked.question.verdict(name) for name in sorted(group)), key=_level)
        if worst.level < max(names[name] for name in group):
            worst = replace(worst, level=0, code=_short_of(worst))
        if worst.level > best.level or not best.code:
            best = worst
    return best


def _short_of(verdict: Verdict) -> str:
    """Why a level that was reached does not do for an entitlement that demands more."""
    return "level_short" if verdict.code == "ok" else verdict.code


def _level(verdict: Verdict) -> int:
    return verdict.level


def _groups(section: SectionInfo) -> tuple[tuple[str, ...], ...]:
    if section.entitlement is None:
        return ()
    return tuple(tuple(sorted(group)) for group in section.entitlement.alternatives)


def _demand(facts: Facts) -> int:
    return 0 if facts.section is None else facts.section.min_level


def _ak(proof: Proof) -> Point | None:
    """The attestation key of the device's TPM, where this very request proved it."""
    if proof is NOTHING or proof.level == 0 or proof.enrolled is None:
        return None
    x, y = proof.enrolled["ak"]
    return Point(unb64u(x), unb64u(y))
