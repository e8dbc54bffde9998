"""The HTTP application: which address leads where."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse, Response

from mknock.api.common import error_response
from mknock.api.health import Ready, running
from mknock.api.v0 import Admin, admin_router
from mknock.api.webhooks import Webhooks, wrong_method
from mknock.domain.errors import KnockError

FORM_PATHS = ("/invite_from_form", "/invite_from_form/")
"""With and without the slash: a redirect would lose the form."""


def build(
    webhooks: Webhooks,
    admin: Admin,
    ready: Ready,
    *,
    version: str,
) -> FastAPI:
    """Put the application together."""
    app = FastAPI(
        title="Knock",
        version=version,
        summary="Out-of-band invitations to private Matrix rooms.",
        docs_url=None,  # the page would load its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_forms(app, webhooks)
    for path in ("/", "/healthz"):
        app.add_route(path, running, methods=["GET", "HEAD"])
    app.add_route("/readyz", ready.__call__, methods=["GET"])
    app.include_router(admin_router(admin))
    app.add_exception_handler(KnockError, error_response)
    app.add_exception_handler(RequestValidationError, _explain_shape)
    return app


def _add_forms(app: FastAPI, webhooks: Webhooks) -> None:
    """Plain routes: a form's body is read by Knock itself, and every microsecond is a knock."""
    for path in FORM_PATHS:
        app.add_route(path, webhooks.invite_from_form, methods=["POST"])
        app.add_route(path, wrong_method, methods=["GET", "HEAD", "PUT", "PATCH", "DELETE"])


async def _explain_shape(_: Request, error: Exception) -> Response:
    """Say in one sentence what is wrong with a request's shape."""
    if not isinstance(error, RequestValidationError):
        raise error
    problems = "; ".join(_sentence(problem) for problem in error.errors()[:5])
    return JSONResponse({"error": problems}, 422)


def _sentence(problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem.get("loc", ())[1:]) or "the body"
    match problem.get("type"):
        case "missing":
            return f"{place} is missing"
        case "extra_forbidden":
            return f"{place} is not known here"
        case "string_type":
            return (
                f"{place} must be text, such as @alice:example.org"
                if "user" in place
                else f"{place} must be text"
            )
        case "json_invalid":
            return "the body is not JSON"
        case "model_attributes_type" | "dict_type":
            return 'the body must be a JSON object, such as {"user_id": "@alice:example.org"}'
        case _:
            return f"{place}: {problem.get('msg', 'is wrong')}"
