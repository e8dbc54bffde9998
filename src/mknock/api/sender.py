"""Whose request is this: the visitor's network address, behind proxies or not."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

from mknock.telemetry import get_logger

log = get_logger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
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

    def address(self, request: Request) -> str | None:
        """The visitor's address, or None when there is none (a unix socket)."""
        forwarded = _hops(request)
        peer = _peer(request, forwarded)
        if peer is None or not forwarded:
            return peer
        if not self._trusts(peer):
            self._warn_once()
            return peer
        for hop in reversed(forwarded):
            if not self._trusts(hop):
                return hop
        return forwarded[0]

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted if network.version == parsed.version)

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "requests come through a proxy that TRUSTED_PROXIES does not name:"
                " all its visitors count as one sender; set TRUSTED_PROXIES to its address"
            )


def _hops(request: Request) -> list[str]:
    text = ",".join(request.headers.getlist("x-forwarded-for"))
    return [_host(part.strip()) for part in text.split(",") if part.strip()] if text else []


def _host(hop: str) -> str:
    """A hop without its port: ``1.2.3.4:80``, ``[::1]:80``, ``::1``."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _peer(request: Request, forwarded: list[str]) -> str | None:
    """The address at the other end of the connection.

    uvicorn believes X-Forwarded-For from 127.0.0.1 unless told otherwise, and
    then shows a forwarded address as the peer. Whom Knock believes is said by
    TRUSTED_PROXIES alone, so such a peer is taken for what it was: loopback.
    """
    if request.client is None:
        return None
    peer = request.client.host
    return LOOPBACK if peer in forwarded else peer
