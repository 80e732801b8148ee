"""Server processes that can be killed: forked from one that has everything imported, and far ends.

``Nursery.start`` gives a running ``serve`` in a process of its own within a tenth of a second, or
in several that share its address.
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.server.world import Shop

from modelseal.errors import ModelsealError, Unavailable, by_code
from modelseal.server.services.activation import Activated
from modelseal.server.services.denials import _ATTRIBUTE, Refusal
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.returning import Returned
from modelseal.server.workers import HUNG_SECONDS


def clock() -> datetime:
    """The real one."""
    return datetime.now(UTC)


_PROGRAM = """
import os, signal, sys
from pathlib import Path
import psycopg
from modelseal.server import workers
from modelseal.server.run import serve

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(0)
        count, hung = line.split()
        workers.HUNG_SECONDS = float(hung)
        serve(
            Path(sys.argv[1]), listen="127.0.0.1:0", workers=int(count),
            on_ready=lambda url: print(os.getpid(), url, flush=True),
        )
        os._exit(0)
"""


@dataclass(frozen=True)
class Process:
    """One running server."""

    pid: int
    url: str

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Told to stop; what is under way is still answered."""
        os.kill(self.pid, signal.SIGTERM)

    def workers(self) -> list[int]:
        """The processes behind it, where it is several."""
        return [int(n) for n in _children(self.pid)]

    def is_gone(self) -> bool:
        """True when it has ended."""
        return not Path(f"/proc/{self.pid}").exists()


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []


class Nursery:
    """Starts servers over one workspace; ends them all when closed."""

    def __init__(self, home: Path) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started: list[Process] = []

    def start(self, workers: int = 1, hung_seconds: float = HUNG_SECONDS) -> Process:
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.write(f"{workers} {hung_seconds}\n")
        self._parent.stdin.flush()
        pid, url = self._parent.stdout.readline().split()
        made = Process(int(pid), url)
        self._started.append(made)
        return made

    def close(self) -> None:
        for process in self._started:
            try:
                process.kill()
            except ProcessLookupError:
                continue
        self._parent.stdin.close()  # type: ignore[union-attr]
        self._parent.wait(30)
        self._parent.stdout.close()  # type: ignore[union-attr]


class Far:
    """The device calls of the server that ``url`` names at the moment, over HTTPS.

    A broken connection is ``httpx.HTTPError``, a refusal the error that ``refusal_of`` knows. With
    ``patience_seconds`` what nobody could answer is asked again, unchanged, as clients do;
    ``again`` counts how often.
    """

    def __init__(self, shop: Shop, url: Callable[[], str], *, patience_seconds: float = 0) -> None:
        self._url = url
        self._patience = patience_seconds
        self.again = 0
        tls = ssl.create_default_context(cadata=shop.trust.tls_ca)
        # A connection for each question, so that nothing sticks to the process that answered.
        once = httpx.Limits(max_keepalive_connections=0) if patience_seconds else httpx.Limits()
        self._http = httpx.Client(verify=tls, timeout=300, limits=once)
        self.devices = self

    def close(self) -> None:
        self._http.close()

    def activate(self, token: bytes) -> Activated:
        return self._ask("POST", "/v1/devices", token, Activated)

    def renew(self, device_id: str, token: bytes) -> Renewed:
        return self._ask("PUT", f"/v1/leases/{device_id}", token, Renewed)

    def give_back(self, device_id: str, token: bytes) -> Returned:
        return self._ask("POST", f"/v1/devices/{device_id}:return", token, Returned)

    def _ask(self, method: str, path: str, token: bytes, kind: type[Any]) -> Any:
        end = time.monotonic() + self._patience
        while True:
            try:
                return self._ask_once(method, path, token, kind)
            except (httpx.HTTPError, Unavailable):
                if time.monotonic() > end:
                    raise
                self.again += 1
                time.sleep(0.05)

    def _ask_once(self, method: str, path: str, token: bytes, kind: type[Any]) -> Any:
        headers = {"Content-Type": "application/jwt"}
        answer = self._http.request(method, self._url() + path, content=token, headers=headers)
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=kind)
        problem = answer.json()
        error = (by_code(problem["code"]) or ModelsealError)(problem["detail"], **problem["params"])
        if "denial" in problem:
            denial = Refusal(None, None, "", problem["denial"], {})  # type: ignore[arg-type]
            setattr(error, _ATTRIBUTE, denial)
        raise error
