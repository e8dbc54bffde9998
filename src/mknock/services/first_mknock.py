"""Coming from the first mknock: its open invites and its session are taken over once.

Each file is imported at the first start that finds it, and then never again,
so that what was settled since stays so. The files themselves are only
read. One that makes no sense is reported and a copy of it kept aside;
Knock starts all the same, and looks at it again at the next start.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from mknock.domain.chance import new_id
from mknock.domain.doors import Door
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.ports import Clock, Entry, Store
from mknock.services.first_mknock_files import (
    Damaged,
    OldSession,
    PendingInvite,
    old_session,
    pending_invites,
)
from mknock.services.rule_book import RuleBook
from mknock.telemetry import get_logger, keep_secret

T = TypeVar("T")

log = get_logger(__name__)

PLATFORM = "first-mknock"
ACTOR = "import"
LEASE = "first-mknock"
LEASE_TIME = 10.0
"""Seconds after which another process goes on where a dead one stopped."""
LOOK_AGAIN = 0.05
"""Seconds between two looks whether it is our turn."""
REPORT = "first-mknock-report"
LARGEST = 64 * 1024 * 1024
"""Bytes; a million blocked people need less."""
BATCH = 500
"""Records in one transaction, so that nothing else waits for long."""
MOST_NUMBERS = 20
"""Line numbers that one log line lists."""


@dataclass(frozen=True, slots=True)
class OldFiles:
    """Where the first mknock's files are, and the folder for copies of those that make no sense."""

    pending_invites: Path
    tokens: Path
    kept_aside: Path


KeepSession = Callable[[OldSession], Awaitable[bool]]
"""Keeps a session for the next sign-in unless there is one; says whether it did."""


class _Import(Protocol):
    async def __call__(self, data: bytes, path: Path, /) -> None:
        """Import what the file holds. Raises Damaged."""


@dataclass(frozen=True, slots=True)
class _Source:
    what: str
    path: Path
    take: _Import

    @property
    def mark(self) -> str:
        """The name under which the store remembers that this file was imported."""
        return f"imported:{self.what}:{self.path.name}"


