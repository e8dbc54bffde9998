"""What doors.toml may say, what it follows where it is silent, and what is said when it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mknock.domain.doors import (
    Door,
    FormReading,
    Latecomers,
    Limits,
    Page,
    Picture,
    Policy,
    Question,
    QuestionKind,
    Removal,
)
from mknock.settings import Settings, SettingsError, load_doors, load_settings
from mknock.settings.door_table import SecretsTable
from mknock.wiring.doors import doors_of

ROOM = "!garden:knock.test"
MAIN = {"NEW_ROOM_ID": "!main:knock.test"}
SECRET = "canary-secret-of-a-door-4711"
WHSEC = "whsec_" + "A" * 32


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(text: str, **environ: str) -> Settings:
    """The settings with this doors.toml."""
    Path("doors.toml").write_text(text, encoding="utf-8")
    return load_settings(environ, require_sign_in=False)


def door(text: str = "", **environ: str) -> Door:
    """The door that this says, after its room."""
    return doors_of(loaded(f'[doors.garden]\nroom = "{ROOM}"\n{text}', **environ))[-1]


def wrong(text: str, **environ: str) -> list[str]:
    """The sentences with which this doors.toml is refused, without the file's name before each."""
    with pytest.raises(SettingsError) as refused:
        loaded(text, **environ)
    assert all(problem.startswith("doors.toml: ") for problem in refused.value.problems)
    return [problem.removeprefix("doors.toml: ") for problem in refused.value.problems]


def wrong_door(text: str, **environ: str) -> str:
    """The one sentence with which a door with a good room is refused."""
    (sentence,) = wrong(f'[doors.garden]\nroom = "{ROOM}"\n{text}', **environ)
    return sentence.removeprefix('door "garden": ')


# --- what it says


WHOLE = f"""
[doors.garden]
room = "{ROOM}"
policy = "closed"
invite_reason = "Come in."
cooldown = "2h"
lifetime = "3d"
hold_lifetime = 0
invite_lifetime = "5d"
reminders = ["2d"]
blocked_members = "ban"
native_knocks = false
welcome = {{ text = "Hello {{user}}", delay = 5, everyone = true, unencrypted = true }}
form = {{ id_field = "ID", honeypot_field = "url", default_server = "Knock.Test" }}
limits = {{ window = 30, door = 12, homeserver = 6, sender = 3 }}
secrets = {{ token = "{SECRET}", tally = "t", webhook = "{WHSEC}" }}
page = {{ title = "Garden", text = "**Hi**", rules = "Be kind.", colour = "#27C" }}

[[doors.garden.questions]]
key = "why"
label = "Why?"
kind = "choice"
required = true
options = ["bees", "trees"]
hint = "One will do."
"""


def test_every_key_is_heeded() -> None:
    said = doors_of(loaded(WHOLE))[0]

    assert (said.slug, said.room_id, said.policy) == ("garden", ROOM, Policy.CLOSED)
    assert (said.invite_reason, said.cooldown, said.lifetime, said.hold_lifetime) == (
        "Come in.",
        7200.0,
        259200.0,
        0.0,
    )
    assert (said.latecomers, said.blocked_members) == (Latecomers((172800.0,), 432000.0), Removal.BAN)
    assert not said.native_knocks
    assert (said.welcoming.text, said.welcoming.delay) == ("Hello {user}", 5.0)
    assert (said.welcoming.everyone, said.welcoming.clear_in_encrypted) == (True, True)
    assert said.reading == FormReading("ID", "url", "knock.test")
    assert said.limits == Limits(30.0, 12, 6, 3)
    assert (said.secrets.token, said.secrets.signing) == (SECRET, {"tally": "t", "webhook": WHSEC})
    assert said.page == Page("Garden", "**Hi**", "Be kind.", "#2277cc")
    assert said.questions == (
        Question("why", "Why?", QuestionKind.CHOICE, True, ("bees", "trees"), "One will do."),
    )


