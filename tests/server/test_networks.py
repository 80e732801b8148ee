"""Networks of addresses, by the system's reading and by ``ipaddress``."""

from __future__ import annotations

import ipaddress

from hypothesis import example, given
from hypothesis import strategies as st

from modelseal.server.services.limits import prefix


def by_hand(address: str) -> str:
    """What ``ipaddress`` says; of an IPv6 address its /56, of an IPv4 address within it that."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 56), strict=False))


PIECES = st.sampled_from(
    ["::", ":", ".", "0", "1", "ffff", "FFFF", "db8", "192.0.2.7", "%eth0", "/56", " "]
)


@given(st.ip_addresses())
def test_every_address_has_the_network_that_ipaddress_says(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """However it is written."""
    for text in (str(address), address.exploded, address.exploded.upper()):
        assert prefix(text) == by_hand(text)


@given(st.binary(min_size=7, max_size=7))
@example(bytes(7))
@example(bytes(5) + b"\xff\xff")
@example(b"\x00\x00\x00\x01\x00\x00\x00")
def test_zeros_in_an_address_are_left_out_in_the_same_places(site: bytes) -> None:
    """One site has one name."""
    for rest in (bytes(9), b"\xff" * 9, bytes(8) + b"\x01"):
        text = str(ipaddress.IPv6Address(site + rest))
        assert prefix(text) == by_hand(text)


@given(st.lists(PIECES, max_size=9).map("".join))
@example("::ffff:192.0.2.7")
@example("::ffff:192.0.02.7")
@example("::192.0.2.7")
@example("64:ff9b::192.0.2.7")
@example("1.2.3")
@example("1.2.3.4\0")
@example("")
def test_what_is_no_address_is_unknown(text: str) -> None:
    """To both."""
    assert prefix(text) == by_hand(text)
