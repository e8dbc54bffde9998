"""What Knock makes of each list it is subscribed to: how many rules it uses, and what it leaves out, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mknock.domain.errors import HomeserverError, NotFound
from mknock.domain.ids import MatrixID
from mknock.domain.policy_lists import PolicyList
from mknock.ports import Homeserver, Store
from mknock.services.list_following import read_room, rules_of
from mknock.services.list_survey import LeftOut, Survey, survey

PATIENCE: Final = 10.0
"""Seconds that a list's room may take to be read: whoever asks is waiting."""


@dataclass(frozen=True, slots=True)
class ListReport:
    """One list, as its room is at this moment."""

    policy_list: PolicyList
    rules: int
    """Rules of it that count: those in the store, which are the same in every process."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many events Knock does not use, for each reason."""
    examples: Sequence[LeftOut] = ()
    """Which those are; of very many the first."""
    problem: str = ""
    """Why nobody knows what is left out: the room could not be read right now."""


@dataclass(frozen=True, slots=True)
class ListReports:
    store: Store
    homeserver: Homeserver

    async def all(self) -> list[ListReport]:
        """A report on every list. A room that cannot be read keeps none from being told of."""
        lists = [each for each in await self.store.policy_lists() if not each.removed]
        return [await self._of(each) for each in lists]

    async def one(self, name: str) -> ListReport:
        """The report on one list.

        Raises:
            NotFound: there is no list of that name.
        """
        for each in await self.store.policy_lists():
            if each.name == name and not each.removed:
                return await self._of(each)
        raise NotFound("There is no list of that name: see mknock lists.")

    async def _of(self, policy_list: PolicyList) -> ListReport:
        rules = sum([len(page) async for page in rules_of(self.store, policy_list)])
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._survey(policy_list)
        except TimeoutError:
            return ListReport(
                policy_list, rules, problem="the homeserver took too long to show the list's room"
            )
        except HomeserverError as error:
            return ListReport(policy_list, rules, problem=str(error))
        return ListReport(policy_list, rules, found.left_out, found.examples)

    async def _survey(self, policy_list: PolicyList) -> Survey:
        own_server = MatrixID.of(await self.homeserver.whoami()).server
        events = await read_room(self.homeserver, policy_list)
        return await asyncio.to_thread(survey, events, policy_list, own_server)
