"""What happens in one transaction, step by step, without a driver.

Each function is a generator: it yields a statement with its parameters and is
sent the rows. A back-end runs it inside one transaction, so the logic is
written once and a driver stays small. A transaction may be run
again from the start when its batch has to be rolled back: it must not
have effects of its own.

Several processes may be at it, under READ COMMITTED. So whoever reads in order
to write first takes a lock (``sql.LOCK``, by name) on what it is about: the
door whose windows it counts in, the person, the sender. docs/adr/0009 says why
nobody waits in a circle.
"""

from __future__ import annotations

from mknock.storage.transactions.admitting import EVENT_KEPT, admit, count_request, prove, receipt_name
from mknock.storage.transactions.changing import add, change, import_knocks
from mknock.storage.transactions.claiming import claim, hurry, put_back, record, renew
from mknock.storage.transactions.linking import add_link, revoke_link
from mknock.storage.transactions.raiding import end_lapsed_raids, end_raid, start_raid
from mknock.storage.transactions.ruling import (
    RULES_LINE,
    add_list,
    block,
    change_rules,
    mark_in_file,
    remove_list,
    room_settled,
    unblock,
)
from mknock.storage.transactions.sharing import put_secrets, settle_secret, take_lease, tidy
from mknock.storage.transactions.steps import Rows, Step, Steps, one, write
from mknock.storage.transactions.talking import begin_talk, go_on_talking

__all__ = [
    "EVENT_KEPT",
    "RULES_LINE",
    "Rows",
    "Step",
    "Steps",
    "add",
    "add_link",
    "add_list",
    "admit",
    "begin_talk",
    "block",
    "change",
    "change_rules",
    "claim",
    "count_request",
    "end_lapsed_raids",
    "end_raid",
    "go_on_talking",
    "hurry",
    "import_knocks",
    "mark_in_file",
    "one",
    "prove",
    "put_back",
    "put_secrets",
    "receipt_name",
    "record",
    "remove_list",
    "renew",
    "revoke_link",
    "room_settled",
    "settle_secret",
    "start_raid",
    "take_lease",
    "tidy",
    "unblock",
    "write",
]
