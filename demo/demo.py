"""See a knock become an invite, on a real homeserver that is thrown away afterwards.

Run by ``make demo``. Leaves everything running until Ctrl-C, unless DEMO_ONCE=1.
DEMO_PORT is the port of Knock; unset, a free one is taken.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import math
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

try:
    import httpx2
    from tests.kit.account import Account
    from tests.kit.processes import Server, _environment, free_port, tail, wait_until
    from tests.kit.synapse import Synapse
except ImportError as missing:
    sys.exit(f"The demonstration needs {missing.name}. Start it with: make demo")

BOLD, DIM, GREEN, PLAIN = ("\033[1m", "\033[2m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("",) * 4
WIDTH = 80
SAMPLE = ROOT / "demo" / "tally.json"
PATIENCE = 30.0
"""Seconds for a step; each takes well under one, and much longer on a busy machine."""
WINDOW = 5
"""Knocks that pass the door in ten seconds; the rest of a wave is held."""
WAVE = 12


class StepFailed(RuntimeError):
    """Something was not as the demonstration says it is."""


def expect(so: object, otherwise: str) -> None:
    if not so:
        raise StepFailed(otherwise)


# --- what is shown -----------------------------------------------------------------------------


class Narrator:
    """Numbers the steps and says what happened, in lines that fit a small window."""

    def __init__(self) -> None:
        self._step = 0
        self.has_seen_all = False

    def step(self, text: str) -> None:
        self._step += 1
        mark = f"{self._step}. "
        print(f"\n{BOLD}{_wrapped(text, mark, ' ' * len(mark))}{PLAIN}", flush=True)

    def saw(self, text: str) -> None:
        print(_wrapped(text, "   ✓ ", "     ").replace("✓", f"{GREEN}✓{PLAIN}", 1), flush=True)

    def note(self, text: str) -> None:
        for line in text.splitlines():
            print(f"{DIM}{_wrapped(line, '     ', '     ')}{PLAIN}", flush=True)

    def all_seen(self) -> None:
        self.has_seen_all = True
        print(f"\n{GREEN}Every step was seen.{PLAIN}", flush=True)


def _wrapped(text: str, first: str, others: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


# --- what happens ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Everything that the play needs."""

    synapse: Synapse
    knock: Server
    home: Path
    """The folder in which Knock runs; its settings are in ``.env`` there."""
    settings: dict[str, str]
    owner: Account
    visitor: Account
    room: str

    async def members(self) -> dict[str, str]:
        """What everybody is to the room: invite, join, …"""
        events = (await self.owner.must("GET", "rooms", self.room, "members"))["chunk"]
        return {event["state_key"]: event["content"]["membership"] for event in events}

    async def until(self, membership: str, user_id: str, otherwise: str) -> None:
        async def so() -> bool:
            return (await self.members()).get(user_id) == membership

        await until(so, otherwise)

    async def post(self, body: bytes, signature: str) -> httpx2.Response:
        headers = {"Content-Type": "application/json", "Tally-Signature": signature}
        async with self.knock.client() as client:
            return await client.post("/invite_from_form", content=body, headers=headers)

    def sign(self, body: bytes) -> str:
        """Tally's signature: base64 of the HMAC-SHA256 of the raw body."""
        secret = self.settings["TALLY_SIGNING_SECRET"].encode()
        return base64.b64encode(hmac.digest(secret, body, hashlib.sha256)).decode()

    async def command(self, *arguments: str) -> str:
        """What ``mknock`` prints when a moderator runs it beside the running Knock."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mknock", *arguments),
            cwd=self.home,
            env=_environment(self.home, {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed = (await process.communicate())[0].decode()
        expect(process.returncode == 0, f"mknock {arguments[0]} failed: {printed}")
        return printed


async def until(so: Callable[[], Awaitable[object]], otherwise: str) -> None:
    async def asked() -> object:
        return await so()

    try:
        await wait_until(asked, within=PATIENCE, every=0.02)
    except TimeoutError:
        raise StepFailed(f"{otherwise} within {PATIENCE:g} s") from None


def delivery(user_id: str) -> bytes:
    """What Tally posts when somebody fills in the form."""
    payload: dict[str, Any] = json.loads(SAMPLE.read_text("utf-8"))
    payload["eventId"] = secrets.token_hex(16)
    for question in payload["data"]["fields"]:
        if question["label"] == "Matrix ID":
            question["value"] = user_id
    return json.dumps(payload, ensure_ascii=False).encode()


def start_synapse(say: Narrator, folder: Path) -> Synapse:
    say.step("Starting a throw-away Matrix homeserver (Synapse) …")
    synapse = Synapse.start(folder / "synapse")
    say.saw(f"Synapse answers at {synapse.url}")
    return synapse


async def make_room(say: Narrator, synapse: Synapse) -> tuple[Account, Account, str]:
    """Alice and the bot, and the room in which both are."""
    say.step("Alice makes a private room. Knock's account is in it and may invite.")
    owner, bot = await synapse.user("alice"), await synapse.user("knock")
    room = await synapse.new_room(owner, name="The repair café", bot=bot)
    say.saw("the room's address, which nobody outside may learn:")
    say.note(room)
    return owner, bot, room


def start_knock(say: Narrator, home: Path, settings: dict[str, str], port: int) -> Server:
    say.step("Starting Knock in front of it, with its embedded store …")
    home.mkdir()
    (home / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return Server.mknock(home, {}, port=port)


def settings_for(synapse: Synapse, bot: Account, room: str) -> dict[str, str]:
    return {
        "NEW_ROOM_ID": room,
        "MATRIX_BASE_URL": synapse.url,
        "MATRIX_ACCESS_TOKEN": str(bot.access_token),
        "TALLY_SIGNING_SECRET": secrets.token_urlsafe(12),
        "FORM_TOKEN": secrets.token_urlsafe(12),
        "API_KEY": secrets.token_urlsafe(12),
        "MAX_REQUESTS_PER_WINDOW": str(WINDOW),
        "SPAM_WINDOW_SECONDS": "10",
        "DATA_DIR": "data",
    }


async def a_knock(say: Narrator, stage: Stage) -> bytes:
    """A form post goes all the way to an invite and a join; returns the form."""
    say.step("Bob fills in a form. The form platform posts it to Knock, signed.")
    body = delivery(stage.visitor.user_id)
    began = time.perf_counter()
    answer = await stage.post(body, stage.sign(body))
    answered = time.perf_counter() - began
    expect(answer.is_success, f"Knock answered {answer.status_code}: {answer.text}")
    expect(stage.room not in answer.text, "the answer holds the room's address")
    say.saw(f"answered {answer.status_code} after {answered * 1000:.0f} ms, with the knock safely on disk:")
    say.note(answer.json()["message"])

    say.step("Knock invites Bob on the homeserver.")
    await stage.until("invite", stage.visitor.user_id, "Bob was not invited")
    say.saw(f"Bob has an invitation, {(time.perf_counter() - began) * 1000:.0f} ms after the post")

    say.step("Bob accepts.")
    await stage.visitor.join(stage.room)
    await stage.until("join", stage.visitor.user_id, "Bob was not in the room")
    say.saw("Bob is in the room")
    await a_welcome(say, stage)
    return body


async def a_welcome(say: Narrator, stage: Stage) -> None:
    """Knock hears of the join and greets in the room."""
    began = time.perf_counter()
    say.step("Knock hears of it, and welcomes him.")
    await until(lambda: greeting(stage), "Bob was not welcomed")
    say.saw(f"Bob was welcomed {(time.perf_counter() - began) * 1000:.0f} ms later:")
    say.note(await greeting(stage))


async def greeting(stage: Stage) -> str:
    """What the bot has said to Bob in the room; "" so far nothing."""
    newest = {"dir": "b", "limit": "20"}
    events = (await stage.owner.must("GET", "rooms", stage.room, "messages", params=newest))["chunk"]
    contents = (event["content"] for event in events if event["type"] == "m.room.message")
    return next((str(content["body"]) for content in contents if _pings(content, stage.visitor)), "")


def _pings(content: dict[str, Any], person: Account) -> bool:
    mentioned: list[str] = content.get("m.mentions", {}).get("user_ids", [])
    return mentioned == [person.user_id]


async def repeats(say: Narrator, stage: Stage, body: bytes) -> None:
    say.step("The same form is posted again, and one with a forged signature.")
    again, forged = await stage.post(body, stage.sign(body)), await stage.post(body, "Zm9yZ2Vk")
    expect(again.is_success, f"the repeat was answered {again.status_code}")
    expect(forged.status_code == httpx2.codes.UNAUTHORIZED, "the forged form was not refused")
    say.saw(f"the repeat is answered {again.status_code} like the first, and invites nobody twice")
    say.saw(f"the forged one is answered {forged.status_code}")


async def a_wave(say: Narrator, stage: Stage) -> list[str]:
    """More knocks at once than the window lets pass; returns who is held."""
    say.step(f"{WAVE} forms at once: a wave. This door lets {WINDOW} pass in ten seconds.")
    people = [account.user_id for account in await stage.synapse.users(WAVE, prefix="visitor")]
    bodies = [delivery(person) for person in people]
    answers = await asyncio.gather(*(stage.post(body, stage.sign(body)) for body in bodies))
    expect(len({answer.text for answer in answers}) == 1, "people can tell who is held from the answer")
    held = [str(knock["user_id"]) for knock in json.loads(await stage.command("held", "--json"))]
    invited = set(people) - set(held)
    expect(len(held) > 1, f"{len(held)} were held")
    for person in invited:
        await stage.until("invite", person, f"{person} was not invited")
    say.saw(f"{len(invited)} are invited; {len(held)} are held, and nobody can tell from the answer")
    return held


async def a_moderator(say: Narrator, stage: Stage, first: str) -> None:
    say.step("A moderator looks at who waits, and lets one in.")
    say.note("$ mknock held")
    say.note(abridged(await stage.command("held")))
    say.note(f"$ mknock approve {first}")
    say.note(await stage.command("approve", first))
    await stage.until("invite", first, f"{first} was not invited")
    say.saw(f"{first} is invited")


def abridged(listing: str) -> str:
    """The first knock of a listing, and that there are more."""
    lines = listing.splitlines()
    starts = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    return "\n".join([*lines[: starts[1] if len(starts) > 1 else None], "…"])


# --- afterwards --------------------------------------------------------------------------------


def farewell(stage: Stage, held: list[str]) -> str:
    """What to try while everything runs."""
    url, key = stage.knock.url, stage.settings["API_KEY"]
    program = Path(sys.executable).with_name("mknock")
    mknock = shlex.quote(str(program)) if program.exists() else f"{shlex.quote(sys.executable)} -m mknock"
    return f"""
{BOLD}Everything keeps running. Try it, in another window:{PLAIN}

   Carol has an account here as well. Invite her:
     curl -d matrix_id=@carol:{stage.synapse.server_name} \\
       '{url}/invite_from_form?token={stage.settings["FORM_TOKEN"]}'

   See that she is invited, and who else has not answered yet
   (/room_members, /held and /blocklist work alike):
     curl -H 'Authorization: Bearer {key}' \\
       {url}/pending_invites

   Decide about those who wait, and let Knock be examined:
     cd {shlex.quote(str(stage.home))}
     {mknock} held
     {mknock} approve {held[0]}
     {mknock} doctor

   Every endpoint, in a browser:  {url}/docs
   Knock:                         {url}
   The homeserver:                {stage.synapse.url}
   What Knock logs:               {stage.knock.log}

