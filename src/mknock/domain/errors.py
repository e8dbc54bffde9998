"""What can go wrong, as a tree.

::

    KnockError
    ├── InvalidMatrixID          what was typed is not a Matrix ID and cannot be mended
    ├── Unreadable               a delivery could not be read as a form
    │   ├── AmbiguousMatrixID       it names two different people
    │   └── NothingToDo             it is all right, and asks for nothing: a test, a draft
    ├── Unauthenticated          a delivery or a call without a valid secret
    ├── TooLarge                 a body over the limit
    ├── InvalidRule              what was written is no rule for the block-list
    ├── InvalidLink              what was wished for is no invite link that there can be
    ├── IllegalMove              the lifecycle has no such step
    ├── NotFound                 no such knock, rule or person on record
    ├── NotAllowed               refused on purpose: the bot itself, an equal power level
    ├── StoreUnavailable         the store gave no answer: try again
    ├── EncryptionUnavailable    nothing can be encrypted until the owner has done something
    └── HomeserverError
        ├── HomeserverUnavailable   no usable answer: we know neither yes nor no
        ├── RateLimited             the homeserver asked us to wait
        ├── TokenRefused            our access token is not valid (any more)
        └── Refused                 a definite no, with the homeserver's error code

"No" and "we do not know" are different classes, so that no caller can take
an outage for an answer. Which HTTP status each becomes is one table in
``mknock.api.common``.
"""

from __future__ import annotations


class KnockError(Exception):
    """Any error of Knock's own; its text is one sentence that says what to do."""


class InvalidMatrixID(KnockError):
    """What somebody typed is not a Matrix ID, and Knock cannot tell which one was meant."""


class Unreadable(KnockError):
    """A delivery is not a form that Knock can read, or holds no Matrix ID."""


class AmbiguousMatrixID(Unreadable):
    """A delivery names two different Matrix IDs and no field says which one counts.

    Refused rather than guessed: a stranger could name a victim in a
    free-text answer.
    """


class NothingToDo(Unreadable):
    """A delivery that is as it should be and asks for nobody's invitation: a platform's test, a draft, an edit."""


class Unauthenticated(KnockError):
    """A request without a valid secret."""


class TooLarge(KnockError):
    """A body larger than the limit; nothing of it was kept."""


class InvalidRule(KnockError):
    """What was written is no rule, or one that is not used; the text says why."""


class InvalidLink(KnockError):
    """No invite link can be made like that; the text says why."""


class IllegalMove(KnockError):
    """A knock was asked to move to a state it cannot reach from where it is."""

    def __init__(self, knock_id: str, now: str, wanted: str) -> None:
        super().__init__(f"knock {knock_id} is {now}; it cannot become {wanted}")


class NotFound(KnockError):
    """There is no such knock, rule or person on record."""


class NotAllowed(KnockError):
    """Knock will not do this to that person: itself, or somebody of at least its own power."""


class StoreUnavailable(KnockError):
    """The store gave no answer: nothing is known and nothing was kept. Try again."""


class EncryptionUnavailable(KnockError):
    """Nothing can be encrypted now; the text tells the owner what to do."""


class HomeserverError(KnockError):
    """Any answer, or lack of one, from the homeserver other than success."""


class HomeserverUnavailable(HomeserverError):
    """The homeserver gave no usable answer: we know neither yes nor no. Try later.

    ``everywhere`` tells whether the homeserver as a whole is out of reach
    (no connection, a bare 502 from its proxy) or only this one request.
    """

    def __init__(self, message: str, *, everywhere: bool) -> None:
        super().__init__(message)
        self.everywhere = everywhere


class RateLimited(HomeserverError):
    """The homeserver asked us to wait ``retry_after`` seconds before the next such call."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TokenRefused(HomeserverError):
    """Our access token was refused (401). ``soft`` says that the session can be refreshed.

    Only a 401 raises this: an outage never throws a good token away.
    """

    def __init__(self, message: str, *, soft: bool = False) -> None:
        super().__init__(message)
        self.soft = soft


class Refused(HomeserverError):
    """A definite no from the homeserver.

    ``status`` is the HTTP status, ``code`` the Matrix error code ("" when
    there was none). What it means for a person is decided by asking for
    their membership, not by reading the text.
    """

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
