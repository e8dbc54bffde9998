"""The files of the pages for visitors, which never change below one address."""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mknock.web.answers import not_found
from mknock.web.assets import assets
from mknock.web.colours import sheet

FOR_EVER: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}
UNSURE: Final = {**FOR_EVER, "Cache-Control": "no-cache"}
"""For a file that was asked for by another hash: another release runs beside this one."""


async def static(request: Request) -> Response:
    """A file of the pages."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return not_found(request)
    headers = FOR_EVER if request.path_params["digest"] == asset.digest else UNSURE
    return Response(asset.content, media_type=asset.media_type, headers=headers)


async def colour(request: Request) -> Response:
    """The style sheet of a colour. It is made of the address alone, so nothing is told of any door."""
    digits = request.path_params["digits"]
    if not re.fullmatch("[0-9a-f]{6}", digits):
        return not_found(request)
    return Response(sheet(digits), media_type="text/css", headers=FOR_EVER)
