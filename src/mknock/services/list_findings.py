"""What may be wrong with policy lists: those Knock is subscribed to, and the one it publishes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from mknock.domain.errors import HomeserverError, Refused, StoreUnavailable
from mknock.domain.policy_lists import PolicyList
from mknock.ports import Homeserver, Membership, Store
from mknock.services.findings import Finding, good, odd
from mknock.services.list_publishing import Publisher
from mknock.services.remedies import remedy


@dataclass(frozen=True, slots=True)
class ListFindings:
    """Looks at one list after the other."""

    store: Store
    homeserver: Homeserver
    publisher: Publisher | None = None

    async def problems(self, account: str) -> dict[str, str]:
        """By its name, a sentence on what does not work.

        Raises:
            HomeserverError: it cannot be found out right now.
        """
        lists = [each for each in await self.store.policy_lists() if not each.removed]
        outside = [await self._is_outside(each, account) for each in lists]
        found = {"lists": "; ".join(filter(None, outside))}
        found["publishing"] = await self.publisher.problem() if self.publisher else ""
        return {name: problem for name, problem in found.items() if problem}

    async def of(self, account: str) -> list[Finding]:
        """A finding for each list, for ``mknock doctor``."""
        return [finding async for finding in self._looked_at(account)]

    async def _looked_at(self, account: str) -> AsyncIterator[Finding]:
        try:
            lists = [each for each in await self.store.policy_lists() if not each.removed]
        except StoreUnavailable:
            return  # the store's finding says what is wrong
        for each in lists:
            yield await self._of_list(each, account)
        if self.publisher is not None:
            yield await self._of_publishing(self.publisher)

    async def _of_list(self, policy_list: PolicyList, account: str) -> Finding:
        what = f"policy list {policy_list.name}"
        try:
            problem = await self._is_outside(policy_list, account)
        except HomeserverError as error:
            return odd(what, f"could not be looked at: {error}{remedy(error)}")
        return odd(what, problem) if problem else good(what, "Knock is in its room and follows it")

    async def _of_publishing(self, publisher: Publisher) -> Finding:
        what = "own policy list"
        try:
            problem = await publisher.problem()
        except HomeserverError as error:
            return odd(what, f"could not be looked at: {error}{remedy(error)}")
        return odd(what, problem) if problem else good(what, "blocks are published into POLICY_LIST_ROOM")

    async def _is_outside(self, policy_list: PolicyList, account: str) -> str:
        try:
            membership = (await self.homeserver.member(policy_list.room_id, account)).membership
        except Refused:
            membership = Membership.NONE
        if membership is Membership.JOIN:
            return ""
        return (
            f"{account} is not in the room of policy list {policy_list.name!r}, so its rules stay as they were:"
            f" invite it, or run mknock unsubscribe {policy_list.name}"
        )
