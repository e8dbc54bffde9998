"""Deliveries as form platforms send them, one file each. Alice knocks in all of them.

The shapes are the platforms' own, of November 2026; the answers are made up.
Every sample names ``@alice:example.org``, tells of the repair café, carries
"newsletter" where nobody typed it, and has an empty honeypot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from mknock.domain.doors import FormReading
from mknock.forms import FormPost

TYPED = "@alice:example.org"
WHY = "I run the local repair café and would like to help with events."
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=KnockBoundary7MA4YWxkTrZu0gW"
JSON = "application/json"
FOLDER = Path(__file__).parent


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


_AS_SENT: dict[str, Callable[[str], str]] = {JSON: _in_json, URLENCODED: quote_plus, MULTIPART: str}


@dataclass(frozen=True)
class Sample:
    """One delivery. ``trap`` is its honeypot as it stands in the file, and with "spam" in it.

    ``headers`` are those beside the content type, ``reading`` what the owner has to set.
    """

    file: str
    platform: str
    content_type: str
    event_id: str
    trap: tuple[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    reading: FormReading = field(default_factory=FormReading)

    def __str__(self) -> str:
        return self.file

    def post(self, *, typed: str = TYPED, why: str = WHY, trapped: bool = False) -> FormPost:
        """Return the delivery, with other answers if wanted, wherever they are repeated."""
        text = (FOLDER / self.file).read_text("utf-8")
        if trapped:
            text = _replaced(text, *self.trap)
        as_sent = _AS_SENT[self.content_type]
        text = _replaced(text, as_sent(TYPED), as_sent(typed))
        text = _replaced(text, WHY if WHY in text else as_sent(WHY), as_sent(why))
        if self.content_type == MULTIPART:
            text = text.replace("\n", "\r\n")
        return FormPost(text.encode(), {"content-type": self.content_type, **self.headers})


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"the sample does not hold {old!r}"
    return text.replace(old, new)


EMPTY_TRAP = ('"honeypot": ""', '"honeypot": "spam"')
TITLED_TRAP = ('"Honeypot": ""', '"Honeypot": "spam"')
WPFORMS = {"x-wpforms-webhook-id": "3"}

SAMPLES = (
    Sample(
        "tally.json",
        "tally",
        JSON,
        "a4cb511e-d513-4fa5-baee-b815d718dfd1",
        ('"INPUT_TEXT",\n        "value": null', '"INPUT_TEXT",\n        "value": "spam"'),
    ),
    Sample(
        "typeform.json",
        "typeform",
        JSON,
        "01KBYWTTXW2SXX86TBH2SGNCCS",
        ('"text": "", "field"', '"text": "spam", "field"'),
    ),
    Sample(
        "jotform.multipart.txt",
        "jotform",
        MULTIPART,
        "6084250982513018472",
        ('"q8_honeypot":""', '"q8_honeypot":"spam"'),
    ),
    Sample(
        "fillout.wrapped.json",
        "fillout",
        JSON,
        "7d0f6a1e-1f1c-4c3a-9a53-0b6d9c7a9d11",
        ('"ShortAnswer", "value": null', '"ShortAnswer", "value": "spam"'),
    ),
    Sample(
        "fillout.bare.json",
        "fillout",
        JSON,
        "5c1a3f0e-7f0b-4d0e-9d5a-0c6d8d1b2a11",
        ('"ShortAnswer", "value": ""', '"ShortAnswer", "value": "spam"'),
    ),
    Sample("formbricks.json", "formbricks", JSON, "cm3x0q1ab0005qz0h9d2f6c1e", EMPTY_TRAP),
    Sample("heyform.json", "heyform", JSON, "nFq8Yz3kTq2m", ('"value": ""', '"value": "spam"')),
    Sample(
        "google_forms.script.json",
        "google_forms",
        JSON,
        "2_ABaOnufExampleResponseId",
        ('"value": ""', '"value": "spam"'),
    ),
    Sample("google_forms.answers.json", "google_forms", JSON, "2_ABaOnufExampleResponseId", EMPTY_TRAP),
    Sample(
        "google_forms.named_values.json",
        "google_forms",
        JSON,
        "",
        ('"honeypot": [""]', '"honeypot": ["spam"]'),
    ),
    Sample(
        "paperform.json", "paperform", JSON, "6561f2a3b4c5d6e7f8091a2b", ('"value": ""', '"value": "spam"')
    ),
    Sample("opnform.json", "opnform", JSON, "", ('"value": ""', '"value": "spam"')),
    Sample(
        "nocodb.json",
        "nocodb",
        JSON,
        "9dac1c54-b3be-49a1-a676-af388145fa8c",
        ('"Honeypot": null', '"Honeypot": "spam"'),
    ),
    Sample("nocodb.records.json", "nocodb", JSON, "0b6d7f1e-52d5-4f6a-8a50-2f7c7c1d1e0a", TITLED_TRAP),
    Sample("webflow.json", "webflow", JSON, "6321ca84df3949bfc6752327", TITLED_TRAP),
    Sample(
        "netlify.json",
        "netlify",
        JSON,
        "614d2b91e3695a1fb8eb52c5",
        ('"website": ""', '"website": "spam"'),
    ),
    Sample(
        "netlify.function.json",
        "netlify",
        JSON,
        "614d2b91e3695a1fb8eb52c5",
        ('"website": ""', '"website": "spam"'),
    ),
    Sample("formspree.json", "formspree", JSON, "2026-11-20T15:00:21.889Z", EMPTY_TRAP),
    Sample("cognito_forms.json", "cognito_forms", JSON, "12-5", TITLED_TRAP),
    Sample(
        "gravity_forms.json",
        "gravity_forms",
        JSON,
        "2041",
        ('"6": ""', '"6": "spam"'),
        reading=FormReading(id_field="1", trap_field="6"),
    ),
    Sample("wpforms.json", "wpforms", JSON, "42", EMPTY_TRAP, headers=WPFORMS),
    Sample(
        "wpforms.urlencoded.txt",
        "wpforms",
        URLENCODED,
        "42",
        ("honeypot=", "honeypot=spam"),
        headers=WPFORMS,
    ),
    Sample("html_form.urlencoded.txt", "html_form", URLENCODED, "", ("honeypot=", "honeypot=spam")),
    Sample(
        "html_form.multipart.txt",
        "html_form",
        MULTIPART,
        "",
        ('name="honeypot"\n\n\n', 'name="honeypot"\n\nspam\n'),
    ),
    Sample("plain.flat.json", "plain", JSON, "6084250982513018472", EMPTY_TRAP),
    Sample("plain.nested.json", "plain", JSON, "", EMPTY_TRAP),  # a bare "id" may be the form's
    Sample(
        "plain.questions.json",
        "plain",
        JSON,
        "9e1f8c52-2a5a-4f0e-8f0b-6d2f5b7f6c10",
        ('"answer": ""', '"answer": "spam"'),
    ),
    Sample("plain.contact_form_7.json", "plain", JSON, "", EMPTY_TRAP),
    Sample("plain.power_automate.json", "plain", JSON, "", EMPTY_TRAP),
    Sample(
        "plain.flat.json",
        "plain",
        JSON,
        "6084250982513018472",
        EMPTY_TRAP,
        headers={"webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"},
    ),
    Sample(
        "plain.nested.json",
        "plain",
        JSON,
        "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        EMPTY_TRAP,
        headers={"svix-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"},
    ),
)


@dataclass(frozen=True)
class Signed:
    """A delivery that was really signed, by other code than Knock's."""

    signer: str
    platform: str
    secret: str
    clock: float
    post: FormPost

    def __str__(self) -> str:
        return f"{self.signer}-{self.platform}"

    @property
    def signature(self) -> str:
        """The header that holds the signature."""
        return next(name for name in self.post.headers if name.endswith("-signature"))

    def with_header(self, header: str, value: str) -> FormPost:
        return FormPost(self.post.body, {**self.post.headers, header: value})


def _signed() -> Iterator[Signed]:
    vectors: list[dict[str, Any]] = json.loads((FOLDER / "signed.json").read_text("utf-8"))
    for one in vectors:
        headers = {name.lower(): value for name, value in one["headers"].items()}
        post = FormPost(one["body"].encode(), headers)
        yield Signed(one["signer"], one["platform"], one["secret"], one["clock"], post)


SIGNED_SAMPLES = tuple(_signed())
