"""Loggers of vendors' clients that write requests, and with them keys, when a program debugs."""

from __future__ import annotations

import logging


def hush(*names: str) -> None:
    """Afterwards these loggers and those below them write nothing finer than INFO.

    Their DEBUG records hold bodies of requests and answers: a working key in the clear.
    """
    for name in names:
        logger = logging.getLogger(name)
        if logger.level < logging.INFO:
            logger.setLevel(logging.INFO)
