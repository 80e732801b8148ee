"""``python -m bench.inprocess``: what renewals and activations cost the process that serves them.

Without HTTP, over SQLite and PostgreSQL in turns, with what no renewal goes without beside them.
CPU seconds of this process per answer (the database's own beside it), medians of some rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from bench import meter, server
from bench.fleet import Device
from modelseal.server.services import Server, open_server
from modelseal.server.services.ordinary import Asked
from modelseal.trust import parse

RENEWING = 256
AT_ONCE = 64
ACTIVATING = 64
Cost = tuple[float, float]
T = TypeVar("T")


class Shop:
    """A server in this process with its fleet."""

    def __init__(
        self, stack: ExitStack, folder: Path, url: str | None, signing: str = "Ed25519"
    ) -> None:
        folder.mkdir()
        home, self._key = server.shop(folder, url, signing)
        self.server: Server = stack.enter_context(open_server(home))
        self.server.devices.limiter.take = lambda *_args: None  # type: ignore[method-assign]
        self._trust = parse((home / "trust.json").read_bytes())
        self.fleet: list[Device] = []

    def activations(self, at_once: int) -> Cost:
        """New devices, by so many threads."""
        count = len(self.fleet)
        fresh = [Device(self._trust, count + number) for number in range(ACTIVATING)]
        asked = [device.activation(self._key) for device in fresh]
        with ThreadPoolExecutor(at_once) as pool:
            work = self.server.devices.activate
            answers, cost = _cost(lambda: list(pool.map(work, asked)), ACTIVATING)
        for device, answer in zip(fresh, answers, strict=True):
            device.take(answer.lease)
        self.fleet += fresh
        return cost

    def renewals(self) -> Cost:
        """The same devices, in ticks."""
        fleet = self.fleet[:RENEWING]
        asked = [Asked(device.device_id or "", device.renewal(), "local") for device in fleet]
        ticks = [asked[begin : begin + AT_ONCE] for begin in range(0, len(asked), AT_ONCE)]
        work = self.server.devices.renew_many
        answers, cost = _cost(lambda: [one for tick in ticks for one in work(tick)], len(asked))
        for device, answer in zip(fleet, answers, strict=True):
            if answer is None or isinstance(answer, Exception):
                raise SystemExit(f"no ordinary renewal: {answer!r}")
            device.take(answer.lease)
        return cost


def _cost(work: Callable[[], T], count: int) -> tuple[T, Cost]:
    before, base = time.process_time(), meter.family_cpu(server.DATABASE[0])
    answers = work()
    spent = time.process_time() - before
    database = meter.family_cpu(server.DATABASE[0]) - base
    return answers, (1e6 * spent / count, 1e6 * database / count)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.inprocess", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="rounds that count")
    rounds = parser.parse_args().rounds
    for name, value in server.primitives().items():
        _say(name, [(value, 0.0)])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = folder / "database"
        database.mkdir()
        url = stack.enter_context(server.postgresql(database))
        shops = {
            "SQLite": Shop(stack, folder / "sqlite", None),
            "PostgreSQL": Shop(stack, folder / "postgresql", url),
        }
        seen: dict[str, list[Cost]] = {}
        for turn in range(rounds + 1):
            for name, shop in shops.items():
                found = {
                    f"activation, one by one, {name}": shop.activations(1),
                    f"activation, 16 at once, {name}": shop.activations(16),
                }
                if len(shop.fleet) >= RENEWING:
                    found[f"renewal in ticks of {AT_ONCE}, {name}"] = shop.renewals()
                for what, cost in found.items() if turn else ():
                    seen.setdefault(what, []).append(cost)
        for what, costs in sorted(seen.items()):
            _say(what, costs)
    return 0


def _say(what: str, costs: list[Cost]) -> None:
    own, database = (statistics.median(values) for values in zip(*costs, strict=True))
    beside = f" (+ {database:.0f} in the database)" if database else ""
    print(f"{what:45} {own:8.0f} us{beside}")  # noqa: T201 - what it is for


if __name__ == "__main__":
    raise SystemExit(main())
