"""What the pages for visitors answer with, whatever they are about."""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mknock.web.languages import Language, chosen, languages
from mknock.web.rendering import rendered


def not_found(request: Request) -> Response:
    return message(request, "not_found", 404)


def wait(request: Request, seconds: float) -> Response:
    return message(request, "wait", 429, {"Retry-After": str(math.ceil(seconds))})


def message(
    request: Request, chapter: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    language = language_of(request)
    return rendered(
        "message.html", language, up=way_up(request), status=status, headers=headers, said=language[chapter]
    )


def as_json(content: Mapping[str, object]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


def elsewhere(address: str, status: int = 303) -> Response:
    """A relative address, which holds below any path of a proxy."""
    headers = {"Location": address, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(status_code=status, headers=headers)


def language_of(request: Request) -> Language:
    return chosen(request.query_params.get("lang"), request.headers.get("accept-language", ""))


def query_of(request: Request, language: Language | None = None) -> str:
    """What goes on with the visitor: the language, where the address names it or it is given."""
    asked = language.code if language else request.query_params.get("lang")
    return f"?lang={asked}" if asked in languages() else ""


def way_up(request: Request) -> str:
    """The way from the address of this request to the root of Knock."""
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return "../" * (path.count("/") - 1)
