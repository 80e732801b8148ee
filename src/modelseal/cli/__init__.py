"""The ``modelseal`` command: ``modelseal <noun> <verb>``, exit codes of the one table."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from modelseal.errors import InternalError, Misuse, ModelsealError

INTERRUPTED = 130


class Ended(BaseException):
    """A signal ended the command. No ``KeyboardInterrupt``: Typer would swallow that one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but this code leaves."""
    from modelseal import texts
    from modelseal.cli import talk

    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in _ours(arguments)
    _use_language()
    talk.lenient()
    try:
        return _told(arguments, as_json=as_json)
    except (KeyboardInterrupt, Ended) as stop:
        talk.say(texts.said("interrupted"))
        return stop.code if isinstance(stop, Ended) else INTERRUPTED
    except BrokenPipeError:
        talk.silence("stdout")
        return 0
    except ModelsealError as error:
        talk.silence("stdout")
        return talk.refuse(error, as_json=False)


def _told(arguments: list[str], *, as_json: bool) -> int:
    from modelseal.cli import talk

    try:
        return _run(arguments)
    except ModelsealError as error:
        return talk.refuse(error, as_json=as_json)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("MODELSEAL_DEBUG"):
            raise
        return talk.refuse(InternalError(type(error).__name__), as_json=as_json)


def _ours(arguments: list[str]) -> list[str]:
    """The arguments before ``--``: what stands behind it belongs to the program that is run."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _run(arguments: list[str]) -> int:
    from modelseal.cli import launch

    program = launch.of(arguments)
    if program is not None:
        return program()
    from typer.exceptions import Abort, Exit, TyperException

    from modelseal.cli.app import build

    try:
        app = build(arguments[0] if arguments else None)
        result = app(args=arguments, prog_name="modelseal", standalone_mode=False)
    except Exit as stop:
        return stop.exit_code
    except Abort:
        raise KeyboardInterrupt from None
    except TyperException as error:
        text = error.format_message()
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(text + "\n")
            return Misuse.exit_code
        raise Misuse(text.rstrip(".")) from None
    return result if isinstance(result, int) else 0


def _use_language() -> None:
    from modelseal import texts

    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            texts.use_language(os.environ[name])
            return


def run_and_exit() -> None:
    """The console script. SIGTERM ends it as Ctrl-C does, so that nothing half-written stays."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in _DEFAULT:  # ignored under nohup
            signal.signal(number, _end)
    sys.exit(main())


_DEFAULT = (signal.SIG_DFL, signal.default_int_handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(number)
