"""``opens.py STATE PATH TRUST TIME``: an activated client opens a sealed model and holds it.

Says ``ready`` before, ``open`` while the model's file is open, ``held`` when it is closed and the
plaintext is kept; goes on at every line of its standard input, whose first is held as a control.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from tests.client.publisher import SERVER_URL, Clock, computer

import modelseal
from modelseal.client import Client, Ports
from modelseal.runtime import default, loading
from modelseal.runtime.licensee import ClientLicensee


class NoNetwork:
    """The lease is on the device: nobody is asked."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(name)


def say(word: str) -> str:
    print(word, flush=True)
    return sys.stdin.readline()


state, path, trust, time = sys.argv[1:]
loading._hardened.append("so that the test may look, which is no root")
control = bytes.fromhex(say("ready"))
clock = Clock(datetime.fromisoformat(time))
no_network: Any = NoNetwork()
ports = Ports(
    now=clock.now, monotonic=clock.monotonic, sleep=clock.sleep, traits=computer,
    transport=lambda _settings: no_network, environ={},
)  # fmt: skip
raw = Path(trust).read_bytes()
client = Client(state=Path(state), server=SERVER_URL, trust=raw, ports=ports, background=False)
default.use_licensee(ClientLicensee(client))
with modelseal.open(path) as sealed:
    kept = sealed.view()
    say("open")
say("held")
print(len(kept), len(control), flush=True)