def test_what_it_does_not_say_follows_the_environment() -> None:
    settings_ = {
        "DOOR_POLICY": "review",
        "REMIND_AFTER": "off",
        "KNOCK_COOLDOWN": "9",
        "INVITE_REASON": "So.",
    }
    main, said = doors_of(loaded(f'[doors.garden]\nroom = "{ROOM}"\n', **MAIN, **settings_))

    assert (said.policy, said.latecomers, said.cooldown, said.invite_reason, said.welcoming) == (
        main.policy,
        main.latecomers,
        main.cooldown,
        main.invite_reason,
        main.welcoming,
    )


def test_the_narrow_windows_follow_the_doors_own() -> None:
    assert door("limits.door = 30").limits == Limits(60.0, 30, 30, 10)


def test_the_narrow_windows_of_the_environment_count_where_they_are_set() -> None:
    limits = door("limits.door = 30", MAX_REQUESTS_PER_SENDER="4", MAX_REQUESTS_PER_HOMESERVER="5").limits

    assert (limits.sender, limits.homeserver) == (4, 5)


def test_the_environments_secrets_are_not_those_of_a_door_in_the_file() -> None:
    said = door(**MAIN, FORM_TOKEN=SECRET)

    assert (said.secrets.token, bool(said.secrets)) == (None, False)


def test_reminders_can_be_off() -> None:
    assert [door(f"reminders = {off}").latecomers.reminders for off in ('"off"', "[]")] == [(), ()]


def test_a_door_can_welcome_nobody() -> None:
    assert door('welcome.text = "off"').welcoming.text == ""


def test_a_door_has_a_secret_for_every_signer_of_the_environment() -> None:
    ends = "_signing_secret"
    signers = {name.removesuffix(ends) for name in Settings.model_fields if name.endswith(ends)}

    assert set(SecretsTable.model_fields) == signers | {"token"}


# --- what stands elsewhere


def test_a_secret_may_stand_in_a_file_beside_the_file() -> None:
    Path("token").write_text(f"{SECRET}\n")

    assert door('secrets.token_file = "token"').secrets.token == SECRET


def test_a_secret_may_stand_in_the_environment() -> None:
    assert door('secrets.token_env = "DOORS_TOKEN"', DOORS_TOKEN=SECRET).secrets.token == SECRET


def test_a_secret_may_stand_in_the_env_file() -> None:
    Path(".env").write_text(f"DOORS_TOKEN={SECRET}\n")
    said = loaded(f'[doors.garden]\nroom = "{ROOM}"\nsecrets.token_env = "DOORS_TOKEN"')

    assert (doors_of(said)[0].secrets.token, said.warnings) == (SECRET, ())


def test_the_room_and_the_welcome_may_stand_in_files() -> None:
    Path("room").write_text(ROOM)
    Path("welcome.md").write_text("Hello\n\n{user}\n")
    (said,) = doors_of(
        loaded('[doors.garden]\nroom_file = "room"\nwelcome.text_file = "welcome.md"\nquestions = []')
    )

    assert (said.room_id, said.welcoming.text) == (ROOM, "Hello\n\n{user}")


def test_files_are_looked_for_beside_the_doors_file(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "token").write_text(SECRET)
    (folder / "mine.toml").write_text(f'[doors.a]\nroom = "{ROOM}"\nsecrets.token_file = "token"\n')
    found = load_settings({"DOORS_FILE": "etc/mine.toml"}, require_sign_in=False).doors

    assert found.sources == (Path("etc/mine.toml"), Path("etc/token"))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ('token_file = "nowhere"', "secrets.token_file names nowhere, which cannot be read (No such file or"),
        ('token_file = "empty"', "secrets.token_file names empty, which is empty."),
        ('token_env = "NOWHERE"', "secrets.token_env names NOWHERE, which is not set."),
        ("token_env = 5", "secrets.token_env must be text"),
        ('token = "a"\ntoken_env = "B"', "secrets.token is set by token and by token_env: keep one of them."),
        ('token = "change-me"', "secrets.token still holds the placeholder"),
    ],
)
def test_a_secret_that_is_not_there_is_told(said: str, sentence: str) -> None:
    Path("empty").touch()

    assert wrong_door(f"[doors.garden.secrets]\n{said}").startswith(sentence)


