"""Whose request is this: the visitor's network address, behind proxies or not."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

from mknock.telemetry import get_logger

log = get_logger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Hop = tuple[str, int]
LOOPBACK = "127.0.0.1"


class Visitors:
    """Finds the address that a request came from.

    Only addresses in ``trusted`` are believed when they say for whom they
    forward; the visitor is the rightmost address in X-Forwarded-For that is
    not one of them.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self._warned = False

    def address(self, request: Request) -> str:
        """The visitor's address; what comes through a unix socket counts as loopback."""
        hops = _hops(request)
        peer = _peer(request, hops)
        if not hops:
            return peer
        if not self._trusts(peer):
            self._warn_once()
            return peer
        return next((host for host, _ in reversed(hops) if not self._trusts(host)), hops[0][0])

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped  # as a socket for both kinds shows an IPv4 peer
        return any(parsed in network for network in self._trusted if network.version == parsed.version)

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "requests come through a proxy that TRUSTED_PROXIES does not name:"
                " all its visitors count as one sender; set TRUSTED_PROXIES to its address"
            )


def _hops(request: Request) -> list[Hop]:
    text = ",".join(request.headers.getlist("x-forwarded-for"))
    return [_hop(part.strip()) for part in text.split(",") if part.strip()] if text else []


def _hop(text: str) -> Hop:
    """A hop's address and port, 0 for none: ``1.2.3.4:80``, ``[::1]:80``, ``::1``."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, _number(port.removeprefix(":"))
    host, _, port = text.partition(":")
    return (host, _number(port)) if text.count(":") == 1 else (text, 0)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0


def _peer(request: Request, hops: Sequence[Hop]) -> str:
    """The address at the other end of the connection.

    uvicorn believes X-Forwarded-For from 127.0.0.1 unless told otherwise, and
    then shows a forwarded address as the peer. Whom Knock believes is said by
    TRUSTED_PROXIES alone, so such a peer is taken for what it was: loopback.
    """
    if request.client is None:
        return LOOPBACK  # a unix socket
    peer = (request.client.host, request.client.port)
    return LOOPBACK if _is_forwarded(peer, hops) else peer[0]


def _is_forwarded(peer: Hop, hops: Sequence[Hop]) -> bool:
    """Whether uvicorn took this peer from the hops.

    A hop without a port becomes a peer with port 0, which no connection has.
    One with a port could as well be the peer itself, naming itself to pass
    for loopback; if it names itself as the last, it is found out as the
    visitor, and so nothing is gained by it.
    """
    if peer[1] == 0:
        return bool(hops)
    return peer == next((hop for hop in reversed(hops) if hop[0] != LOOPBACK), None)
