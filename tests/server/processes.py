"""Server processes that can be killed: forked from one that has everything imported, and far ends.

``Nursery.start`` gives a running ``serve`` in a process of its own within a tenth of a second.
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.server.world import Shop

from modelseal.errors import ModelsealError, by_code
from modelseal.server.services.activation import Activated
from modelseal.server.services.denials import _ATTRIBUTE, Refusal
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.returning import Returned

_PROGRAM = """
import os, signal, sys
from pathlib import Path
import psycopg
from modelseal.server.run import serve

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(0)
        serve(
            Path(sys.argv[1]), listen="127.0.0.1:0",
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

    def start(self) -> Process:
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.write("start\n")
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

    A broken connection is ``httpx.HTTPError``, a refusal the error that ``refusal_of`` knows.
    """

    def __init__(self, shop: Shop, url: Callable[[], str]) -> None:
        self._url = url
        tls = ssl.create_default_context(cadata=shop.trust.tls_ca)
        self._http = httpx.Client(verify=tls, timeout=30)
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
