"""Hands tests out so that those that wait and those that compute run at once.

Tests of whole processes, browsers and homeservers mostly wait; those of parts
and of stores compute. With more workers than processors (see JOBS in the
Makefile) every second worker begins with the second kind and the others with
the first, so that the processors have work while somebody waits.

A unit of work is a group (``xdist_group``), one of the tests that wait, or a
whole file of the others: pytest-xdist looks through all units that a worker
ever had at each test's end, and there would be thousands.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

WAITING = ("tests/chaos/", "tests/browser/", "tests/integration/")
"""First what takes minutes in one piece, or everybody would wait for it at the end."""
COMPUTING = (
    "tests/properties/",
    "tests/docs/",
    "tests/packaging/",
    "tests/unit/",
    "tests/api/",
    "tests/contract/",
)
ORDER = (*WAITING, *COMPUTING)
"""From the front, where the one half begins, to the back, where the other does; they meet at what is short."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests as ``ORDER`` has it; of each kind first the groups, which are long."""
    items.sort(key=lambda item: (_place(item.nodeid), item.get_closest_marker("xdist_group") is None))


def _place(nodeid: str) -> int:
    return next((number for number, folder in enumerate(ORDER) if nodeid.startswith(folder)), len(WAITING))


class Balanced(LoadGroupScheduling):  # type: ignore[misc]
    """``loadgroup``, from both ends."""

    workqueue: OrderedDict[str, dict[str, bool]]

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        if scope != nodeid or nodeid.startswith(WAITING):
            return scope
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        if int(node.gateway.id.removeprefix("gw")) % 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Balanced:
    return Balanced(config, log)
