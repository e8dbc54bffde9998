"""Whether the session we act in is our own.

/sync hands the messages for a device over to whoever asks first. With a token
that was pasted from somebody's client, Knock would take away the keys that
this client needs to decrypt, so then it does not listen (design decision 5).
"""

from __future__ import annotations

from mknock.ports import Encryption, Homeserver
from mknock.telemetry import get_logger

log = get_logger(__name__)

NOT_OURS = (
    "the access token is that of somebody's client, which would miss its encryption keys if Knock listened with it:"
    " sign Knock in by itself with `mknock login`; until then joins are noticed only at the invite check"
)


class OwnSession:
    """Finds out, once a device, whether we may follow /sync with it.

    ``signed_in`` says that Knock itself has made the session; ``encryption`` knows
    the device keys that we have published.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        *,
        signed_in: bool,
        encryption: Encryption | None = None,
    ) -> None:
        self._homeserver = homeserver
        self._signed_in = signed_in
        self._encryption = encryption
        self._known: tuple[str, str] | None = None

    async def problem(self) -> str:
        """Return "" if the session is ours, else one sentence for the owner.

        Raises:
            HomeserverError: it cannot be found out right now.
        """
        device = await self._homeserver.device()
        if self._known is None or self._known[0] != device:
            self._known = device, await self._look(device)
            if self._known[1]:
                log.warning("Knock does not follow /sync", why=self._known[1])
        return self._known[1]

    async def _look(self, device: str) -> str:
        if self._signed_in or not device:
            return ""
        keys = await self._homeserver.device_keys(await self._homeserver.whoami(), device)
        if keys is None or (self._encryption is not None and await self._encryption.is_ours(keys)):
            return ""
        return NOT_OURS
