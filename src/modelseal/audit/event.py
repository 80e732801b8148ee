"""Audit events: who did what to which, when and why; never a secret, never a raw trait.

The canonical bytes of an event are one leaf of the log and never change. Personal data stands
beside the event, not in it: the event carries a salted commitment, so that erasing fields and salt
leaves a log that still verifies and tells nothing. Normative: ``docs/spec/audit.md``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from modelseal import strict_json
from modelseal.audit.kinds import EventKind
from modelseal.errors import AuditBroken, Misuse
from modelseal.strict_json import JsonInvalid, b64u, unb64u
from modelseal.types import check_aware

TYP = "modelseal-event"
VERSION = 1
MAX_EVENT_BYTES = 16384
SALT_BYTES = 32

_LABEL = b"modelseal personal data v1\x00"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TEXT_CHARS = 4096
_MAX_DEPTH = 6
_MAX_INTEGER = 2**53 - 1
_MEMBERS = {"typ", "v", "id", "at", "kind", "actor", "subjects", "reference", "params"}
_SECRET_NAMES = frozenset(
    {"license_key", "password", "passphrase", "private_key", "data_key", "secret", "trait_value"}
)


_MOST_KNOWN = 512
_KNOWN: set[str] = set()
"""Names that were found good: the same few stand in every event."""


class Event(Struct, frozen=True):
    """One act. ``subjects`` maps nouns to opaque ids, ``params`` holds JSON values without floats.

    ``actor`` is an id or a word such as ``device:dev_…``, ``token:tok_…``, ``host`` or ``system``;
    ``personal`` is the commitment of ``commit`` (base64url) or None.
    """

    id: str
    at: datetime
    kind: EventKind
    actor: str
    subjects: Mapping[str, str]
    reference: str
    params: Mapping[str, Any] = {}
    personal: str | None = None


@dataclass(frozen=True, slots=True)
class Personal:
    """Fields about a person and their salt: stored beside the event until they are erased."""

    fields: Mapping[str, str] = field(repr=False)
    salt: bytes = field(repr=False)

    @property
    def commitment(self) -> str:
        """What the event carries: SHA-256 over label, salt and canonical fields, base64url."""
        return b64u(hashlib.sha256(_LABEL + self.salt + strict_json.encode(self.fields)).digest())


def commit(fields: Mapping[str, str], random: Callable[[int], bytes]) -> Personal:
    """``fields`` (an address, a name, free text) with a fresh salt from ``random``."""
    checked = {_name(name): _text(value, "a personal field") for name, value in fields.items()}
    return Personal(checked, random(SALT_BYTES))


def check_personal(event: Event, personal: Personal) -> None:
    """Returns when ``personal`` is what ``event`` committed to; ``AuditBroken`` otherwise."""
    try:
        commitment = personal.commitment.encode("ascii")
        expected = (event.personal or "").encode("utf-8")
    except UnicodeEncodeError:
        raise AuditBroken("personal data that is no Unicode text", fault="malformed") from None
    if len(personal.salt) != SALT_BYTES or not hmac.compare_digest(commitment, expected):
        raise AuditBroken("the personal data is not what the event committed to", fault="edited")


def encode(event: Event) -> bytes:
    """The canonical bytes (RFC 8785): a leaf of the log; ``decode`` undoes it.

    Raises ``Misuse`` for a float, a nameless or secret parameter, or more than 16 KiB.
    """
    members: dict[str, Any] = {
        "typ": TYP,
        "v": VERSION,
        "id": _text(event.id, "an id"),
        "at": _write_time(event.at),
        "kind": EventKind(event.kind).value,
        "actor": _text(event.actor, "an actor"),
        "subjects": {_name(n): _text(v, "a subject") for n, v in event.subjects.items()},
        "reference": _text(event.reference, "a reference"),
        "params": _plain_map(event.params, 1),
    }
    if event.personal is not None:
        members["personal"] = _text(event.personal, "a commitment")
    try:
        data = strict_json.encode_plain(members)
    except UnicodeEncodeError:
        raise Misuse("an audit event holds text that is no Unicode") from None
    if len(data) > MAX_EVENT_BYTES:
        raise Misuse("an audit event has at most 16 KiB", limit=MAX_EVENT_BYTES)
    return data


def decode(data: bytes) -> Event:
    """The event whose canonical bytes are ``data``; raises ``AuditBroken`` for anything else."""
    try:
        members = strict_json.decode(data, max_bytes=MAX_EVENT_BYTES)
        event = from_members(members)
        same = encode(event) == bytes(data)
    except (JsonInvalid, Misuse) as error:
        raise AuditBroken(f"not an audit event: {error.detail}", fault="malformed") from None
    if not same:
        raise AuditBroken("not the canonical bytes of an audit event", fault="malformed")
    return event


def from_members(members: object) -> Event:
    """The event with these JSON members; raises ``AuditBroken`` unless they are exactly those."""
    if not isinstance(members, dict) or set(members) - {"personal"} != _MEMBERS:
        raise AuditBroken("an audit event with other members", fault="malformed")
    if members["typ"] != TYP or members["v"] != VERSION or isinstance(members["v"], bool):
        raise AuditBroken("an audit event of an unknown version", fault="malformed")
    maps = members["subjects"], members["params"]
    texts = [members[name] for name in ("id", "at", "kind", "actor", "reference")]
    texts.append(members.get("personal", ""))
    if not all(isinstance(m, dict) for m in maps) or not all(isinstance(t, str) for t in texts):
        raise AuditBroken("a member of an audit event has another type", fault="malformed")
    try:
        kind = EventKind(members["kind"])
    except ValueError:
        raise AuditBroken("an audit event of an unknown kind", fault="malformed") from None
    return Event(
        id=members["id"],
        at=_read_time(members["at"]),
        kind=kind,
        actor=members["actor"],
        subjects=members["subjects"],
        reference=members["reference"],
        params=members["params"],
        personal=members.get("personal"),
    )


def read_personal(fields: object, salt: object) -> Personal:
    """The personal data of an export line; raises ``AuditBroken`` for another shape."""
    if not isinstance(fields, dict) or not all(isinstance(v, str) for v in fields.values()):
        raise AuditBroken("personal data is a map of texts", fault="malformed")
    try:
        return Personal(fields, unb64u(salt if isinstance(salt, str) else ""))
    except JsonInvalid:
        raise AuditBroken("the salt is not base64url", fault="malformed") from None


def _write_time(at: datetime) -> str:
    return check_aware(at).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _read_time(text: str) -> datetime:
    """The instant; ``strptime`` is lenient with case and spaces, so the text is compared."""
    try:
        at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        at = None
    if at is None or _write_time(at) != text:
        raise AuditBroken("a time that is not RFC 3339 in UTC with six decimals", fault="malformed")
    return at


def _name(name: object) -> str:
    if isinstance(name, str) and name in _KNOWN:
        return name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Misuse("a name in an audit event is lower-case ASCII", name=str(name)[:64])
    if name in _SECRET_NAMES:
        raise Misuse("an audit event never holds a secret", name=name)
    if len(_KNOWN) < _MOST_KNOWN:
        _KNOWN.add(name)
    return name


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_CHARS:
        raise Misuse(f"{what} in an audit event is a text of at most {_TEXT_CHARS} characters")
    return value


def _plain_map(values: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        return {_name(name): _plain(value, depth) for name, value in values.items()}
    # Nearly all that an event holds is told apart here, without a call for each.
    return {
        name if name in _KNOWN else _name(name): value
        if (kind := type(value)) is bool or (kind is str and len(value) <= _TEXT_CHARS)
        else _plain(value, depth)
        for name, value in values.items()
    }


def _plain(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise Misuse(f"parameters of an audit event are nested at most {_MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= _MAX_INTEGER:
        return int(value)
    if isinstance(value, str):
        return str(_text(value, "a parameter"))
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if type(value) is dict or isinstance(value, Mapping):
        return _plain_map(value, depth + 1)
    raise Misuse(f"a parameter of an audit event cannot be a {type(value).__name__}")
