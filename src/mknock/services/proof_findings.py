"""What keeps people from proving their account at the doors that want it."""

from __future__ import annotations

from dataclasses import dataclass

from mknock.domain.errors import HomeserverError
from mknock.ports import Encryption, Homeserver
from mknock.services.doors import Doors
from mknock.services.findings import Finding, bad, good, odd
from mknock.services.remedies import remedy
from mknock.services.sessions import OwnSession

WHAT = "proof of accounts"
REFUSES = (
    "the account refuses invitations, so nobody can start a chat with it: allow them in its settings"
    " (m.invite_permission_config)"
)
CANNOT_READ = "Knock cannot read encrypted chats, which many apps begin: pip install 'mknock[e2ee]'"


@dataclass(frozen=True, slots=True)
class ProofFindings:
    """Looks at what a talk with the bot needs."""

    homeserver: Homeserver
    doors: Doors
    session: OwnSession
    encryption: Encryption | None = None

    async def of(self, account: str) -> list[Finding]:
        """One finding; none if no door wants a proof."""
        if not self._is_wanted():
            return []
        try:
            if problem := await self.problem():
                return [bad(WHAT, f"people cannot prove their account: {problem}")]
            if problem := await self._cannot_read():
                return [odd(WHAT, problem)]
        except HomeserverError as error:
            return [odd(WHAT, f"could not be looked at: {error}{remedy(error)}")]
        return [good(WHAT, f"people start a chat with {account}, encrypted or not")]

    async def problem(self) -> str:
        """Why nobody can prove their account; "" if they can, or need not.

        Raises:
            HomeserverError: it cannot be found out right now.
        """
        if not self._is_wanted():
            return ""
        if problem := await self.session.problem():
            return problem
        wish = await self.homeserver.account_data("m.invite_permission_config")
        return REFUSES if wish.get("default_action") == "block" else ""

    def _is_wanted(self) -> bool:
        return any(door.wants_proof for door in self.doors)

    async def _cannot_read(self) -> str:
        problem = await self.encryption.problem() if self.encryption else CANNOT_READ
        return problem and f"chats that are encrypted cannot be read: {problem}"
