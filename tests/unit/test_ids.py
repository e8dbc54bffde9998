"""Matrix IDs as people type them: one line per habit."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from mknock.domain import ids
from mknock.domain.errors import InvalidMatrixID
from mknock.domain.ids import MatrixID, as_the_only_value, parse_matrix_id

ALICE = "@alice:example.org"

MENDED = [
    # as it should be, and the whole breadth of the grammar
    (ALICE, ALICE),
    ("@a:b.c", "@a:b.c"),
    ("@user/with+every=char_of-it.9:example.org", "@user/with+every=char_of-it.9:example.org"),
    ("@alice:localhost", "@alice:localhost"),
    ("@alice:synapse", "@alice:synapse"),
    ("@alice:example.org:8448", "@alice:example.org:8448"),
    ("@alice:localhost:8008", "@alice:localhost:8008"),
    ("@alice:10.0.0.1", "@alice:10.0.0.1"),
    ("@alice:10.0.0.1:8448", "@alice:10.0.0.1:8448"),
    ("@alice:[2001:db8::1]", "@alice:[2001:db8::1]"),
    ("@alice:[2001:DB8::1]:8448", "@alice:[2001:db8::1]:8448"),
    ("@alice:[::ffff:1.2.3.4]", "@alice:[::ffff:1.2.3.4]"),
    ("@alice:xn--bcher-kva.example", "@alice:xn--bcher-kva.example"),
    ("@alice:a-b.1and1.example", "@alice:a-b.1and1.example"),
    # historical user names
    ("@Alice:example.org", "@Alice:example.org"),
    ("@Zoë:example.org", "@Zoë:example.org"),
    ("@アリス:example.org", "@アリス:example.org"),
    ("@a!b$c&d~e*f(g)h'i:example.org", "@a!b$c&d~e*f(g)h'i:example.org"),
    ("@alice@mail.example:example.org", "@alice@mail.example:example.org"),
    ("@100%:example.org", "@100%:example.org"),
    # case: the host's does not matter, the user name's is kept
    ("@alice:EXAMPLE.Org", ALICE),
    ("@ALICE:EXAMPLE.ORG", "@ALICE:example.org"),
    # blanks
    (f"  {ALICE}\t\r\n", ALICE),
    (f"\u00a0{ALICE}\u3000", ALICE),
    (f"\u2800{ALICE}", ALICE),
    ("@alice: example.org", ALICE),
    ("@alice :example.org", ALICE),
    ("@alice : example.org", ALICE),
    ("@ alice:example.org", ALICE),
    ("@alice:example. org", ALICE),
    ("@alice:example .org", ALICE),
    ("@alice:matrix . example . org", "@alice:matrix.example.org"),
    ("@alice: localhost", "@alice:localhost"),
    ("@alice:\nexample.org", ALICE),
    # invisible characters
    ("\ufeff@alice:example.org", ALICE),
    ("@al\u200bice:exa\u00admple.org", ALICE),
    ("\u202a@alice:example.org\u202c", ALICE),
    ("\u2068@alice:example.org\u2069", ALICE),
    ("@alice\u200d:\u2060example.org\u200e", ALICE),
    ("@alice\ufe0f:example.org\ufffc", ALICE),
    ("@alice:example.org\x00", ALICE),
    ("\x1b@alice:example.org\x7f", ALICE),
    # quotes, brackets, markup
    ('"@alice:example.org"', ALICE),
    ("'@alice:example.org'", ALICE),
    ("“@alice:example.org”", ALICE),
    ("„@alice:example.org“", ALICE),
    ("«@alice:example.org»", ALICE),
    ("「@alice:example.org」", ALICE),
    ("`@alice:example.org`", ALICE),
    ("```@alice:example.org```", ALICE),
    ("<@alice:example.org>", ALICE),
    ("(@alice:example.org)", ALICE),
    ("[@alice:example.org]", ALICE),
    ("{{@alice:example.org}}", ALICE),
    ("**@alice:example.org**", ALICE),
    ("__@alice:example.org__", ALICE),
    ("> @alice:example.org", ALICE),
    ("- @alice:example.org", ALICE),
    ("• @alice:example.org", ALICE),
    ("<@alice:synapse>", "@alice:synapse"),
    ("(@alice:[::1])", "@alice:[::1]"),
    ("[@alice:[::1]]", "@alice:[::1]"),
    ("<@alice:[::1]:8448>.", "@alice:[::1]:8448"),
    ("[Alice](https://matrix.to/#/@alice:example.org)", ALICE),
    ("[Alice](https://matrix.to/#/%40alice%3Aexample.org)", ALICE),
    ("[@alice:example.org](https://matrix.to/#/@alice:example.org)", ALICE),
    ("[@alice:example.org](mailto:@alice:example.org)", ALICE),
    ('<a href="https://matrix.to/#/@alice:example.org">Alice</a>', ALICE),
    # punctuation of the sentence it ended
    ("@alice:example.org.", ALICE),
    ("@alice:example.org,", ALICE),
    ("@alice:example.org;", ALICE),
    ("@alice:example.org:", ALICE),
    ("@alice:example.org!", ALICE),
    ("@alice:example.org?", ALICE),
    ("@alice:example.org)", ALICE),
    ("@alice:example.org ...", ALICE),
    ("@alice:example.org…", ALICE),
    ("@alice:example.org。", ALICE),
    ("@alice:example.org/", ALICE),
    ("@alice:localhost.", "@alice:localhost"),
    ("alice:example.org.", ALICE),
    # the sigil: missing, doubled, full-width
    ("alice:example.org", ALICE),
    ("Alice:matrix.org", "@Alice:matrix.org"),
    ("Alice: matrix.org", "@Alice:matrix.org"),
    ("Alice: matrix.org.", "@Alice:matrix.org"),
    ("Alice: Matrix.Org", "@Alice:matrix.org"),
    ("alice:localhost", "@alice:localhost"),
    ("alice:example.org:8448", "@alice:example.org:8448"),
    ("alice:10.0.0.1", "@alice:10.0.0.1"),
    ("alice:[::1]:8448", "@alice:[::1]:8448"),
    ("bridge/alice+1:example.org", "@bridge/alice+1:example.org"),
    ("@@alice:example.org", ALICE),
    ("＠alice：example.org", ALICE),
    ("＠ａｌｉｃｅ：ｅｘａｍｐｌｅ．ｏｒｇ", ALICE),
    ("﹫alice﹕example.org", ALICE),
    ("Matrix ID: @alice:example.org", ALICE),
    ("matrix:@alice:example.org", ALICE),
    ("Matrix: alice:example.org", ALICE),
    ("my id is: alice:example.org:8448", "@alice:example.org:8448"),
    ("@alice:https://example.org", ALICE),
    ("@alice:https://example.org/", ALICE),
    # the habits of the fediverse
    ("@alice@example.org", ALICE),
    ("@Alice@Example.org", "@Alice:example.org"),
    ("@alice@example.org.", ALICE),
    ("(@alice@example.org)", ALICE),
    ("@alice@example.org:8448", "@alice:example.org:8448"),
    ("@alice@localhost", "@alice:localhost"),
    # links
    ("https://matrix.to/#/@alice:example.org", ALICE),
    ("http://matrix.to/#/@alice:example.org", ALICE),
    ("matrix.to/#/@alice:example.org", ALICE),
    ("www.matrix.to/#/@alice:example.org", ALICE),
    ("HTTPS://Matrix.To/#/@alice:example.org", ALICE),
    ("https://matrix.to/#/%40alice%3Aexample.org", ALICE),
    ("https://matrix.to/#/%40alice%3aexample.org", ALICE),
    ("https://matrix.to/#/%2540alice%253Aexample.org", ALICE),
    ("https://matrix.to/%23/%40alice%3Aexample.org", ALICE),
    ("https%3A%2F%2Fmatrix.to%2F%23%2F%40alice%3Aexample.org", ALICE),
    ("https://matrix.to/#/@alice:example.org?via=example.org&via=other.example", ALICE),
    ("https://matrix.to/#/@alice:example.org?web-instance[element.io]=chat.example.org", ALICE),
    ("https://matrix.to/#/@alice:example.org/", ALICE),
    ("https://matrix.to/#/@alice:example.org.", ALICE),
    ("<https://matrix.to/#/@alice:example.org>", ALICE),
    ("https://matrix.to/#/alice:example.org", ALICE),
    ("https://matrix.to/@alice:example.org", ALICE),
    ("https://matrix.to/#@alice:example.org", ALICE),
    ("https://matrix.to/#/@alice:localhost", "@alice:localhost"),
    ("https://matrix.to/#/@alice:[::1]:8448?via=[::1]", "@alice:[::1]:8448"),
    ("https://matrix.to/#/@bridge/alice:example.org", "@bridge/alice:example.org"),
    ("https://matrix.to/#/@bridge%2Falice:example.org", "@bridge/alice:example.org"),
    ("https://matrix.to/#/%40who%3Fme%3Aexample.org", "@who?me:example.org"),
    ("https://matrix.to/#/user/@alice:example.org", ALICE),
    ("https://app.element.io/#/user/@alice:example.org", ALICE),
    ("https://app.element.io/#/user/@alice:example.org/chat", ALICE),
    ("https://chat.example.org/web/#/user/%40alice%3Aexample.org", ALICE),
    ("element://vector/webapp/#/user/@alice:example.org", ALICE),
    ("matrix:u/alice:example.org?action=chat", ALICE),
    ("matrix:u/alice:example.org", ALICE),
    ("matrix:u/@alice:example.org", ALICE),
    ("matrix:u/alice%3Aexample.org", ALICE),
    ("MATRIX:U/alice:example.org", ALICE),
    ("matrix:user/alice:example.org", ALICE),
    ("matrix://example.net/u/alice:example.org", ALICE),
    ("web+matrix:u/alice:example.org", ALICE),
    ("matrix:u/bridge/alice:example.org", "@bridge/alice:example.org"),
    # percent-encoding without a link
    ("%40alice%3Aexample.org", ALICE),
    ("%2540alice%253Aexample.org", ALICE),
    ("@alice%3Aexample.org", ALICE),
    ("%20@alice:example.org%E2%80%8B", ALICE),
    # one ID among other words
    ("Alice (@alice:example.org)", ALICE),
    ("@alice:example.org (she/her)", ALICE),
    ("Alice @alice:example.org", ALICE),
    ("Alice | @alice:example.org | https://matrix.to/#/@alice:example.org", ALICE),
    ("I am @alice:example.org. Thanks!", ALICE),
    ("@alice:localhost (she/her)", "@alice:localhost"),
    ("@alice:[::1]:8448 (she/her)", "@alice:[::1]:8448"),
    ("Alice (@Zoë:example.org)", "@Zoë:example.org"),
    ("我的ID是@alice:example.org，谢谢", ALICE),
    ("@alice:example.org。谢谢", ALICE),
    ("@alice:example.org’s friend", ALICE),
    ("@alice:example.org’s", ALICE),
    ("alice@mail.example or @alice:example.org", ALICE),
    ("see https://matrix.to/#/%40alice%3Aexample.org please", ALICE),
    ("chat: matrix:u/alice:example.org?action=chat", ALICE),
    ("@alice:example.org\n@alice:example.org", ALICE),
    # other scripts in the host
    ("@alice:bücher.example", "@alice:xn--bcher-kva.example"),
    ("@alice:bu\u0308cher.example", "@alice:xn--bcher-kva.example"),
    ("@alice:example。org", ALICE),
    ("@alice:BÜCHER.example:8448", "@alice:xn--bcher-kva.example:8448"),
    ("@alice:例え。テスト", "@alice:xn--r8jz45g.xn--zckzah"),
]


@pytest.mark.parametrize(("typed", "meant"), MENDED)
def test_what_people_type_is_read_as_they_meant_it(typed: str, meant: str) -> None:
    assert str(parse_matrix_id(typed)) == meant


@pytest.mark.parametrize("meant", sorted({meant for _, meant in MENDED}))
def test_an_id_that_was_read_is_read_as_itself_by_every_reader(meant: str) -> None:
    assert parse_matrix_id(meant) == as_the_only_value(meant) == MatrixID.of(meant)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("alice", "@alice:beeper.com"),
        ("@alice", "@alice:beeper.com"),
        ("@ alice ", "@alice:beeper.com"),
        ("Alice", "@Alice:beeper.com"),
        ("alice.", "@alice:beeper.com"),
        ("alice_", "@alice_:beeper.com"),
        ("'@alice'", "@alice:beeper.com"),
        ("＠alice", "@alice:beeper.com"),
        ("%40alice", "@alice:beeper.com"),
        ("@alice:", "@alice:beeper.com"),
        ("\u200balice", "@alice:beeper.com"),
        ("john.doe", "@john.doe:beeper.com"),
        ("bridge/alice+1", "@bridge/alice+1:beeper.com"),
        ("12345", "@12345:beeper.com"),
        (ALICE, ALICE),
        ("alice:example.org", ALICE),
        ("@alice@example.org", ALICE),
    ],
)
def test_a_name_alone_belongs_to_the_default_server(typed: str, meant: str) -> None:
    assert str(parse_matrix_id(typed, default_server="Beeper.com")) == meant


@pytest.mark.parametrize("typed", ["bob:synapse", "bob: synapse", "@bob: synapse", "@bob@synapse", "bob"])
def test_a_default_server_without_a_dot_is_known_by_name(typed: str) -> None:
    assert str(parse_matrix_id(typed, default_server="synapse")) == "@bob:synapse"


@pytest.mark.parametrize(
    "typed",
    [
        "Alice Smith",
        "@alice smith",
        "-",
        "...",
        "/",
        "Zoë",
        "alice!bob",
        "alice@",
        "https://matrix.to/#/@alice",
    ],
)
def test_what_is_not_one_plausible_name_does_not_get_the_default_server(typed: str) -> None:
    with pytest.raises(InvalidMatrixID):
        parse_matrix_id(typed, default_server="beeper.com")


REFUSED = [
    ("", ids.EMPTY),
    (" \t\n", ids.EMPTY),
    ("\u200b\ufeff", ids.EMPTY),
    ('""', ids.EMPTY),
    ("...", ids.EMPTY),
    # e-mail
    ("alice@example.org", ids.E_MAIL),
    ("Alice@Example.Org", ids.E_MAIL),
    ("alice @ example.org", ids.E_MAIL),
    ("alice+list@mail.example.org", ids.E_MAIL),
    ("mailto:alice@example.org", ids.E_MAIL),
    ("<alice@example.org>", ids.E_MAIL),
    ("Alice <alice@example.org>", ids.E_MAIL),
    ("alice@example.org.", ids.E_MAIL),
    ("alice%40example.org", ids.E_MAIL),
    ("alice＠example.org", ids.E_MAIL),
    # rooms
    ("#room:example.org", ids.ROOM_ALIAS),
    ("＃room:example.org", ids.ROOM_ALIAS),
    ("%23room:example.org", ids.ROOM_ALIAS),
    ("!abcdef:example.org", ids.ROOM_ID),
    ("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM", ids.ROOM_ID),
    ("https://matrix.to/#/#room:example.org", ids.ROOM_LINK),
    ("https://matrix.to/#/%23room%3Aexample.org", ids.ROOM_LINK),
    ("https://matrix.to/#/!abcdef:example.org?via=example.org", ids.ROOM_LINK),
    ("https://matrix.to/#/!abcdef:example.org/$event:example.org", ids.ROOM_LINK),
    ("https://app.element.io/#/room/#room:example.org", ids.ROOM_LINK),
    ("https://app.element.io/#/room/!abcdef:example.org", ids.ROOM_LINK),
    ("matrix:r/room:example.org", ids.ROOM_LINK),
    ("matrix:room/room:example.org", ids.ROOM_LINK),
    ("matrix:roomid/abcdef:example.org?via=example.org", ids.ROOM_LINK),
    # two people
    ("@alice:example.org @bob:example.org", ids.SEVERAL),
    ("@alice:example.org,@bob:example.org", ids.SEVERAL),
    ("@alice:example.org or @Alice:example.org", ids.SEVERAL),
    ("[@alice:example.org](https://matrix.to/#/@bob:example.org)", ids.SEVERAL),
    # half an ID
    ("alice", ids.NO_SERVER),
    ("@alice", ids.NO_SERVER),
    ("@alice:", ids.NO_SERVER),
    ("https://matrix.to/#/@alice", ids.NO_SERVER),
    ("@:example.org", ids.NO_LOCALPART),
    # no homeserver
    ("@alice:exa_mple.org", ids.BAD_SERVER),
    ("@alice:example..org", ids.BAD_SERVER),
    ("@alice:-example.org", ids.BAD_SERVER),
    ("@alice:example.org:123456", ids.BAD_SERVER),
    ("@alice:example.org:65536", ids.BAD_SERVER),
    ("@alice:example.org:port", ids.BAD_SERVER),
    ("@alice:8448", ids.BAD_SERVER),
    ("@alice:1.2.3.999", ids.BAD_SERVER),
    ("@alice:1.2.3", ids.BAD_SERVER),
    ("@alice:::1", ids.BAD_SERVER),
    ("@alice:[1:2]", ids.BAD_SERVER),
    ("@alice:[fe80::1%eth0]", ids.BAD_SERVER),
    ("@alice:exa\ud800mple.org", ids.BAD_SERVER),
    ("@alice:straße.example", ids.BAD_SERVER),
    ("@alice:example.org谢谢", ids.BAD_SERVER),
    ("@alice:example.org谢谢2", ids.BAD_SERVER),
    ("@alice:bücher。example.①", ids.BAD_SERVER),
    ("@alice:" + "ü" * 80 + ".example", ids.BAD_SERVER),
    ("@alice:" + "a" * 64 + ".example", ids.BAD_SERVER),
    ("@alice: please let me in", ids.BAD_SERVER),
    ("@alice: thanks", ids.BAD_SERVER),
    ("@alice:foo.bücher.example is me", ids.BAD_SERVER),
    # no user name
    ("@alice smith:example.org", ids.BAD_LOCALPART),
    ("@al\ud800ice:example.org", ids.BAD_LOCALPART),
    ("@al\ue000ice:example.org", ids.BAD_LOCALPART),
    ("@al%252541ice:example.org", ids.BAD_LOCALPART),
    ("@al%FFice:example.org", ids.BAD_LOCALPART),
    # too long, in bytes
    ("@" + "a" * 243 + ":example.org", ids.TOO_LONG),
    ("@" + "ü" * 122 + ":example.org", ids.TOO_LONG),
    ("@a:" + "b." * 115 + "org", ids.TOO_LONG),
    ("@alice:example.org " + "x" * 2000, ids.TOO_LONG),
    # something else
    ("Discord: alice", ids.NOT_AN_ID),
    ("Discord:alice", ids.NOT_AN_ID),
    ("10:30", ids.NOT_AN_ID),
    ("https://example.org", ids.NOT_AN_ID),
    ("https://social.example/@alice", ids.NOT_AN_ID),
    ("please let me in", ids.NOT_AN_ID),
    ("@alice smith", ids.NOT_AN_ID),
    ("$event:example.org", ids.NOT_AN_ID),
    ("@alice@friend", ids.NOT_AN_ID),
]


@pytest.mark.parametrize(("typed", "sentence"), REFUSED)
def test_what_cannot_be_mended_is_refused_with_the_sentence_that_helps(typed: str, sentence: str) -> None:
    with pytest.raises(InvalidMatrixID, match=f"^{re.escape(sentence)}$"):
        parse_matrix_id(typed)


@pytest.mark.parametrize("typed", [typed for typed, _ in REFUSED])
def test_what_is_refused_is_never_the_only_value(typed: str) -> None:
    assert as_the_only_value(typed) is None


def test_every_refusal_is_one_sentence() -> None:
    sentences = {sentence for _, sentence in REFUSED}

    assert [s for s in sentences if not s.endswith(".") or ". " in s or "\n" in s] == []


@pytest.mark.promise(5)
def test_a_refused_room_address_is_not_repeated() -> None:
    with pytest.raises(InvalidMatrixID) as refused:
        parse_matrix_id("!abcdef:example.org")

    assert "abcdef" not in str(refused.value)


def test_an_id_of_exactly_255_bytes_is_accepted() -> None:
    longest = "@" + "ü" * 121 + ":example.org"

    assert len(longest.encode()) == ids.MAX_ID_BYTES
    assert str(parse_matrix_id(longest)) == longest


def test_a_server_of_231_bytes_is_refused_in_the_common_form_too() -> None:
    server = "b." * 114 + "org"

    assert len(server) == ids.MAX_SERVER_BYTES + 1
    with pytest.raises(InvalidMatrixID):
        parse_matrix_id(f"@a:{server}")


# --- the strict reader --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [ALICE, "@Alice:EXAMPLE.org", "@Zoë:example.org", "@a%41b:x", "@ａ:x", "@a@b:c", "@,@b:c", "@a:[::1]:1"],
)
def test_the_strict_reader_changes_nothing(text: str) -> None:
    assert str(MatrixID.of(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "alice:example.org",
        "@alice",
        "@:example.org",
        " @alice:example.org",
        "@alice:example.org ",
        "@alice:example.org\n",
        "@al ice:example.org",
        "@al\u200bice:example.org",
        "@al\x00ice:example.org",
        "@al\ud800ice:example.org",
        "@alice:bücher.example",
        "@alice:example.org.",
        "#room:example.org",
        "https://matrix.to/#/@alice:example.org",
        "@" + "ü" * 122 + ":example.org",
        "@alice:example.org" + "\ud800" * 300,
    ],
)
def test_the_strict_reader_mends_nothing(text: str) -> None:
    with pytest.raises(InvalidMatrixID):
        MatrixID.of(text)


def test_the_key_is_the_same_for_capitals_in_the_user_name() -> None:
    assert MatrixID.of("@Alice:example.org").key == MatrixID.of(ALICE).key == ALICE


def test_ids_that_differ_on_the_wire_are_not_equal() -> None:
    assert MatrixID.of("@Alice:example.org") != MatrixID.of(ALICE)


# --- the only value that is one -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        ALICE,
        f" {ALICE}\n",
        "@al\u200bice:EXAMPLE.org",
        "＠alice：example.org",
        "https://matrix.to/#/@alice:example.org",
        "https://matrix.to/#/%40alice%3Aexample.org?via=example.org",
        "matrix:u/alice:example.org?action=chat",
        "https://app.element.io/#/user/@alice:example.org",
    ],
)
def test_a_full_id_or_a_link_to_a_person_can_be_the_only_value(text: str) -> None:
    assert as_the_only_value(text) == MatrixID("alice", "example.org")


@pytest.mark.parametrize(
    "text",
    [
        "alice:example.org",
        "@alice",
        "@alice@example.org",
        "@alice: example.org",
        "Alice (@alice:example.org)",
        "https://matrix.to/#/alice:example.org",
        "https://matrix.to/#/#room:example.org",
        "10:30",
        ALICE + " " * 2000,
    ],
)
def test_what_would_have_to_be_guessed_is_not_the_only_value(text: str) -> None:
    assert as_the_only_value(text) is None


# --- cost ---------------------------------------------------------------------------------------


# fmt: off
PIECES = [
    "@", " @a", "@a ", "a@", "a @", ":", "a:", " : ", "@a:b.", " @a:b-", " @a:bbbbbb.", "@a:ü", "a.", "-",
    "_", " ", "ü", "%", "%41", "%25", "matrix:u/x", "matrix:u/", "https://a/", "#/", "[", "\u200b", "\ud800",
]
# fmt: on


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("length", [ids.MAX_TYPED, 256 * 1024])
def test_no_text_takes_long(piece: str, length: int) -> None:
    text = (piece * length)[:length]
    started = time.process_time()

    with contextlib.suppress(InvalidMatrixID):
        parse_matrix_id(text)

    assert time.process_time() - started < 0.25, "milliseconds are expected; the rest is for a busy machine"