def test_a_room_that_is_named_wrongly_is_not_missing_as_well() -> None:
    assert wrong('[doors.garden]\nroom_env = "NOWHERE"') == [
        'door "garden": room_env names NOWHERE, which is not set.'
    ]


# --- what is wrong


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ('polcy = "auto"', "polcy is not known: did you mean policy?"),
        ('token = "x"', "token is not known: it belongs into [doors.garden.secrets]."),
        ("zebra = 1", "zebra is not known: see docs/reference/doors.md for the keys there are."),
        ("limits.windw = 1", "limits.windw is not known: did you mean window?"),
        ('secrets.taly = "x"', "secrets.taly is not known: did you mean tally?"),
        ('policy = "open"', "policy must be one of auto, review, prove-first, closed, but is 'open'."),
        ("limits.door = 0", "limits.door must be a whole number from 1 to 1000000, but is '0'."),
        ("limits.door = 1.5", "limits.door must be a whole number"),
        ("limits.door = true", "limits.door must be a whole number"),
        ('cooldown = "soon"', "cooldown must be seconds from 0"),
        ("cooldown = [1]", "cooldown must be seconds from 0"),
        ("reminders = [1]", "reminders must list times after the invite"),
        ("invite_reason = 5", "invite_reason must be text, between quotation marks."),
        (
            'page.text = "Hi"',
            "page has no title: write one, since a page without a headline is not shown.",
        ),
        (
            'page = { title = "G", colour = "red" }',
            "page.colour must be a colour such as #2e7d32, but is 'red'.",
        ),
        ('welcome = "hi"', "welcome must be a table, such as [doors.garden.welcome]."),
        ('welcome.everyone = "perhaps"', "welcome.everyone must be true or false, but is 'perhaps'."),
        ('form.default_server = "https://x"', "form.default_server must be a server's name"),
        ('secrets.formbricks = "short"', "secrets.formbricks must be whsec_ and at least 32 characters"),
        ("questions = 5", "questions must be a list."),
        ('questions = [{key = "a"}]', "question 1: label is missing."),
        ('questions = [{key = "a", label = " "}]', "question 1: label must not be empty."),
        (
            'questions = [{key = "a", label = "A", kind = "choice"}]',
            "question 1 must have two options or more",
        ),
        (
            'questions = [{key = "a", label = "A", options = ["x", "y"]}]',
            'question 1 has options, so its kind must be "choice" or "choices".',
        ),
        (
            'questions = [{key = "a", label = "A"}, {key = "a", label = "B"}]',
            "has two questions with the same key.",
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_door_and_its_key(said: str, sentence: str) -> None:
    assert wrong_door(said).startswith(sentence)


GIF = b"GIF89a\x01\x00"


def test_a_door_without_a_title_has_no_page() -> None:
    assert door().page is None


def test_a_page_can_be_taken_away() -> None:
    assert door('page = { title = "Garden", on = false }').page is None


def test_a_door_of_the_file_takes_nothing_from_the_page_of_the_environment() -> None:
    main, said = doors_of(
        loaded(f'[doors.garden]\nroom = "{ROOM}"', **MAIN, PAGE_TITLE="Main", PAGE_COLOUR="#000")
    )
    assert (main.page, said.page) == (Page("Main", colour="#000000"), None)


def test_the_texts_of_a_page_may_stand_in_files() -> None:
    Path("rules.md").write_text("Be kind.\n")
    page = door('page = { title = "Garden", rules_file = "rules.md" }').page
    assert page is not None
    assert page.rules == "Be kind."


def test_a_logo_is_what_its_bytes_say() -> None:
    Path("logo.svg").write_bytes(GIF)
    assert door('page = { title = "Garden", logo = "logo.svg" }').page == Page(
        "Garden", logo=Picture(GIF, "image/gif")
    )


def test_a_change_of_the_logo_is_a_change_of_the_doors() -> None:
    Path("logo.gif").write_bytes(GIF)
    text = f'[doors.garden]\nroom = "{ROOM}"\npage = {{ title = "Garden", logo = "logo.gif" }}'
    assert Path("logo.gif") in loaded(text).doors.sources


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"<svg onload='alert(1)'/>", "is no PNG, JPEG, WebP or GIF image"),
        (b"", "is no PNG"),
        (GIF + b"x" * 200 * 1024, "is larger than 200 KiB"),
    ],
)
def test_a_logo_that_cannot_be_used_is_told_with_its_door(content: bytes | None, why: str) -> None:
    if content is not None:
        Path("logo.png").write_bytes(content)
    with pytest.raises(SettingsError, match=f'doors.toml: door "garden": page.logo names .*{why}'):
        door('page = { title = "Garden", logo = "logo.png" }')


