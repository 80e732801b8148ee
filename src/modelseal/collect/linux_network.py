"""Linux: permanent addresses of the network cards; addresses in use can be set by anybody."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from modelseal.collect._collector import Finding
from modelseal.collect._container import is_wsl
from modelseal.collect._files import Root
from modelseal.device import (
    Confidence,
    MissingTrait,
    MissingWhy,
    TraitKind,
    TraitReading,
    normalise,
)

PermanentAddress = Callable[[str], bytes | None]

MAX_CARDS = 8
_ETHERNET = "1"  # ARPHRD_ETHER
_PERMANENT = "0"  # NET_ADDR_PERM
_SIOCETHTOOL = 0x8946
_ETHTOOL_GPERMADDR = 0x20
_ADDRESS_BYTES = 32


def read_network(root: Root, permanent: PermanentAddress) -> Iterator[Finding]:
    """The permanent address of each card, built-in cards first; USB ones are less sure."""
    found = [_read_card(root, name, permanent) for name in root.names("sys/class/net")]
    found = found or [MissingTrait(TraitKind.MAC, MissingWhy.ABSENT)]
    found.sort(key=lambda item: isinstance(item, TraitReading) and item.confidence == "low")
    yield from found[:MAX_CARDS]


def _read_card(root: Root, name: str, permanent: PermanentAddress) -> Finding:
    base = f"sys/class/net/{name}/"
    if root.text(base + "type") != _ETHERNET:
        return MissingTrait(TraitKind.MAC, MissingWhy.ABSENT)
    address = normalise.mac(root.text(base + "address"))
    if not root.exists(base + "device"):
        invented = isinstance(address, MissingWhy) and address != MissingWhy.EMPTY
        why = address if invented and isinstance(address, MissingWhy) else MissingWhy.VIRTUAL
        return MissingTrait(TraitKind.MAC, why)
    if is_wsl(root):
        return MissingTrait(TraitKind.MAC, MissingWhy.RANDOM)  # another one at every start
    burnt_in = permanent(name)
    if burnt_in and any(burnt_in):
        address = normalise.mac(burnt_in)
    elif root.text(base + "addr_assign_type") != _PERMANENT:
        return MissingTrait(TraitKind.MAC, MissingWhy.RANDOM)
    usb = "/usb" in root.target(base + "device")
    confidence = Confidence.LOW if usb else Confidence.HIGH
    return normalise.found(TraitKind.MAC, address, confidence=confidence)


def permanent_address(interface: str) -> bytes | None:
    """What the card has burnt in, asked of the kernel (ethtool); None when it does not say."""
    try:
        import array
        import fcntl
        import socket

        request = array.array("B", struct.pack("=II", _ETHTOOL_GPERMADDR, _ADDRESS_BYTES))
        request.extend(bytes(_ADDRESS_BYTES))
        ifreq = struct.pack("16sP", interface.encode()[:15], request.buffer_info()[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            fcntl.ioctl(channel.fileno(), _SIOCETHTOOL, ifreq.ljust(40, b"\x00"))
        size = struct.unpack_from("=I", request.tobytes(), 4)[0]
    except (ImportError, OSError, AttributeError):
        return None
    return request.tobytes()[8 : 8 + min(size, _ADDRESS_BYTES)]
