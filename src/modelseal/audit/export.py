"""An export of the log as JSON lines: written here, read again by ``verify``.

One object a line, in this order: a head ``log``, an ``event`` for every leaf, the ``tile`` lines of
level 1 and above, and every stored ``checkpoint``, oldest first. Tiles and older checkpoints are
what lets a break be located and not only found. Normative: ``docs/spec/audit.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelseal import strict_json
from modelseal.audit import event as events
from modelseal.audit.event import Event, Personal
from modelseal.audit.kinds import EventKind
from modelseal.audit.merkle import HASH_BYTES, leaf_hash
from modelseal.audit.tiles import WIDTH, ReadTile, TilePath, parse_path, paths_of
from modelseal.errors import AuditBroken, Misuse
from modelseal.strict_json import JsonInvalid, b64u, unb64u

VERSION = 1
MAX_LINE_BYTES = 131072
_MEMBERS = {
    "log": {"type", "version", "origin", "size"},
    "event": {"type", "index", "leaf", "event"},
    "tile": {"type", "path", "hashes"},
    "checkpoint": {"type", "note"},
}
_OPTIONAL = {"personal", "salt"}


def write(
    origin: str,
    entries: Iterable[tuple[bytes, Personal | None]],
    size: int,
    read_tile: ReadTile,
    checkpoints: Sequence[str],
) -> Iterator[bytes]:
    """The export's lines, each with its newline.

    ``entries`` are the canonical bytes of events 0 to ``size`` - 1 with what is left of their
    personal data; ``checkpoints`` are signed notes, oldest first, the last one over ``size``. The
    leaf hashes are those of the log's own tiles where it has them, so that an event changed since
    is told by its place. Raises ``AuditBroken`` for stored bytes that are no event at all.
    """
    yield _line({"type": "log", "version": VERSION, "origin": origin, "size": size})
    count, leaves = 0, b""
    for body, personal in entries:
        if count % WIDTH == 0:
            leaves = _stored_leaves(read_tile, count, size)
        at = count % WIDTH * HASH_BYTES
        yield _event_line(count, body, personal, leaves[at : at + HASH_BYTES] or leaf_hash(body))
        count += 1
    if count != size:
        raise Misuse("an export holds every event of its checkpoint")
    for path in paths_of(size):
        hashes = read_tile(str(path)) if path.level else None
        if hashes is not None:
            yield _line({"type": "tile", "path": str(path), "hashes": b64u(hashes)})
    for note in checkpoints:
        yield _line({"type": "checkpoint", "note": note})


@dataclass(slots=True)
class Parsed:
    """What the lines of an export say; nothing of it is verified but the form.

    ``claimed`` and ``computed`` are leaf hashes: what the line says and what its event gives.
    """

    origin: str | None = None
    indexes: list[int] = field(default_factory=list)
    claimed: list[bytes] = field(default_factory=list)
    computed: list[bytes] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    tiles: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    restores: list[tuple[int, int]] = field(default_factory=list)
    altered_personal: list[int] = field(default_factory=list)
    erased: int = 0


def parse(lines: Iterable[bytes | str]) -> Parsed:
    """The parts of an export; raises ``AuditBroken`` (fault ``malformed``) naming the line."""
    parsed = Parsed()
    for number, line in enumerate(lines, 1):
        text = line.rstrip(b"\r\n") if isinstance(line, bytes) else line.rstrip("\r\n")
        if not text:
            continue
        try:
            _take(parsed, strict_json.decode(text, max_bytes=MAX_LINE_BYTES))
        except (AuditBroken, JsonInvalid, Misuse) as error:
            raise AuditBroken(
                f"line {number}: {error.detail}",
                fault="malformed",
                line=number,
                first=len(parsed.indexes),
            ) from None
    return parsed


def events_in(lines: Iterable[bytes | str]) -> list[Event]:
    """The events of an export that ``verify_export`` found to hold, in the order of the log."""
    found = []
    for line in lines:
        text = line.rstrip(b"\r\n") if isinstance(line, bytes) else line.rstrip("\r\n")
        members = strict_json.decode(text, max_bytes=MAX_LINE_BYTES) if text else {}
        if isinstance(members, dict) and members.get("type") == "event":
            found.append(events.from_members(members["event"]))
    return found


def _take(parsed: Parsed, members: Any) -> None:
    kind = members.get("type") if isinstance(members, dict) else None
    wanted = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if wanted is None or set(members) - _OPTIONAL != wanted:
        raise AuditBroken("not a line of an export")
    if kind == "event":
        _take_event(parsed, members)
    elif kind == "tile":
        path = parse_path(_text(members["path"]))
        hashes = unb64u(_text(members["hashes"]))
        if not path.level or len(hashes) != path.width * HASH_BYTES or path.width > WIDTH:
            raise AuditBroken("a tile of another size")
        parsed.tiles[str(path)] = hashes
    elif kind == "checkpoint":
        parsed.notes.append(_text(members["note"]))
    elif members["version"] != VERSION or isinstance(members["version"], bool):
        raise AuditBroken("an export of an unknown version")
    else:
        parsed.origin = _text(members["origin"])


def _take_event(parsed: Parsed, members: dict[str, Any]) -> None:
    index, leaf = members["index"], unb64u(_text(members["leaf"]))
    if isinstance(index, bool) or not isinstance(index, int) or len(leaf) != HASH_BYTES:
        raise AuditBroken("an event line has an index and a leaf hash")
    event = events.from_members(members["event"])
    computed = leaf_hash(events.encode(event))
    parsed.indexes.append(index)
    parsed.claimed.append(leaf)
    parsed.computed.append(computed)
    parsed.ids.append(event.id)
    if event.kind == EventKind.SERVER_RESTORED:
        snapshot = event.params.get("snapshot_size")
        if isinstance(snapshot, int) and not isinstance(snapshot, bool):
            parsed.restores.append((index, snapshot))
    _take_personal(parsed, index, event, members)


def _take_personal(parsed: Parsed, index: int, event: Event, members: dict[str, Any]) -> None:
    if "personal" not in members:
        parsed.erased += event.personal is not None
        return
    try:
        events.check_personal(event, events.read_personal(members["personal"], members.get("salt")))
    except AuditBroken:
        parsed.altered_personal.append(index)


def _stored_leaves(read_tile: ReadTile, first: int, size: int) -> bytes:
    """The leaf hashes of one tile's width from place ``first`` on; empty where there is none."""
    return read_tile(str(TilePath(0, first // WIDTH, min(WIDTH, size - first)))) or b""


def _event_line(index: int, body: bytes, personal: Personal | None, leaf: bytes) -> bytes:
    try:
        event = strict_json.decode(body, max_bytes=events.MAX_EVENT_BYTES)
    except JsonInvalid:
        raise AuditBroken(
            f"a stored event is none any more: {index}",
            fault="edited", first=index, last=index, indexes=[index],
        ) from None  # fmt: skip
    members: dict[str, Any] = {"type": "event", "index": index, "leaf": b64u(leaf), "event": event}
    if personal is not None:
        members |= {"personal": dict(personal.fields), "salt": b64u(personal.salt)}
    return _line(members)


def _line(members: dict[str, Any]) -> bytes:
    return strict_json.encode(members) + b"\n"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise AuditBroken("a member that is no text")
    return value
