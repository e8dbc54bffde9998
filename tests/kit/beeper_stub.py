"""A stand-in for the private API by which Beeper logs in with an e-mailed code.

Three calls, as Beeper's own command-line client makes them: ask for a
login, name the address, answer with the code. The last one gives a token
for ``org.matrix.login.jwt`` on the homeserver, which here is the throw-away
Synapse or the fake.

``python -m tests.kit.beeper_stub --email alice@knock.test --user alice``
serves it; ``GET /_stub/calls`` then shows what was asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from tests.kit import asgi, jwt
from tests.kit.asgi import Answer, Receive, Request, Scope, Send

Json = dict[str, Any]

API_TOKEN = "BEEPER-PRIVATE-API-PLEASE-DONT-USE"
"""What every caller sends as its bearer token; it is public."""

CODE = "123456"
RETRIES = 3


@dataclass(frozen=True)
class StubCall:
    """One request that came in."""

    path: str
    body: Json
    headers: dict[str, str]


@dataclass
class _Login:
    """A login that was asked for: who it is about, and how many wrong codes it still takes."""

    email: str = ""
    retries: int = RETRIES


class _Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(body)
        self.answer = Answer(status, body)


@dataclass
class BeeperStub:
    """The API as an ASGI app; ``people`` are localparts by their e-mail address.

    ``outdated`` makes the last step answer 429 "Your client is out of
    date", as was seen in February 2026: a 429 that no waiting cures.
    ``waitlisted`` leaves the token out of its answer, as in 2023.
    """

    people: Mapping[str, str]
    token_for: Callable[[str], str] = jwt.login_token
    """Makes the login token of a localpart: ``Synapse.jwt`` or ``FakeHomeserver.jwt``."""
    code: str = CODE
    outdated: bool = False
    waitlisted: bool = False
    calls: list[StubCall] = field(default_factory=list)
    _logins: dict[str, _Login] = field(default_factory=dict)

    url = "http://api.beeper.test"

    def transport(self) -> httpx2.AsyncBaseTransport:
        """Return a transport for httpx2 that ends here."""
        return asgi.InProcess(app=self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await asgi.read_request(scope, receive)
        await asgi.send_answer(send, self._answer(request))

    def _answer(self, request: Request) -> Answer:
        if request.segments == ["_stub", "calls"]:
            return Answer(200, {"calls": [asdict(call) for call in self.calls]})
        step = _STEPS.get("/" + "/".join(request.segments))
        if step is None or request.method != "POST":
            return Answer(404, {"error": "Not found"})
        try:
            return Answer(200, step(self, self._noted(request)))
        except _Refusal as refusal:
            return refusal.answer

    def _noted(self, request: Request) -> Json:
        """Keep the call and return its body; refuse a caller without the API's token."""
        headers = {name.decode(): value.decode() for name, value in request.headers.items()}
        body: Json = json.loads(request.body or b"{}")
        self.calls.append(StubCall("/" + "/".join(request.segments), body, headers))
        if headers.get("authorization") != f"Bearer {API_TOKEN}":
            raise _Refusal(401, {"error": "Unauthorized"})
        return body

    def _begin(self, _: Json) -> Json:
        number = f"login-{len(self._logins) + 1}"
        self._logins[number] = _Login()
        expires = datetime.now(UTC) + timedelta(minutes=30)
        return {"request": number, "type": ["email"], "expires": expires.isoformat()}

    def _send_code(self, body: Json) -> Json:
        self._login(body).email = body["email"]
        return {}

    def _respond(self, body: Json) -> Json:
        login = self._login(body)
        if self.outdated:
            raise _Refusal(429, {"error": "Your client is out of date"})
        name = self.people.get(login.email)
        if name is None or body.get("response") != self.code:
            login.retries -= 1
            raise _Refusal(403, {"retries": login.retries})
        del self._logins[body["request"]]
        return {"whoami": None} if self.waitlisted else {"token": self.token_for(name), "whoami": None}

    def _login(self, body: Json) -> _Login:
        login = self._logins.get(body.get("request", ""))
        if login is None or login.retries <= 0:
            raise _Refusal(400, {"error": "Unknown login request"})
        return login


_STEPS: Mapping[str, Callable[[BeeperStub, Json], Json]] = {
    "/user/login": BeeperStub._begin,
    "/user/login/email": BeeperStub._send_code,
    "/user/login/response": BeeperStub._respond,
}


def main() -> None:
    """Serve until SIGTERM; the first line on standard output is ``ready`` and the port."""
    parser = asgi.arguments("A stand-in for Beeper's login API.")
    parser.add_argument("--email", default="bot@knock.test")
    parser.add_argument("--user", default="bot", help="the localpart that the address logs in")
    parser.add_argument("--code", default=CODE)
    parser.add_argument("--outdated", action="store_true", help="answer 429 to the code")
    parser.add_argument("--waitlisted", action="store_true", help="answer the code without a token")
    given = parser.parse_args()
    stub = BeeperStub(
        {given.email: given.user}, code=given.code, outdated=given.outdated, waitlisted=given.waitlisted
    )
    asgi.run(stub, port=given.port)


if __name__ == "__main__":
    main()
