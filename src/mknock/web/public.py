"""A door's own page, where a visitor asks to come in, and the private page where they land.

What is answered is the same for every decision (promise 6): 303 to a status page
that says the same to everybody. Only what was typed wrongly is told, since
that depends on nothing that Knock knows. A page that there is not looks alike
whether its door exists or not.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mknock.domain.doors import Door
from mknock.domain.errors import KnockError, StoreUnavailable, TooLarge, Unreadable
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Submission
from mknock.forms.post import FormPost
from mknock.ports import AskedToWait
from mknock.services.admission import Admission
from mknock.services.doors import Doors
from mknock.web import filled as form
from mknock.web.assets import assets, digest_of
from mknock.web.colours import sheet
from mknock.web.filled import Filled, Problem
from mknock.web.languages import Language, chosen, languages
from mknock.web.proof import ProofOfWork
from mknock.web.rendering import logo_address, rendered
from mknock.web.signing import Stamps

FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
UNSURE = {**FOR_EVER, "Cache-Control": "no-cache"}
"""For a file that was asked for by another hash: another release runs beside this one."""
CHECKED_BODY = 8 * 1024
"""Bytes of a request that only wants to know whether an ID is one."""

Endpoint = Callable[[Request], Awaitable[Response]]
DoorEndpoint = Callable[[Request, Door], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Requests:
    """How requests are read and errors become answers: as everywhere in Knock, and handed in from there."""

    address: Callable[[Request], str]
    body: Callable[[Request, int], Awaitable[bytes]]
    status: Callable[[KnockError], int]
    headers: Callable[[KnockError], dict[str, str]]
    largest: int


@dataclass(frozen=True, slots=True)
class PublicPages:
    """The endpoints of the doors' pages."""

    doors: Doors
    admission: Admission
    proof: ProofOfWork
    stamps: Stamps
    requests: Requests

    def routes(self) -> list[Route]:
        """Every address below which something is shown to visitors."""
        return [
            _route("/d/{slug}", self._told(self.form)),
            _route("/d/{slug}", self._told(self.knock), "POST"),
            _route("/d/{slug}/", without_slash),
            _route("/d/{slug}/check", self._told(self.check), "POST"),
            _route("/d/{slug}/challenge", self._told(self.challenge)),
            _route("/d/{slug}/logo/{digest}", self._told(self.logo)),
            _route("/d/{slug}/s/{token}", self._told(self.status)),
            _route("/static/colour/{digits}.css", colour),
            _route("/static/{digest}/{name:path}", static),
        ]

    # --- the page

    async def form(self, request: Request, door: Door) -> Response:
        """The door's page, to be filled in."""
        return await self._form(request, door, form.EMPTY, {})

    async def knock(self, request: Request, door: Door) -> Response:
        """Somebody knocks."""
        address = self.requests.address(request)
        if wait := await self.admission.must_wait(address):
            return _wait(request, wait)
        filled = await self._counted(request, door, address)
        if isinstance(filled, AskedToWait):
            return _wait(request, filled.retry_after)
        problems = form.problems(filled, door)
        if problems and not filled.trap:
            return await self._not_yet(request, door, filled, problems, address)
        token = secrets.token_urlsafe(24)
        submission = await self._submission(filled, door, token)
        kept = await self.admission.submit(submission, door, address=address, trusted=False)
        if isinstance(kept, AskedToWait):
            return _wait(request, kept.retry_after)
        return _elsewhere(f"{door.slug}/s/{token}{_query(request)}")

    async def status(self, request: Request, door: Door) -> Response:
        """Where a visitor lands. No token is looked up: there is nothing to tell that depends on it."""
        logo = logo_address(door.slug, door.page)
        return rendered("status.html", _language(request), up=_up(request), page=door.page, logo=logo)

    async def _filled(self, request: Request, largest: int) -> Filled:
        body = await self.requests.body(request, largest)
        return form.read(FormPost(body, dict(request.headers)))

    async def _counted(self, request: Request, door: Door, address: str) -> Filled | AskedToWait:
        """What was filled in. What cannot be read counts like any other request."""
        try:
            return await self._filled(request, self.requests.largest)
        except Unreadable:
            if wait := await self.admission.count(door, address):
                return AskedToWait(wait)
            raise

    async def _not_yet(
        self, request: Request, door: Door, filled: Filled, problems: Mapping[str, Problem], address: str
    ) -> Response:
        """Give the form back to be mended. It counts like any request, or IDs could be tried without end."""
        if wait := await self.admission.count(door, address):
            return _wait(request, wait)
        return await self._form(request, door, filled, problems)

    async def _form(
        self, request: Request, door: Door, filled: Filled, problems: Mapping[str, Problem]
    ) -> Response:
        language, opened = _language(request), filled.text(form.STAMP)
        if not await self.stamps.valid(opened, door.slug):
            opened = await self.stamps.stamp(door.slug)
        return rendered(
            "form.html",
            language,
            up=_up(request),
            status=422 if problems else 200,
            door=door,
            page=door.page,
            logo=logo_address(door.slug, door.page),
            filled=filled,
            problems={name: language[each.chapter][each.key] for name, each in problems.items()},
            opened=opened,
            query=_query(request, language),
            form=form,
        )

    async def _submission(self, filled: Filled, door: Door, token: str) -> Submission:
        """What was filled in, with what is known of how that was done."""
        person = form.person_in(filled.typed, door)
        proof = filled.text(form.PROOF)
        worked = isinstance(person, MatrixID) and await self.proof.shown(proof, door.slug, person)
        timely = await self.stamps.timely(filled.text(form.STAMP), door.slug)
        receipt = sha256(token.encode()).hexdigest()
        return form.submission(filled, door, worked=worked, timely=timely, receipt=receipt)

    # --- what the page's script asks for

    async def check(self, request: Request, door: Door) -> Response:
        """How an ID is understood as it is typed. Nothing is looked up, so it tells of nobody."""
        filled = await self._filled(request, CHECKED_BODY)
        person, language = form.person_in(filled.typed, door), _language(request)
        if isinstance(person, Problem):
            return _json({"good": False, "text": language[person.chapter][person.key]})
        key = "id_good" if str(person) == filled.typed.strip() else "id_mended"
        return _json({"good": True, "text": language["page"][key].format(id=person)})

    async def challenge(self, _: Request, door: Door) -> Response:
        """Work for the visitor's browser."""
        return _json(await self.proof.challenge(door.slug))

    async def logo(self, request: Request, door: Door) -> Response:
        """The owner's image."""
        logo = door.page.logo if door.page else None
        if logo is None:
            return _not_found(request)
        headers = FOR_EVER if request.path_params["digest"] == digest_of(logo.content) else UNSURE
        return Response(logo.content, media_type=logo.media_type, headers=headers)

    # --- for each of them

    def _told(self, endpoint: DoorEndpoint) -> Endpoint:
        """The endpoint, with its door found and its errors told on a page."""

        async def answer(request: Request) -> Response:
            door = self.doors.get(request.path_params["slug"])
            if door is None or door.page is None:
                return _not_found(request)
            try:
                return await endpoint(request, door)
            except KnockError as error:
                return self._error(request, error)
            except ClientDisconnect:
                return Response(status_code=503)  # nobody is there to read it

        return answer

    def _error(self, request: Request, error: KnockError) -> Response:
        chapter = next((name for kind, name in _ERRORS.items() if isinstance(error, kind)), "unreadable")
        return _message(request, chapter, self.requests.status(error), self.requests.headers(error))


