"""Deliveries as form platforms send them, one file each. Alice knocks in all of them.

The shapes are the platforms' own, of November 2026; the answers are made up.
Every sample names ``@alice:example.org``, tells of the repair café, carries
"newsletter" where nobody typed it, and has an empty honeypot.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

from mknock.forms import FormPost

TYPED = "@alice:example.org"
WHY = "I run the local repair café and would like to help with events."
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=KnockBoundary7MA4YWxkTrZu0gW"
JSON = "application/json"


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


_AS_SENT: dict[str, Callable[[str], str]] = {JSON: _in_json, URLENCODED: quote_plus, MULTIPART: str}


@dataclass(frozen=True)
class Sample:
    """One delivery. ``trap`` is its honeypot as it stands in the file, and with "spam" in it."""

    file: str
    platform: str
    content_type: str
    event_id: str
    trap: tuple[str, str]

    def __str__(self) -> str:
        return self.file

    def post(self, *, typed: str = TYPED, why: str = WHY, trapped: bool = False) -> FormPost:
        """Return the delivery, with other answers if wanted."""
        text = (Path(__file__).parent / self.file).read_text("utf-8")
        if trapped:
            text = _replaced(text, *self.trap)
        as_sent = _AS_SENT[self.content_type]
        text = _replaced(text, as_sent(TYPED), as_sent(typed))
        text = _replaced(text, WHY if WHY in text else as_sent(WHY), as_sent(why))
        if self.content_type == MULTIPART:
            text = text.replace("\n", "\r\n")
        return FormPost(text.encode(), {"content-type": self.content_type})


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"the sample holds {old!r} {text.count(old)} times"
    return text.replace(old, new)


SAMPLES = (
    Sample(
        "tally.json",
        "tally",
        JSON,
        "a4cb511e-d513-4fa5-baee-b815d718dfd1",
        ('"INPUT_TEXT",\n        "value": null', '"INPUT_TEXT",\n        "value": "spam"'),
    ),
    Sample("html_form.urlencoded.txt", "html_form", URLENCODED, "", ("honeypot=", "honeypot=spam")),
    Sample(
        "html_form.multipart.txt",
        "html_form",
        MULTIPART,
        "",
        ('name="honeypot"\n\n\n', 'name="honeypot"\n\nspam\n'),
    ),
    Sample(
        "plain.flat.json",
        "plain",
        JSON,
        "6084250982513018472",
        ('"honeypot": ""', '"honeypot": "spam"'),
    ),
    Sample(
        "plain.nested.json",
        "plain",
        JSON,
        "",  # a bare "id" may be the form's
        ('"honeypot": ""', '"honeypot": "spam"'),
    ),
    Sample(
        "plain.questions.json",
        "plain",
        JSON,
        "5c1a3f0e-7f0b-4d0e-9d5a-0c6d8d1b2a11",
        ('"ShortAnswer", "value": ""', '"ShortAnswer", "value": "spam"'),
    ),
)