class FirstMknock:
    """Takes over what the first mknock left behind, once for all processes."""

    def __init__(
        self,
        store: Store,
        door: Door,
        files: OldFiles,
        book: RuleBook,
        clock: Clock,
        *,
        keep_session: KeepSession,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._door = door
        self._kept_aside = files.kept_aside
        self._book = book
        self._clock = clock
        self._keep_session = keep_session
        self._sleep = sleep
        self._holder = secrets.token_hex(8)
        self._sources = (
            _Source("pending-invites", files.pending_invites, self._take_invites),
            _Source("tokens", files.tokens, self._take_session),
        )

    async def take_over(self) -> None:
        """Import the files that are there and were not imported yet.

        Processes that start together take turns: when this returns, the
        invites are in the store, whoever put them there. The block-list has to be there already.

        Raises:
            StoreUnavailable: the import did not come to its end; the next start goes on with it.
        """
        if not await self._waiting():
            return
        while not await self._take_turn():
            await self._sleep(LOOK_AGAIN)
        try:
            for source in await self._waiting():
                await self._import(source)
        finally:
            await self._store.drop_lease(LEASE, self._holder)

    async def _take_turn(self) -> bool:
        now = self._clock()
        return await self._store.take_lease(LEASE, self._holder, now=now, until=now + LEASE_TIME)

    async def _waiting(self) -> list[_Source]:
        return [
            source
            for source in self._sources
            if await asyncio.to_thread(_is_there, source.path)
            and await self._store.secret(source.mark) is None
        ]

    async def _import(self, source: _Source) -> None:
        data = None
        try:
            data = await asyncio.to_thread(_contents, source.path)
            await source.take(data, source.path)
        except OSError as error:
            await self._report(source, f"cannot be read ({error.strerror}): let Knock read it, or remove it")
        except Damaged as damage:
            await self._report(source, await self._aside(source, str(damage), data))
        else:
            await self._store.put_secret(source.mark, f"{self._clock():.0f}")

    # --- what becomes of what was found

    async def _take_invites(self, data: bytes, path: Path) -> None:
        listed = await asyncio.to_thread(pending_invites, data)
        now = self._clock()
        written = await asyncio.to_thread(_written_at, path)
        knocks = [await self._knock(invite, min(written, now), now) for invite in listed.found]
        entry = Entry(at=now, actor=ACTOR, action="invited", reason=Reason.IMPORTED.value)
        new = 0
        async for batch in self._batches(knocks):
            new += await self._store.import_knocks(batch, entry)
        log.info("imported the first mknock's open invites", file=path.name, found=len(knocks), new=new)
        _say_left_out(path, "entries", listed.left_out, "their invites stay open until they are answered")

    async def _take_session(self, data: bytes, path: Path) -> None:
        session = old_session(data)
        if session is None:
            log.warning(
                f"{path.name} of the first mknock holds no access token: nothing was imported from it"
            )
            return
        keep_secret(session.access_token, lasting=False)
        taken = await self._keep_session(session)
        if taken:
            entry = Entry(at=self._clock(), actor=ACTOR, action="session imported", user_id=session.user_id)
            await self._store.write(entry)
        what = "was imported" if taken else "was not needed, since Knock has a session"
        log.warning(
            f"the access token in {path.name} {what}: delete that file, it holds the token in plain text"
        )

    async def _knock(self, invite: PendingInvite, written: float, now: float) -> Knock:
        """The invite as a knock; one of a blocked person is due at once, to be withdrawn (D4)."""
        invited_at = min(invite.invited_at or written, now)
        await self._book.refresh()
        rule = self._book.blocking(invite.user)
        return Knock(
            id=new_id(invited_at),
            door=self._door.slug,
            room_id=self._door.room_id,
            user_id=str(invite.user),
            user_key=invite.user.key,
            state=KnockState.INVITED,
            reason=Reason.IMPORTED if rule is None else Reason.BLOCKED,
            rule="" if rule is None else rule.entity,
            platform=PLATFORM,
            created_at=invited_at,
            updated_at=now,
            seen_at=invited_at,
            expires_at=invited_at + self._door.lifetime,
            due_at=None if rule is None else now,
            invited_at=invited_at,
        )

    async def _batches(self, records: Sequence[T]) -> AsyncIterator[Sequence[T]]:
        for start in range(0, len(records), BATCH):
            await self._take_turn()
            yield records[start : start + BATCH]

    # --- what could not be imported

    async def _report(self, source: _Source, problem: str) -> None:
        """Say it once a start: processes that start together share a lease on having said it."""
        now = self._clock()
        said = f"{REPORT}:{source.what}"
        if await self._store.take_lease(said, self._holder, now=now, until=now + LEASE_TIME):
            log.error(f"{source.path.name} of the first mknock was not imported: it {problem}")

    async def _aside(self, source: _Source, damage: str, data: bytes | None) -> str:
        """Keep a copy of a damaged file, if there is anything in it, and say what to do."""
        advice = f"{damage}: mend it and start Knock again, or remove it"
        if not data:
            return advice
        try:
            copy = await asyncio.to_thread(_keep_aside, self._kept_aside, source.path.name, data)
        except OSError as error:
            return f"{advice} (no copy of it could be kept in {self._kept_aside}: {error.strerror})"
        return f"{advice} (a copy is kept as {copy})"


def _say_left_out(path: Path, kind: str, numbers: Sequence[int], then: str) -> None:
    if not numbers:
        return
    shown = ", ".join(map(str, numbers[:MOST_NUMBERS])) + (", …" if len(numbers) > MOST_NUMBERS else "")
    log.warning(
        f"{path.name} was imported but for {len(numbers)} of its {kind} ({shown}), "
        f"in which no Matrix ID can be read; {then}"
    )


# --- the disk, in a thread -----------------------------------------------------------------------


def _is_there(path: Path) -> bool:
    """Whether there is anything at all; what cannot even be looked at is, and is reported when it is read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _contents(path: Path) -> bytes:
    """The whole file.

    Raises:
        OSError: it cannot be read.
        Damaged: it is no ordinary file, or too large.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        # Docker makes a folder of a mounted file that is not there.
        raise Damaged("is a folder or a device, not a file")
    if about.st_size > LARGEST:
        raise Damaged(f"is larger than {LARGEST // 1024**2} MiB")
    return path.read_bytes()


def _written_at(path: Path) -> float:
    return path.stat().st_mtime


def _keep_aside(folder: Path, name: str, data: bytes) -> Path:
    """Copy to a name made of the content, so that nothing that is kept there is ever overwritten."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = folder / f"{name}.{hashlib.sha256(data).hexdigest()[:16]}"
    if not copy.exists():
        draft = folder / f".{copy.name}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
        draft.replace(copy)
    return copy
