"""What keeps people from proving their account is found before they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.proving import Proving
from tests.kit.sealing import Sealing
from tests.kit.workshop import BOT

from mknock.services.findings import Finding, Verdict
from mknock.services.proof_findings import CANNOT_READ, REFUSES, ProofFindings
from mknock.services.sessions import OwnSession


@pytest.fixture
async def proving(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Proving]:
    async with Proving.opened(fake, tmp_path) as proving:
        yield proving


def looking(proving: Proving, encryption: Sealing | None = None) -> ProofFindings:
    shop = proving.shop
    session = OwnSession(shop.homeserver, signed_in=False)
    return ProofFindings(shop.homeserver, shop.doors, session, encryption)


async def found(proving: Proving, encryption: Sealing | None = None) -> Finding:
    (finding,) = await looking(proving, encryption).of(BOT)
    return finding


async def test_where_all_is_well_it_says_whom_people_write_to(proving: Proving) -> None:
    finding = await found(proving, Sealing())
    assert (finding.verdict, BOT in finding.says) == (Verdict.GOOD, True)
    assert await looking(proving, Sealing()).problem() == ""


async def test_where_no_door_wants_a_proof_nothing_is_said(proving: Proving) -> None:
    proving.shop.doors.describe([proving.shop.door])
    await proving.shop.bot.set_invite_block()
    assert await looking(proving).of(BOT) == []
    assert await looking(proving).problem() == ""


async def test_an_account_that_refuses_invitations_is_bad(proving: Proving) -> None:
    await proving.shop.bot.set_invite_block()
    finding = await found(proving)
    assert finding.verdict is Verdict.BAD
    assert REFUSES in finding.says
    assert await looking(proving).problem() == REFUSES


async def test_the_session_of_somebodys_client_is_bad(proving: Proving) -> None:
    await proving.shop.bot.publish_device()
    finding = await found(proving)
    assert (finding.verdict, "mknock login" in finding.says) == (Verdict.BAD, True)


async def test_without_encryption_some_chats_cannot_be_read(proving: Proving) -> None:
    finding = await found(proving)
    assert finding.verdict is Verdict.ODD
    assert CANNOT_READ in finding.says
    assert await looking(proving).problem() == ""


async def test_what_keeps_encryption_from_working_is_passed_on(proving: Proving) -> None:
    finding = await found(proving, Sealing(problem="set RECOVERY_KEY"))
    assert (finding.verdict, "set RECOVERY_KEY" in finding.says) == (Verdict.ODD, True)


@pytest.mark.promise(7)
async def test_an_outage_is_not_taken_for_a_refusal(proving: Proving) -> None:
    proving.shop.fake.fail(down=True)
    assert (await found(proving)).verdict is Verdict.ODD
