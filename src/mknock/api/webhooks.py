"""Where forms arrive.

A delivery is answered with 2xx as soon as it is decided and on disk. What the
answer says is the same for every decision (promise 6); only what was typed
wrongly is told, since that depends on nothing that Knock knows. Nothing here
answers 404 or 410 (Typeform switches a webhook off at once) or redirects
(several platforms count that as a failure).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mknock import forms
from mknock.api.access import FormGate, Trust
from mknock.api.common import headers_for, read_body, status_of
from mknock.api.pages import page
from mknock.api.sender import Visitors
from mknock.domain.doors import Door
from mknock.domain.errors import InvalidMatrixID, KnockError, NothingToDo, StoreUnavailable, Unreadable
from mknock.forms.post import FormPost
from mknock.ports import AskedToWait, Kept
from mknock.services.admission import Admission
from mknock.services.doors import Doors
from mknock.services.outcomes import Outcomes
from mknock.telemetry import get_logger

log = get_logger(__name__)

FORM_PATH = "/invite_from_form"
_DOORS_FORM = re.compile(r"/d/([^/]+)/forms/([^/]+)")
RECEIVED = "Thank you. If you are admitted, the invitation is in your Matrix app within moments."
BUSY = "Knock cannot take forms right now, please try again in a little while"
WAIT = "Too many requests from your network. Please try again later."
LONGEST_WAIT = 10.0
"""Seconds; the most that ``Prefer: wait=N`` (RFC 7240, section 4.3) is granted."""
_RECEIVED_BODY = {"status": "received", "message": RECEIVED}
_RECEIVED_BYTES = JSONResponse(_RECEIVED_BODY).body


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where a form came in: at which door, and at which address of it."""

    door: Door | None
    """None: it was named, and there is none of that name."""
    named: bool = False
    """By its name, so that a secret is needed; not as the first door."""
    platform: str = ""
    """Whose reader the address names; "": none's."""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The endpoints of the doors' forms."""

    doors: Doors
    gate: FormGate
    admission: Admission
    visitors: Visitors
    outcomes: Outcomes

    async def invite_from_form(self, request: Request) -> Response:
        """The first door's form."""
        return await self._answer(request, Entrance(self.doors.first))

    async def form_of_door(self, request: Request) -> Response:
        """The form of the door that the path names."""
        return await self.form_of(request, request.path_params["slug"], request.path_params["below"])

    async def form_of(self, request: Request, slug: str, below: str) -> Response:
        platform = below.strip("/").partition("/")[0].lower().replace("-", "_")
        return await self._answer(request, Entrance(self.doors.get(slug), named=True, platform=platform))

    async def _answer(self, request: Request, entrance: Entrance) -> Response:
        headers, query = _headers(request), _query(request)
        post = FormPost(b"", headers, query)
        try:
            post = FormPost(await read_body(request), headers, query)
            return await self._receive(request, post, entrance)
        except NothingToDo as error:
            return JSONResponse({"status": "nothing_to_do", "message": str(error)})
        except (InvalidMatrixID, Unreadable) as error:
            return _not_understood(post, str(error))
        except KnockError as error:
            return _refused(post, error)
        except ClientDisconnect:
            return Response(status_code=503)  # nobody is there to read it

    async def _receive(self, request: Request, post: FormPost, entrance: Entrance) -> Response:
        door, trust = self._let_in(post, entrance)
        trusted = trust.given
        address = None if trusted else self.visitors.address(request)
        if wait := await self.admission.must_wait(address):
            return _wait(post, wait)
        # A signature vouches for its platform's deliveries alone, whatever the address says.
        platform = trust.platform if trust.platform in forms.BY_NAME else entrance.platform
        read = await self._read(post, door, address, platform)
        if isinstance(read, AskedToWait):
            return _wait(post, read.retry_after)
        result = await self.admission.submit(read.submission, door, address=address, trusted=trusted)
        if isinstance(result, AskedToWait):
            return _wait(post, result.retry_after)
        if read.html:
            return page("Received", RECEIVED)
        patience = _preferred_wait(post.headers) if trusted else 0.0
        if patience and isinstance(result, Kept):
            return await self._outcome(result, patience)
        return Response(_RECEIVED_BYTES, media_type="application/json")

    def _let_in(self, post: FormPost, entrance: Entrance) -> tuple[Door, Trust]:
        """The door that is knocked at, and who vouches for the delivery. Raises Unauthenticated."""
        door = entrance.door
        if not entrance.named and door is not None:
            return door, self.gate.trust(post, door)
        trust = self.gate.trust_named(post, door)
        assert door is not None  # noqa: S101 - or nobody would have been let in
        return door, trust

    async def _read(
        self, post: FormPost, door: Door, address: str | None, platform: str
    ) -> forms.Read | AskedToWait:
        """Read a form, as that platform's if one is named. One that cannot be read counts like any other."""
        try:
            return forms.read(post, door.reading, platform)
        except Unreadable as error:
            if address is None and not isinstance(error, NothingToDo):
                log.info("a form could not be read", door=door.slug, why=str(error))
            wait = await self.admission.count(door, address)
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
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if path == FORM_PATH:
                response = await self._webhooks.invite_from_form(Request(scope, receive))
                return await response(scope, receive, send)
            if named := _DOORS_FORM.fullmatch(path):
                response = await self._webhooks.form_of(Request(scope, receive), *named.groups())
                return await response(scope, receive, send)
        return await self._app(scope, receive, send)


def _headers(request: Request) -> dict[str, str]:
    """The headers by name, of several the first; Starlette's own mapping looks through all of them for each."""
    raw = reversed(request.scope["headers"])
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}


def _query(request: Request) -> dict[str, str]:
    """The parameters by name, read as Starlette reads them, which takes three times as long."""
    text = request.scope["query_string"].decode("latin-1")
    return dict(parse_qsl(text, keep_blank_values=True)) if text else {}


def _preferred_wait(headers: Mapping[str, str]) -> float:
    """Seconds asked for by ``Prefer: wait=N``, at most LONGEST_WAIT; 0.0 for none or nonsense."""
    preferences = headers.get("prefer", "")
    for preference in preferences.lower().split(",") if preferences else ():
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
