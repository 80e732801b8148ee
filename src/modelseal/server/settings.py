"""Where and how the server is told to serve, and what it refuses to lie beside."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelseal import listening
from modelseal.errors import ConfigInvalid, DeskExposed
from modelseal.hosts import is_loopback
from modelseal.server.services import config as configs

MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how to serve: flags, then ``MODELSEAL_*``, then ``server.toml``."""

    host: str
    port: int
    public_url: str | None
    behind_proxy: tuple[str, ...]
    workers: int

    @property
    def scheme(self) -> str:
        """How the address is spoken to: in the clear only from a proxy that was named."""
        return "http" if self.behind_proxy else "https"

    @property
    def is_loopback(self) -> bool:
        """True when nobody but this computer can reach the address."""
        return is_loopback(self.host)


def settings_of(
    config: configs.ServerConfig,
    *,
    listen: str | None = None,
    public_url: str | None = None,
    behind_proxy: Sequence[str] = (),
    workers: int | None = None,
) -> Settings:
    """The settings in force; ``ConfigInvalid`` for an odd address, URL, network or number."""
    env = os.environ
    address = listen or env.get("MODELSEAL_LISTEN") or config.listen
    url = public_url or env.get("MODELSEAL_PUBLIC_URL") or config.public_url
    proxies = list(behind_proxy) or env.get("MODELSEAL_BEHIND_PROXY", "").split()
    proxies = proxies or config.behind_proxy
    host, port = listening.address(address)
    for network in proxies:
        try:
            named = ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigInvalid("--behind-proxy is a network like 10.0.0.0/8") from None
        if named.prefixlen == 0:
            raise ConfigInvalid(
                "--behind-proxy names everybody: plain HTTP from anywhere", setting="behind_proxy"
            )
    if url is not None and not url.startswith("https://"):
        raise ConfigInvalid("the public URL begins with https://", setting="public_url")
    return Settings(host, port, url, tuple(proxies), _workers(workers, config))


def _workers(told: int | None, config: configs.ServerConfig) -> int:
    named = os.environ.get("MODELSEAL_WORKERS", "")
    if told is None and named and not named.isdecimal():
        raise ConfigInvalid("MODELSEAL_WORKERS is a number", setting="workers")
    found = told if told is not None else int(named or config.workers)
    if not 1 <= found <= MOST_WORKERS:
        raise ConfigInvalid(f"--workers is 1 to {MOST_WORKERS}", setting="workers")
    return found


def check_desk(home: Path, settings: Settings) -> None:
    """Returns when no desk can be reached from elsewhere through this server's host.

    Raises ``DeskExposed`` when ``desk/`` or ``recovery-kit.txt`` lies beside the server and it
    listens beyond loopback, has a public URL or stands behind a proxy.
    """
    closed = settings.is_loopback and settings.public_url is None and not settings.behind_proxy
    if closed:
        return
    for name in ("desk", "recovery-kit.txt"):
        if (home / name).exists():
            raise DeskExposed(
                f"{name} lies beside a server others can reach", path=str(home / name)
            )
