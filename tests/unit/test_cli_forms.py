"""``mknock forms try``, in this process; there is neither a store nor a homeserver."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.samples.forms import FOLDER, SAMPLES, TYPED, WHY, Sample

from mknock.cli.commands import mknock as command
from mknock.domain.errors import Unreadable

Try = Callable[..., Result]
ROOM = {"NEW_ROOM_ID": "!secret:knock.test"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """Try that content, in an empty folder; errors of Knock's own are raised."""
    monkeypatch.chdir(tmp_path)

    def invoke(content: bytes | str, *options: str, **settings: str) -> Result:
        return CliRunner().invoke(
            command, ["forms", "try", "-", *options], input=content, env=settings, catch_exceptions=False
        )

    return invoke


def options(sample: Sample) -> list[str]:
    return [part for name, value in sample.headers.items() for part in ("--header", f"{name}: {value}")]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_the_content_type_of_a_captured_file_is_guessed(run: Try, sample: Sample) -> None:
    shown = run((FOLDER / sample.file).read_bytes(), *options(sample)).stdout
    assert shown.startswith(f"platform  {sample.platform}\nperson    {TYPED}\n")


def test_what_would_be_read_is_shown(run: Try) -> None:
    content = {"matrix_id": TYPED, "why": WHY, "event_id": "e-1", "rooms": ["Lobby", "Makers"]}
    assert run(json.dumps(content)).stdout == (
        "platform  plain\n"
        "person    @alice:example.org\n"
        "event id  e-1\n"
        "honeypot  empty\n"
        "answers\n"
        f"    why\n        {WHY}\n"
        "    rooms\n        Lobby, Makers\n"
    )


def test_a_filled_honeypot_is_shown(run: Try) -> None:
    assert "honeypot  filled: spam\n" in run('{"matrix_id": "@a:b.c", "honeypot": "spam"}').stdout


def test_a_visitors_address_is_shown_where_a_platform_passes_it_on(run: Try) -> None:
    assert "visitor   198.51.100.4\n" in run((FOLDER / "gravity_forms.json").read_bytes()).stdout


def test_whoever_is_not_found_is_told_why(run: Try) -> None:
    result = run('{"matrix_id": "alice@mail.example"}')
    assert (result.exit_code, "person    nobody: That looks like an e-mail address" in result.stdout) == (
        1,
        True,
    )


def test_a_test_delivery_is_all_right(run: Try) -> None:
    result = run('{"event": "testEndpoint"}')
    assert (result.exit_code, "all is well" in result.stdout) == (0, True)


@pytest.mark.parametrize("content", ["", "nonsense", "{", '"x"', "--x\r\n\r\n"])
def test_what_cannot_be_read_is_an_error(run: Try, content: str) -> None:
    with pytest.raises(Unreadable):
        run(content)


def test_a_platform_can_be_named(run: Try) -> None:
    with pytest.raises(Unreadable, match="of tally"):
        run('{"matrix_id": "@a:b.c"}', "--platform", "tally")


def test_a_platform_that_does_not_exist_is_a_wrong_call(run: Try) -> None:
    assert run("{}", "--platform", "myspace").exit_code == 2


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("first", ["", "POST /invite_from_form?token=x HTTP/1.1\n"])
def test_a_whole_request_is_read_with_its_headers(run: Try, first: str, ending: str) -> None:
    head = f"{first}Host: knock.test\nWebhook-ID: msg_1\nContent-Type: application/x-www-form-urlencoded\n\n"
    shown = run((head.replace("\n", ending) + "matrix_id=%40alice%3Aexample.org").encode()).stdout
    assert (f"person    {TYPED}" in shown, "platform  html_form" in shown) == (True, True)


def test_a_header_of_the_call_counts(run: Try) -> None:
    shown = run('{"matrix_id": "@a:b.c"}', "--header", "Svix-Id: msg_1").stdout
    assert "event id  msg_1\n" in shown


def test_the_content_type_can_be_given(run: Try) -> None:
    shown = run("matrix_id", "--content-type", "application/x-www-form-urlencoded").stdout
    assert "platform  html_form\n" in shown


def test_the_settings_of_the_form_count(run: Try) -> None:
    content = '{"a": "alice", "b": "@bob:example.org", "c": "x"}'
    more = {"FORM_ID_FIELD": "a", "FORM_HONEYPOT_FIELD": "c", "DEFAULT_SERVER": "knock.test"}
    shown = run(content, **ROOM, **more).stdout
    assert ("@alice:knock.test" in shown, "filled: x" in shown) == (True, True)


def test_without_settings_it_works_and_says_so(run: Try) -> None:
    result = run('{"matrix_id": "@a:b.c"}')
    assert (result.exit_code, "FORM_ID_FIELD and the like do not count" in result.stderr) == (0, True)


def test_with_settings_nothing_is_complained_of(run: Try) -> None:
    assert run('{"matrix_id": "@a:b.c"}', **ROOM).stderr == ""


def test_a_stranger_does_not_steer_the_terminal(run: Try) -> None:
    content = json.dumps(
        {"matrix_id": "@a:b.c", "\x1b[31mlabel": "\x1b]0;x\x07\u202eanswer\nplatform  forged"}
    )
    shown = run(content).stdout
    assert ("\x1b" in shown, "\u202e" in shown, "\nplatform  forged" in shown) == (False, False, False)


def test_nothing_is_left_behind(run: Try, tmp_path: Path) -> None:
    run('{"matrix_id": "@a:b.c"}', **ROOM)
    assert list(tmp_path.iterdir()) == []
