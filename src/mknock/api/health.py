"""Is Knock alive, and can it do its work?"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mknock.services.readiness import Readiness


async def running(_: Request) -> Response:
    """The seed's health probe, and ``/healthz``: the process answers. Says nothing else."""
    return JSONResponse({"status": "running"})


@dataclass(frozen=True, slots=True)
class Ready:
    """``/readyz``: 200 when the store can be written and the homeserver answers us, else 503.

    What works in part only is named beside "ready"; the log and ``mknock doctor`` say why.
    """

    readiness: Readiness

    async def __call__(self, _: Request) -> Response:
        problems = await self.readiness.problems()
        if problems:
            states = {"status": "not_ready", "not_ready": sorted(problems)}
            return JSONResponse(states, 503, {"Retry-After": "5"})
        limited = sorted(self.readiness.limitations)
        return JSONResponse({"status": "ready"} | ({"limited": limited} if limited else {}))
