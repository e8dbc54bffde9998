"""What the owner may set, how it is read, and what is said when it is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mknock.settings import (
    NAMES,
    NO_SIGN_IN,
    Settings,
    SettingsError,
    SignIn,
    edits,
    load_settings,
)
from mknock.wiring.doors import door_of

ROOM = "!abcdefgh:knock.test"
TOKEN = "syt_canary_0123456789"
NOTHING = Path(os.devnull)


def loaded(**environ: str) -> Settings:
    """Settings from this environment alone, with a room and a token."""
    return load_settings({"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN, **environ}, NOTHING)


def room_of(settings: Settings) -> str:
    return settings.new_room_id.get_secret_value() if settings.new_room_id else ""


def refusal(**environ: str) -> str:
    """The one sentence with which this environment is refused."""
    with pytest.raises(SettingsError) as refused:
        loaded(**environ)
    (sentence,) = refused.value.problems
    return sentence


def refused_alone(environ: dict[str, str], **options: bool) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        load_settings(environ, NOTHING, **options)
    return refused.value.problems


def complaints(environ: dict[str, str]) -> list[str]:
    """The lines with which this environment is refused; none if it is accepted."""
    try:
        load_settings(environ, NOTHING)
    except SettingsError as error:
        return str(error).splitlines()
    return []


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- the values of the first mknock's table ----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("beeper_api_base", "https://api.beeper.com"),
        ("matrix_base_url", "https://matrix.beeper.com"),
        ("api_key", None),
        ("request_delay", 0.5),
        ("blocklist_file", Path("blocked_users.txt")),
    ],
)
def test_the_defaults_of_the_first_mknock_still_hold(name: str, default: object) -> None:
    assert getattr(loaded(), name) == default


def test_the_room_and_a_token_are_enough() -> None:
    assert room_of(loaded()) == ROOM


def test_settings_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        loaded().port = 1


def test_importing_reads_neither_the_environment_nor_a_file(in_a_folder: Path) -> None:
    (in_a_folder / ".env").write_text("nonsense that would be refused\n")
    source = str(Path(sys.modules["mknock.settings"].__file__ or "").parents[1])
    environ = {"PYTHONPATH": source, "PORT": "nonsense"}
    run = subprocess.run([sys.executable, "-c", "import mknock.settings"], env=environ, capture_output=True)
    assert (run.returncode, run.stderr) == (0, b"")


# --- where values come from --------------------------------------------------------------------


def test_the_dotenv_file_of_the_working_directory_is_read(in_a_folder: Path) -> None:
    (in_a_folder / ".env").write_text(
        f"NEW_ROOM_ID={ROOM}\nMATRIX_ACCESS_TOKEN='{TOKEN}' # the bot's\nexport PORT=81\n"
    )
    assert load_settings({}).port == 81


def test_the_environment_wins_over_the_dotenv_file(in_a_folder: Path) -> None:
    (in_a_folder / ".env").write_text("PORT=81\n")
    environ = {"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN, "PORT": "82"}
    assert load_settings(environ).port == 82


def test_an_empty_variable_does_not_hide_what_the_dotenv_file_says(in_a_folder: Path) -> None:
    (in_a_folder / ".env").write_text("PORT=81\n")
    environ = {"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN, "PORT": ""}
    assert load_settings(environ).port == 81


def test_env_file_names_another_file(tmp_path: Path) -> None:
    path = tmp_path / "knock.env"
    path.write_text(f"NEW_ROOM_ID={ROOM}\nMATRIX_ACCESS_TOKEN={TOKEN}\nPORT=83\n")
    assert load_settings({"ENV_FILE": str(path)}).port == 83


def test_a_missing_file_that_env_file_names_is_a_problem() -> None:
    with pytest.raises(SettingsError, match=r"ENV_FILE names /nowhere/\.env, which does not exist"):
        load_settings({"ENV_FILE": "/nowhere/.env"})


def test_a_missing_dotenv_file_is_none(in_a_folder: Path) -> None:
    assert load_settings({"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN}).port == 8000


def test_a_dotenv_that_cannot_be_read_is_left_out_with_a_warning(in_a_folder: Path) -> None:
    (in_a_folder / ".env").mkdir()
    settings = load_settings({"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN})
    assert settings.warnings == (".env cannot be read (Is a directory) and was left out.",)


def test_a_line_of_the_dotenv_file_that_cannot_be_read_is_a_problem_by_its_number(in_a_folder: Path) -> None:
    (in_a_folder / ".env").write_text(f"PORT=81\nMATRIX_PASSWORD='{TOKEN}\n")
    with pytest.raises(SettingsError) as refused:
        load_settings({"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN})
    assert refused.value.problems == ("Line 2 of .env is not NAME=value: mend it, or put # before it.",)


def test_a_dollar_in_the_dotenv_file_is_a_dollar(in_a_folder: Path) -> None:
    (in_a_folder / ".env").write_text("INVITE_REASON='costs ${PORT}'\n")
    environ = {"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN, "PORT": "5"}
    assert load_settings(environ).invite_reason == "costs ${PORT}"


def test_a_dotenv_file_of_a_windows_editor_is_read(in_a_folder: Path) -> None:
    (in_a_folder / ".env").write_bytes(b"\xef\xbb\xbfPORT=81\r\nHOST=::1\r\n")
    assert load_settings({"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN}).port == 81


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(" pass word \n")
    settings = loaded(MATRIX_USER="bot", MATRIX_PASSWORD_FILE=str(path))
    assert settings.matrix_password is not None
    assert settings.matrix_password.get_secret_value() == " pass word "


def test_a_value_and_its_file_exclude_each_other(tmp_path: Path) -> None:
    assert refusal(API_KEY="a" * 20, API_KEY_FILE=str(tmp_path)) == (
        "API_KEY and API_KEY_FILE are both set: keep one of them."
    )


def test_a_value_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert refusal(API_KEY_FILE=str(path)) == (
        f"API_KEY_FILE names {path}, which cannot be read (No such file or directory)."
    )


def test_an_empty_value_file_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_text("\n")
    assert refusal(API_KEY_FILE=str(path)) == f"API_KEY_FILE names {path}, which is empty."


def test_the_state_directory_of_systemd_is_the_data_dir() -> None:
    assert loaded(STATE_DIRECTORY="/var/lib/knock:/var/lib/other").sqlite_path == Path(
        "/var/lib/knock/knock.db"
    )


def test_data_dir_wins_over_the_state_directory() -> None:
    assert loaded(STATE_DIRECTORY="/var/lib/knock", DATA_DIR="/data").data_dir == Path("/data")


# --- what the values mean ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("30m", 1800.0), ("12h", 43200.0), ("7d", 604800.0), ("1.5h", 5400.0)],
)
def test_a_time_may_carry_its_unit(written: str, seconds: float) -> None:
    assert loaded(KNOCK_LIFETIME=written).knock_lifetime == seconds


def test_the_narrower_windows_follow_the_total_of_the_door() -> None:
    settings = loaded(MAX_REQUESTS_PER_WINDOW="500")
    assert (settings.limit_per_homeserver, settings.limit_per_sender) == (500, 166)


def test_a_narrower_window_that_is_set_counts() -> None:
    assert loaded(MAX_REQUESTS_PER_WINDOW="500", MAX_REQUESTS_PER_SENDER="5").limit_per_sender == 5


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///knock.db", "knock.db"),
        ("sqlite:////data/other.db", "/data/other.db"),
        ("", "data/knock.db"),
    ],
)
def test_the_store_is_where_store_url_says(url: str, path: str) -> None:
    assert loaded(STORE_URL=url).sqlite_path == Path(path)


def test_an_address_loses_its_last_slash() -> None:
    assert loaded(MATRIX_BASE_URL="https://hs.knock.test/").matrix_base_url == "https://hs.knock.test"


def test_proxies_may_stand_with_commas_or_spaces() -> None:
    expected = tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.1/32", "::1/128")))
    assert loaded(TRUSTED_PROXIES="10.0.0.0/8, 127.0.0.1 ::1").trusted_proxies == expected


def test_no_proxy_is_believed_unless_set() -> None:
    assert loaded().trusted_proxies == ()


@pytest.mark.parametrize(
    ("written", "kept"), [("bot", "bot"), ("@bot", "bot"), ("@bot:knock.test", "@bot:knock.test")]
)
def test_the_bot_may_be_named_in_short_or_in_full(written: str, kept: str) -> None:
    assert loaded(MATRIX_USER=written, MATRIX_PASSWORD="p").matrix_user == kept


def test_a_room_id_of_version_twelve_needs_no_server() -> None:
    room = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
    assert room_of(loaded(NEW_ROOM_ID=room)) == room


def test_spaces_around_a_token_are_slips() -> None:
    token = loaded(MATRIX_ACCESS_TOKEN=f" {TOKEN}\n").matrix_access_token
    assert token is not None
    assert token.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    ("environ", "secrets"),
    [({}, False), ({"FORM_TOKEN": "f" * 16}, True), ({"TALLY_SIGNING_SECRET": "t"}, True)],
)
def test_any_of_the_form_secrets_closes_the_form_to_strangers(environ: dict[str, str], secrets: bool) -> None:
    assert bool(door_of(loaded(**environ)).secrets) is secrets


WEBHOOK_SECRETS = ("FORMBRICKS_SIGNING_SECRET", "WEBHOOK_SIGNING_SECRET")


@pytest.mark.parametrize("name", WEBHOOK_SECRETS)
@pytest.mark.parametrize("prefix", ["whsec_", ""])
def test_a_webhook_secret_is_base64(name: str, prefix: str) -> None:
    secret = prefix + "a25vY2stdGVzdC1zZWNyZXQtb2YtMzItYnl0ZXMtb2s="
    assert loaded(**{name: secret}).signing_secrets == {name.split("_")[0].lower(): secret}


@pytest.mark.parametrize("name", WEBHOOK_SECRETS)
@pytest.mark.parametrize(
    "secret",
    ["whsec_", "whsec_short", "whsec_" + "a" * 33, "whsec_" + "é" * 40, "a b" * 40, "whsec_" + "-" * 40],
)
def test_a_webhook_secret_that_is_none_is_told_without_being_shown(name: str, secret: str) -> None:
    problem = refusal(**{name: secret})
    assert problem.startswith(f"{name} must be whsec_ and at least 32 characters of base64")
    assert secret == "whsec_" or secret not in problem


def test_the_signing_secrets_are_by_name() -> None:
    assert loaded(TYPEFORM_SIGNING_SECRET="t", NETLIFY_SIGNING_SECRET="n").signing_secrets == {
        "typeform": "t",
        "netlify": "n",
    }


# --- signing in --------------------------------------------------------------------------------


def test_without_a_way_to_sign_in_the_ways_are_named_in_order_of_preference() -> None:
    assert refused_alone({"NEW_ROOM_ID": ROOM}) == (NO_SIGN_IN,)


def test_a_command_that_needs_no_account_may_go_without() -> None:
    assert load_settings({"NEW_ROOM_ID": ROOM}, NOTHING, require_sign_in=False).sign_in_ways == ()


@pytest.mark.parametrize(
    ("environ", "way"),
    [
        ({"MATRIX_ACCESS_TOKEN": TOKEN}, SignIn.ACCESS_TOKEN),
        ({"MATRIX_USER": "bot", "MATRIX_PASSWORD": "p"}, SignIn.PASSWORD),
        ({"BEEPER_LOGIN_TOKEN": "ey.ey.ey"}, SignIn.BEEPER_TOKEN),
        ({"BEEPER_LOGIN_EMAIL": "bot@knock.test"}, SignIn.BEEPER_EMAIL),
    ],
)
def test_each_way_to_sign_in_is_enough(environ: dict[str, str], way: SignIn) -> None:
    assert load_settings({"NEW_ROOM_ID": ROOM, **environ}, NOTHING).sign_in_ways == (way,)


def test_the_preferred_way_comes_first() -> None:
    ways = loaded(BEEPER_LOGIN_EMAIL="bot@knock.test", MATRIX_USER="bot", MATRIX_PASSWORD="p").sign_in_ways
    assert ways == (SignIn.ACCESS_TOKEN, SignIn.PASSWORD, SignIn.BEEPER_EMAIL)


@pytest.mark.parametrize(
    ("half", "other"),
    [
        ("MATRIX_USER", "MATRIX_PASSWORD"),
        ("MATRIX_PASSWORD", "MATRIX_USER"),
        ("BEEPER_LOGIN_CODE", "BEEPER_LOGIN_EMAIL"),
    ],
)
def test_half_of_a_pair_is_a_problem(half: str, other: str) -> None:
    assert refusal(**{half: "123456"}) == f"{half} is set without {other}: set both, or neither."


def test_half_of_a_pair_is_not_called_a_missing_sign_in() -> None:
    (sentence,) = refused_alone({"NEW_ROOM_ID": ROOM, "MATRIX_USER": "bot"})
    assert sentence.startswith("MATRIX_USER is set without")


# --- what is said of a wrong value -------------------------------------------------------------


WRONG = {
    "NEW_ROOM_ID": ["abc:knock.test", '"!abc:knock.test"', "!abc:knock.test?via=knock.test", "!" + "a" * 256],
    "DOOR_SLUG": ["Main Door", "a" * 65],
    "DOOR_POLICY": ["open"],
    "INVITE_REASON": ["a" * 501],
    "MATRIX_BASE_URL": [
        "hs.knock.test",
        "ftp://hs.knock.test",
        "https://",
        "https://hs.knock.test?x=1",
        "https://u:canary-1@hs.knock.test",
        "https://hs.knock.test:99999",
        "https://[::1",
        "https://hs.knock .test",
    ],
    "MATRIX_ACCESS_TOKEN": ["canary one", "canary\n2", "canäry"],
    "DEFAULT_SERVER": ["https://knock.test", "knock.test/", "@bot:knock.test"],
    "BEEPER_LOGIN_EMAIL": ["bot"],
    "MAX_REQUESTS_PER_WINDOW": ["0", "-1", "1.5", "many"],
    "SPAM_WINDOW_SECONDS": ["0", "soon", "nan", "inf", "-5"],
    "REQUEST_DELAY": ["fast", "2h", "1e3"],
    "KNOCK_COOLDOWN": ["1y"],
    "TRUSTED_PROXIES": ["*", "0.0.0.0/0", "::/0", "localhost", "10.0.0.0/33"],
    "STORE_URL": ["sqlite://knock.db", "sqlite:///", "sqlite:///:memory:", "mysql://u:canary-2@db/knock", "knock.db"],
    "STORE_POOL_SIZE": ["0", "many"],
    "MATCH_ACTIONS": ["number", "number=ban"],
    "RECOVERY_KEY": ["EsTb-canary", "ключ"],
    "ALLOW_OPEN_API": ["maybe"],
    "PORT": ["65536", "http"],
    "WORKERS": ["0"],
    "LOG_LEVEL": ["loud"],
    "LOG_FORMAT": ["xml"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_refused_in_one_line_that_names_the_setting(name: str, value: str) -> None:
    sentence = refusal(**{name: value})
    assert sentence.startswith(f"{name} ")
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_wrong_matrix_user_is_refused() -> None:
    assert refusal(MATRIX_USER="bot@knock.test", MATRIX_PASSWORD="p") == (
        "MATRIX_USER must be a user name (bot) or a full Matrix ID (@bot:example.org)."
    )


def test_an_alias_is_told_how_to_find_the_room_id() -> None:
    assert refusal(NEW_ROOM_ID="#private:knock.test") == (
        "NEW_ROOM_ID is an alias (it begins with #), but Knock needs the room ID: in Element, open the room's "
        "settings, then Advanced, and copy the internal room ID, which begins with !."
    )


def test_a_missing_room_is_named() -> None:
    (sentence,) = refused_alone({"MATRIX_ACCESS_TOKEN": TOKEN})
    assert sentence.startswith("NEW_ROOM_ID is missing: set it")


def test_redis_is_said_to_come_later() -> None:
    assert "later release" in refusal(STORE_URL="redis://db/0")


POSTGRES = "postgresql://knock:canary%2Fpassword@db.knock.test:5432/knock?sslmode=require"


@pytest.mark.parametrize(
    "url", [POSTGRES, POSTGRES.replace("postgresql", "postgres"), "postgresql:///knock?host=/run/postgresql"]
)
def test_the_store_may_be_in_postgresql(url: str) -> None:
    assert loaded(STORE_URL=url, SECRET_KEY="k" * 32).postgres_url == url


def test_a_file_is_not_in_postgresql() -> None:
    assert loaded().postgres_url is None
    assert loaded(STORE_URL="sqlite:///postgresql.db").postgres_url is None


@pytest.mark.promise(10)
def test_postgresql_needs_a_secret_key() -> None:
    assert refusal(STORE_URL=POSTGRES) == (
        "SECRET_KEY is missing: it encrypts the tokens in PostgreSQL, which needs it;"
        ' make one with "openssl rand -hex 32".'
    )


@pytest.mark.promise(10)
@pytest.mark.parametrize("name", ["STORE_URL", "STORE_NOTIFY_URL"])
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://", "must be postgresql://user:password@host/name."),
        ("postgresql://u:canary-2@[db/knock", "must be postgresql://user:password@host/name."),
        ("postgresql://u:canary#2@db/knock", "must have every character of the password"),
        ("postgresql://u:canary 2@db/knock", "must have every character of the password"),
    ],
)
def test_a_wrong_address_of_postgresql_is_refused_without_its_password(name: str, url: str, why: str) -> None:
    sentence = refusal(**{"STORE_URL": POSTGRES, "SECRET_KEY": "k" * 32, name: url})
    assert sentence.startswith(f"{name} {why}")
    assert "canary" not in sentence


def test_a_recovery_key_may_be_in_groups() -> None:
    settings = loaded(RECOVERY_KEY="EsTb 1234 abcd")
    assert settings.recovery_key is not None
    assert settings.recovery_key.get_secret_value() == "EsTb 1234 abcd"


def test_an_address_for_news_without_postgresql_is_a_mistake() -> None:
    assert refusal(STORE_NOTIFY_URL=POSTGRES).endswith("does not name PostgreSQL: leave it out.")


@pytest.mark.promise(10)
def test_the_log_hides_the_stores_password_however_it_is_written() -> None:
    settings = loaded(STORE_URL=POSTGRES, SECRET_KEY="k" * 32)
    assert {POSTGRES, "canary%2Fpassword", "canary/password"} <= set(settings.secret_values())


@pytest.mark.promise(10)
@pytest.mark.parametrize("shown", [repr, str, Settings.model_dump_json], ids=["repr", "str", "json"])
def test_settings_do_not_show_where_the_store_is(shown: Callable[[Settings], str]) -> None:
    settings = loaded(STORE_URL=POSTGRES, STORE_NOTIFY_URL=POSTGRES, SECRET_KEY="k" * 32)
    assert "canary" not in shown(settings)


def test_a_placeholder_of_the_example_is_refused() -> None:
    assert refusal(NEW_ROOM_ID="!change-me") == (
        "NEW_ROOM_ID still holds the placeholder of .env.example: fill it in, or delete the line."
    )


def test_an_open_api_with_a_key_is_a_contradiction() -> None:
    assert "contradict" in refusal(API_KEY="a" * 20, ALLOW_OPEN_API="true")


def test_every_problem_is_said_at_once_each_on_its_line_in_the_order_of_the_settings() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"PORT": "x", "DOOR_POLICY": "y", "MATRIX_USER": "bot"}, NOTHING)
    assert [line.split()[0] for line in str(refused.value).splitlines()] == [
        "NEW_ROOM_ID",
        "DOOR_POLICY",
        "MATRIX_USER",
        "PORT",
    ]


def test_a_misspelt_name_is_told_with_the_problem_it_caused() -> None:
    with pytest.raises(SettingsError, match=r"NEW_ROOMID in the environment .* did you mean NEW_ROOM_ID\?$"):
        load_settings({"NEW_ROOMID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN}, NOTHING)


# --- secrets -----------------------------------------------------------------------------------

SECRETS = {
    "NEW_ROOM_ID": "!canary-room:knock.test",
    "MATRIX_ACCESS_TOKEN": "canary-access",
    "MATRIX_PASSWORD": "canary password",
    "BEEPER_LOGIN_TOKEN": "canary.jwt",
    "BEEPER_LOGIN_CODE": "canary-code",
    "API_KEY": "canary-api-key-0123456789",
    "SECRET_KEY": "canary-secret-key",
    "FORM_TOKEN": "canary-form-token",
    "TALLY_SIGNING_SECRET": "canary-tally",
}


def loaded_with_all_secrets() -> Settings:
    return loaded(**SECRETS, MATRIX_USER="bot", BEEPER_LOGIN_EMAIL="bot@knock.test")


@pytest.mark.promise(10)
@pytest.mark.parametrize("shown", [repr, str, Settings.model_dump_json], ids=["repr", "str", "json"])
def test_settings_show_no_secret(shown: Callable[[Settings], str]) -> None:
    assert "canary" not in shown(loaded_with_all_secrets())


def test_the_secret_values_are_there_for_the_log_to_hide() -> None:
    assert sorted(loaded_with_all_secrets().secret_values()) == sorted(SECRETS.values())


@pytest.mark.promise(10)
@pytest.mark.parametrize("name", SECRETS)
def test_the_refusal_of_a_secret_does_not_repeat_it(name: str, in_a_folder: Path) -> None:
    wrong = {name: "canary secret\nwith a line break" if name != "MATRIX_PASSWORD" else "change-me canary"}
    with pytest.raises(SettingsError) as refused:
        loaded(**wrong, MATRIX_USER="bot", BEEPER_LOGIN_EMAIL="no address", PORT="x")
    assert "canary" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.promise(10)
@pytest.mark.parametrize("name", ["MATRIX_BASE_URL", "STORE_URL"])
def test_the_refusal_of_an_address_does_not_repeat_its_password(name: str) -> None:
    assert not [value for value in WRONG[name] if "canary" in refusal(**{name: value})]


@pytest.mark.promise(10)
@pytest.mark.parametrize(
    "name", ["PORT", "LOG_LEVEL", "DOOR_POLICY", "REQUEST_DELAY", "ALLOW_OPEN_API", "DOOR_SLUG"]
)
def test_a_token_in_the_wrong_place_is_not_repeated(name: str) -> None:
    assert TOKEN not in refusal(**{name: TOKEN})


def test_a_short_secret_is_warned_about_without_being_shown() -> None:
    assert loaded(SECRET_KEY="canary").warnings == (
        'SECRET_KEY has fewer than 32 characters and might be guessed: make one with "openssl rand -hex 32".',
    )


# --- names that are probably mistakes ----------------------------------------------------------

TYPICAL = frozenset(
    """
