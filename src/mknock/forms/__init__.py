"""Forms: bytes and headers in, a Submission out. Nothing here reads, writes or asks anything else.

To add a platform

1. write one file beside this one: a module with ``name``, ``recognises`` and ``read``
   (see ``Platform``), which yields its fields to ``reading.read_fields``; a platform
   that signs its deliveries has ``verifies`` as well;
2. add it to FORMS, before whatever would also recognise its shape, and to SIGNED if it signs;
3. put a delivery of it into ``tests/samples/`` and a line into the list there: the contract
   suite then holds for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms import html_form, plain, tally
from mknock.forms.platforms import Platform, Verifier
from mknock.forms.post import FormPost, decode, wants_page

__all__ = ["FORMS", "SIGNED", "FormPost", "Platform", "Read", "Verifier", "read", "wants_page"]

FORMS: tuple[Platform, ...] = (tally, html_form, plain)
"""Most specific first; every payload is recognised by one of the last two."""

SIGNED: Mapping[str, Verifier] = {tally.name: tally.verifies}
"""The platforms that sign, by name."""


@dataclass(frozen=True, slots=True)
class Read:
    """A delivery that was read. ``html`` says that a person waits for a page, not a program for JSON."""

    submission: Submission
    html: bool


def read(post: FormPost, reading: FormReading) -> Read:
    """Read a delivery, whatever platform it came from.

    One that names nobody is read too: see ``Submission.problem``.

    Raises:
        Unreadable: it is no form at all.
    """
    payload = decode(post)
    platform = next(form for form in FORMS if form.recognises(payload))
    return Read(platform.read(payload, reading), payload.html)
