"""Which addresses are public ones, and which lie in networks that the configuration names: whom the
server calls on its own account, and who reads its numbers.

Judged is the address that will be connected to, in the form the resolver gave it, so that a name,
a decimal or an octal form leads nowhere that its dotted form would not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from modelseal.errors import ConfigInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_PUBLIC6 = ipaddress.IPv6Network("2000::/3")
# IANA's special-purpose registries, and Azure's host, which has a public address. Written out:
# what `ipaddress` calls global differs between releases of Python.
_NEVER = tuple(
    map(ipaddress.ip_network, (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "2001::/23", "2001:db8::/32", "3fff::/20",
    ))
)  # fmt: skip


def parse(text: str) -> Address | None:
    """The address in ``text`` as resolvers write it, without a zone; None for anything else."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def networks(texts: Sequence[str], setting: str) -> tuple[Network, ...]:
    """The networks in a configuration; ``ConfigInvalid`` for what is none."""
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    except ValueError:
        raise ConfigInvalid(f"{setting} are networks like 10.0.0.0/8", setting=setting) from None


def may_watch(text: str | None, named: Sequence[Network] = ()) -> bool:
    """True for who calls from one of the ``named`` networks, without any from no public address."""
    address = parse(text or "")
    if address is None:
        return False
    return is_named(address, named) if named else not is_allowed(address)


def is_allowed(address: Address, named: Sequence[Network] = ()) -> bool:
    """True for a public address, and for one in the ``named`` networks.

    An IPv4 address inside an IPv6 one (mapped, compatible, 6to4, NAT64) counts as itself.
    """
    inner = list(_inside(address))
    if inner:
        return all(is_allowed(each, named) for each in inner)
    if any(address in network for network in named):
        return True
    if any(address in network for network in _NEVER):
        return False
    return address.version == 4 or address in _PUBLIC6


def is_named(address: Address, named: Sequence[Network]) -> bool:
    """True for an address in one of the ``named`` networks, which may be plain HTTP's."""
    inner = list(_inside(address)) or [address]
    return all(any(each in network for network in named) for each in inner)


def _inside(address: Address) -> Iterator[Address]:
    if not isinstance(address, ipaddress.IPv6Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _SIX_TO_FOUR:
        yield ipaddress.IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    elif address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
