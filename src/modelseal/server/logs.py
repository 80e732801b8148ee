"""What the server's process says on stderr: lines for people, or one JSON object a line.

Nothing that is logged here is a secret by intent; what looks like one is taken out all the same.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal

Form = Literal["text", "json"]
FORMS = ("text", "json")
_SECRET = re.compile(
    r"\b(?i:MS)-[0-9A-Za-z]{5}(?:-[0-9A-Za-z]{5})+"  # license keys
    r"|\bmst_[\w-]+|\bwhsec_[\w+/=-]+"  # admin tokens, webhook secrets
    r"|\beyJ[\w-]+\.[\w-]+\.?[\w-]*"  # signed tokens
    r"|(?i:\bbearer\s+\S+)|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"  # credentials in headers and URLs
)
_QUIET = ("uvicorn", "httpx", "httpcore", "alembic.runtime.plugins")


def clean(text: str) -> str:
    """``text`` without what looks like a license key, a token or a credential."""
    return _SECRET.sub("(removed)", text)


class TextFormatter(logging.Formatter):
    """Time, level, where from and what, with a traceback where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One record, cleaned."""
        return clean(super().format(record))


class JsonFormatter(logging.Formatter):
    """One object a line: ``time level logger message``, and ``error`` with ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, cleaned; never more than a line."""
        made = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        if record.exc_info is not None and record.exc_info[0] is not None:
            made["error"] = record.exc_info[0].__name__
            made["traceback"] = clean("".join(traceback.format_exception(*record.exc_info)))
        made |= getattr(record, "fields", {})
        return json.dumps(made, ensure_ascii=True, default=str)


def use(form: Form) -> None:
    """From now on this process logs in ``form`` on stderr.

    For programs from level info on; people are told the rest by the command itself.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO if form == "json" else logging.WARNING)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_ours)


def _is_ours(record: logging.LogRecord) -> bool:
    """False for a line about each request that was no HTTP: strangers would fill the disk."""
    return record.msg != "Invalid HTTP request received."
