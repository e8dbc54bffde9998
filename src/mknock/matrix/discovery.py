"""From what an owner types to the address of a homeserver.

https://spec.matrix.org/v1.18/client-server-api/#server-discovery
"""

from __future__ import annotations

from typing import Any, Final

import httpx2

from mknock.domain.errors import HomeserverError, HomeserverUnavailable
from mknock.matrix.answers import parsed
from mknock.matrix.client import MatrixClient, bare, exchange
from mknock.matrix.lanes import Address, Lanes
from mknock.ports import Clock

WELL_KNOWN: Final = ".well-known/matrix/client"
PATIENCE: Final = 10.0
"""Seconds for each look."""


class NoHomeserver(HomeserverError):
    """Nothing at that name or address answers as a homeserver."""


async def discovered(http: Lanes, typed: str, clock: Clock) -> str:
    """Return the address of the client API that a Matrix ID, a server name or an address stands for.

    A server may name another host for its client API (``.well-known``); only what
    the owner typed, and what that server names, is called.

    Raises:
        NoHomeserver: there is none.
    """
    name = typed.strip()
    if name.startswith("@"):
        name = name.partition(":")[2]
    address = name if "://" in name else f"https://{name}"
    try:
        Address.of(address)
    except (httpx2.InvalidURL, ValueError):
        raise NoHomeserver(
            f"{name!r} is neither a server's name nor an address that begins with https://."
        ) from None
    candidates = [address] if "://" in name else [await _told_by(http, address) or address, address]
    problem = ""
    for candidate in dict.fromkeys(candidates):
        problem = await _problem_of(http, candidate, clock)
        if not problem:
            return bare(candidate)
    raise NoHomeserver(f"There is no homeserver at {bare(address)}: {problem}.")


async def _told_by(http: Lanes, address: str) -> str:
    """The address that the server names in its ``.well-known``; "" if it names none."""
    place = Address.of(address)
    request = place.request("GET", WELL_KNOWN, headers={})
    try:
        answer = await exchange(http, place, request, what="server discovery", deadline=PATIENCE)
    except HomeserverUnavailable:
        return ""
    told: Any = parsed(answer.body) if answer.status == httpx2.codes.OK else None
    for name in ("m.homeserver", "base_url"):
        told = told.get(name) if isinstance(told, dict) else None
    return told if isinstance(told, str) and told.startswith(("https://", "http://")) else ""


async def _problem_of(http: Lanes, address: str, clock: Clock) -> str:
    """Return "" if a homeserver answers there, else what is wrong."""
    try:
        await MatrixClient(address, http=http, clock=clock, deadline=PATIENCE).greet()
    except HomeserverError as error:
        return str(error)
    except (httpx2.InvalidURL, ValueError):
        return "the address cannot be read"
    return ""