PATH HOME HOSTNAME HOST_NAME USER LOGNAME SHELL PWD OLDPWD LANG LC_ALL TERM SHLVL _ MAIL EDITOR PAGER TZ TMPDIR PORTS
PYTHONPATH PYTHON_VERSION PYTHONUNBUFFERED GPG_KEY PYTHON_SHA256 VIRTUAL_ENV PIP_INDEX_URL SSH_CLIENT SSH_TTY DISPLAY
XDG_DATA_DIRS XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID STATE_DIRECTORY
NOTIFY_SOCKET LISTEN_PID MAINPID KUBERNETES_SERVICE_HOST KUBERNETES_PORT_443_TCP_ADDR KNOCK_PORT KNOCK_SERVICE_HOST
KNOCK_SERVICE_PORT_HTTP POD_NAME POD_IP CI GITHUB_TOKEN RUNNER_OS DATABASE_URL REDIS_URL BASE_URL SITE_URL DB_HOST
SMTP_HOST SMTP_PORT HTTP_PORT HTTPS_PROXY no_proxy http_proxy WEB_CONCURRENCY FORWARDED_ALLOW_IPS SSL_CERT_FILE DEBUG
ENV_FILE LOGLEVEL_ROOT COLUMNS LINES HISTFILE LS_COLORS MAKEFLAGS MAKELEVEL NODE_ENV AWS_REGION SECRET ACCESS_TOKEN
""".split()  # noqa: SIM905 - a list of 80 strings would be 80 lines
)


def test_a_typical_environment_gives_no_warning() -> None:
    surroundings = dict.fromkeys(TYPICAL, "1") | {"ENV_FILE": os.devnull, "STATE_DIRECTORY": "/x"}
    assert loaded(**surroundings).warnings == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("MATRIX_ACCES_TOKEN", "MATRIX_ACCESS_TOKEN"),
        ("FROM_TOKEN", "FORM_TOKEN"),
        ("API_KEYS", "API_KEY"),
        ("TOKEN_FILE", "TOKENS_FILE"),
        ("FORM_TOKEN_FIEL", "FORM_TOKEN_FILE"),
        ("MAX_REQUEST_PER_WINDOWS", "MAX_REQUESTS_PER_WINDOW"),
        ("request_delay", "REQUEST_DELAY"),
    ],
)
def test_a_name_in_the_environment_that_is_nearly_a_setting_is_warned_about(written: str, meant: str) -> None:
    assert loaded(**{written: "x"}).warnings == (
        f"{written} in the environment is not a setting: did you mean {meant}?",
    )


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("PROT", "did you mean PORT?"),
        ("new_room_id", "did you mean NEW_ROOM_ID?"),
        ("FAVOURITE_COLOUR", "see docs/env_vars.md for the names there are."),
    ],
)
def test_an_unknown_name_in_the_dotenv_file_is_warned_about(
    in_a_folder: Path, written: str, hint: str
) -> None:
    (in_a_folder / ".env").write_text(f"{written}=1\n")
    assert load_settings({"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN}).warnings == (
        f"{written} in the .env file is not a setting and was left out: {hint}",
    )


def test_what_compose_reads_from_the_same_dotenv_file_is_let_pass(in_a_folder: Path) -> None:
    (in_a_folder / ".env").write_text("COMPOSE_PROFILES=tls\nTZ=Europe/Berlin\nHTTPS_PROXY=http://proxy:1\n")
    assert load_settings({"NEW_ROOM_ID": ROOM, "MATRIX_ACCESS_TOKEN": TOKEN}).warnings == ()


def test_no_setting_is_mistaken_for_another() -> None:
    environ = dict.fromkeys(NAMES, "1")
    assert complaints(environ) == [line for line in complaints(environ) if "did you mean" not in line]


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("", "", 0),
        ("", "ab", 2),
        ("PORT", "PROT", 1),
        ("PORT", "PORTS", 1),
        ("HOST", "COAT", 2),
        ("CA", "ABC", 3),
    ],
)
def test_edits_are_counted_with_swaps_as_one(one: str, other: str, distance: int) -> None:
    assert edits(one, other) == distance


words = st.text("ABC_", max_size=6)


@given(words, words)
@example("AB", "BA")
def test_edits_are_the_same_in_both_directions(one: str, other: str) -> None:
    assert edits(one, other) == edits(other, one)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12)))
def test_whatever_is_set_is_either_accepted_or_refused_in_sentences(environ: dict[str, str]) -> None:
    assert all(sentence.endswith((".", "?")) for sentence in complaints(environ))


# --- the block-list's file


POSTGRES_STORE = {
    "STORE_URL": "postgresql://knock:password@db.example.org/knock",
    "SECRET_KEY": "k" * 32,
}


@pytest.mark.parametrize(
    ("more", "followed"),
    [
        ({}, Path("blocked_users.txt")),
        ({"BLOCKLIST_FILE": "off"}, None),
        ({"BLOCKLIST_FILE": "OFF"}, None),
        (POSTGRES_STORE, None),
        ({**POSTGRES_STORE, "BLOCKLIST_FILE": "blocked_users.txt"}, Path("blocked_users.txt")),
        ({"BLOCKLIST_FILE": "/data/list.txt"}, Path("/data/list.txt")),
    ],
)
def test_the_file_is_followed_unless_it_is_off_or_the_store_is_elsewhere(
    more: Mapping[str, str], followed: Path | None
) -> None:
    given = {"NEW_ROOM_ID": "!room:knock.test", "MATRIX_ACCESS_TOKEN": "syt_token", **more}
    assert load_settings(given).followed_blocklist == followed


# --- policy lists


@pytest.mark.parametrize("room", ["!abc", "!abc:example.org", "#list:example.org", "#list:localhost:8448"])
def test_a_policy_room_is_named_by_id_or_alias(room: str) -> None:
    settings = loaded(POLICY_LIST_ROOM=room)

    assert settings.policy_list_room is not None
    assert settings.policy_list_room.get_secret_value() == room


@pytest.mark.parametrize("room", ["list", "#list", "@bot:example.org", "https://matrix.to/#/!abc", "! abc"])
def test_what_names_no_room_is_no_policy_room(room: str) -> None:
    with pytest.raises(SettingsError, match="POLICY_LIST_ROOM must be a room's ID"):
        loaded(POLICY_LIST_ROOM=room)


# --- raids


@pytest.mark.parametrize(("window", "alarm"), [("1", (30, 10)), ("60", (30, 10)), ("600", (300, 100))])
def test_what_counts_as_a_raid_follows_a_window_that_lets_more_pass(
    window: str, alarm: tuple[int, int]
) -> None:
    assert loaded(MAX_REQUESTS_PER_WINDOW=window).alarm == alarm


def test_what_counts_as_a_raid_is_as_it_is_set() -> None:
    assert loaded(MAX_REQUESTS_PER_WINDOW="600", RAID_ARRIVALS="0", RAID_ALIKE="7").alarm == (0, 7)


def test_risk_signals_are_read() -> None:
    assert loaded(RISK_SIGNALS="links=hold, speed=log").risk_signals == (("links", "hold"), ("speed", "log"))


@pytest.mark.parametrize("value", ["links", "links=refuse", "lynx=log", "=hold"])
def test_a_slip_in_the_signals_is_said(value: str) -> None:
    with pytest.raises(SettingsError, match="RISK_SIGNALS"):
        loaded(RISK_SIGNALS=value)


def test_the_moderators_room_is_a_secret() -> None:
    assert "!moderators:x.example" in loaded(MODERATORS_ROOM_ID="!moderators:x.example").secret_values()
