"""The commands in this process, on a store of their own; the real command is in tests/integration/test_cli.py."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import mknock.cli.held
from mknock.cli import main
from mknock.cli.commands import COMMANDS
from mknock.cli.commands import mknock as command
from mknock.cli.terminal import indented, moment, plain
from mknock.domain.doors import Door
from mknock.domain.errors import IllegalMove, InvalidMatrixID, KnockError, NotFound
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Answer, Decision, Knock, KnockState, Outcome, Reason, Submission
from mknock.ports import Attempt, Entry, Kept
from mknock.settings import SettingsError
from mknock.storage.sqlite import SqliteStore
from mknock.telemetry import keep_secret

ROOM = "!secret:knock.test"
HOLD = Decision(Outcome.HOLD, Reason.REVIEW)
ADMIT = Decision(Outcome.ADMIT, Reason.PASSED)
ENVIRONMENT = {
    "NEW_ROOM_ID": ROOM,
    "MATRIX_BASE_URL": "http://127.0.0.1:1",  # nothing listens there
    "MATRIX_ACCESS_TOKEN": "syt_token",
    "DATA_DIR": "data",
}

Knocks = Callable[..., Knock]
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with these settings and more; errors of Knock's own are raised."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, typed: str = "", **more: str) -> Result:
        return CliRunner().invoke(
            command, list(arguments), input=typed, env={**ENVIRONMENT, **more}, catch_exceptions=False
        )

    return invoke


async def on_the_store(work: Callable[[SqliteStore], object]) -> object:
    store = SqliteStore(Path("data/knock.db"))
    await store.open()
    try:
        return await work(store)  # type: ignore[misc]
    finally:
        await store.close()


@pytest.fixture
def knocks(run: Run) -> Knocks:
    """Let somebody knock, and hold them unless another decision is given."""
    numbers = itertools.count(1)

    def knock(user_id: str, *answers: Answer, decision: Decision = HOLD) -> Knock:
        number = next(numbers)
        attempt = Attempt(
            knock_id=f"01JZX4T8M2V7Q9R3C5B6N8{number:04}",
            door=Door("main", ROOM),
            user=MatrixID.of(user_id),
            submission=Submission("tally", MatrixID.of(user_id), answers=answers),
            at=1_790_000_000.0 + number,
        )
        kept = asyncio.run(on_the_store(lambda store: store.admit(attempt, lambda _, __: decision)))
        assert isinstance(kept, Kept)
        return kept.knock

    return knock


def now(knock: Knock) -> Knock:
    found = asyncio.run(on_the_store(lambda store: store.knock(knock.id)))
    assert isinstance(found, Knock)
    return found


def ledger_of(knock: Knock) -> Entry:
    entries = asyncio.run(on_the_store(lambda store: store.ledger(knock_id=knock.id)))
    assert isinstance(entries, list)
    newest: Entry = entries[0]
    return newest


# held


def test_nobody_waits_at_first(run: Run) -> None:
    assert run("held").output == "Nobody waits.\n"


def test_without_anybody_the_json_is_an_empty_list(run: Run) -> None:
    assert json.loads(run("held", "--json").stdout) == []


def test_a_held_knock_is_shown_with_why_and_its_answers(run: Run, knocks: Knocks) -> None:
    held = knocks("@alice:knock.test", Answer("Why?", "I mend bikes."))

    assert run("held").output == (
        f"{held.id}  @alice:knock.test\n"
        "    held since 2026-09-21 14:13 UTC: review\n"
        "    Why?\n"
        "        I mend bikes.\n"
    )


def test_the_detail_of_a_reason_is_shown(run: Run, knocks: Knocks) -> None:
    knocks("@alice:knock.test", decision=Decision(Outcome.HOLD, Reason.WAVE, "61 knocks in 60 s"))

    assert ": wave (61 knocks in 60 s)\n" in run("held").output


def test_a_look_alike_is_shown_step_by_step(run: Run, knocks: Knocks) -> None:
    detail = "skeleton common: 1 read as l; 0 read as o (blocked for: spam)"
    decision = Decision(Outcome.HOLD, Reason.LOOK_ALIKE, detail, rule="@lola:knock.test")
    knocks("@l01a:knock.test", decision=decision)

    assert run("held").output.splitlines()[1:] == [
        "    held since 2026-09-21 14:13 UTC: resembles @lola:knock.test",
        "        skeleton common",
        "        1 read as l",
        "        0 read as o",
        "        blocked for: spam",
    ]


def test_a_likeness_without_steps_is_shown_too(run: Run, knocks: Knocks) -> None:
    decision = Decision(
        Outcome.HOLD, Reason.LOOK_ALIKE, "other server (blocked for: a: b)", rule="@x:y.example"
    )
    knocks("@x:knock.test", decision=decision)

    assert run("held").output.splitlines()[2:] == ["        other server", "        blocked for: a: b"]


def test_the_oldest_stands_first(run: Run, knocks: Knocks) -> None:
    first, second = knocks("@zoe:knock.test"), knocks("@alice:knock.test")

    assert [one["id"] for one in json.loads(run("held", "--json").stdout)] == [first.id, second.id]


def test_who_was_admitted_is_not_listed(run: Run, knocks: Knocks) -> None:
    knocks("@alice:knock.test", decision=ADMIT)

    assert run("held").output == "Nobody waits.\n"


def test_no_held_knock_is_left_out_however_many_there_are(
    run: Run, knocks: Knocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mknock.cli.held, "PAGE", 2)
    held = [knocks(f"@person{number}:knock.test").id for number in range(5)]

    assert [one["id"] for one in json.loads(run("held", "--json").stdout)] == held


def test_the_json_has_the_fields_of_the_endpoint(run: Run, knocks: Knocks) -> None:
    knocks("@alice:knock.test", Answer("Why?", "Bikes."))

    (shown,) = json.loads(run("held", "--json").stdout)

    assert (shown["user_id"], shown["state"], shown["answers"]) == (
        "@alice:knock.test",
        "held",
        [{"label": "Why?", "value": "Bikes."}],
    )


@pytest.mark.promise(5)
@pytest.mark.parametrize("arguments", [("held",), ("held", "--json")])
def test_the_rooms_address_is_not_shown(run: Run, knocks: Knocks, arguments: tuple[str, ...]) -> None:
    knocks("@alice:knock.test")

    assert ROOM not in run(*arguments).output


# What strangers write

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u200b\r\x00\x7f\x08"


@pytest.mark.parametrize("arguments", [("held",), ("held", "--json")])
def test_what_strangers_write_cannot_steer_the_terminal(
    run: Run, knocks: Knocks, arguments: tuple[str, ...]
) -> None:
    knocks("@alice:knock.test", Answer(HOSTILE, HOSTILE))

    output = run(*arguments).output

    assert [char for char in output if not char.isprintable() and char != "\n"] == []


def test_no_line_of_an_answer_can_pass_for_a_knock(run: Run, knocks: Knocks) -> None:
    forged = "01JZX4T8M2V7Q9R3C5B6N8ZZZZ  @bob:knock.test"
    knocks("@alice:knock.test", Answer("Why?\n" + forged, "Because\n" + forged + "\u2028" + forged))

    assert not any(line.startswith("01JZX4T8M2V7Q9R3C5B6N8ZZZZ") for line in run("held").output.split("\n"))


def test_letters_of_any_language_stay_as_they_are() -> None:
    assert plain("Zoë 你好 🙂") == "Zoë 你好 🙂"


def test_a_blank_of_another_width_becomes_a_blank() -> None:
    assert plain("Bonjour\u00a0!\tOui") == "Bonjour ! Oui"


def test_every_line_gets_the_margin() -> None:
    assert indented("one\ntwo", 2) == "        one\n        two"


def test_a_moment_is_in_utc() -> None:
    assert moment(0.0) == "1970-01-01 00:00 UTC"


# approve and refuse

DECIDED = {"approve": KnockState.ADMITTED, "refuse": KnockState.REFUSED}
SAYS = {"approve": "is admitted and will be invited.", "refuse": "is refused."}


@pytest.mark.parametrize("verb", DECIDED)
def test_a_decision_says_whom_it_is_about(run: Run, knocks: Knocks, verb: str) -> None:
    held = knocks("@alice:knock.test")

    assert run(verb, held.id).output == f"@alice:knock.test {SAYS[verb]}\n"


@pytest.mark.parametrize("verb", DECIDED)
@pytest.mark.parametrize(
    "who",
    ["{id}", "{lower}", "@alice:knock.test", "alice:knock.test", "https://matrix.to/#/@alice:knock.test"],
)
def test_a_held_knock_is_found_by_its_id_or_by_the_person(
    run: Run, knocks: Knocks, verb: str, who: str
) -> None:
    held = knocks("@alice:knock.test")
    run(verb, who.format(id=held.id, lower=held.id.lower()))

    assert now(held).state is DECIDED[verb]


def test_a_bare_name_is_somebody_of_the_default_server(run: Run, knocks: Knocks) -> None:
    held = knocks("@alice:knock.test")
    run("approve", "alice", DEFAULT_SERVER="knock.test")

    assert now(held).state is KnockState.ADMITTED


def test_without_a_default_server_and_a_homeserver_the_whole_id_is_asked_for(run: Run) -> None:
    with pytest.raises(InvalidMatrixID, match="write the whole Matrix ID"):
        run("approve", "alice")


def test_an_approved_knock_is_due_at_once(run: Run, knocks: Knocks) -> None:
    held = knocks("@alice:knock.test")
    run("approve", held.id)

    assert now(held).due_at is not None


@pytest.mark.promise(8)
@pytest.mark.parametrize("verb", DECIDED)
def test_the_ledger_knows_who_decided_and_why(run: Run, knocks: Knocks, verb: str) -> None:
    held = knocks("@alice:knock.test")
    run(verb, held.id, "--reason", "said so in chat")

    entry = ledger_of(held)

    assert (entry.actor, entry.action, entry.detail) == ("cli", verb, "said so in chat")


@pytest.mark.parametrize("verb", DECIDED)
def test_what_is_decided_cannot_be_decided_again(run: Run, knocks: Knocks, verb: str) -> None:
    held = knocks("@alice:knock.test")
    run(verb, held.id)

    with pytest.raises(IllegalMove):
        run(verb, held.id)


@pytest.mark.parametrize("verb", DECIDED)
@pytest.mark.parametrize("who", ["01JZX4T8M2V7Q9R3C5B6N8KDWE", "@nobody:knock.test"])
def test_a_knock_that_does_not_exist_is_not_found(run: Run, verb: str, who: str) -> None:
    with pytest.raises(NotFound):
        run(verb, who)


@pytest.mark.parametrize(
    "who", ["", " ", "x" * 3000, "; DROP TABLE knocks; --:x", "!room:knock.test", "me@mail.example"]
)
def test_garbage_is_no_id(run: Run, who: str) -> None:
    with pytest.raises(InvalidMatrixID):
        run("approve", who)


def test_without_saying_whom_nothing_is_decided(run: Run) -> None:
    assert run("approve").exit_code == 2


# api-key


def test_the_key_that_is_set_is_printed(run: Run) -> None:
    assert run("api-key", API_KEY="a-key-of-the-owner").output == "a-key-of-the-owner\n"


def test_a_key_that_was_made_stays_the_same(run: Run) -> None:
    assert run("api-key").stdout == run("api-key").stdout != "\n"


def test_where_no_key_is_asked_for_that_is_said(run: Run) -> None:
    assert "ask for no key" in run("api-key", ALLOW_OPEN_API="true").stderr


# login


@pytest.mark.parametrize("way", ["--user", "--email"])
def test_without_anybody_to_answer_that_is_said(run: Run, way: str) -> None:
    with pytest.raises(KnockError):
        run("login", way, "bot@knock.test")


def test_two_ways_to_sign_in_are_one_too_many(run: Run) -> None:
    assert run("login", "--user", "bot", "--email", "bot@knock.test").exit_code == 2


# Every command


def test_the_commands_are_listed_in_their_order(run: Run) -> None:
    listed = [line.split()[0] for line in run("--help").output.partition("Commands:\n")[2].splitlines()]

    assert listed == [each.name for each in COMMANDS]


@pytest.mark.parametrize("arguments", [("nonsense",), ("held", "--nonsense"), ("serve", "--port", "x"), ()])
def test_a_wrong_call_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("name", ["held", "doctor", "api-key"])
def test_a_warning_of_the_settings_is_said_once(run: Run, name: str) -> None:
    assert run(name, FORM_TOKN="x").stderr.count("did you mean FORM_TOKEN?") == 1


def test_wrong_settings_stop_every_command(run: Run) -> None:
    with pytest.raises(SettingsError, match="NEW_ROOM_ID"):
        run("held", NEW_ROOM_ID="#alias:knock.test")


# main


def ended(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """The exit code when a command raises that."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(command, "main", fail)
    with pytest.raises(SystemExit) as end:
        main()
    code: int = end.value.code  # type: ignore[assignment]
    return code


