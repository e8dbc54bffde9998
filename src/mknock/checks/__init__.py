"""The checks at the door: each judges, none acts.

A check is a function of the attempt and of the facts that the store gathered
in the same transaction; it reads nothing else, so that the answer is quick and
no homeserver is asked before it. To add one: write one file, add one line to
CHECKS, one case to its test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mknock.checks.blocklist import blocklist
from mknock.checks.flapping import flapping
from mknock.checks.history import history
from mknock.checks.honeypot import honeypot
from mknock.checks.links import links
from mknock.checks.name_pattern import name_pattern
from mknock.checks.policy import policy
from mknock.checks.proof_of_work import proof_of_work
from mknock.checks.raid import raid
from mknock.checks.room_replaced import room_replaced
from mknock.checks.too_fast import too_fast
from mknock.checks.windows import windows
from mknock.domain.knocks import ADMITTED, Decision, Outcome
from mknock.ports import Attempt, Facts

Check = Callable[[Attempt, Facts], Decision]

CHECKS: Sequence[Check] = (
    honeypot,
    flapping,
    blocklist,
    history,
    proof_of_work,
    too_fast,
    links,
    raid,
    windows,
    name_pattern,
    policy,
    room_replaced,
)


def decide(attempt: Attempt, facts: Facts, checks: Sequence[Check] = CHECKS) -> Decision:
    """Run the checks in order and return the strictest decision; of equals, the first. It bears all signals.

    Nothing runs after a REFUSE. What speaks against one person comes before what holds everybody,
    so that whoever is approved with the whole wave has nothing else against them.
    """
    strictest = ADMITTED
    signals: list[str] = []
    for check in checks:
        decision = check(attempt, facts)
        if decision is ADMITTED:
            continue
        signals += decision.signals
        if decision.outcome > strictest.outcome:
            strictest = decision
        if strictest.outcome is Outcome.REFUSE:
            break
    if not signals:
        return strictest
    return Decision(strictest.outcome, strictest.reason, strictest.detail, strictest.rule, tuple(signals))
