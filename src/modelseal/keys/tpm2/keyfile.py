"""The key file of a TPM: objects that only their own TPM opens, and what is to be known of it.

``encode`` and ``decode`` undo each other. Nothing in it is secret; whoever copies it has nothing.
Normative: ``docs/spec/keys.md``, section 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.errors import ConfigInvalid, EvidenceInvalid, Misuse, StateDamaged
from modelseal.keys.tpm2.uri import parse_pcrs, parse_uri, write_pcrs
from modelseal.tpm2.chip.objects import Made
from modelseal.tpm2.wire.policy import PcrSelection
from modelseal.tpm2.wire.public import Public

MAGIC = b"\x89MST1\r\n\x1a"
VERSION = 1
MAX_BYTES = 16 * 1024
KEY = "key"
SIGNING = "signing"
STORAGE = "storage"
_PREFIX = MAGIC + bytes([VERSION])
_MEMBERS = {"uri", "parent", "endorsement", "objects", "pcrs", "values", "authority"}
_KINDS = ({KEY}, {SIGNING, STORAGE})


@dataclass(frozen=True, slots=True)
class KeyFile:
    """``parent`` is the storage root's public area, ``endorsement`` the name of the TPM's P-256
    endorsement key (empty where the TPM did not tell): they say which TPM it was."""

    uri: str
    parent: Public
    endorsement: bytes
    objects: Mapping[str, Made] = field(repr=False)
    pcrs: tuple[PcrSelection, ...] = ()
    values: bytes = b""
    authority: Public | None = None


def encode(file: KeyFile) -> bytes:
    """The bytes of the file."""
    return _PREFIX + cbor.encode(
        {
            "uri": file.uri,
            "parent": file.parent.to_bytes(),
            "endorsement": file.endorsement,
            "objects": {name: [made.public, made.private] for name, made in file.objects.items()},
            "pcrs": write_pcrs(file.pcrs),
            "values": file.values,
            "authority": b"" if file.authority is None else file.authority.to_bytes(),
        }
    )


def is_key_file(data: bytes) -> bool:
    """True when ``data`` begins like something ``encode`` wrote."""
    return data.startswith(MAGIC)


def decode(data: bytes, path: str) -> KeyFile:
    """The file of ``data``; ``StateDamaged`` for anything else."""
    try:
        if not data.startswith(_PREFIX):
            raise CborInvalid("another magic or version")
        value = cbor.decode(data[len(_PREFIX) :], max_bytes=MAX_BYTES)
        if not isinstance(value, dict) or set(value) != _MEMBERS:
            raise CborInvalid("other members")
        objects = {name: _made(pair) for name, pair in value["objects"].items()}
        if set(objects) not in _KINDS:
            raise CborInvalid("other objects")
        parse_uri(value["uri"])
        authority = value["authority"]
        return KeyFile(
            uri=value["uri"],
            parent=Public.from_bytes(value["parent"]),
            endorsement=_bytes(value["endorsement"]),
            objects=objects,
            pcrs=parse_pcrs(value["pcrs"]) if value["pcrs"] else (),
            values=_bytes(value["values"]),
            authority=Public.from_bytes(authority) if authority else None,
        )
    except (CborInvalid, EvidenceInvalid, ConfigInvalid, Misuse) as error:
        raise StateDamaged(f"no TPM key file: {error.detail}", path=path) from None
    except (TypeError, AttributeError, ValueError, KeyError):
        raise StateDamaged("no TPM key file", path=path) from None


def _made(pair: object) -> Made:
    if not isinstance(pair, list) or len(pair) != 2:
        raise CborInvalid("an object is its public and private area")
    made = Made(_bytes(pair[0]), _bytes(pair[1]))
    if made.parsed.to_bytes() != made.public:
        raise CborInvalid("a public area in another form")
    return made


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise CborInvalid("no bytes")
    return value
