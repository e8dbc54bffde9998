"""What Knock asks of a form platform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms.post import FormPost, Payload


class Platform(Protocol):
    """Knows the shape in which one platform delivers its forms. A module will do."""

    name: str

    def recognises(self, payload: Payload) -> bool:
        """Whether the payload has this platform's shape. Never raises, whatever the payload."""

    def read(self, payload: Payload, reading: FormReading) -> Submission:
        """Read a payload that ``recognises`` accepted.

        Raises:
            NothingToDo: all is well, but nobody asks to come in: a test, a draft, an edit.
            Unreadable: it is no answered form after all; the text says why.
        """


Verifier = Callable[[FormPost, str, float], bool]
"""Whether the delivery was signed with this secret, and lately enough (``now`` in seconds since the epoch)
where the signature holds a time. Never raises; an empty secret signs nothing."""


@dataclass(frozen=True, slots=True)
class Signature:
    """How one platform, or one scheme, signs: the headers that may hold it (in lower case), and its check."""

    headers: tuple[str, ...]
    verifies: Verifier
