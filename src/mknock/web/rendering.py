"""Pages as browsers get them: rendered from templates, with the headers that keep them to themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from mknock.domain.doors import Page
from mknock.services.welcome_text import as_html
from mknock.web.assets import address, digest_of
from mknock.web.languages import Language, languages

PRIVATE: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " worker-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Vary": "Accept-Language",
}
"""The headers of every page."""


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("mknock.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["address"] = address
    environment.globals["languages"] = languages
    environment.filters["markdown"] = owners_text
    return environment


def rendered(
    template: str,
    language: Language,
    *,
    up: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """A page. ``up`` leads from its address to the root of Knock: all addresses on it are relative, so that
    they hold below any path of a proxy."""
    text = _templates().get_template(template).render(t=language, up=up, **values)
    return HTMLResponse(text, status, {**PRIVATE, "Content-Language": language.code, **(headers or {})})


@lru_cache(maxsize=64)
def owners_text(markdown: str) -> Markup:
    """The owner's Markdown as HTML. The page has a headline already, so theirs begin one below it."""
    return Markup(_HEADING.sub(_lower, as_html(markdown)))  # noqa: S704 - sanitised


_HEADING = re.compile(r"<(/?)h([1-6])>")


def _lower(heading: re.Match[str]) -> str:
    return f"<{heading[1]}h{min(int(heading[2]) + 1, 6)}>"


def logo_address(entrance: str, page: Page) -> str:
    """Where the logo is, below the root of Knock; "" if there is none. ``entrance`` is the address of its form."""
    return f"{entrance}/logo/{digest_of(page.logo.content)}" if page.logo else ""
