"""The text of a welcome: the owner's Markdown, with the joiner's name put in as nothing but text.

The names in a welcome are chosen by strangers. They never pass through Markdown:
the template is rendered first, with marks in the places of the names, and
what is put there is escaped. The whole is sanitised once more at the end.
"""

from __future__ import annotations

import difflib
import html
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self
from urllib.parse import quote

import nh3
from markdown_it import MarkdownIt

DEFAULT_WELCOME: Final = "Welcome to {room}, {user}!"
MARKER: Final = "dev.mknock.knock"
"""The key in a welcome's content that holds the knock's id, to find our own event again."""
PLACEHOLDERS: Final = ("user", "name", "room")
LONGEST_TEXT: Final = 4000
"""Characters of a template."""
LARGEST: Final = 30_000
"""Bytes of a content; an event has at most 65,536 (specification, "Size limits"), and encryption adds a third."""
LONGEST_NAME: Final = 100
"""Characters of a name that are shown."""

# What the Matrix specification lets clients show (client-server API, "m.room.message msgtypes"), without
# images, colours and what a welcome has no use for.
TAGS: Final = frozenset(
    {"a", "b", "blockquote", "br", "code", "del", "div", "em", "hr", "i", "p", "pre", "s", "span", "strong"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "ul", "sub", "sup", "u"}
)
ATTRIBUTES: Final = {"a": {"href"}, "ol": {"start"}, "code": {"class"}}
SCHEMES: Final = frozenset({"http", "https", "mailto", "matrix"})

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_MARKS: Final = dict(zip(PLACEHOLDERS, "\ue000\ue001\ue002", strict=True))
"""Characters for private use, which stand for the names while Markdown is rendered."""
_MARK_NAMES: Final = {mark: name for name, mark in _MARKS.items()}
_ANY_MARK = re.compile("[\ue000-\ue002]")


@dataclass(frozen=True, slots=True)
class WelcomeTemplate:
    """A welcome's Markdown, understood. ``{user}`` mentions, ``{name}`` names, ``{room}`` is the room's name."""

    marked: str
    """The Markdown with marks where the names go."""
    rendered: str
    """The same as HTML."""

    @classmethod
    def parse(cls, markdown: str) -> Self:
        """Read a template.

        Raises:
            ValueError: it cannot be used; the rest of a sentence that begins with the setting's name.
        """
        text = markdown.strip()
        if not text:
            raise ValueError('is empty: write a text, or "off" to welcome nobody.')
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"must be at most {LONGEST_TEXT} characters long, but has {len(text)}.")
        if _ANY_MARK.search(text):
            raise ValueError("holds a character for private use (U+E000 to U+E002): take it out.")
        marked = "".join(_marked(text))
        rendered = _markdown().render(marked).strip()
        if re.search("%EE%80%8[0-2]", rendered):
            raise ValueError("has a placeholder in the address of a link, where no name may go.")
        template = cls(marked, rendered)
        if template.largest() > LARGEST:
            raise ValueError("becomes too large for one message: make it shorter.")
        return template

    def largest(self) -> int:
        """The size in bytes with the largest names that there can be."""
        long_id, long_name = "@" + "ü" * 120 + ":x", '"' * LONGEST_NAME
        said = self.render(user_id=long_id, display_name=long_name, room_name=long_name, marker="")
        return len(json.dumps(said, ensure_ascii=False).encode())

    def render(self, *, user_id: str, display_name: str, room_name: str, marker: str) -> dict[str, Any]:
        """Return the content of an m.room.message event.

        It is ``m.text``, not ``m.notice``: the push rules let no notice notify
        anybody, not even whom it mentions (".m.rule.suppress_notices"). Only the
        joiner is ever mentioned, whatever the names hold.
        """
        name = shown(display_name) or user_id[1:].partition(":")[0] or user_id
        texts = {"user": name, "name": name, "room": shown(room_name) or "the room"}
        link = f"https://matrix.to/#/{quote(user_id, safe='@:')}"
        parts = {key: html.escape(text) for key, text in texts.items()}
        parts["user"] = f'<a href="{html.escape(link)}">{parts["user"]}</a>'
        return {
            "msgtype": "m.text",
            "body": _filled(self.marked, texts),
            "format": "org.matrix.custom.html",
            "formatted_body": sanitised(_filled(self.rendered, parts)),
            "m.mentions": {"user_ids": [user_id]} if _MARKS["user"] in self.marked else {},
            MARKER: marker,
        }


def shown(name: str) -> str:
    """A name as it may be shown: one line, nothing invisible, nothing that turns the text around, not too long."""
    visible = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in name[: 10 * LONGEST_NAME])
    text = " ".join(visible.split()).replace("@room", "@ room")
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def sanitised(text: str) -> str:
    """HTML with nothing in it but what Matrix clients are meant to show."""
    return nh3.clean(
        text,
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        url_schemes=set(SCHEMES),
        link_rel=None,
    )


def as_html(markdown: str) -> str:
    """An owner's Markdown as HTML, without placeholders, and with nothing in it but what a welcome may hold."""
    return sanitised(_markdown().render(markdown))


def _marked(text: str) -> Iterator[str]:
    """The template piece by piece, placeholders as marks and doubled braces as single ones."""
    end = 0
    for token in _TOKEN.finditer(text):
        yield text[end : token.start()]
        end = token.end()
        yield token[0][0] if token[0] in ("{{", "}}") else _mark_of(token)
    yield text[end:]


def _mark_of(token: re.Match[str]) -> str:
    name = token[1]
    if name is None:
        raise ValueError("has a brace without its counterpart: write {{ or }} for a brace itself.")
    if name.strip() not in _MARKS:
        near = difflib.get_close_matches(name.strip(), PLACEHOLDERS, 1, cutoff=0.5)
        hint = f"did you mean {{{near[0]}}}?" if near else f"there are {_listed()}."
        raise ValueError(f"has an unknown placeholder {{{name.strip()[:20]}}}: {hint}")
    return _MARKS[name.strip()]


def _listed() -> str:
    return ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _ANY_MARK.sub(lambda mark: values[_MARK_NAMES[mark[0]]], text)


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """CommonMark without raw HTML; a line break in the text is one in the message."""
    return MarkdownIt("commonmark", {"html": False, "breaks": True}).disable("image").enable("strikethrough")
