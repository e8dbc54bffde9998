"""The few pages that somebody sees who sent a plain HTML form."""

from __future__ import annotations

import html

from starlette.responses import HTMLResponse

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1.2rem;
       color: #1d1d1f; background: #fff }}
@media (prefers-color-scheme: dark) {{ body {{ color: #eee; background: #161618 }} }}
h1 {{ font-size: 1.6rem; line-height: 1.25 }}
</style>
<main>
<h1>{title}</h1>
<p>{text}</p>
</main>
</html>
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page(title: str, text: str, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A page of one sentence. Both texts are escaped: they may hold what a stranger typed."""
    content = _PAGE.format(title=html.escape(title), text=html.escape(text))
    return HTMLResponse(content, status, {**_HEADERS, **(headers or {})})
