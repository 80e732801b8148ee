"""From events to an app recipe. Pure: what was noted in, the recipe and remarks out."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from modelseal.runtime.recipes import (
    MAX_INITIALIZERS,
    MAX_NODE_NAMES,
    Cache,
    Check,
    File,
    Reader,
    Recipe,
    Verified,
)

_KINDS = ("crc32", "md5", "sha1", "sha256")
_NODE_NAMES = 8
_PER_FILE = 12
"""Up to so many model files get an entitlement of their own."""
_OFF = ("trt_", "migraphx_", "ModelCacheDirectory", "qnn_", "nv_", "cache_dir", "torch._inductor")
_ENCRYPTED = ("CACHE_DIR", "optimized_model_filepath")

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """How the program was called, its folder, and the day."""

    name: str
    program: str
    folder: str
    day: str
    entitlement: str | None = None


def events(log: bytes) -> list[Event]:
    """What the log says; lines that say nothing are passed over."""
    found: list[Event] = []
    for line in log.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            found.append(event)
    return found


def recipe(noted: Iterable[Event], told: Told) -> Recipe:
    """The recipe of the program that did what was ``noted``."""
    by: dict[str, list[Event]] = defaultdict(list)
    for event in noted:
        by[event["event"]].append(event)
    checks = _checks(by, told.folder)
    in_place = {name for check in checks if check.kind == "crc32" for name in check.files}
    return Recipe(
        typ="modelseal-app-recipe",
        version=1,
        name=_slug(told.name),
        title=told.name[:500],
        notes=" ".join(_remarks(by, checks, told.folder))[:500],
        verified=[Verified(told.program[:500], told.day, "observed, not compared")],
        file=_files(by, in_place, told),
        reader=_readers(by, told.folder),
        check=checks,
        cache=_caches(by, told.folder),
    )


def _slug(name: str) -> str:
    text = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
    return text[:64] or "program"


def _files(by: Mapping[str, Sequence[Event]], in_place: set[str], told: Told) -> list[File]:
    loaders: dict[str, set[str]] = defaultdict(set)
    folders = {e["path"] + "/" for e in by["load"] if e["loader"] == "from_pretrained"}
    for event in by["load"]:
        if any(event["path"].startswith(folder) for folder in folders):
            continue  # sealed with its folder
        loaders[_pattern(event["path"], told.folder)].add(event["loader"])
    slug = _slug(told.name)
    shared = told.entitlement or (None if len(loaders) <= _PER_FILE else f"{slug}.use")
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for name, found in sorted(loaders.items()):
        right = shared or f"{slug}.{_slug(PurePath(name).stem)}"
        seal = "in-place" if name in in_place else "sealed"
        groups[right, seal, tuple(sorted(found))].append(name)
    return [
        File(names, right, seal, list(found))  # type: ignore[arg-type]
        for (right, seal, found), names in groups.items()
    ]


def _readers(by: Mapping[str, Sequence[Event]], folder: str) -> list[Reader]:
    wanted: dict[tuple[str, str, str], set[int | str]] = defaultdict(set)
    nodes: set[tuple[str, str, str]] = set()
    makers = {event["module"] for event in by["session"]}

    def key(event: Event) -> tuple[str, str, str]:
        return event["module"], event["function"], _pattern(event["path"], folder)

    for event in by["load"]:
        if event["loader"] == "onnx.load":
            wanted[key(event)] |= set()
    for event in by["initializer"]:
        place = event["place"]
        wanted[key(event)].add(place if place < 0 else event["name"] or place)
    for event in by["nodes"]:
        nodes.add(key(event))
    return [
        Reader(
            module,
            [name],
            function if function.isidentifier() else None,
            sorted(wanted[place], key=str)[:MAX_INITIALIZERS],
            min(_NODE_NAMES, MAX_NODE_NAMES) if place in nodes else 0,
            module in makers and not wanted[place] and place not in nodes,
        )
        for place in sorted(wanted)
        for module, function, name in [place]
    ]


def _checks(by: Mapping[str, Sequence[Event]], folder: str) -> list[Check]:
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for event in by["open"]:
        for kind in _kinds(event, by):
            place = (event["module"], event["function"], kind)
            found[place].add(_pattern(event["path"], folder))
    for event in by["size"]:
        found[event["module"], event["function"], "size"].add(_pattern(event["path"], folder))
    return [
        Check(
            module,
            kind if kind in (*_KINDS, "size") else "digest",  # type: ignore[arg-type]
            sorted(names),
            function if function.isidentifier() else None,
            "sealed" if kind == "crc32" else "plain",
        )
        for (module, function, kind), names in sorted(found.items())
    ]


def _kinds(opened: Event, by: Mapping[str, Sequence[Event]]) -> set[str]:
    """Which digests were made of what was opened: by the same function, else by one of the same
    module that opens nothing itself; or of exactly so many bytes."""

    def code(event: Event) -> tuple[str, str]:
        return event["module"], event["function"]

    openers = {code(event) for event in by["open"]}
    same = {event["kind"] for event in by["hash"] if code(event) == code(opened)}
    near = {
        event["kind"]
        for event in by["hash"]
        if event["module"] == opened["module"] and code(event) not in openers
    }
    sized = {event["kind"] for event in by["hash"] if event["size"] == opened["size"]}
    return same or near or sized


def _caches(by: Mapping[str, Sequence[Event]], folder: str) -> list[Cache]:
    found: dict[str, str] = {}
    for event in by["cache"]:
        found.setdefault(event["what"], _pattern(event["path"], folder) if event["path"] else "")
    for event in by["write"]:
        what = f"{event['module']}.{event['function']}"
        found.setdefault(what[:500], _pattern(event["path"], folder))
    return [Cache(what, place, _answer(what)) for what, place in sorted(found.items())]  # type: ignore[arg-type]


def _answer(what: str) -> str:
    if what.startswith(_OFF):
        return "off"
    return "encrypted" if what in _ENCRYPTED else "refused"


def _remarks(
    by: Mapping[str, Sequence[Event]], checks: Sequence[Check], folder: str
) -> Iterable[str]:
    """What a person should know who seals for this program."""
    loaded = {event["path"] for event in by["load"]}
    checking = {check.module for check in checks}
    for event in by["open"]:
        if event["path"] not in loaded and event["module"] not in checking:
            name = _pattern(event["path"], folder)
            yield (
                f"{event['module']} reads {name} itself: it stays plain, or is sealed and read"
                " under a check of the kind content."
            )
    for event in by["delete"]:
        yield f"{event['module']} deletes or moves {_pattern(event['path'], folder)}."
    if {event["module"] for event in by["session"]} & {e["module"] for e in by["load"]}:
        yield "A session of what was loaded may have other shapes at its ends, and nothing else."
    if by["nodes"]:
        yield "How many node names a second reader looks at was guessed."


def _pattern(path: str, folder: str) -> str:
    """``path`` as a recipe names it: from the program's folder or packages, else by its name."""
    place, base = path.replace("\\", "/"), folder.replace("\\", "/").rstrip("/")
    if base and place.startswith(base + "/"):
        found = place[len(base) + 1 :]
    elif "/site-packages/" in place:
        found = place.rpartition("/site-packages/")[2]
    else:
        found = place.rpartition("/")[2]
    return re.sub(r"[*?]", "?", found)[:500].lstrip("/") or "*"
