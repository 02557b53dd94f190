"""Which receivers of notices we talk to: https and public addresses only, unless settings say otherwise.

A URL is written by somebody with a key, and we call it from inside the network. So the address is checked twice: when
the subscription is made, to tell its maker, and for every socket that is opened, since names may answer differently
then. The socket is opened to the very address that was checked, redirects are not followed, and no proxy is asked.
Link-local addresses (a cloud's metadata lives there) are never called.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

import aiohttp
import yarl

from app.errors import BadInput

URL_LENGTH_MAX = 2_000
RESOLVE_MAX_S = 5.0
TIMEOUT_S = 10.0

_NAT64 = ip_network("64:ff9b::/96")


class Allowed(NamedTuple):
    """What the settings allow beside public https: ``http``, and ``private`` (loopback included) addresses."""

    http: bool = False
    private: bool = False


class Refused(OSError):
    """A socket to an address that we do not call."""


def callable_address(text: str, allowed: Allowed) -> bool:
    """Whether we call this address. An IPv4 address that is wrapped into an IPv6 one counts as itself."""
    address = _unwrapped(ip_address(text.partition("%")[0]))
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    if address.is_global and not address.is_reserved:
        return True
    return allowed.private and (address.is_private or address.is_loopback)


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address


def parsed(url: str, allowed: Allowed) -> yarl.URL:
    """The URL as it will be called. Raises BadInput that says what is wrong with it."""
    try:
        parts = yarl.URL(url)
        host, port = parts.host, parts.port
    except ValueError:
        parts, host, port = yarl.URL(), None, None
    if not host or port is None or len(url) > URL_LENGTH_MAX or not url.isprintable() or " " in url:
        raise _refused("bad_receiver", "this is no URL")
    if parts.scheme != "https" and not (allowed.http and parts.scheme == "http"):
        raise _refused("bad_receiver", "https is needed")
    if parts.user is not None or parts.password is not None or parts.raw_fragment:
        raise _refused("bad_receiver", "a URL with a user, a password or a fragment is not called")
    return parts


async def check(url: str, allowed: Allowed) -> None:
    """Refuse a receiver that would not be called. Raises BadInput."""
    parts = parsed(url, allowed)
    assert parts.host is not None
    try:
        async with asyncio.timeout(RESOLVE_MAX_S):
            found = await asyncio.get_running_loop().getaddrinfo(parts.host, parts.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise _refused("unknown_host", "its host has no address") from None
    if not all(callable_address(str(sockaddr[0]), allowed) for *_, sockaddr in found):
        raise _refused("private_address", "its address is not public")


def _refused(code: str, why: str) -> BadInput:
    return BadInput(f"url: {why}.", code=code, status=422, details={"errors": [{"field": "url", "message": why}]})


def session(allowed: Allowed) -> aiohttp.ClientSession:
    """A client that opens no socket to an address that is not allowed."""

    def opened(info: Any) -> socket.socket:
        family, kind, proto, _, sockaddr = info
        if not callable_address(str(sockaddr[0]), allowed):
            raise Refused("the address is not public")
        return socket.socket(family, kind, proto)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, use_dns_cache=False, socket_factory=opened),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
