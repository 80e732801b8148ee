"""Policy digests, computed as the TPM computes them (part 3, section 23), and PCR selections.

A ``Policy`` is a chain of assertions: ``Policy().pcr(...).counter_timer(...).digest`` is what an
object's ``policy`` must be so that a session which passed the same assertions may use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelseal.errors import EvidenceInvalid, Misuse
from modelseal.tpm2.wire.codec import Reader, digest, u8, u16, u32
from modelseal.tpm2.wire.codes import DIGEST_BYTES, Alg, Command, Operation

PCR_COUNT = 24
_SELECT_BYTES = PCR_COUNT // 8


@dataclass(frozen=True, slots=True)
class PcrSelection:
    """TPMS_PCR_SELECTION: registers (ascending, each once) of one bank."""

    bank: int
    registers: tuple[int, ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(set(self.registers)))
        if ordered != self.registers or any(not 0 <= each < PCR_COUNT for each in ordered):
            raise Misuse("PCRs are ascending numbers from 0 to 23")
        if self.bank not in DIGEST_BYTES:
            raise Misuse("a PCR bank is one of sha256, sha384, sha512")

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        bits = sum(1 << each for each in self.registers)
        return u16(self.bank) + u8(_SELECT_BYTES) + bits.to_bytes(_SELECT_BYTES, "little")


def write_selections(selections: Sequence[PcrSelection]) -> bytes:
    """TPML_PCR_SELECTION."""
    return u32(len(selections)) + b"".join(each.to_bytes() for each in selections)


def read_selections(reader: Reader) -> tuple[PcrSelection, ...]:
    """TPML_PCR_SELECTION; at most one entry for each of 16 banks."""
    count = reader.u32()
    if count > 16:
        raise EvidenceInvalid("more PCR banks than a TPM has")
    found = []
    for _ in range(count):
        bank, length = reader.u16(), reader.u8()
        if bank not in DIGEST_BYTES or length > 4:
            raise EvidenceInvalid("a PCR bank that is not used here")
        bits = int.from_bytes(reader.take(length), "little")
        if bits >> PCR_COUNT:
            raise EvidenceInvalid("a PCR beyond 23")
        found.append(PcrSelection(bank, tuple(n for n in range(PCR_COUNT) if bits >> n & 1)))
    return tuple(found)


def pcr_digest(
    selections: Sequence[PcrSelection],
    values: Mapping[tuple[int, int], bytes],
    alg: int = Alg.SHA256,
) -> bytes:
    """The hash over the selected registers' ``values`` by (bank, register), in the TPM's order."""
    parts = []
    for selection in selections:
        for register in selection.registers:
            value = values.get((selection.bank, register))
            if value is None or len(value) != DIGEST_BYTES[selection.bank]:
                raise EvidenceInvalid("the value of a selected PCR is missing or has another size")
            parts.append(value)
    return digest(alg, *parts)


@dataclass(frozen=True, slots=True)
class Policy:
    """The digest of a policy session after the assertions that were made; see the module."""

    digest: bytes = bytes(32)
    alg: int = Alg.SHA256

    @classmethod
    def empty(cls, alg: int = Alg.SHA256) -> Policy:
        """No assertion yet."""
        return cls(bytes(DIGEST_BYTES[alg]), alg)

    def pcr(self, selections: Sequence[PcrSelection], values_digest: bytes) -> Policy:
        """``PolicyPCR``: the registers hold values with this digest."""
        return self._extend(Command.POLICY_PCR, write_selections(selections), values_digest)

    def counter_timer(self, operand: bytes, offset: int, operation: Operation) -> Policy:
        """``PolicyCounterTimer``: a field of TPMS_TIME_INFO compares like this to ``operand``."""
        hashed = digest(self.alg, operand, u16(offset), u16(operation))
        return self._extend(Command.POLICY_COUNTER_TIMER, hashed)

    def nv(self, index_name: bytes, operand: bytes, offset: int, operation: Operation) -> Policy:
        """``PolicyNV``: the contents of an NV index compare like this to ``operand``."""
        hashed = digest(self.alg, operand, u16(offset), u16(operation))
        return self._extend(Command.POLICY_NV, hashed, index_name)

    def secret(self, entity_name: bytes, reference: bytes = b"") -> Policy:
        """``PolicySecret``: the authorization of the entity was given."""
        return self._update(Command.POLICY_SECRET, entity_name, reference)

    def authorize(self, signer_name: bytes, reference: bytes = b"") -> Policy:
        """``PolicyAuthorize``: the assertions so far are whatever the signer approves."""
        return Policy.empty(self.alg)._update(Command.POLICY_AUTHORIZE, signer_name, reference)

    def any_of(self, branches: Iterable[bytes]) -> Policy:
        """``PolicyOR``: the assertions so far are one of 2 to 8 ``branches``."""
        listed = list(branches)
        if not 2 <= len(listed) <= 8:
            raise Misuse("a policy has 2 to 8 branches")
        return Policy.empty(self.alg)._extend(Command.POLICY_OR, *listed)

    def command(self, code: Command) -> Policy:
        """``PolicyCommandCode``: only this command."""
        return self._extend(Command.POLICY_COMMAND_CODE, u32(code))

    def auth_value(self) -> Policy:
        """``PolicyAuthValue``: the object's password was given."""
        return self._extend(Command.POLICY_AUTH_VALUE)

    def _extend(self, code: Command, *parts: bytes) -> Policy:
        return Policy(digest(self.alg, self.digest, u32(code), *parts), self.alg)

    def _update(self, code: Command, name: bytes, reference: bytes) -> Policy:
        first = digest(self.alg, self.digest, u32(code), name)
        return Policy(digest(self.alg, first, reference), self.alg)


def approved_digest(policy: bytes, reference: bytes = b"") -> bytes:
    """What the signer of ``PolicyAuthorize`` signs (hashed once more by ECDSA with SHA-256)."""
    return policy + reference