Ctrl-C ends it and removes everything."""


async def keep_running(knock: Server) -> None:
    await wait_until(lambda: not knock.alive, within=math.inf, every=0.5)
    raise StepFailed("Knock has ended by itself")


@contextlib.contextmanager
def log_shown(knock: Server) -> Iterator[None]:
    """Let a failure show the end of Knock's log, which is removed with the rest."""
    try:
        yield
    except Exception as error:
        raise StepFailed(f"{error}\nThe end of Knock's log:\n{tail(knock.log, 10)}") from error


async def demo(say: Narrator, folder: Path, stack: contextlib.ExitStack, synapse: Synapse, port: int) -> None:
    owner, bot, room = await make_room(say, synapse)
    visitor, _ = await synapse.user("bob"), await synapse.user("carol")
    home, settings = folder / "knock", settings_for(synapse, bot, room)
    knock = stack.enter_context(start_knock(say, home, settings, port))
    with log_shown(knock):
        await knock.wait_ready("/readyz")
        say.saw(f"Knock is ready at {knock.url}")
        stage = Stage(synapse, knock, home, settings, owner, visitor, room)
        held = await play(say, stage)
        if not os.environ.get("DEMO_ONCE"):
            print(farewell(stage, held), flush=True)
            await keep_running(knock)


