"""From what an owner types to the address of a homeserver."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from tests.kit.http import matrix_http

from mknock.matrix.discovery import NoHomeserver, discovered

VERSIONS = {"versions": ["v1.11"]}


@dataclass
class Internet:
    """Hosts that answer, by their name."""

    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)

    def homeserver(self, host: str) -> None:
        self.hosts.setdefault(host, {})["/_matrix/client/versions"] = VERSIONS

    def names(self, host: str, well_known: Any) -> None:
        self.hosts.setdefault(host, {})["/.well-known/matrix/client"] = well_known

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.called.append(request.url.host)
        if request.url.host not in self.hosts:
            raise httpx2.ConnectError("no such host")
        found = self.hosts[request.url.host].get(request.url.path)
        return httpx2.Response(404, text="<html>") if found is None else httpx2.Response(200, json=found)

    async def find(self, typed: str) -> str:
        async with matrix_http(transport=httpx2.MockTransport(self.answer)) as http:
            return await discovered(http, typed, time.time)


@pytest.fixture
def internet() -> Internet:
    return Internet()


def pointing(url: Any) -> dict[str, Any]:
    return {"m.homeserver": {"base_url": url}}


@pytest.mark.parametrize("typed", ["example.org", "@knock:example.org", " example.org "])
async def test_a_name_leads_where_its_server_says(internet: Internet, typed: str) -> None:
    internet.names("example.org", pointing("https://matrix.example.org/"))
    internet.homeserver("matrix.example.org")

    assert await internet.find(typed) == "https://matrix.example.org"


async def test_a_name_may_be_the_homeserver_itself(internet: Internet) -> None:
    internet.homeserver("example.org")

    assert await internet.find("example.org") == "https://example.org"


async def test_an_address_is_taken_as_it_is(internet: Internet) -> None:
    internet.names("example.org", pointing("https://elsewhere.example"))
    internet.homeserver("example.org")

    assert await internet.find("https://example.org/") == "https://example.org"
    assert internet.called == ["example.org"]


@pytest.mark.parametrize(
    "told",
    [
        pointing(7),
        pointing(""),
        pointing("ftp://x"),
        pointing("https://"),
        [],
        {"m.homeserver": "x"},
        None,
        3,
    ],
)
async def test_a_strange_well_known_is_passed_over(internet: Internet, told: Any) -> None:
    internet.names("example.org", told)
    internet.homeserver("example.org")

    assert await internet.find("example.org") == "https://example.org"


async def test_a_host_that_is_named_and_away_leaves_the_server_itself(internet: Internet) -> None:
    internet.names("example.org", pointing("https://gone.example"))
    internet.homeserver("example.org")

    assert await internet.find("example.org") == "https://example.org"


@pytest.mark.parametrize("typed", ["nowhere.example", "https://nowhere.example", "@a:nowhere.example"])
async def test_where_nothing_answers_it_is_said(internet: Internet, typed: str) -> None:
    with pytest.raises(NoHomeserver, match=r"There is no homeserver at https://nowhere\.example"):
        await internet.find(typed)


@pytest.mark.parametrize(
    "typed", ["", "@", "@a", "ftp://example.org", "https://", "a b", "http://[::1", "\ud800", "x" * 9999]
)
async def test_what_is_no_address_is_said(internet: Internet, typed: str) -> None:
    with pytest.raises(NoHomeserver):
        await internet.find(typed)


async def test_a_web_server_is_no_homeserver(internet: Internet) -> None:
    internet.hosts["example.org"] = {}

    with pytest.raises(NoHomeserver):
        await internet.find("example.org")


@pytest.mark.promise(11)
async def test_only_what_was_typed_and_what_it_names_is_called(internet: Internet) -> None:
    internet.names("example.org", pointing("https://matrix.example.org"))
    internet.homeserver("matrix.example.org")
    internet.names("matrix.example.org", pointing("https://third.example"))
    await internet.find("example.org")

    assert set(internet.called) == {"example.org", "matrix.example.org"}