ENDS = [
    (SettingsError(["NEW_ROOM_ID is missing."], ["Is it NEW_ROM_ID?"]), 2),
    (NotFound("nobody"), 1),
    (OSError(28, "No space left on device"), 1),
    (RuntimeError("a mistake of ours"), 1),
    (KeyboardInterrupt(), 1),
]


@pytest.mark.parametrize(("error", "code"), ENDS)
def test_an_error_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    assert ended(monkeypatch, error) == code


@pytest.mark.parametrize("error", [error for error, _ in ENDS])
def test_an_error_is_a_sentence_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    ended(monkeypatch, error)
    said = capsys.readouterr()

    assert (said.out, all(line.startswith("mknock: ") for line in said.err.splitlines())) == ("", True)


def test_each_problem_of_the_settings_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(monkeypatch, SettingsError(["One is wrong.", "Another is missing."], ["A third is odd."]))

    assert capsys.readouterr().err == (
        "mknock: One is wrong.\nmknock: Another is missing.\nmknock: A third is odd.\n"
    )


@pytest.mark.promise(10)
def test_a_mistake_of_ours_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_secret("canary-of-the-command-line")
    ended(monkeypatch, RuntimeError("token canary-of-the-command-line"))

    assert "canary" not in capsys.readouterr().err


def test_an_error_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(monkeypatch, NotFound(f"{HOSTILE} is not here"))

    assert capsys.readouterr().err.rstrip("\n").isprintable()
