"""In each Python process of an isolated run: what it was found with is said, then it goes on."""

from __future__ import annotations

import os

from modelseal.runtime import isolation, report, summary


def tell() -> None:
    """What was found is on stderr and in the run's report; hooks that watch are taken out."""
    for found in isolation.look():
        summary.say(f"isolated: {found} (process {os.getpid()})")
        report.append(entry(found))


def entry(found: isolation.Found) -> dict[str, object]:
    """As the run's report has it."""
    return {
        "code": report.FOUND,
        "kind": found.kind,
        "name": found.name,
        "outcome": found.outcome,
        "pid": os.getpid(),
    }
