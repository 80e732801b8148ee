"""modelseal's errors, recognised by their shape: plain use imports nothing of modelseal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Told:
    """What a modelseal error says: one text with what and why, and what to do next.

    `reference` is empty where the next step names it already.
    """

    code: str
    message: str
    next_step: str
    reference: str
    exit_code: int


def told(error: BaseException) -> Told | None:
    """What the error says if it is one of modelseal's (`.code .reason .next_step`), else None."""
    code, step = getattr(error, "code", None), getattr(error, "next_step", None)
    if not (isinstance(code, str) and isinstance(step, str)):
        return None
    what = getattr(error, "message", None) or str(error) or code
    why = getattr(error, "reason", None)
    parts = [str(what)] + ([str(why)] if why and str(why) not in str(what) else [])
    reference = str(getattr(error, "reference", None) or "")
    exit_code = getattr(error, "exit_code", None)
    return Told(
        code,
        " ".join(parts),
        step,
        "" if reference in step else reference,
        exit_code if isinstance(exit_code, int) else 3,
    )
