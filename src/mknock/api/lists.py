"""The endpoints for the policy lists that Knock is subscribed to, behind the API key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from mknock.api.access import AdminKey
from mknock.api.guard import guarded
from mknock.api.reference import problems
from mknock.api.shapes import Count
from mknock.services.list_reports import ListReport, ListReports
from mknock.services.list_survey import LeftOut


class ListedList(BaseModel):
    """A policy list that Knock is subscribed to."""

    name: str = Field(description="What it is called here.")
    alias: str = Field(description="The alias it was subscribed to by; empty for none.")
    rules: int = Field(description="How many of its rules count.")
    left_out: dict[str, int] = Field(description="How many of its entries do not count, by the reason.")
    problem: str = Field(description="Why it is not known what is left out; empty if it is.")
    look_alikes: bool = Field(description="Whether names that resemble those on it are held.")
    allow_wide: bool = Field(description="Whether rules that name everybody, or a server of many, count.")
    at: float = Field(description="Since when Knock is subscribed to it.")

    @classmethod
    def of(cls, report: ListReport) -> ListedList:
        return cls(**_facts(report))


class EntryLeftOut(BaseModel):
    """An entry of a policy list that does not count."""

    entity: str = Field(description="What it names, as far as that can be shown.")
    why: str = Field(description="Why it does not count.")
    author: str = Field(description="Who wrote it.")

    @classmethod
    def of(cls, entry: LeftOut) -> EntryLeftOut:
        return cls(entity=entry.entity, why=entry.why, author=entry.author)


class WholeList(ListedList):
    """A policy list, with what of it does not count."""

    entries_left_out: list[EntryLeftOut] = Field(description="Which entries do not count, at most 200.")

    @classmethod
    def of(cls, report: ListReport) -> WholeList:
        return cls(**_facts(report), entries_left_out=[EntryLeftOut.of(one) for one in report.examples])


class ListedLists(BaseModel):
    """The policy lists that Knock is subscribed to, oldest first."""

    lists: list[ListedList]
    count: Count


def _facts(report: ListReport) -> dict[str, Any]:
    about = report.policy_list
    return {
        "name": about.name,
        "alias": about.alias,
        "rules": report.rules,
        "left_out": dict(report.left_out),
        "problem": report.problem,
        "look_alikes": about.look_alikes,
        "allow_wide": about.allow_wide,
        "at": about.at,
    }


def lists_router(reports: ListReports, key: AdminKey) -> APIRouter:
    """Build the router; every endpoint in it asks for the API key first."""
    router = APIRouter(route_class=guarded(key.check), tags=["admin"], responses=problems(401, 503))

    @router.get("/lists")
    async def lists() -> ListedLists:
        """The policy lists that Knock is subscribed to, and how much of each counts."""
        listed = [ListedList.of(report) for report in await reports.all()]
        return ListedLists(lists=listed, count=len(listed))

    @router.get("/lists/{name}", responses=problems(404, 422))
    async def one_list(
        name: Annotated[str, Path(max_length=40, description="The list's name.", examples=["spam"])],
    ) -> WholeList:
        """One policy list, and which of its entries do not count and why."""
        return WholeList.of(await reports.one(name))

    return router
