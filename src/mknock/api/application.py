"""The HTTP application: which address leads where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from mknock.api.common import error_response
from mknock.api.health import Ready, running
from mknock.api.reference import Described
from mknock.api.reference_page import ReferencePage
from mknock.api.rules import rules_router
from mknock.api.v0 import Admin, admin_router
from mknock.api.webhooks import Webhooks, wrong_method
from mknock.domain.errors import KnockError

FORM_ROUTE = "/{before:slashes}invite_from_form{behind:slashes}"
"""With any number of slashes around it, as they come from joined addresses: a redirect would lose the form,
and at a 404 Typeform switches its webhook off."""

DOORS_FORM_ROUTE = "/{before:slashes}d/{between:slashes}{slug}/{behind:slashes}forms{below:below}"
"""The form of a door by its name, and everything below its address: what is no platform's name names none."""


class Below(Convertor[str]):
    """Nothing, or a slash with whatever follows, in a path."""

    regex = r"(?:/[\s\S]*)?"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class Slashes(Convertor[str]):
    """Any number of slashes, in a path."""

    regex = "/*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("slashes", Slashes())
register_url_convertor("below", Below())


def build(
    webhooks: Webhooks,
    admin: Admin,
    ready: Ready,
    *,
    version: str,
    routers: Sequence[APIRouter] = (),
    pages: Sequence[BaseRoute] = (),
) -> FastAPI:
    """Put the application together.

    ``routers`` are further ones for moderators, ``pages`` those for visitors, which know nothing of the rest.
    """
    app = Described(
        title="Knock",
        version=version,
        summary="Out-of-band invitations to private Matrix rooms.",
        docs_url=None,  # the page would load its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_forms(app, webhooks)
    app.router.routes.extend(pages)
    for path in ("/", "/healthz"):
        app.add_route(path, running, methods=["GET", "HEAD"])
    app.add_route("/readyz", ready.__call__, methods=["GET", "HEAD"])
    app.add_route("/docs", ReferencePage(app.openapi).__call__, methods=["GET", "HEAD"])
    for router in (admin_router(admin), rules_router(admin.rules, admin.key), *routers):
        app.router.routes.extend(router.routes)  # include_router would make each of them a second time
    app.add_exception_handler(KnockError, error_response)
    app.add_exception_handler(RequestValidationError, _explain_shape)
    app.add_exception_handler(HTTPException, _explain_status)
    return app


def _add_forms(app: FastAPI, webhooks: Webhooks) -> None:
    """Plain routes: a form's body is read by Knock itself, and every microsecond is a knock."""
    for route, form in ((FORM_ROUTE, webhooks.invite_from_form), (DOORS_FORM_ROUTE, webhooks.form_of_door)):
        app.add_route(route, form, methods=["POST"])
        app.add_route(route, wrong_method, methods=["GET", "HEAD", "PUT", "PATCH", "DELETE"])


async def _explain_shape(_: Request, error: Exception) -> Response:
    """Say in one sentence what is wrong with a request's shape."""
    if not isinstance(error, RequestValidationError):
        raise error
    problems = "; ".join(_sentence(problem) for problem in error.errors()[:5])
    return JSONResponse({"error": problems}, 422)


async def _explain_status(_: Request, error: Exception) -> Response:
    """Give what the framework answers by itself the shape of all errors."""
    if not isinstance(error, HTTPException):
        raise error
    status = 422 if error.status_code == 400 else error.status_code  # 400: a body that no JSON reader takes
    sentence = _SENTENCES.get(status, error.detail)
    return JSONResponse({"error": sentence}, status, error.headers)


_SENTENCES = {
    404: "there is nothing at this address: see /docs",
    405: "this address does not take that method: see /docs",
    422: "the body is not JSON",
}


def _sentence(problem: dict[str, Any]) -> str:
    place = _place(problem.get("loc", ())[1:]) or "the body"
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


def _place(location: Sequence[object]) -> str:
    """Where in the body, in a few characters: a stranger's key may be long, or no text at all."""
    text = ".".join(map(str, location))[:60]
    return text.encode("utf-8", "replace").decode()
