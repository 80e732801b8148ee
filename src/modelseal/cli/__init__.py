"""The ``modelseal`` command: ``modelseal <noun> <verb>``, exit codes of the one table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from modelseal.errors import InternalError, Misuse, ModelsealError, NotFound

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but this code leaves."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in _ours(arguments)
    _use_language()
    try:
        return _run(arguments)
    except ModelsealError as error:
        return _refuse(error, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        if os.environ.get("MODELSEAL_DEBUG"):
            raise
        return _refuse(InternalError(type(error).__name__), as_json=as_json)


def _ours(arguments: list[str]) -> list[str]:
    """The arguments before ``--``: what stands behind it belongs to the program that is run."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _run(arguments: list[str]) -> int:
    from typer.exceptions import Abort, Exit, TyperException

    from modelseal.cli.app import app

    try:
        result = app(args=arguments, prog_name="modelseal", standalone_mode=False)
    except Exit as stop:
        return stop.exit_code
    except Abort:
        return INTERRUPTED
    except TyperException as error:
        text = error.format_message()
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(text + "\n")
            return Misuse.exit_code
        raise Misuse(text.rstrip(".")) from None
    return result if isinstance(result, int) else 0


def _refuse(error: ModelsealError, *, as_json: bool) -> int:
    from modelseal.cli import talk

    if isinstance(error, NotFound) and not error.params:
        error.params["id"] = error.detail
    return talk.refuse(error, as_json=as_json)


def _use_language() -> None:
    from modelseal import texts

    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            texts.use_language(os.environ[name])
            return


def run_and_exit() -> None:
    """The console script."""
    sys.exit(main())
