"""Statements that a TPM signs, and the proof that an attestation key lives beside an EK.

Everything here answers ``(attest, signature)``: the exact signed bytes and TPMT_SIGNATURE.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelseal.tpm2.chip import policies
from modelseal.tpm2.chip.objects import NULL_SCHEME
from modelseal.tpm2.chip.session import PASSWORD, Authorization, policy_session
from modelseal.tpm2.chip.tpm import Ref, Reply, Tpm
from modelseal.tpm2.wire.codec import sized, u16
from modelseal.tpm2.wire.codes import Attribute, Command, Hierarchy
from modelseal.tpm2.wire.policy import PcrSelection, write_selections
from modelseal.tpm2.wire.public import Public

Stated = tuple[bytes, bytes]


def quote(
    tpm: Tpm,
    key: Ref,
    nonce: bytes,
    selections: Sequence[PcrSelection],
    auth: Authorization = PASSWORD,
) -> Stated:
    """The registers' values, signed by ``key`` together with ``nonce`` and the clock."""
    body = sized(nonce) + NULL_SCHEME + write_selections(selections)
    return _stated(tpm.execute(Command.QUOTE, (key,), body, (auth,)))


def certify(
    tpm: Tpm,
    subject: Ref,
    key: Ref,
    nonce: bytes,
    auths: tuple[Authorization, Authorization] = (PASSWORD, PASSWORD),
) -> Stated:
    """That ``subject`` is loaded in this TPM, signed by ``key``.

    The subject's authorization is in the ADMIN role: its password, or its policy where its
    attributes have ``ADMIN_WITH_POLICY``.
    """
    body = sized(nonce) + NULL_SCHEME
    return _stated(tpm.execute(Command.CERTIFY, (subject, key), body, auths))


def get_time(tpm: Tpm, key: Ref, nonce: bytes, auth: Authorization = PASSWORD) -> Stated:
    """The TPM's time and clock, signed by ``key`` (empty endorsement password)."""
    refs = (Ref.fixed(Hierarchy.ENDORSEMENT), key)
    return _stated(
        tpm.execute(Command.GET_TIME, refs, sized(nonce) + NULL_SCHEME, (PASSWORD, auth))
    )


def nv_certify(
    tpm: Tpm,
    key: Ref,
    index: Ref,
    size: int,
    nonce: bytes,
    auths: tuple[Authorization, Authorization] = (PASSWORD, PASSWORD),
) -> Stated:
    """The first ``size`` bytes of an NV index, signed by ``key``."""
    body = sized(nonce) + NULL_SCHEME + u16(size) + u16(0)
    return _stated(tpm.execute(Command.NV_CERTIFY, (key, index, index), body, auths))


def activate_credential(
    tpm: Tpm, subject: Ref, endorsement: Ref, public: Public, blob: bytes, encrypted: bytes
) -> bytes:
    """The secret of ``wire.secrets.make_credential``: only where ``subject`` and EK are together.

    ``public`` is the EK's: those of the low range want the endorsement hierarchy's policy.
    """
    body = sized(blob) + sized(encrypted)
    refs = (subject, endorsement)
    if public.has(Attribute.USER_WITH_AUTH):
        auths = (PASSWORD, PASSWORD)
        return tpm.execute(Command.ACTIVATE_CREDENTIAL, refs, body, auths).parameters.sized(64)
    with policy_session(tpm) as session:
        policies.secret(session, Ref.fixed(Hierarchy.ENDORSEMENT))
        auths = (PASSWORD, session.use())
        return tpm.execute(Command.ACTIVATE_CREDENTIAL, refs, body, auths).parameters.sized(64)


def _stated(reply: Reply) -> Stated:
    attest = reply.parameters.sized()
    return attest, reply.parameters.rest()
