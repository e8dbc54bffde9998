"""A proof arrives: somebody acts from the very account that their open knock names."""

from __future__ import annotations

from mknock.checks import decide
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Knock, KnockState, Submission
from mknock.matching.likeness import likeness
from mknock.ports import Attempt, Clock, Store
from mknock.services.doors import Doors
from mknock.services.rule_book import RuleBook, stance_of
from mknock.telemetry import get_logger

log = get_logger(__name__)


async def prove(
    knock: Knock, user_id: str, *, store: Store, doors: Doors, book: RuleBook, clock: Clock
) -> Knock | None:
    """Take note that ``user_id``, who sent the proof, is the person who knocks; return the knock as it is then.

    A held knock is judged anew: held for want of a proof, it is admitted; for a
    review it goes on waiting; and whoever is on the block-list by now is
    refused. One that is admitted or invited already is only marked. None if
    the person has no open knock at that room any more: nothing has changed.
    The caller wakes the delivery if what comes back is ``admitted``.

    Raises:
        InvalidMatrixID: no sender's homeserver gives such an ID.
        ValueError: the account is not the one that the knock names.
    """
    user = MatrixID.of(user_id)
    if user.key != knock.user_key:
        raise ValueError("a proof counts only for the account that sent it")
    await book.refresh()
    door = doors.of(knock)
    attempt = Attempt(
        knock_id=knock.id,
        door=door,
        user=user,
        submission=Submission(knock.platform, user, answers=knock.answers),
        at=clock(),
        trusted=True,
        likeness=likeness(user.localpart),
        proven=True,
        listed=book.decide(user, stance_of(door)),
    )
    after = await store.prove(attempt, decide)
    if after is not None:
        log.info("knock proven", knock=after.id, door=after.door, state=after.state, reason=after.reason)
    return after


def is_to_be_invited(knock: Knock | None) -> bool:
    """Whether a proof has let somebody in, so that there is something to deliver."""
    return knock is not None and knock.state is KnockState.ADMITTED
