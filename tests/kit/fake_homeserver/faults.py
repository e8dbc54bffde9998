"""What the fake homeserver is told to do wrong, and what it was asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

EVERYTHING = "*"

_TEXTS = {
    429: ("M_LIMIT_EXCEEDED", "Too Many Requests"),
    401: ("M_UNKNOWN_TOKEN", "Invalid access token passed."),
    403: ("M_FORBIDDEN", "Forbidden"),
    404: ("M_NOT_FOUND", "Not found"),
}


@dataclass(slots=True, eq=False)
class Call:
    """One request that came in."""

    operation: str
    method: str
    path: str
    """The template, such as ``rooms/{room}/invite``."""
    user: str
    """Whose access token it carried, "" for none or a bad one."""
    at: float
    """Seconds since 1970."""
    params: dict[str, str] = field(default_factory=dict)
    """What stood in the path."""
    body: bytes = b""
    about: str = ""
    """The person that it concerns: named in the body or in the path."""
    status: int = 0
    """What was answered; 0 as long as nothing was."""
    dropped: bool = False
    """The connection ended without an answer, by a fault or because the caller gave up."""


@dataclass(slots=True, eq=False)
class Fault:
    """What goes wrong with the next calls of one operation, or of all.

    Without ``status``, ``hang`` or ``down`` the call is only late.
    """

    operation: str = EVERYTHING
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json | str | None = None
    hang: bool = False
    """Nothing is answered until the fault is mended or the caller gives up."""
    down: bool = False
    """The connection is dropped without an answer."""
    delay: float = 0.0
    """Seconds before the answer, the wrong one or the right one."""
    acts: bool = False
    """The call is carried out first: only its answer gets lost or is replaced."""
    times: int | None = None
    """How many calls it hits; None for all until it is mended."""
    retry_after: float | None = None
    """Seconds that a 429 asks for, written as Synapse does, in the header and in the body."""
    mended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def answers(self) -> bool:
        return self.status is not None

    def answer_body(self) -> Json | str:
        """Return the given body, or the one that Synapse gives with that status."""
        if self.body is not None:
            return self.body
        code, text = _TEXTS.get(self.status or 0, ("M_UNKNOWN", "Internal server error"))
        body: Json = {"errcode": code, "error": text}
        if self.retry_after is not None:
            body["retry_after_ms"] = round(self.retry_after * 1000)
        return body

    def answer_headers(self) -> dict[str, str]:
        if self.retry_after is None:
            return dict(self.headers)
        return {"retry-after": str(math.ceil(self.retry_after)), **self.headers}


class Faults:
    """The faults that wait for a call, the newest first."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._hanging: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._waiting.insert(0, fault)

    def take(self, operation: str) -> Fault | None:
        """Return the fault that hits this call, and count it down."""
        for fault in self._waiting:
            if fault.operation in (operation, EVERYTHING):
                self._count_down(fault)
                return fault
        return None

    async def hang(self, fault: Fault) -> None:
        """Return when the fault is mended."""
        self._hanging.append(fault)
        await fault.mended.wait()

    def mend(self, operation: str = EVERYTHING) -> None:
        """Remove the faults of an operation, or all; calls that hang because of them go on."""
        for faults in (self._waiting, self._hanging):
            for fault in [one for one in faults if operation in (EVERYTHING, one.operation)]:
                faults.remove(fault)
                fault.mended.set()

    def _count_down(self, fault: Fault) -> None:
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._waiting.remove(fault)
