"""The numbers of TPM 2.0 that are used here (library specification, part 2, section 6)."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Alg(IntEnum):
    """TPM_ALG_ID."""

    RSA = 0x0001
    AES = 0x0006
    KEYEDHASH = 0x0008
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    NULL = 0x0010
    RSASSA = 0x0014
    RSAES = 0x0015
    RSAPSS = 0x0016
    OAEP = 0x0017
    ECDSA = 0x0018
    ECDH = 0x0019
    ECC = 0x0023
    SYMCIPHER = 0x0025
    CFB = 0x0043


class Curve(IntEnum):
    """TPM_ECC_CURVE."""

    P256 = 0x0003
    P384 = 0x0004
    P521 = 0x0005


class Attribute(IntFlag):
    """TPMA_OBJECT."""

    FIXED_TPM = 1 << 1
    ST_CLEAR = 1 << 2
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    NO_DA = 1 << 10
    ENCRYPTED_DUPLICATION = 1 << 11
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18


class NvAttribute(IntFlag):
    """TPMA_NV; the index's kind stands in bits 4 to 7 (0 ordinary, 1 counter, 4 extend)."""

    OWNER_WRITE = 1 << 1
    AUTH_WRITE = 1 << 2
    COUNTER = 1 << 4
    EXTEND = 4 << 4
    OWNER_READ = 1 << 17
    AUTH_READ = 1 << 18
    NO_DA = 1 << 25
    WRITTEN = 1 << 29


class Command(IntEnum):
    """TPM_CC."""

    EVICT_CONTROL = 0x120
    NV_UNDEFINE_SPACE = 0x122
    CLEAR = 0x126
    CLOCK_SET = 0x128
    NV_DEFINE_SPACE = 0x12A
    CLOCK_RATE_ADJUST = 0x130
    CREATE_PRIMARY = 0x131
    NV_INCREMENT = 0x134
    NV_EXTEND = 0x136
    NV_WRITE = 0x137
    DICTIONARY_ATTACK_LOCK_RESET = 0x139
    STARTUP = 0x144
    SHUTDOWN = 0x145
    STIR_RANDOM = 0x146
    ACTIVATE_CREDENTIAL = 0x147
    CERTIFY = 0x148
    POLICY_NV = 0x149
    CERTIFY_CREATION = 0x14A
    GET_TIME = 0x14C
    NV_READ = 0x14E
    POLICY_SECRET = 0x151
    CREATE = 0x153
    ECDH_ZGEN = 0x154
    LOAD = 0x157
    QUOTE = 0x158
    SIGN = 0x15D
    UNSEAL = 0x15E
    CONTEXT_LOAD = 0x161
    CONTEXT_SAVE = 0x162
    FLUSH_CONTEXT = 0x165
    LOAD_EXTERNAL = 0x167
    MAKE_CREDENTIAL = 0x168
    NV_READ_PUBLIC = 0x169
    POLICY_AUTHORIZE = 0x16A
    POLICY_AUTH_VALUE = 0x16B
    POLICY_COMMAND_CODE = 0x16C
    POLICY_COUNTER_TIMER = 0x16D
    POLICY_OR = 0x171
    READ_PUBLIC = 0x173
    START_AUTH_SESSION = 0x176
    VERIFY_SIGNATURE = 0x177
    GET_CAPABILITY = 0x17A
    GET_RANDOM = 0x17B
    PCR_READ = 0x17E
    POLICY_PCR = 0x17F
    READ_CLOCK = 0x181
    PCR_EXTEND = 0x182
    NV_CERTIFY = 0x184
    POLICY_GET_DIGEST = 0x189


class Hierarchy(IntEnum):
    """TPM_RH: the handles that are always there."""

    OWNER = 0x40000001
    NULL = 0x40000007
    PASSWORD_SESSION = 0x40000009
    LOCKOUT = 0x4000000A
    ENDORSEMENT = 0x4000000B
    PLATFORM = 0x4000000C


class Operation(IntEnum):
    """TPM_EO: how a policy compares what the TPM holds with its operand."""

    EQUAL = 0x0
    NOT_EQUAL = 0x1
    UNSIGNED_GREATER = 0x3
    UNSIGNED_LESS = 0x5
    UNSIGNED_GREATER_OR_EQUAL = 0x7
    UNSIGNED_LESS_OR_EQUAL = 0x9


class TimeField(IntEnum):
    """Offsets in TPMS_TIME_INFO that ``PolicyCounterTimer`` compares."""

    TIME = 0
    CLOCK = 8
    RESET_COUNT = 16
    RESTART_COUNT = 20
    SAFE = 24


class AttestType(IntEnum):
    """TPM_ST of an attestation."""

    NV = 0x8014
    CERTIFY = 0x8017
    QUOTE = 0x8018
    TIME = 0x8019
    CREATION = 0x801A


ATTEST_MAGIC = 0xFF544347
TAG_NO_SESSIONS = 0x8001
TAG_SESSIONS = 0x8002
TAG_HASH_CHECK = 0x8024
TAG_VERIFIED = 0x8022

DIGEST_NAMES: dict[int, str] = {Alg.SHA256: "sha256", Alg.SHA384: "sha384", Alg.SHA512: "sha512"}
DIGEST_BYTES: dict[int, int] = {Alg.SHA256: 32, Alg.SHA384: 48, Alg.SHA512: 64}
