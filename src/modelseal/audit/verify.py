"""Proving an export: found and located are edits, deletions, reordering, truncation and forks.

What is trusted is the key that signs checkpoints, and a witness's older checkpoint where there is
one. Everything else in the file may be forged; it only helps to say *where* it broke.

    1  every line has its form, every checkpoint its signature
    2  the places 0 to size - 1 are all there, once, in order
    3  every event gives the leaf hash that its line states
    4  the leaves give the signed root
    5  the leaves give the root of every older checkpoint, or a declared restore explains it
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from modelseal.audit import checkpoint as heads
from modelseal.audit import export
from modelseal.audit.checkpoint import Checkpoint
from modelseal.audit.export import Parsed
from modelseal.audit.merkle import HASH_BYTES, Frontier
from modelseal.audit.tiles import WIDTH, TilePath, tile_hash
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import AuditBroken


@dataclass(frozen=True, slots=True)
class DeclaredRestore:
    """The server was restored from a snapshot: event ``index`` says so, and entries from
    ``snapshot_size`` up to ``witnessed_size`` that a witness saw are lost.
    """

    index: int
    snapshot_size: int
    witnessed_size: int


@dataclass(frozen=True, slots=True)
class Report:
    """An export that holds. ``erased``: events whose personal data was erased since."""

    checkpoint: Checkpoint
    events: int
    erased: int
    witnessed_size: int | None
    restores: list[DeclaredRestore] = field(default_factory=list)


def verify_export(
    lines: Iterable[bytes | str],
    checkpoint: str | bytes | None,
    keys: Sequence[VerifyKey],
    witness_checkpoint: str | bytes | None = None,
) -> Report:
    """The report on an export that holds against ``checkpoint`` (None: the newest inside it).

    Raises ``AuditBroken`` with ``fault`` (malformed, checkpoint, deleted, truncated, extended,
    duplicated, reordered, edited, altered, forked) and, where it can be told, ``first`` and
    ``last``, the range of places it lies in. The table stands in ``docs/spec/audit.md``.
    """
    parsed = export.parse(lines)
    older = _trusted(parsed.notes, keys)
    if checkpoint is None and not older:
        raise AuditBroken("the export holds no checkpoint", fault="checkpoint")
    head = older[-1] if checkpoint is None else heads.verify(checkpoint, keys)
    witness = None if witness_checkpoint is None else heads.verify(witness_checkpoint, keys)
    for other in [*older, *([witness] if witness else [])]:
        if other.origin != head.origin:
            raise AuditBroken("checkpoints of two logs", fault="checkpoint")
    if parsed.origin not in (None, head.origin):
        raise AuditBroken("an export of another log than its checkpoint", fault="checkpoint")
    known = [c for c in older if c.size <= head.size]
    _check_places(parsed, head, known)
    prefixes = _prefix_roots(parsed.claimed, known, witness)
    _check_root(parsed, head, known, prefixes)
    _check_events(parsed)
    restores = _check_history(parsed, head, known, witness, prefixes)
    return Report(
        checkpoint=head,
        events=len(parsed.indexes),
        erased=parsed.erased,
        witnessed_size=None if witness is None else witness.size,
        restores=restores,
    )


def _trusted(notes: Sequence[str], keys: Sequence[VerifyKey]) -> list[Checkpoint]:
    return sorted((heads.verify(note, keys) for note in notes), key=lambda c: c.size)


def _check_places(parsed: Parsed, head: Checkpoint, known: Sequence[Checkpoint]) -> None:
    """Step 2."""
    present = parsed.indexes
    unique = set(present)
    if len(unique) != len(present):
        counted = Counter(present)
        first = next(index for index in present if counted[index] > 1)
        raise _broken("duplicated", "an event stands twice", first, first)
    beyond = [index for index in present if not 0 <= index < head.size]
    if beyond:
        raise _broken("extended", "more events than were signed", min(beyond), max(beyond))
    absent = [index for index in range(head.size) if index not in unique]
    if absent and absent[0] < len(present):
        last = next((i - 1 for i in range(absent[0], head.size) if i in unique), head.size - 1)
        raise _broken("deleted", "events are missing", absent[0], last)
    if present != sorted(present):
        first = next(at for at, index in enumerate(present) if at != index)
        last = max(at for at, index in enumerate(present) if at != index)
        raise _broken("reordered", "events stand in another order", first, last)
    if absent:
        _raise_short(parsed, head, known)


def _raise_short(parsed: Parsed, head: Checkpoint, known: Sequence[Checkpoint]) -> None:
    """Fewer events than signed, numbered without a gap: cut off at the end, or closed up."""
    count = len(parsed.indexes)
    bad = _first_bad_tile(parsed)
    roots = _prefix_roots(parsed.claimed, known, None)
    low, high = _bounds(known, roots, count)
    if bad is None and high == count:
        raise _broken("truncated", "the last events are missing", count, head.size - 1)
    first = low if bad is None else max(low, bad)
    last = high - 1 if bad is None else min(max(high - 1, first), bad + WIDTH - 1)
    raise _broken("deleted", "events are missing and the rest was renumbered", first, last)


def _check_root(
    parsed: Parsed,
    head: Checkpoint,
    known: Sequence[Checkpoint],
    roots: dict[int, bytes],
) -> None:
    """Step 4: when the stated leaves do not give the root, say in which range they were altered."""
    if Frontier(parsed.claimed).root() == head.root:
        return
    low, high = _bounds(known, roots, head.size)
    bad = _first_bad_tile(parsed)
    first, last = low, high - 1
    if bad is None and parsed.tiles and _tiles_hold(parsed, head):
        first = max(low, head.size // WIDTH * WIDTH)
    elif bad is not None and low <= bad + WIDTH - 1 and bad <= last:
        first, last = max(low, bad), min(last, bad + WIDTH - 1)
    if _sorted_holds(parsed, first, last, bad):
        raise _broken("reordered", "events were exchanged and renumbered", first, last)
    raise _broken("altered", "events were altered together with their leaf hashes", first, last)


def _check_events(parsed: Parsed) -> None:
    """Step 3, after step 4 made the stated leaves authentic: each difference is an edit."""
    pairs = zip(parsed.claimed, parsed.computed, strict=True)
    edited = [at for at, (claimed, computed) in enumerate(pairs) if claimed != computed]
    if edited:
        moved = sorted(parsed.claimed[at] for at in edited)
        if len(edited) > 1 and moved == sorted(parsed.computed[at] for at in edited):
            raise _broken("reordered", "events were exchanged", edited[0], edited[-1], edited)
        raise _broken("edited", "events were edited", edited[0], edited[-1], edited)
    if parsed.altered_personal:
        places = parsed.altered_personal
        raise _broken("edited", "personal data was edited", places[0], places[-1], places)


def _check_history(
    parsed: Parsed,
    head: Checkpoint,
    known: Sequence[Checkpoint],
    witness: Checkpoint | None,
    roots: dict[int, bytes],
) -> list[DeclaredRestore]:
    """Step 5."""
    seen = [*known, *([witness] if witness else [])]
    agreed = [c.size for c in seen if c.size <= head.size and roots[c.size] == c.root]
    restores: list[DeclaredRestore] = []
    for other in seen:
        if other.size <= head.size and roots[other.size] == other.root:
            continue
        declared = [r for r in parsed.restores if r[1] <= r[0] and r[1] < other.size]
        if declared:
            index, snapshot = declared[0]
            restores.append(DeclaredRestore(index, snapshot, other.size))
            continue
        if other.size > head.size and other is witness:
            raise _broken("truncated", "a witness saw more events", head.size, other.size - 1)
        # What agrees inside the export proves nothing to a witness: it may be signed anew.
        low = 0 if other is witness else max((s for s in agreed if s < other.size), default=0)
        raise _broken("forked", "a witness saw other events", low, other.size - 1)
    return restores


def _prefix_roots(
    leaves: Sequence[bytes], known: Sequence[Checkpoint], witness: Checkpoint | None
) -> dict[int, bytes]:
    """The roots of the beginnings that the checkpoints speak of, as far as the leaves go."""
    wanted = sorted({c.size for c in known} | ({witness.size} if witness else set()))
    frontier, roots = Frontier(), {}
    for size in wanted:
        if size > len(leaves):
            break
        while frontier.size < size:
            frontier.append(leaves[frontier.size])
        roots[size] = frontier.root()
    return roots


def _bounds(known: Sequence[Checkpoint], roots: dict[int, bytes], end: int) -> tuple[int, int]:
    """The break lies at or after the first and before the second place."""
    good = [c.size for c in known if c.size in roots and roots[c.size] == c.root]
    low = max(good, default=0)
    bad = sorted(c.size for c in known if c.size in roots and roots[c.size] != c.root)
    above = bisect.bisect_right(bad, low)
    return low, bad[above] if above < len(bad) else end


def _tile_states(parsed: Parsed) -> dict[int, bytes]:
    """The hash that the export states for each full tile of leaves."""
    stated: dict[int, bytes] = {}
    full = len(parsed.claimed) // WIDTH
    for number in range(-(-full // WIDTH)):
        for width in range(WIDTH, 0, -1):
            hashes = parsed.tiles.get(str(TilePath(1, number, width)))
            if hashes is not None:
                row = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
                stated |= {number * WIDTH + place: item for place, item in enumerate(row)}
                break
    return stated


def _first_bad_tile(parsed: Parsed) -> int | None:
    """The first place of the first full tile whose leaves do not give its stated hash."""
    for tile, stated in sorted(_tile_states(parsed).items()):
        leaves = parsed.claimed[tile * WIDTH : (tile + 1) * WIDTH]
        if len(leaves) == WIDTH and tile_hash(b"".join(leaves)) != stated:
            return tile * WIDTH
    return None


def _tiles_hold(parsed: Parsed, head: Checkpoint) -> bool:
    """True when every full tile of leaves has a stated hash, so that the rest is the last one."""
    return len(_tile_states(parsed)) >= head.size // WIDTH > 0 and head.size % WIDTH > 0


def _sorted_holds(parsed: Parsed, first: int, last: int, bad: int | None) -> bool:
    """True when putting the range back into the order of its ids gives the stated tile."""
    stated = _tile_states(parsed)
    if bad is None or bad // WIDTH not in stated or first < bad or last >= bad + WIDTH:
        return False
    places = sorted(range(first, last + 1), key=lambda at: parsed.ids[at])
    leaves = parsed.claimed[bad : bad + WIDTH]
    leaves[first - bad : last + 1 - bad] = [parsed.claimed[at] for at in places]
    return tile_hash(b"".join(leaves)) == stated[bad // WIDTH]


def _broken(
    fault: str, detail: str, first: int, last: int, places: Sequence[int] = ()
) -> AuditBroken:
    place = str(first) if first == last else f"{first} to {last}"
    return AuditBroken(
        f"{detail}: {place}", fault=fault, first=first, last=last, indexes=list(places)
    )
