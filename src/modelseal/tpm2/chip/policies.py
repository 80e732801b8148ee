"""Assertions of a policy session (part 3, section 23); ``wire.policy`` computes the same digests.

Each raises ``KeyPolicyFailed`` when the TPM does not agree.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelseal.tpm2.chip.session import PASSWORD, Authorization, Session
from modelseal.tpm2.chip.tpm import Ref
from modelseal.tpm2.wire.codec import sized, u16, u32
from modelseal.tpm2.wire.codes import Command, Operation
from modelseal.tpm2.wire.policy import PcrSelection, write_selections


def _ref(session: Session) -> Ref:
    return Ref.fixed(session.handle)


def pcr(session: Session, selections: Sequence[PcrSelection], values_digest: bytes = b"") -> None:
    """The registers hold values with this digest; without one, whatever they hold now."""
    body = sized(values_digest) + write_selections(selections)
    session.tpm.execute(Command.POLICY_PCR, (_ref(session),), body)


def counter_timer(session: Session, operand: bytes, offset: int, operation: Operation) -> None:
    """A field of the TPM's time compares like this to ``operand``."""
    body = sized(operand) + u16(offset) + u16(operation)
    session.tpm.execute(Command.POLICY_COUNTER_TIMER, (_ref(session),), body)


def nv(
    session: Session,
    index: Ref,
    operand: bytes,
    offset: int,
    operation: Operation,
    auth: Authorization = PASSWORD,
) -> None:
    """The contents of an NV index compare like this to ``operand``."""
    body = sized(operand) + u16(offset) + u16(operation)
    refs = (index, index, _ref(session))
    session.tpm.execute(Command.POLICY_NV, refs, body, (auth,))


def secret(
    session: Session, entity: Ref, reference: bytes = b"", auth: Authorization = PASSWORD
) -> None:
    """The entity's authorization is given; the endorsement key asks this of its hierarchy."""
    body = sized(b"") + sized(b"") + sized(reference) + u32(0)
    session.tpm.execute(Command.POLICY_SECRET, (entity, _ref(session)), body, (auth,))


def authorize(
    session: Session, approved: bytes, signer_name: bytes, ticket: bytes, reference: bytes = b""
) -> None:
    """The assertions so far are ``approved``, as ``ticket`` (of ``verify_signature``) says."""
    body = sized(approved) + sized(reference) + sized(signer_name) + ticket
    session.tpm.execute(Command.POLICY_AUTHORIZE, (_ref(session),), body)


def any_of(session: Session, branches: Sequence[bytes]) -> None:
    """The assertions so far are one of ``branches``."""
    body = u32(len(branches)) + b"".join(sized(each) for each in branches)
    session.tpm.execute(Command.POLICY_OR, (_ref(session),), body)


def command(session: Session, code: Command) -> None:
    """Only this command."""
    session.tpm.execute(Command.POLICY_COMMAND_CODE, (_ref(session),), u32(code))


def get_digest(session: Session) -> bytes:
    """What the assertions so far amount to."""
    reader = session.tpm.execute(Command.POLICY_GET_DIGEST, (_ref(session),)).parameters
    return reader.sized(64)
