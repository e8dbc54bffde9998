"""Forms: bytes and headers in, a Submission out. Nothing here reads, writes or asks anything else.

To add a platform

1. write one file beside this one: a module with ``name``, ``recognises`` and ``read``
   (see ``Platform``), which yields its fields to ``reading.read_fields``; a platform
   that signs its deliveries has a ``SIGNATURE`` as well;
2. add it to FORMS, before whatever would also recognise its shape, and to SIGNED if it signs,
   with a setting ``<NAME>_SIGNING_SECRET``;
3. put a delivery of it into ``tests/samples/`` and a line into the list there: the contract
   suite then holds for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import (
    airtable,
    cognito_forms,
    fillout,
    formbricks,
    formspree,
    google_forms,
    gravity_forms,
    heyform,
    html_form,
    jotform,
    netlify,
    nextcloud_forms,
    nocodb,
    opnform,
    paperform,
    plain,
    standard_webhooks,
    tally,
    typeform,
    webflow,
    wpforms,
)
from mknock.forms.platforms import Platform, Signature, Verifier
from mknock.forms.post import FormPost, Payload, decode, wants_page

__all__ = [
    "BY_NAME",
    "FORMS",
    "SIGNED",
    "FormPost",
    "Platform",
    "Read",
    "Signature",
    "Verifier",
    "read",
    "signatures_on",
    "wants_page",
]

FORMS: tuple[Platform, ...] = (
    tally,
    typeform,
    jotform,
    formbricks,
    heyform,
    fillout,
    paperform,
    opnform,
    nextcloud_forms,
    nocodb,
    webflow,
    netlify,
    formspree,
    google_forms,
    gravity_forms,
    airtable,
    cognito_forms,
    wpforms,
    html_form,
    plain,
)
"""Most specific first; every payload is recognised by one of the last two."""

BY_NAME: Mapping[str, Platform] = {form.name: form for form in FORMS}

SIGNED: Mapping[str, Signature] = {
    form.name: form.SIGNATURE
    for form in (
        standard_webhooks,
        tally,
        typeform,
        formbricks,
        formspree,
        opnform,
        wpforms,
        webflow,
        netlify,
    )
}
"""Who signs, by name. The signature of a platform vouches for deliveries of that platform alone; that of
``standard_webhooks``, which belongs to none, for any."""


@dataclass(frozen=True, slots=True)
class Read:
    """A delivery that was read. ``html`` says that a person waits for a page, not a program for JSON."""

    submission: Submission
    html: bool


def read(post: FormPost, reading: FormReading, platform: str = "") -> Read:
    """Read a delivery, whatever platform it came from; as one of ``platform``, if that is in FORMS.

    One that names nobody is read too: see ``Submission.problem``.

    Raises:
        NothingToDo: all is well, but nobody asks to come in.
        Unreadable: it is no form at all, or not one of that platform.
    """
    payload = decode(post)
    form = _named(platform, payload) or next(form for form in FORMS if form.recognises(payload))
    return Read(form.read(payload, reading), html=form is BY_NAME["html_form"])


def _named(name: str, payload: Payload) -> Platform | None:
    form = BY_NAME.get(name)
    if form is not None and not form.recognises(payload):
        raise Unreadable(f"The delivery does not have the shape that Knock knows of {name}.")
    return form


def signatures_on(post: FormPost) -> list[str]:
    """Return whose signature the delivery may carry, judged by its headers alone; for logs."""
    return [name for name, one in SIGNED.items() if any(header in post.headers for header in one.headers)]
