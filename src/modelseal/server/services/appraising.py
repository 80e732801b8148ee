"""Appraisal of evidence at this server: its policy, its endorsements, and one verdict a policy.

Both are files that the operator put there. What is missing or damaged never makes anything good:
no policy is the strict one, by which nothing is affirming; no bundle is no endorsement.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelseal import strict_json
from modelseal.attest import kinds
from modelseal.attest.verify import (
    AttestationResult,
    Endorsements,
    Evidence,
    Kind,
    Policy,
    PolicyFile,
    appraise,
    strict,
    tpm2,
    tpm2_evidence,
)
from modelseal.attest.verify import bundle as bundles
from modelseal.attest.verify import policy as policies
from modelseal.attest.verify.bundle import Seen
from modelseal.attest.verify.endorsements import certificates_in
from modelseal.attest.verify.tpm2 import Point
from modelseal.errors import AppraisalPolicyInvalid, EvidenceInvalid, InvalidBytes
from modelseal.license.attested import Transcript
from modelseal.server.services.context import Context
from modelseal.strict_json import JsonInvalid
from modelseal.trust import Use

BUNDLE, SEEN = "bundle.mse", "seen.json"
MAX_PIECES = 16
MAX_PARTS = 32
MAX_RESULTS = 8
"""So many verdicts of one question are told in its event and kept beside it."""
_TPM = "tpm2"
_MAX_NOTE_BYTES = 4096
_log = logging.getLogger("modelseal.server")
_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class GivenBy:
    """The operator's policy, and the proved key of a TPM (PEM) that stood in for a pinned one."""

    policy: Policy
    pinned: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence reaches by one policy: a level, or L0 and the code of why not."""

    level: int
    code: str
    result: AttestationResult | None = None
    max_lease_seconds: int | None = None
    given_by: GivenBy | None = None

    @property
    def params(self) -> dict[str, str | int]:
        """The named values of the code's text, as a denial may carry them."""
        if self.result is None or self.result.code != self.code:
            return {}
        found = self.result.deciding.params
        return {name: _plain(value) for name, value in list(found.items())[:8]}


class Appraising:
    """The files that verdicts rest on, read anew when one of them changed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._guard = threading.Lock()
        self._policy: tuple[_Stamp, PolicyFile | None] | None = None
        self._items: tuple[object, tuple[bytes, ...], datetime | None] | None = None
        self._known: Mapping[str, Kind] | None = None

    def question(
        self,
        evidence: Sequence[Evidence],
        certificates: Sequence[bytes],
        transcript: Transcript,
        ak: Point | None,
        now: datetime,
    ) -> Question:
        """``evidence`` for one transcript, to be judged; ``ak`` is the key of the device's TPM."""
        known = self._kinds()
        expected = {
            one.kind: transcript.bound(one.kind, known[one.kind].bound_bytes)
            for one in evidence
            if one.kind in known
        }
        own = self._endorsements(now)
        endorsements = Endorsements((*own, *_certificates(certificates)))
        rules = self._policies(known)
        return Question(tuple(evidence), expected, endorsements, rules, known, ak, now)

    def _kinds(self) -> Mapping[str, Kind]:
        """Every kind that is installed; looked for once, for that takes long."""
        with self._guard:
            if self._known is None:
                self._known = kinds.known()
            return self._known

    def _policies(self, known: Mapping[str, Kind]) -> PolicyFile | None:
        """The operator's policy, the strict one where there is none; None for a damaged one."""
        path = self._context.folder / self._context.config.attestation_policy
        with self._guard:
            stamp = _stamp(path)
            if self._policy is None or self._policy[0] != stamp:
                self._policy = (stamp, _read_policy(path, known))
            return self._policy[1]

    def _endorsements(self, now: datetime) -> tuple[bytes, ...]:
        """What is in the bundle in force; nothing of one that is over, damaged or rolled back."""
        context = self._context
        folder = context.folder / "endorsements"
        trust = context.trust
        with self._guard:
            key = (_stamp(folder / BUNDLE), _stamp(folder / SEEN), id(trust))
            kept = self._items
            if kept is None or kept[0] != key or (kept[2] is not None and now >= kept[2]):
                self._items = kept = (key, *_read_bundle(folder, context, now))
            return kept[1]


