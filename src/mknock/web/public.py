"""The pages where a visitor asks to come in: a door's own, that of an invite link, and the private one they land on.

What is answered is the same for every decision (promise 6): 303 to a status page
that says the same to everybody. Only what was typed wrongly is told, since
that depends on nothing that Knock knows. A page that there is not looks alike
whether its door exists or not.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mknock.domain.doors import Door
from mknock.domain.errors import KnockError, StoreUnavailable, TooLarge, Unreadable
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Submission
from mknock.forms.post import FormPost
from mknock.ports import AskedToWait, LinkOver
from mknock.services.admission import Admission
from mknock.services.proof_codes import ProofCodes, shown
from mknock.web import filled as form
from mknock.web.answers import as_json, elsewhere, language_of, message, not_found, query_of, wait, way_up
from mknock.web.assets import digest_of
from mknock.web.entrances import Entrance, Entrances, Finds
from mknock.web.files import FOR_EVER, UNSURE, colour, static
from mknock.web.filled import Filled, Problem
from mknock.web.proof import ProofOfWork
from mknock.web.rendering import logo_address, rendered
from mknock.web.signing import Stamps

CHECKED_BODY = 8 * 1024
"""Bytes of a request that only wants to know whether an ID is one."""

Endpoint = Callable[[Request], Awaitable[Response]]
EntranceEndpoint = Callable[[Request, Entrance], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Requests:
    """How requests are read and errors become answers: as everywhere in Knock, and handed in from there."""

    address: Callable[[Request], str]
    body: Callable[[Request, int], Awaitable[bytes]]
    status: Callable[[KnockError], int]
    headers: Callable[[KnockError], dict[str, str]]
    largest: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What a visitor needs to prove that the account is theirs."""

    code: str
    account: str
    lifetime: float

    def told(self, texts: Mapping[str, str]) -> str:
        """How long the code is good: never more than it is."""
        if self.lifetime < 2 * 3600:
            return texts["minutes"].format(minutes=int(self.lifetime // 60))
        return texts["hours"].format(hours=int(self.lifetime // 3600))

    @property
    def link(self) -> str:
        """Opens a chat with the account in whatever app the visitor has."""
        return f"https://matrix.to/#/{quote(self.account, safe='@:')}"

    @property
    def in_app(self) -> str:
        """The same for apps that know Matrix's own addresses (specification, "Matrix URI scheme")."""
        return f"matrix:u/{quote(self.account[1:], safe=':')}?action=chat"


@dataclass(frozen=True, slots=True)
class PublicPages:
    """The endpoints of the doors' pages."""

    entrances: Entrances
    admission: Admission
    proof: ProofOfWork
    stamps: Stamps
    codes: ProofCodes
    account: Callable[[], str]
    """The Matrix ID that people send their code to; "" as long as it is not known."""
    requests: Requests

    def routes(self) -> list[Route]:
        """Every address below which something is shown to visitors."""
        return [
            *self._below("/d/{slug}", self.entrances.own),
            *self._below("/i/{token}", self.entrances.by_link),
            _route("/d/{slug}/", without_slash("slug")),
            _route("/i/{token}/", without_slash("token")),
            _route("/static/colour/{digits}.css", colour),
            _route("/static/{digest}/{name:path}", static),
        ]

    def _below(self, path: str, finds: Finds) -> list[Route]:
        """What there is below one kind of entrance."""
        return [
            _route(path, self._told(finds, _if_open(self.form))),
            _route(path, self._told(finds, _if_open(self.knock)), "POST"),
            _route(f"{path}/check", self._told(finds, self.check), "POST"),
            _route(f"{path}/challenge", self._told(finds, self.challenge)),
            _route(f"{path}/logo/{{digest}}", self._told(finds, self.logo)),
            _route(f"{path}/s/{{receipt}}", self._told(finds, self.status)),
        ]

    # --- the page

    async def form(self, request: Request, entrance: Entrance) -> Response:
        """The page, to be filled in. To open it spends nothing of a link."""
        return await self._form(request, entrance, form.EMPTY, {})

    async def knock(self, request: Request, entrance: Entrance) -> Response:
        """Somebody knocks."""
        door = entrance.door
        address = self.requests.address(request)
        if seconds := await self.admission.must_wait(address):
            return wait(request, seconds)
        filled = await self._counted(request, door, address)
        if isinstance(filled, AskedToWait):
            return wait(request, filled.retry_after)
        problems = form.problems(filled, door)
        if problems and not filled.trap:
            return await self._not_yet(request, entrance, filled, problems, address)
        receipt = secrets.token_urlsafe(24)
        submission = await self._submission(filled, door, receipt)
        kept = await self.admission.submit(
            submission, door, address=address, trusted=False, link=entrance.token_hash
        )
        if isinstance(kept, AskedToWait):
            return wait(request, kept.retry_after)
        if isinstance(kept, LinkOver):
            return _link_over(request)
        return elsewhere(f"{entrance.last}/s/{receipt}{query_of(request)}")

    async def status(self, request: Request, entrance: Entrance) -> Response:
        """Where a visitor lands. No receipt is looked up: there is nothing to tell that depends on it.

        A code is made of it, whoever has it and whatever was decided.
        """
        page, door = entrance.page, entrance.door
        return rendered(
            "status.html",
            language_of(request),
            up=way_up(request),
            page=page,
            logo=logo_address(entrance.path, page),
            proof=await self._proof(door, request.path_params["receipt"]) if door.wants_proof else None,
        )

    async def _proof(self, door: Door, token: str) -> Proof:
        code = shown(await self.codes.code_of(token))
        return Proof(code, self.account(), door.proof_lifetime)

    async def _filled(self, request: Request, largest: int) -> Filled:
        body = await self.requests.body(request, largest)
        return form.read(FormPost(body, dict(request.headers)))

    async def _counted(self, request: Request, door: Door, address: str) -> Filled | AskedToWait:
        """What was filled in. What cannot be read counts like any other request."""
        try:
            return await self._filled(request, self.requests.largest)
        except Unreadable:
            if seconds := await self.admission.count(door, address):
                return AskedToWait(seconds)
            raise

    async def _not_yet(
        self,
        request: Request,
        entrance: Entrance,
        filled: Filled,
        problems: Mapping[str, Problem],
        address: str,
    ) -> Response:
        """Give the form back to be mended. It counts like any request, or IDs could be tried without end."""
        if seconds := await self.admission.count(entrance.door, address):
            return wait(request, seconds)
        return await self._form(request, entrance, filled, problems)

    async def _form(
        self, request: Request, entrance: Entrance, filled: Filled, problems: Mapping[str, Problem]
    ) -> Response:
        door, page = entrance.door, entrance.page
        language, opened = language_of(request), filled.text(form.STAMP)
        if not await self.stamps.valid(opened, door.slug):
            opened = await self.stamps.stamp(door.slug)
        return rendered(
            "form.html",
            language,
            up=way_up(request),
            status=422 if problems else 200,
            door=door,
            page=page,
            greeting=entrance.link.greeting if entrance.link else "",
            entrance=entrance.path,
            logo=logo_address(entrance.path, page),
            filled=filled,
            problems={name: language[each.chapter][each.key] for name, each in problems.items()},
            opened=opened,
            query=query_of(request, language),
            form=form,
        )

    async def _submission(self, filled: Filled, door: Door, token: str) -> Submission:
        """What was filled in, with what is known of how that was done."""
        person = form.person_in(filled.typed, door)
        proof = filled.text(form.PROOF)
        worked = isinstance(person, MatrixID) and await self.proof.shown(proof, door.slug, person)
        timely = await self.stamps.timely(filled.text(form.STAMP), door.slug)
        receipt = await self.codes.receipt_of(await self.codes.code_of(token))
        return form.submission(filled, door, worked=worked, timely=timely, receipt=receipt)

    # --- what the page's script asks for

    async def check(self, request: Request, entrance: Entrance) -> Response:
        """How an ID is understood as it is typed. Nothing is looked up, so it tells of nobody."""
        filled = await self._filled(request, CHECKED_BODY)
        person, language = form.person_in(filled.typed, entrance.door), language_of(request)
        if isinstance(person, Problem):
            return as_json({"good": False, "text": language[person.chapter][person.key]})
        key = "id_good" if str(person) == filled.typed.strip() else "id_mended"
        return as_json({"good": True, "text": language["page"][key].format(id=person)})

    async def challenge(self, _: Request, entrance: Entrance) -> Response:
        """Work for the visitor's browser."""
        return as_json(await self.proof.challenge(entrance.door.slug))

    async def logo(self, request: Request, entrance: Entrance) -> Response:
        """The owner's image."""
        logo = entrance.page.logo
        if logo is None:
            return not_found(request)
        headers = FOR_EVER if request.path_params["digest"] == digest_of(logo.content) else UNSURE
        return Response(logo.content, media_type=logo.media_type, headers=headers)

    # --- for each of them

    def _told(self, finds: Finds, endpoint: EntranceEndpoint) -> Endpoint:
        """The endpoint, with its entrance found and its errors told on a page."""

        async def answer(request: Request) -> Response:
            try:
                entrance = await finds(request)
                if entrance is None:
                    return _nothing_here(request)
                return await endpoint(request, entrance)
            except KnockError as error:
                return self._error(request, error)
            except ClientDisconnect:
                return Response(status_code=503)  # nobody is there to read it

        return answer

    def _error(self, request: Request, error: KnockError) -> Response:
        chapter = next((name for kind, name in _ERRORS.items() if isinstance(error, kind)), "unreadable")
        return message(request, chapter, self.requests.status(error), self.requests.headers(error))


_ERRORS: Mapping[type[KnockError], str] = {StoreUnavailable: "busy", TooLarge: "too_large"}


def _route(path: str, endpoint: Endpoint, method: str = "GET") -> Route:
    return Route(path, endpoint, methods=[method])


def _if_open(endpoint: EntranceEndpoint) -> EntranceEndpoint:
    """The endpoint, for an entrance by which one can knock."""

    async def answer(request: Request, entrance: Entrance) -> Response:
        return await endpoint(request, entrance) if entrance.is_open else _link_over(request)

    return answer


def _nothing_here(request: Request) -> Response:
    return _link_over(request) if "token" in request.path_params else not_found(request)


def _link_over(request: Request) -> Response:
    """The same for a link that is used up, revoked, over, or never was."""
    return message(request, "link_over", 404)


def without_slash(name: str) -> Endpoint:
    """An address without the slash at its end. Asked of anything, there or not."""

    async def answer(request: Request) -> Response:
        return elsewhere(f"../{quote(request.path_params[name])}{query_of(request)}", 308)

    return answer
