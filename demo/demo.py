"""See a knock become an invite, on a real homeserver that is thrown away afterwards.

Run by ``make demo``. Leaves everything running until Ctrl-C, unless DEMO_ONCE=1.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import httpx2  # noqa: E402
from tests.kit.account import Account  # noqa: E402
from tests.kit.processes import Server, free_port, wait_until  # noqa: E402
from tests.kit.synapse import Synapse  # noqa: E402

BOLD, DIM, GREEN, PLAIN = ("\033[1m", "\033[2m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("",) * 4
SAMPLE = ROOT / "demo" / "tally.json"
VISITOR = "bob"


class Narrator:
    """Numbers the steps and says what happened."""

    def __init__(self) -> None:
        self._step = 0

    def step(self, text: str) -> None:
        self._step += 1
        print(f"\n{BOLD}{self._step}. {text}{PLAIN}", flush=True)

    def saw(self, text: str) -> None:
        print(f"   {GREEN}✓{PLAIN} {text}", flush=True)

    def note(self, text: str) -> None:
        print(f"   {DIM}{text}{PLAIN}", flush=True)


@dataclass
class Stage:
    """Everything that the play needs."""

    synapse: Synapse
    knock: Server
    owner: Account
    visitor: Account
    room: str
    signing_secret: str
    form_token: str
    api_key: str


def delivery(user_id: str) -> bytes:
    """What Tally posts when somebody fills in the form."""
    payload: dict[str, Any] = json.loads(SAMPLE.read_text("utf-8"))
    payload["eventId"] = secrets.token_hex(16)
    for question in payload["data"]["fields"]:
        if question["label"] == "Matrix ID":
            question["value"] = user_id
    return json.dumps(payload, ensure_ascii=False).encode()


def signature(body: bytes, secret: str) -> str:
    """Tally's signature: base64 of the HMAC-SHA256 of the raw body."""
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


async def set_the_stage(say: Narrator, folder: Path, stack: contextlib.ExitStack) -> Stage:
    """Start the homeserver and Knock, with a private room between them."""
    say.step("Starting a throw-away Matrix homeserver (Synapse) …")
    synapse = stack.enter_context(await asyncio.to_thread(Synapse.start, folder / "synapse"))
    say.saw(f"Synapse answers at {synapse.url}")

    say.step("Alice makes a private room; Knock's account is in it and may invite.")
    owner, visitor, bot = [await synapse.user(name) for name in ("alice", VISITOR, "knock")]
    room = await synapse.new_room(owner, name="The repair café", bot=bot)
    say.saw(f"the room's address, which nobody outside may learn: {room}")

    say.step("Starting Knock in front of it, with its embedded store …")
    signing_secret, form_token, api_key = (secrets.token_urlsafe(24) for _ in range(3))
    environment = {
        "NEW_ROOM_ID": room,
        "MATRIX_BASE_URL": synapse.url,
        "MATRIX_ACCESS_TOKEN": str(bot.access_token),
        "TALLY_SIGNING_SECRET": signing_secret,
        "FORM_TOKEN": form_token,
        "API_KEY": api_key,
        "DATA_DIR": str(folder / "data"),
    }
    folder_of_knock = folder / "knock"
    folder_of_knock.mkdir()
    port = int(os.environ.get("DEMO_PORT") or free_port())
    knock = stack.enter_context(Server.mknock(folder_of_knock, environment, port=port))
    await knock.wait_ready("/readyz")
    say.saw(f"Knock is ready at {knock.url}")
    return Stage(synapse, knock, owner, visitor, room, signing_secret, form_token, api_key)


async def play(say: Narrator, stage: Stage) -> None:
    """A form post goes all the way to an invite and a join."""
    say.step("Bob fills in a form; the form platform posts it to Knock, signed.")
    body = delivery(stage.visitor.user_id)
    began = time.perf_counter()
    async with stage.knock.client() as client:
        headers = {
            "Content-Type": "application/json",
            "Tally-Signature": signature(body, stage.signing_secret),
        }
        answer = await client.post("/invite_from_form", content=body, headers=headers)
    answered = time.perf_counter() - began
    expect(answer.status_code == httpx2.codes.OK, f"Knock answered {answer.status_code}: {answer.text}")
    say.saw(f"answered {answer.status_code} after {answered * 1000:.0f} ms, with the knock safely on disk")
    say.note(answer.text)
    expect(stage.room not in answer.text, "the answer holds the room's address")

    say.step("Knock invites Bob on the homeserver.")
    await wait_until(lambda: is_now(stage, "invite"), within=20, every=0.01)
    say.saw(f"Bob has an invite, {(time.perf_counter() - began) * 1000:.0f} ms after the post")

    say.step("Bob accepts.")
    await stage.visitor.join(stage.room)
    await wait_until(lambda: is_now(stage, "join"), within=20)
    say.saw("Bob is in the room")

    say.step("A second post of the same form, and one with a forged signature.")
    async with stage.knock.client() as client:
        repeat = await client.post("/invite_from_form", content=body, headers=headers)
        forged = await client.post(
            "/invite_from_form", content=body, headers={**headers, "Tally-Signature": "Zm9yZ2Vk"}
        )
    expect(repeat.text == answer.text, "the repeat was answered differently")
    expect(forged.status_code == httpx2.codes.UNAUTHORIZED, "the forged form was not refused")
    say.saw("the repeat is answered alike and makes no second invite")
    say.saw(f"the forged one is answered {forged.status_code}")


async def is_now(stage: Stage, membership: str) -> bool:
    return await stage.owner.membership(stage.room, stage.visitor.user_id) == membership


def expect(so: bool, otherwise: str) -> None:
    if not so:
        raise RuntimeError(otherwise)


def farewell(stage: Stage) -> None:
    """Say what to try while everything runs."""
    form = f"{stage.knock.url}/invite_from_form?token={stage.form_token}"
    print(
        f"""
{BOLD}Everything keeps running. Try it:{PLAIN}
   invite somebody else (carol has no account here yet, so look what becomes of it):
     curl -d matrix_id=@carol:knock.test '{form}'
   who is on the way, who is in the room, who is blocked:
     curl -H 'Authorization: Bearer {stage.api_key}' {stage.knock.url}/pending_invites
     curl -H 'Authorization: Bearer {stage.api_key}' {stage.knock.url}/room_members
     curl -H 'Authorization: Bearer {stage.api_key}' {stage.knock.url}/blocklist
   every endpoint, in a browser:
     {stage.knock.url}/docs
   the homeserver:
     {stage.synapse.url}

Ctrl-C ends it and removes everything.""",
        flush=True,
    )


async def demo() -> None:
    say = Narrator()
    with tempfile.TemporaryDirectory(prefix="knock-demo-") as folder, contextlib.ExitStack() as stack:
        stage = await set_the_stage(say, Path(folder), stack)
        await play(say, stage)
        if os.environ.get("DEMO_ONCE"):
            return
        farewell(stage)
        await asyncio.Event().wait()


def main() -> int:
    """Return the exit code: 0 if every step was seen."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        asyncio.run(demo())
    except KeyboardInterrupt:
        print("\nEverything was stopped and removed.")
    except (RuntimeError, TimeoutError, AssertionError, httpx2.HTTPError) as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    else:
        print(f"\n{GREEN}Every step was seen.{PLAIN}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