@dataclass(slots=True)
class Question:
    """One device's evidence. Each policy judges it once."""

    evidence: tuple[Evidence, ...]
    expected: Mapping[str, bytes]
    endorsements: Endorsements
    policies: PolicyFile | None
    known: Mapping[str, Kind]
    ak: Point | None
    now: datetime
    _verdicts: dict[bytes, Verdict] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the evidence, each once."""
        return sorted({one.kind for one in self.evidence})

    def verdict(self, entitlement: str | None) -> Verdict:
        """What the policy of ``entitlement`` says (None: the base policy)."""
        unknown = [kind for kind in self.kinds if kind not in self.expected]
        if unknown:
            return Verdict(0, "kind_unknown")
        if self.policies is None:
            return Verdict(0, "policy_unreadable")
        policy = self.policies.for_entitlement(entitlement)
        if policy.digest not in self._verdicts:
            self._verdicts[policy.digest] = self._judge(policy)
        return self._verdicts[policy.digest]

    @property
    def results(self) -> list[AttestationResult]:
        """Every result so far, in the order of their digests."""
        found = [v.result for v in self._verdicts.values() if v.result is not None]
        return sorted(found, key=lambda result: result.digest)

    @property
    def given(self) -> list[tuple[AttestationResult, GivenBy]]:
        """The results with what each was given by, in the order of ``results``."""
        found = [
            (v.result, v.given_by)
            for v in self._verdicts.values()
            if v.result is not None and v.given_by is not None
        ]
        return sorted(found, key=lambda one: one[0].digest)

    def digest(self) -> bytes:
        """The digest of the one result; of several SHA-256 of their digests in order."""
        digests = [result.digest for result in self.results]
        return digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()

    def max_lease_seconds(self) -> int | None:
        """The shortest life that a policy which was asked allows."""
        found = [v.max_lease_seconds for v in self._verdicts.values() if v.max_lease_seconds]
        return min(found, default=None)

    def told(self) -> dict[str, Any]:
        """For the event: verdicts and digests, by which each result can be come to again."""
        results = [
            {
                "verdict": result.code,
                "step": result.step.value,
                "level": int(result.level),
                "result": result.digest.hex(),
                "policy": result.policy_digest.hex(),
            }
            for result in self.results[:MAX_RESULTS]
        ]
        found: dict[str, Any] = {"kinds": self.kinds, "results": results}
        if self.results:
            found["evidence"] = self.results[0].evidence_digest.hex()
            found["endorsements"] = self.results[0].endorsements_digest.hex()
        return found

    def _is_own_quote(self, ak: Point) -> bool:
        """Whether every quote of a TPM is by the key that this request proved: another machine's
        may be genuine, pinned and good, and says nothing about this one."""
        quotes = [one for one in self.evidence if one.kind == _TPM]
        try:
            return all(tpm2_evidence.attestation_key(one.parts) == _pem(ak) for one in quotes)
        except EvidenceInvalid:
            return True  # the appraisal says what is wrong with it

    def _judge(self, policy: Policy) -> Verdict:
        rules, pinned = policy, None
        if _TPM in self.kinds:
            if self.ak is None or not self._is_own_quote(self.ak):
                return Verdict(0, "tpm_not_proved")
            if not policy.roots.get(_TPM):
                pinned = _pem(self.ak).decode("ascii")
                rules = policies.parse(written(policy.rules, pinned), self.known).base
        result = appraise(
            self.evidence, self.expected, self.endorsements, rules, self.now, kinds=self.known
        )
        level = int(result.level)
        code = "ok" if level else (result.code if not result.affirming else "level_none")
        given_by = GivenBy(policy, pinned)
        return Verdict(level, code, result, policy.max_lease_seconds, given_by)


def _pem(ak: Point) -> bytes:
    key = tpm2.attestation_public(ak).public_key()
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _plain(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text[:200]


def written(rules: Mapping[str, Any], pinned: str | None) -> bytes:
    """The policy of ``rules``, with the TPM's key that a credential proved in place of a root."""
    if pinned is not None:
        rules = {**rules, "roots": {**rules.get("roots", {}), _TPM: [pinned]}}
    return policies.write(rules)


def _certificates(given: Sequence[bytes]) -> list[bytes]:
    """Certificates among what a device sent along, and nothing else: no list, no collateral, no
    key, of which it could choose an old or an own one."""
    return [
        found.public_bytes(Encoding.DER)
        for data in given
        for found in certificates_in(data)
    ]  # fmt: skip


def _read_policy(path: Path, known: Mapping[str, Kind]) -> PolicyFile | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return PolicyFile(strict(), {})
    except OSError as error:
        _log.error("%s cannot be read: %s", path, type(error).__name__)
        return None
    try:
        return policies.parse(data, known)
    except AppraisalPolicyInvalid as error:
        _log.error("%s: %s", path, error)
        return None


def _read_bundle(
    folder: Path, context: Context, now: datetime
) -> tuple[tuple[bytes, ...], datetime | None]:
    """What the bundle holds, and until when that counts."""
    path = folder / BUNDLE
    try:
        data = path.read_bytes()
        seen = _seen(folder / SEEN)
        keys = partial(context.trust.verify_keys, Use.ENDORSEMENT)
        found = bundles.read(data, keys, now, product=context.product, last_seen=seen)
    except FileNotFoundError:
        return (), None
    except (OSError, InvalidBytes) as error:
        _log.error("%s endorses nothing: %s", path, error)
        return (), None
    return tuple(item.data for item in found.items), found.expires_at


def _seen(path: Path) -> Seen | None:
    """The newest bundle that was taken in here; a damaged note of it is an error."""
    try:
        found = strict_json.decode(path.read_bytes(), max_bytes=_MAX_NOTE_BYTES)
        return Seen(int(found["number"]), str(found["digest"]))
    except FileNotFoundError:
        return None
    except (JsonInvalid, KeyError, TypeError, ValueError):
        raise EvidenceInvalid("the note of the newest bundle is damaged") from None


def _stamp(path: Path) -> _Stamp:
    try:
        seen = path.stat()
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_size, seen.st_ino)
