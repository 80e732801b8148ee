"""The key description in an Android attestation certificate (OID 1.3.6.1.4.1.11129.2.1.17).

Versions 1 to 4 are Keymaster's, 100, 200, 300 and 400 KeyMint's. The shape is one for all; later
versions add tags. A version or tag that this release does not know is named, and the verifier says
so; a tag it does not know is not interpreted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from modelseal.attest.verify import der
from modelseal.errors import EvidenceInvalid

OID = "1.3.6.1.4.1.11129.2.1.17"
VERSIONS = (1, 2, 3, 4, 100, 200, 300, 400)
LEVELS = ("software", "trusted_environment", "strongbox")
BOOT_STATES = ("verified", "self_signed", "unverified", "failed")
ORIGINS = ("generated", "derived", "imported", "reserved", "securely_imported")
_USES = ("encrypt", "decrypt", "sign", "verify", "derive_key", "wrap_key", "agree_key")
PURPOSES = (*_USES, "attest_key")
ALGORITHMS = {1: "RSA", 3: "EC", 32: "AES", 33: "3DES", 128: "HMAC"}


@dataclass(frozen=True, slots=True)
class RootOfTrust:
    """What the bootloader told the secure world; ``boot_hash`` from version 3 on."""

    boot_key: bytes
    device_locked: bool
    boot_state: str
    boot_hash: bytes | None

    @property
    def has_boot_key(self) -> bool:
        """False when the key is empty or all zero, as on an unlocked device."""
        return any(self.boot_key)


@dataclass(frozen=True, slots=True)
class Application:
    """The packages that share the user id that made the key, and digests of their signers."""

    packages: tuple[tuple[str, int], ...]
    signers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Authorizations:
    """One of the two lists: what is enforced by software, or by the secure world."""

    values: Mapping[str, Any]
    root_of_trust: RootOfTrust | None
    application: Application | None
    unknown: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """The whole extension."""

    version: int
    attestation_level: str
    keymint_version: int
    keymint_level: str
    challenge: bytes
    unique_id: bytes
    software: Authorizations
    hardware: Authorizations

    @property
    def level(self) -> str:
        """The lower of the two security levels: what both the key and its attestation reach."""
        return min(self.attestation_level, self.keymint_level, key=LEVELS.index)


def read(data: bytes) -> KeyDescription:
    """The key description in ``data``; ``EvidenceInvalid`` when it is none."""
    members = der.read(data).sequence()
    if len(members) != 8:
        _refuse("it has eight members")
    return KeyDescription(
        version=members[0].integer(),
        attestation_level=_named(LEVELS, members[1].enumerated(), "security level"),
        keymint_version=members[2].integer(),
        keymint_level=_named(LEVELS, members[3].enumerated(), "security level"),
        challenge=members[4].octets(),
        unique_id=members[5].octets(),
        software=_authorizations(members[6]),
        hardware=_authorizations(members[7]),
    )


def _authorizations(element: der.Element) -> Authorizations:
    values: dict[str, Any] = {}
    seen: set[int] = set()
    unknown: list[int] = []
    root: RootOfTrust | None = None
    application: Application | None = None
    for member in element.sequence():
        number = member.number
        if member.tag_class != der.CONTEXT or number in seen:
            _refuse("a tag stands twice or is none of ours")
        seen.add(number)
        value = member.explicit(number)
        if number == _ROOT_OF_TRUST:
            root = _root_of_trust(value)
        elif number == _APPLICATION:
            application = _application(value.octets())
        elif number in _TAGS:
            name, reader = _TAGS[number]
            values[name] = reader(value)
        else:
            unknown.append(number)
    return Authorizations(values, root, application, tuple(unknown))


def _root_of_trust(element: der.Element) -> RootOfTrust:
    members = element.sequence()
    if not 3 <= len(members) <= 4:
        _refuse("a root of trust has three or four members")
    return RootOfTrust(
        boot_key=members[0].octets(),
        device_locked=members[1].boolean(),
        boot_state=_named(BOOT_STATES, members[2].enumerated(), "boot state"),
        boot_hash=members[3].octets() if len(members) == 4 else None,
    )


def _application(data: bytes) -> Application:
    members = der.read(data).sequence()
    if len(members) != 2:
        _refuse("an application id has two members")
    packages = []
    for package in members[0].set_():
        pair = package.sequence()
        if len(pair) != 2:
            _refuse("a package has a name and a version")
        packages.append((_text(pair[0]), pair[1].integer()))
    return Application(tuple(packages), tuple(item.octets() for item in members[1].set_()))


def _named(names: tuple[str, ...], value: int, what: str) -> str:
    if not 0 <= value < len(names):
        _refuse(f"an unknown {what}")
    return names[value]


def _text(element: der.Element) -> str:
    try:
        return element.octets().decode("utf-8")
    except UnicodeDecodeError:
        _refuse("a text that is not UTF-8")


def _integers(element: der.Element) -> list[int]:
    return sorted(member.integer() for member in element.set_())


def _purposes(element: der.Element) -> list[str]:
    return [_named(PURPOSES, value, "purpose") for value in _integers(element)]


def _flag(element: der.Element) -> bool:
    element.null()
    return True


def _origin(element: der.Element) -> str:
    return _named(ORIGINS, element.integer(), "origin")


def _hex(element: der.Element) -> str:
    return element.octets().hex()


def _refuse(why: str) -> NoReturn:
    raise EvidenceInvalid(f"key description: {why}")


_ROOT_OF_TRUST, _APPLICATION = 704, 709
_INTEGER = der.Element.integer
_TAGS: Mapping[int, tuple[str, Callable[[der.Element], Any]]] = {
    1: ("purpose", _purposes),
    2: ("algorithm", _INTEGER),
    3: ("key_size", _INTEGER),
    4: ("block_mode", _integers),
    5: ("digest", _integers),
    6: ("padding", _integers),
    7: ("caller_nonce", _flag),
    8: ("min_mac_length", _INTEGER),
    10: ("ec_curve", _INTEGER),
    200: ("rsa_public_exponent", _INTEGER),
    203: ("mgf_digest", _integers),
    303: ("rollback_resistance", _flag),
    305: ("early_boot_only", _flag),
    400: ("active_at", _INTEGER),
    401: ("origination_expires_at", _INTEGER),
    402: ("usage_expires_at", _INTEGER),
    405: ("usage_count_limit", _INTEGER),
    502: ("user_secure_id", _INTEGER),
    503: ("no_auth_required", _flag),
    504: ("user_auth_type", _INTEGER),
    505: ("auth_timeout", _INTEGER),
    506: ("allow_while_on_body", _flag),
    507: ("user_presence_required", _flag),
    508: ("confirmation_required", _flag),
    509: ("unlocked_device_required", _flag),
    600: ("all_applications", _flag),
    601: ("application_id", _hex),
    701: ("created_at", _INTEGER),
    702: ("origin", _origin),
    703: ("rollback_resistant", _flag),
    705: ("os_version", _INTEGER),
    706: ("os_patch_level", _INTEGER),
    710: ("id_brand", _text),
    711: ("id_device", _text),
    712: ("id_product", _text),
    713: ("id_serial", _hex),
    714: ("id_imei", _hex),
    715: ("id_meid", _hex),
    716: ("id_manufacturer", _text),
    717: ("id_model", _text),
    718: ("vendor_patch_level", _INTEGER),
    719: ("boot_patch_level", _INTEGER),
    720: ("device_unique_attestation", _flag),
    723: ("id_second_imei", _hex),
    724: ("module_hash", _hex),
}
