"""Containers and services: activated from the environment, the seat given back at SIGTERM.

Only for a process that activated itself by ``MODELSEAL_LICENSE_KEY``, and only where the program
has no handler of its own. Children of a fork give nothing back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable

KEY_VARIABLE = "MODELSEAL_LICENSE_KEY"
EULA_VARIABLE = "MODELSEAL_EULA"
THREAD_NAME = "modelseal-return"


def give_back_at_sigterm(give_back: Callable[[], object]) -> bool:
    """``give_back`` runs when SIGTERM comes, then the signal does what it did before.

    Returns whether that could be arranged: only in the main thread, only over the default.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    owner = os.getpid()

    def handler(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != owner:
            os.kill(os.getpid(), number)
            return
        # Not here: the interrupted code may hold the very lock that giving back needs.
        threading.Thread(target=_end, args=(give_back, number), name=THREAD_NAME).start()

    signal.signal(signal.SIGTERM, handler)
    return True


def _end(give_back: Callable[[], object], number: int) -> None:
    with contextlib.suppress(Exception):
        give_back()
    os.kill(os.getpid(), number)
