"""TPM_RC: why a TPM refused, and the error of our tree that says so (part 2, section 6.6)."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

from modelseal.errors import KeyPolicyFailed, KeyStoreUnavailable, TpmFailed


class Rc(IntEnum):
    """The base of a response code, without the number of the parameter, handle or session."""

    VALUE = 0x084
    HANDLE = 0x08B
    AUTH_FAIL = 0x08E
    POLICY_FAIL = 0x09D
    INTEGRITY = 0x09F
    SIZE = 0x095
    SIGNATURE = 0x09B
    TICKET = 0x0A0
    BAD_AUTH = 0x0A2
    EXPIRED = 0x0A3
    INITIALIZE = 0x100
    PCR_CHANGED = 0x128
    DISABLED = 0x120
    POLICY = 0x126
    NV_UNINITIALIZED = 0x14A
    NV_DEFINED = 0x14C
    COMMAND_CODE = 0x143
    OBJECT_MEMORY = 0x902
    SESSION_MEMORY = 0x903
    SESSION_HANDLES = 0x905
    OBJECT_HANDLES = 0x906
    YIELDED = 0x908
    TESTING = 0x90A
    NV_RATE = 0x920
    LOCKOUT = 0x921
    RETRY = 0x922
    NV_UNAVAILABLE = 0x923


AGAIN = frozenset({Rc.YIELDED, Rc.TESTING, Rc.NV_RATE, Rc.RETRY})
FULL = frozenset({Rc.OBJECT_MEMORY, Rc.SESSION_MEMORY, Rc.SESSION_HANDLES, Rc.OBJECT_HANDLES})
_POLICY = frozenset({Rc.POLICY_FAIL, Rc.PCR_CHANGED})


def base(rc: int) -> int:
    """``rc`` without the number of what it complains about."""
    return rc & 0x0BF if rc & 0x080 else rc & 0x97F


def fail(rc: int, command: str) -> NoReturn:
    """Raises ``KeyPolicyFailed``, ``KeyStoreUnavailable`` or ``TpmFailed`` for this answer."""
    found = base(rc)
    if found in _POLICY:
        raise KeyPolicyFailed("the TPM refuses: its measured state or time is another one")
    if found == Rc.LOCKOUT:
        raise KeyStoreUnavailable("the TPM is locked after wrong passwords")
    if found in FULL:
        raise KeyStoreUnavailable("the TPM has no room left: something else keeps objects in it")
    name = next((each.name.lower() for each in Rc if each == found), "refused")
    raise TpmFailed(f"{command}: {name} ({rc:#05x})", rc=rc)


def is_rc(error: BaseException, *wanted: Rc) -> bool:
    """True when ``error`` is a TPM's refusal for one of these reasons."""
    return isinstance(error, TpmFailed) and base(int(str(error.params["rc"]))) in wanted
