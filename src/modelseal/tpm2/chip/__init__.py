"""A TPM 2.0 over ``/dev/tpmrm0`` or an emulator's socket.

``connect(address)`` gives a ``Tpm``; commands are functions over it: ``objects`` (make, load,
flush), ``using`` (sign, exchange, unseal), ``policies``, ``attesting``, ``nv``, ``state``.
Whatever was loaded is flushed when its ``with`` ends: a TPM has room for three objects and three
sessions.
"""

from modelseal.tpm2.chip.session import Authorization, Session, hmac_session, policy_session
from modelseal.tpm2.chip.tpm import Ref, Tpm
from modelseal.tpm2.chip.transport import Address, connect

__all__ = [
    "Address",
    "Authorization",
    "Ref",
    "Session",
    "Tpm",
    "connect",
    "hmac_session",
    "policy_session",
]