def test_the_logo_of_the_environment_is_told_by_its_setting() -> None:
    with pytest.raises(SettingsError, match=r"PAGE_LOGO names none\.png, which cannot be read"):
        doors_of(loaded("", **MAIN, PAGE_TITLE="Main", PAGE_LOGO="none.png"))


def test_a_welcome_that_cannot_be_understood_is_told_with_its_door() -> None:
    with pytest.raises(SettingsError, match=r'doors.toml: door "garden": welcome.text .*\{usr\}'):
        door('welcome.text = "Hello {usr}"')


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[doors.garden", "is not TOML: "),
        ("x = " + "[" * 100_000, "holds lists within lists, too deep to be read."),
        ("[door.garden]", '"door" is not known here: every door is a table [doors.<slug>].'),
        ("doors = 5", "doors must hold a table for each door: [doors.<slug>]."),
        ("doors.garden = 5", "[doors.garden] must be a table."),
        ("[doors.Garden]", "the name of a door must be 1 to 64 small letters, digits and hyphens"),
        ("[doors.garden]", 'door "garden": room is missing: set it to the ID of the room'),
    ],
)
def test_a_file_that_holds_no_doors_is_told(text: str, sentence: str) -> None:
    assert wrong(text, **MAIN)[0].startswith(sentence)


def test_a_file_that_is_not_text_is_told() -> None:
    Path("doors.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"doors\.toml: is not UTF-8 text"):
        load_settings(MAIN, require_sign_in=False)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    problems = wrong(f'[doors.a]\nroom = 1\npolicy = 2\n[doors.b]\nroom = "{ROOM}"\nzebra = 1\n')

    assert [problem.split(":")[0] for problem in problems] == ['door "a"', 'door "a"', 'door "b"']


def test_a_slug_exists_in_one_source() -> None:
    (sentence,) = wrong(f'[doors.main]\nroom = "{ROOM}"\n', **MAIN)

    assert sentence == (
        'the door "main" is described twice, by NEW_ROOM_ID (DOOR_SLUG is main) in the environment'
        " and by [doors.main] here: give one of them another name."
    )


@pytest.mark.promise(10)
@pytest.mark.parametrize(
    "said",
    [
        f'secrets.token = "{SECRET} {SECRET}"',
        f'secrets.tokn = "{SECRET}"',
        f'secrets.formbricks = "{SECRET}"',
        f'secrets = "{SECRET}"',
        f'room = "{SECRET}"',
    ],
)
def test_no_secret_is_in_an_error(said: str) -> None:
    room = "" if said.startswith("room") else f'room = "{ROOM}"\n'

    assert SECRET not in " ".join(wrong(f"[doors.garden]\n{room}{said}"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*"ab", "policy", "welcome", "limits", "questions"]), values))