async def play(say: Narrator, stage: Stage) -> list[str]:
    """All that happens by itself; returns who is still held in the end."""
    body = await a_knock(say, stage)
    await repeats(say, stage, body)
    first, *others = await a_wave(say, stage)
    await a_moderator(say, stage, first)
    say.all_seen()
    return others


# --- from start to end -------------------------------------------------------------------------


def wanted_port() -> int:
    """DEMO_PORT if it is set and free, or any free port."""
    text = os.environ.get("DEMO_PORT", "")
    if not text:
        return free_port()
    expect(text.isdecimal() and 0 < int(text) < 65536, f"DEMO_PORT must be a port, but is {text!r}")
    try:
        socket.create_server(("127.0.0.1", int(text))).close()
    except OSError as error:
        raise StepFailed(f"DEMO_PORT {text} cannot be used ({error.strerror}): choose another") from None
    return int(text)


@contextlib.contextmanager
def tidied() -> Iterator[tuple[Path, contextlib.ExitStack]]:
    """A folder, and a stack for what is started: however it ends, nothing of either is left."""
    with (
        tempfile.TemporaryDirectory(prefix="knock-demo-", ignore_cleanup_errors=True) as folder,
        contextlib.ExitStack() as stack,
    ):
        try:
            yield Path(folder), stack
        finally:
            for number in ENDS:  # a second Ctrl-C must not cut this short
                signal.signal(number, signal.SIG_IGN)


ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM, and the end of the terminal, be what Ctrl-C is."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


def main() -> int:
    """Return the exit code: 0 if every step was seen."""
    say = Narrator()
    end_as_by_ctrl_c()
    try:
        port = wanted_port()
        with tidied() as (folder, stack):
            synapse = stack.enter_context(start_synapse(say, folder))
            asyncio.run(demo(say, folder, stack, synapse, port))
    except KeyboardInterrupt:
        print("\nEverything was stopped and removed.")
    except (RuntimeError, AssertionError, OSError, httpx2.HTTPError) as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    return 0 if say.has_seen_all else 130


if __name__ == "__main__":
    sys.exit(main())
