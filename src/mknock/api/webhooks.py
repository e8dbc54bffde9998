"""Where forms arrive.

A delivery is answered with 2xx as soon as it is decided and on disk. What the
answer says is the same for every decision (promise 6); only what was typed
wrongly is told, since that depends on nothing that Knock knows. Nothing here
answers 404 or 410 (Typeform switches a webhook off at once) or redirects
(several platforms count that as a failure).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mknock import forms
from mknock.api.access import FormGate
from mknock.api.common import headers_for, read_body, status_of
from mknock.api.pages import page
from mknock.api.sender import Visitors
from mknock.domain.errors import InvalidMatrixID, KnockError, NothingToDo, StoreUnavailable, Unreadable
from mknock.forms.post import FormPost
from mknock.ports import AskedToWait, Kept
from mknock.services.admission import Admission
from mknock.services.doors import Doors
from mknock.services.outcomes import Outcomes
from mknock.telemetry import get_logger

log = get_logger(__name__)

FORM_PATH = "/invite_from_form"
RECEIVED = "Thank you. If you are admitted, the invitation is in your Matrix app within moments."
BUSY = "Knock cannot take forms right now, please try again in a little while"
WAIT = "Too many requests from your network. Please try again later."
LONGEST_WAIT = 10.0
"""Seconds; the most that ``Prefer: wait=N`` (RFC 7240, section 4.3) is granted."""
_RECEIVED_BODY = {"status": "received", "message": RECEIVED}
_RECEIVED_BYTES = JSONResponse(_RECEIVED_BODY).body


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The endpoint of the first door."""

    doors: Doors
    gate: FormGate
    admission: Admission
    visitors: Visitors
    outcomes: Outcomes

    async def invite_from_form(self, request: Request) -> Response:
        post = FormPost(b"", _headers(request), request.query_params)
        try:
            post = replace(post, body=await read_body(request))
            return await self._receive(request, post)
        except NothingToDo as error:
            return JSONResponse({"status": "nothing_to_do", "message": str(error)})
        except (InvalidMatrixID, Unreadable) as error:
            return _not_understood(post, str(error))
        except KnockError as error:
            return _refused(post, error)
        except ClientDisconnect:
            return Response(status_code=503)  # nobody is there to read it

    async def _receive(self, request: Request, post: FormPost) -> Response:
        trust = self.gate.trust(post)
        trusted = trust.given
        address = None if trusted else self.visitors.address(request)
        if wait := await self.admission.must_wait(address):
            return _wait(post, wait)
        read = await self._read(post, address, trust.platform)
        if isinstance(read, AskedToWait):
            return _wait(post, read.retry_after)
        result = await self.admission.submit(
            read.submission, self.doors.first, address=address, trusted=trusted
        )
        if isinstance(result, AskedToWait):
            return _wait(post, result.retry_after)
        if read.html:
            return page("Received", RECEIVED)
        patience = _preferred_wait(request) if trusted else 0.0
        if patience and isinstance(result, Kept):
            return await self._outcome(result, patience)
        return Response(_RECEIVED_BYTES, media_type="application/json")

    async def _read(self, post: FormPost, address: str | None, platform: str) -> forms.Read | AskedToWait:
        """Read a form, as that platform's if one vouches for it. One that cannot be read counts like any other."""
        try:
            return forms.read(post, self.doors.first.reading, platform)
        except Unreadable as error:
            if address is None and not isinstance(error, NothingToDo):
                log.info("a form could not be read", why=str(error))
            wait = await self.admission.count(self.doors.first, address)
            if wait:
                return AskedToWait(wait)
            raise

    async def _outcome(self, kept: Kept, wait: float) -> Response:
        """Tell an authenticated sender what became of the knock, if it is known in time."""
        knock = await self.outcomes.wait(kept.knock.id, wait)
        outcome = {"knock_id": kept.knock.id, "outcome": knock.state.value, "reason": knock.reason.value}
        return JSONResponse(_RECEIVED_BODY | outcome, headers={"Preference-Applied": "wait"})


class FormsFirst:
    """ASGI middleware: a form goes straight to its endpoint, everything else to ``app``.

    The routing and the wrappers of the framework cost a form time and do nothing
    for it: its endpoint answers every error itself. Odd spellings of
    the address (more slashes) still find it by the framework's route.
    """

    def __init__(self, app: ASGIApp, webhooks: Webhooks) -> None:
        self._app = app
        self._webhooks = webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_form(scope):
            response = await self._webhooks.invite_from_form(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_form(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    return bool(scope["path"] == scope.get("root_path", "") + FORM_PATH)


def _headers(request: Request) -> dict[str, str]:
    """The headers by name; Starlette's own mapping looks through all of them for each."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}


def _preferred_wait(request: Request) -> float:
    """Seconds asked for by ``Prefer: wait=N``, at most LONGEST_WAIT; 0.0 for none or nonsense."""
    for preference in request.headers.get("prefer", "").lower().split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip() == "wait" and value.isascii() and value.isdigit():
            return min(float(value[:4]), LONGEST_WAIT)
    return 0.0


def _not_understood(post: FormPost, problem: str) -> Response:
    if forms.wants_page(post):
        return page("That did not work", f"{problem} Please go back and try again.")
    return JSONResponse({"status": "not_understood", "message": problem})


def _wait(post: FormPost, seconds: float) -> Response:
    headers = {"Retry-After": str(math.ceil(seconds))}
    if forms.wants_page(post):
        return page("Please wait", WAIT, 429, headers)
    return JSONResponse({"error": WAIT}, 429, headers)


def _refused(post: FormPost, error: KnockError) -> Response:
    status, headers = status_of(error), headers_for(error)
    sentence = BUSY if isinstance(error, StoreUnavailable) else str(error)
    if forms.wants_page(post):
        return page("That did not work", f"{sentence}.", status, headers)
    return JSONResponse({"error": sentence}, status, headers)


async def wrong_method(_: Request) -> Response:
    """Somebody opened the form's address in a browser."""
    return JSONResponse({"error": "this address takes forms: send a POST"}, 405, {"Allow": "POST"})
