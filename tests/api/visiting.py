"""A visitor at a door's own page: what they see, fill in and get back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import httpx2
from altcha import Challenge, Payload, solve_challenge
from tests.api.running import Running

from mknock.web.proof import ProofOfWork
from mknock.web.signing import Signer

PAGE = "/d/garden"
TARA = "@tara:knock.test"
DOORS = """
[doors.garden]
room = "!garden"
[doors.garden.page]
title = "Garden <group>"
text = "Hello **you** <script>alert(1)</script>\\n\\n# Big"
rules = "Be *kind*."
colour = "#2e7d32"
[[doors.garden.questions]]
key = "why"
label = "Why?"
kind = "text"
required = true
[[doors.garden.questions]]
key = "day"
label = "Which day?"
kind = "choice"
options = ["Saturday", "Sunday"]
[[doors.garden.questions]]
key = "likes"
label = "What do you like?"
kind = "choices"
options = ["bees", "trees", "cake"]
[[doors.garden.questions]]
key = "adult"
label = "I am 18."
kind = "agree"

[doors.cellar]
room = "!cellar"
"""
"""The garden has a page, the cellar has none."""

Fields = Mapping[str, str | list[str]]
FILLED: Fields = {"answer-why": "I like beans.", "answer-day": "Sunday", "rules": "yes"}
A_WHILE = 20.0
"""Seconds that a person takes."""


def stamp_on(response: httpx2.Response) -> str:
    """The hidden time on a form."""
    found = re.search(r'name="opened" value="([^"]+)"', response.text)
    assert found
    return found[1]


def value_of(name: str, response: httpx2.Response) -> str:
    """What stands in a text field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', response.text)
    assert found
    return unescape(found[1])


async def proof(knock: Running, path: str = PAGE) -> str:
    """Do the work that the door asks a browser for; it takes a second or two."""
    return _solved(Challenge.from_dict((await knock.call("GET", f"{path}/challenge")).json()))


async def light_proof(knock: Running, path: str = PAGE) -> str:
    """Do work that this Knock would ask for if a few tries were enough, for a test that is about something else."""
    asked = Challenge.from_dict((await knock.call("GET", f"{path}/challenge")).json())
    store = knock.installation.parts.store
    lighter = ProofOfWork(store, Signer(store), knock.clock, tries=(1, 5))
    return _solved(Challenge.from_dict(await lighter.challenge((asked.parameters.data or {})["door"])))


def _solved(challenge: Challenge) -> str:
    solution = solve_challenge(challenge)
    assert solution is not None
    return Payload(challenge, solution).to_base64()


async def opened(knock: Running, path: str = PAGE) -> str:
    """Open the form a while ago."""
    stamp = stamp_on(await knock.call("GET", path))
    knock.clock.ahead += A_WHILE
    return stamp


async def sent(knock: Running, user: str, *, path: str = PAGE, **more: Any) -> httpx2.Response:
    """Fill in the form as a person would, without a proof of work, and send it."""
    options = {name: more.pop(name) for name in ("address", "headers", "params") if name in more}
    fields = {"opened": await opened(knock, path), "matrix_id": user, **FILLED, **more.pop("fields", {})}
    return await knock.call("POST", path, data=fields, **options)
