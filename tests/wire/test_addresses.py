"""Which addresses a link may lead to."""

from __future__ import annotations

import pytest

from aiai_async.wire.addresses import is_literal, is_public

ADDRESSES = {
    "a public one": ("8.8.8.8", True),
    "loopback": ("127.0.0.1", False),
    "all of loopback": ("127.255.0.1", False),
    "private 10": ("10.0.0.1", False),
    "private 172": ("172.16.0.1", False),
    "private 192": ("192.168.1.1", False),
    "link-local, where clouds keep credentials": ("169.254.169.254", False),
    "carrier-grade NAT": ("100.64.0.1", False),
    "nothing": ("0.0.0.0", False),
    "broadcast": ("255.255.255.255", False),
    "multicast": ("224.0.0.1", False),
    "multicast that is global": ("233.252.0.1", False),
    "documentation": ("192.0.2.1", False),
    "IPv6": ("2606:4700:4700::1111", True),
    "IPv6 loopback": ("::1", False),
    "IPv6 nothing": ("::", False),
    "IPv6 link-local": ("fe80::1", False),
    "IPv6 with a zone": ("fe80::1%eth0", False),
    "IPv6 unique local": ("fd00::1", False),
    "IPv6 multicast": ("ff0e::1", False),
    "IPv4-mapped, public": ("::ffff:8.8.8.8", True),
    "IPv4-mapped, private": ("::ffff:10.0.0.1", False),
    "IPv4-mapped, loopback in hexadecimal": ("::ffff:7f00:1", False),
    "6to4, public": ("2002:808:808::1", True),
    "6to4, private": ("2002:a00:1::1", False),
    "NAT64, public": ("64:ff9b::8.8.8.8", True),
    "NAT64, private": ("64:ff9b::10.0.0.1", False),
    "NAT64, link-local": ("64:ff9b::169.254.169.254", False),
    "NAT64 of a local network": ("64:ff9b:1::10.0.0.1", False),
    "protocol assignments": ("192.0.0.192", False),
    "IPv6 documentation": ("2001:db8::1", False),
    "IPv6 documentation, the newer range": ("3fff::1", False),
    "IPv6 segment routing": ("5f00::1", False),
}


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_only_globally_routable_addresses_are_public(address: str, expected: bool) -> None:
    """Addresses that hold an IPv4 address are judged by that."""
    assert is_public(address) is expected


@pytest.mark.parametrize("text", ["", "example.com", "10.0.0", "1.2.3.4.5", "[::1]"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """Rather than guessed at."""
    with pytest.raises(ValueError):
        is_public(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("example.com", False), ("127.1", False), ("", False)],
)
def test_literals_are_told_from_names(host: str, expected: bool) -> None:
    """What a resolver has to be asked about is a name, also short forms of addresses."""
    assert is_literal(host) is expected
