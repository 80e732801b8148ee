"""What people read, keyed by the stable code of an error: what happened, why, what to do next.

Pure data and one function. The language is set once by the door that talks to the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from modelseal.texts import en, zh_cn

LANGUAGES = ("en", "zh-CN")
_CATALOGUES: dict[str, Mapping[str, tuple[str, str, str]]] = {"en": en.TEXTS, "zh-CN": zh_cn.TEXTS}
_language = "en"


@dataclass(frozen=True, slots=True)
class Text:
    """Three sentences for a person."""

    what: str
    why: str
    next_step: str


def use_language(tag: str) -> None:
    """From now on texts are in the nearest language of ``tag`` (``zh*`` or English)."""
    global _language  # noqa: PLW0603 - one language per process, set by the door
    _language = "zh-CN" if tag.lower().replace("_", "-").startswith("zh") else "en"


def render(
    code: str, params: Mapping[str, object], detail: str = "", *, language: str | None = None
) -> Text:
    """The text of ``code`` with ``params`` filled in; unknown codes fall back to ``detail``."""
    catalogue = _CATALOGUES.get(language or _language, en.TEXTS)
    what, why, next_step = catalogue.get(code) or en.TEXTS.get(code) or en.TEXTS["error"]
    values = {"detail": detail.rstrip(".。"), **params}
    return Text(*(_fill(part, values).strip() for part in (what, why, next_step)))


def said(name: str, /, **values: object) -> str:
    """What a command tells when all went well, in the language of the door."""
    catalogue = zh_cn.SAID if _language == "zh-CN" else en.SAID
    return _fill(catalogue[name], values)


def said_or(name: str, /, **values: object) -> str:
    """As ``said``; a name that has no text is told as it stands."""
    catalogue = zh_cn.SAID if _language == "zh-CN" else en.SAID
    return _fill(catalogue[name], values) if name in catalogue else name


def reference_line(reference: str) -> str:
    """How a person is told ``reference``, to read out to support."""
    line = zh_cn.REFERENCE_LINE if _language == "zh-CN" else en.REFERENCE_LINE
    return line.format(reference=reference)


def _fill(template: str, values: Mapping[str, object]) -> str:
    """``template`` with every ``{name}`` replaced; a clause ``[...]`` falls away with its name.

    ``[[`` and ``]]`` stand for the brackets themselves.
    """
    parts: list[str] = []
    template = template.replace("[[", "\x01").replace("]]", "\x02")
    for clause in template.replace("[", "\x00[").replace("]", "\x00").split("\x00"):
        optional = clause.startswith("[")
        text = (clause[1:] if optional else clause).replace("\x01", "[").replace("\x02", "]")
        names = [name for _, name, _, _ in Formatter().parse(text) if name]
        if optional and any(_absent(values.get(name)) for name in names):
            continue
        parts.append(text.format_map({name: _show(values.get(name)) for name in names}))
    return "".join(parts)


def _absent(value: object) -> bool:
    return value is None or value == "" or value == () or value == []


def _show(value: object) -> str:
    if value is None or value == "":
        return "?"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)
