"""Links in the answers: few people have a reason to send one, and spam lives by them."""

from __future__ import annotations

import re

from mknock.checks.signals import signal
from mknock.domain.knocks import ADMITTED, Decision, Reason
from mknock.ports import Attempt, Facts

LINK = re.compile(
    r"\b(?:https?|ftp|mxc)://|\bhxxps?:|\bwww\.[^\s.]|\b(?:t\.me|discord\.gg|bit\.ly|wa\.me|tinyurl\.com|goo\.gl)/",
    re.IGNORECASE,
)
"""With a scheme, with www, or to where invitations and shortened addresses are. A bare domain may be a homeserver's."""
MAYBE = re.compile(r"[:/]|www\.", re.IGNORECASE)
"""What every link holds, and few other answers: quicker to look for."""


def links(attempt: Attempt, _: Facts) -> Decision:
    """Signal links in the answers."""
    count = 0
    for answer in attempt.submission.answers:
        if MAYBE.search(answer.value):
            count += len(LINK.findall(answer.value))
    if not count:
        return ADMITTED
    return signal("links", f"{count} in the answers", attempt.door.signals.links, Reason.LINKS)