_ERRORS: Mapping[type[KnockError], str] = {StoreUnavailable: "busy", TooLarge: "too_large"}


def _route(path: str, endpoint: Endpoint, method: str = "GET") -> Route:
    return Route(path, endpoint, methods=[method])


# --- files ---------------------------------------------------------------------------------------


async def static(request: Request) -> Response:
    """A file of the pages."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return _not_found(request)
    headers = FOR_EVER if request.path_params["digest"] == asset.digest else UNSURE
    return Response(asset.content, media_type=asset.media_type, headers=headers)


async def colour(request: Request) -> Response:
    """The style sheet of a colour. It is made of the address alone, so nothing is told of any door."""
    digits = request.path_params["digits"]
    if not re.fullmatch("[0-9a-f]{6}", digits):
        return _not_found(request)
    return Response(sheet(digits), media_type="text/css", headers=FOR_EVER)


async def without_slash(request: Request) -> Response:
    """The page's address has no slash at its end. Asked of any door, there or not."""
    return _elsewhere(f"../{quote(request.path_params['slug'])}{_query(request)}", 308)


# --- answers -------------------------------------------------------------------------------------


def _not_found(request: Request) -> Response:
    return _message(request, "not_found", 404)


def _wait(request: Request, seconds: float) -> Response:
    return _message(request, "wait", 429, {"Retry-After": str(math.ceil(seconds))})


def _message(
    request: Request, chapter: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    language = _language(request)
    return rendered(
        "message.html", language, up=_up(request), status=status, headers=headers, said=language[chapter]
    )


def _json(content: Mapping[str, object]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


def _elsewhere(address: str, status: int = 303) -> Response:
    """A relative address, which holds below any path of a proxy."""
    headers = {"Location": address, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(status_code=status, headers=headers)


def _language(request: Request) -> Language:
    return chosen(request.query_params.get("lang"), request.headers.get("accept-language", ""))


def _query(request: Request, language: Language | None = None) -> str:
    """What goes on with the visitor: the language, where the address names it or it is given."""
    asked = language.code if language else request.query_params.get("lang")
    return f"?lang={asked}" if asked in languages() else ""


def _up(request: Request) -> str:
    """The way from the address of this request to the root of Knock."""
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return "../" * (path.count("/") - 1)
