"""Which addresses a link from a server may lead to.

A link is the server's word, and a program often runs where more can be reached than from outside: so links are fetched
from globally routable addresses only, and from the API's own host.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Not globally routable, but said to be by `ipaddress` of some of the Pythons that this package runs on: the first two
# before 3.11.10 and 3.12.4, the last two (documentation, SRv6) in all up to 3.13.
_NOT_GLOBAL: Final = tuple(
    ipaddress.ip_network(text) for text in ("192.0.0.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")
)


def is_public(address: str) -> bool:
    """Tell whether an IP address is globally routable; addresses that hold an IPv4 address are judged by that.

    Args:
        address: IPv4 or IPv6, perhaps with a zone.

    Raises:
        ValueError: it is no address.

    Source: the IANA special-purpose registries, as `ipaddress` has them; RFC 6052 for 64:ff9b::/96, RFC 3056 for 6to4.

    Example:
        >>> is_public("8.8.8.8"), is_public("::ffff:10.0.0.1")
        (True, False)
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_GLOBAL)


def is_literal(host: str) -> bool:
    """Tell whether a URL's host is an IP address, which no resolver is asked about."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