def test_whatever_stands_there_the_answer_is_a_sentence(table: Mapping[str, object]) -> None:
    from mknock.settings.doors_file import _Reading

    reading = _Reading(Path("doors.toml"), {})
    reading._door("garden", {"room": ROOM, **table})

    assert all(problem.startswith('doors.toml: door "garden": ') for problem in reading._problems)


# --- beside the environment's door


def test_without_a_room_in_the_environment_a_door_in_the_file_is_enough() -> None:
    assert [one.slug for one in doors_of(loaded(f'[doors.garden]\nroom = "{ROOM}"\n'))] == ["garden"]


def test_the_environments_door_comes_first() -> None:
    found = doors_of(loaded(f'[doors.aaa]\nroom = "{ROOM}"\n', **MAIN))

    assert [one.slug for one in found] == ["main", "aaa"]


def test_some_door_there_has_to_be() -> None:
    assert wrong("# nothing yet") == ["describes no door, and NEW_ROOM_ID is not set: one of them has to."]


@pytest.mark.parametrize("name", ["FORM_TOKEN", "TALLY_SIGNING_SECRET"])
def test_secrets_of_an_environment_without_a_door_are_told(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(f'[doors.garden]\nroom = "{ROOM}"\n', **{name: "x" * 16})

    assert refused.value.problems == (
        f"{name} belongs to the door of NEW_ROOM_ID, which is not set: put it into [doors.<slug>.secrets].",
    )


def test_the_file_in_the_data_folder_is_found() -> None:
    Path("data").mkdir()
    Path("data/doors.toml").write_text(f'[doors.garden]\nroom = "{ROOM}"\n')

    assert load_settings({}, require_sign_in=False).doors.path == Path("data/doors.toml")


def test_a_file_that_is_named_has_to_exist() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: there is no such file"):
        load_settings({**MAIN, "DOORS_FILE": "nowhere.toml"}, require_sign_in=False)


def test_who_goes_on_without_the_file_is_told_what_is_wrong_with_it() -> None:
    Path("doors.toml").write_text("[doors.garden]")
    found = load_settings(MAIN, require_sign_in=False, require_doors=False)

    assert (len(found.doors_problems), found.doors.doors) == (1, {})


@pytest.mark.promise(10)
def test_the_doors_rooms_and_secrets_are_never_to_be_seen() -> None:
    assert {ROOM, SECRET, WHSEC, "t"} <= set(loaded(WHOLE).secret_values())


def test_a_short_token_is_warned_of() -> None:
    (warning,) = loaded(f'[doors.garden]\nroom = "{ROOM}"\nsecrets.token = "short"').warnings

    assert "secrets.token has fewer than 16 characters" in warning


def test_the_file_is_read_as_it_is_now() -> None:
    settings_ = loaded("", **MAIN)
    Path("doors.toml").write_text(f'[doors.garden]\nroom = "{ROOM}"\n')

    assert list(load_doors(settings_, {}).doors) == ["garden"]


# --- raids


def test_a_door_has_an_alarm_and_signals_of_its_own() -> None:
    made = door('raids = {arrivals = 5, calm = "2m"}\nsignals = {links = "hold"}', RAID_ALIKE="7")
    assert (made.alarm.arrivals, made.alarm.alike, made.alarm.calm) == (5, 7, 120.0)
    assert (made.signals.links, made.signals.speed) == ("hold", "hold")


def test_a_door_follows_its_own_window() -> None:
    assert door("limits.door = 600").alarm.arrivals == 300


def test_a_moderators_room_may_stand_elsewhere() -> None:
    assert door('moderators_room_env = "DOORS_MODS"', DOORS_MODS="!mods").moderators_room == "!mods"
