"""``python -m fuzz.one PARSER [libFuzzer options] CORPUS``: one parser under libFuzzer.

Only here ``modelseal`` is instrumented: a process that fuzzes does nothing else.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped]


def main() -> int:
    """Fuzzes until the options say that it is enough; ends with 1 or 77 after a finding."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["modelseal"]):
        from fuzz import harness

        found = harness.load(name)
    options = [sys.argv[0], f"-max_len={found.max_bytes}", *sys.argv[1:]]
    atheris.Setup(options, found.judge, internal_libfuzzer=True)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
