"""The reference as one page for people, written from the OpenAPI description.

It is made here, without a script and without asking another host: what is
read on it is as private as Knock itself.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

Json = dict[str, Any]

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
       color: #1d1d1f; background: #fff }
h2 { margin-top: 3rem; border-bottom: 1px solid #8886 } h3 { margin: 2rem 0 .3rem }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #8884 }
code, pre { font: .9em ui-monospace, monospace } pre { padding: .7rem; overflow-x: auto; background: #8882 }
a { color: inherit } nav a { margin-right: 1rem }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161618 } }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
<h1>{title}</h1>
<p>{about}</p>
{body}
</html>
"""


@dataclass(slots=True)
class ReferencePage:
    """``GET /docs``: written at the first call, since the description does not change after that."""

    describe: Callable[[], Json]
    _text: str = field(default="", init=False)

    async def __call__(self, _: Request) -> Response:
        self._text = self._text or page_of(self.describe())
        return HTMLResponse(self._text, headers=_HEADERS)


def page_of(schema: Json) -> str:
    """The whole page."""
    shapes = schema["components"]["schemas"]
    sections = [_section(tag, schema, shapes) for tag in schema["tags"]]
    title = f"{schema['info']['title']} {schema['info']['version']}"
    about = 'The same for programs: <a href="openapi.json">openapi.json</a>. Times are seconds since the epoch, UTC.'
    body = "\n".join([*sections, _shapes(shapes)])
    return _PAGE.format(title=_safe(title), style=_STYLE, about=about, body=body)


def _section(tag: Json, schema: Json, shapes: Json) -> str:
    parts = [f"<h2>{_safe(tag['name'].capitalize())}</h2><p>{_safe(tag['description'])}</p>"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if tag["name"] in operation["tags"]:
                parts.append(_operation(method.upper(), path, operation, shapes))
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Json, shapes: Json) -> str:
    return "\n".join(
        [
            f'<h3 id="{_safe(operation["operationId"])}"><code>{method} {_safe(path)}</code></h3>',
            f"<p>{_safe(operation.get('description') or operation['summary'])}</p>",
            *_request(operation, shapes),
            _answers(operation["responses"]),
            f"<pre>{_safe(curl(method, path, operation, shapes))}</pre>",
        ]
    )


# --- requests ------------------------------------------------------------------------------------


def _request(operation: Json, shapes: Json) -> Iterator[str]:
    rows = [
        (
            f"<code>{_safe(one['name'])}</code>",
            f"in the {_safe(one['in'])}",
            _safe(one.get("description", "")),
        )
        for one in operation.get("parameters", ())
    ]
    if body := operation.get("requestBody"):
        kinds = ", ".join(body["content"])
        yield f"<p>Body: {_safe(kinds)}. {_safe(body.get('description', ''))}</p>"
        rows += _field_rows(_resolved(_body_schema(body), shapes))
    if rows:
        yield _table(("Field", "Kind", "Meaning"), rows)


def _body_schema(body: Json) -> Json:
    schema: Json = next(iter(body["content"].values()))["schema"]
    return schema


def _field_rows(schema: Json) -> list[tuple[str, str, str]]:
    required = schema.get("required", ())
    return [
        (
            f"<code>{_safe(name)}</code>",
            _kind(about) + ("" if name in required else ", optional"),
            _safe(about.get("description", "")),
        )
        for name, about in schema.get("properties", {}).items()
    ]


def _resolved(schema: Json, shapes: Json) -> Json:
    name = schema.get("$ref", "").rpartition("/")[2]
    shape: Json = shapes[name] if name else schema
    return shape


def _kind(about: Json) -> str:
    """A schema in a few words; shapes are linked."""
    if name := about.get("$ref", "").rpartition("/")[2]:
        return f'<a href="#{_safe(name)}">{_safe(name)}</a>'
    if "anyOf" in about:
        return " or ".join(_kind(one) for one in about["anyOf"])
    if about.get("type") == "array":
        return f"list of {_kind(about['items'])}"
    if "const" in about or "enum" in about:
        return ", ".join(f"<code>{_safe(value)}</code>" for value in about.get("enum", [about.get("const")]))
    return _safe(about.get("type", "anything"))


# --- answers -------------------------------------------------------------------------------------


def _answers(responses: Mapping[str, Json]) -> str:
    rows = [
        (
            f"<code>{_safe(status)}</code>",
            _answer_kind(answer),
            _safe(answer["description"]) + _examples(answer),
        )
        for status, answer in sorted(responses.items())
    ]
    return _table(("Status", "Answer", "Meaning"), rows)


def _answer_kind(answer: Json) -> str:
    kinds = (_kind(content.get("schema", {})) for content in answer.get("content", {}).values())
    return " or ".join(dict.fromkeys(kinds))


def _examples(answer: Json) -> str:
    named = answer.get("content", {}).get("application/json", {}).get("examples", {})
    shown = (json.dumps(example["value"], ensure_ascii=False, indent=1) for example in named.values())
    return "".join(f"<pre>{_safe(text)}</pre>" for text in shown)


def _shapes(shapes: Json) -> str:
    parts = ["<h2>Shapes</h2>"]
    for name, shape in sorted(shapes.items()):
        parts.append(f'<h3 id="{_safe(name)}">{_safe(name)}</h3><p>{_safe(shape.get("description", ""))}</p>')
        rows = _field_rows(shape)
        parts.append(_table(("Field", "Kind", "Meaning"), rows) if rows else f"<p>{_kind(shape)}</p>")
    return "\n".join(parts)


# --- an example to try ---------------------------------------------------------------------------


def curl(method: str, path: str, operation: Json, shapes: Json) -> str:
    """A command that calls the endpoint, for a shell that knows KNOCK (the address) and API_KEY."""
    words = ["curl"]
    if {"api_key": []} in operation.get("security", ()) and {} not in operation["security"]:
        words.append('-H "Authorization: Bearer $API_KEY"')
    body = operation.get("requestBody")
    if body:
        example = json.dumps(_example(body, shapes), ensure_ascii=False)
        words.append(f"-H 'Content-Type: application/json' -d {shlex.quote(example)}")
    if method != ("POST" if body else "GET"):
        words.append(f"-X {method}")
    return " ".join([*words, f'"$KNOCK{path}{_query(operation)}"'])


def _query(operation: Json) -> str:
    """The parameters that the address cannot do without, with their examples."""
    needed = [one for one in operation.get("parameters", ()) if one["in"] == "query" and one.get("required")]
    given = {one["name"]: _example_of(one["schema"]) for one in needed}
    return f"?{urlencode(given, safe='@:')}" if given else ""


def _example(body: Json, shapes: Json) -> Json:
    content = next(iter(body["content"].values()))
    if "example" in content:
        example: Json = content["example"]
        return example
    shape = _resolved(content["schema"], shapes)
    fields = {name: _example_of(about) for name, about in shape["properties"].items()}
    return {name: value for name, value in fields.items() if value is not None}


def _example_of(about: Json) -> Any:
    kinds: Sequence[Json] = (about, *about.get("anyOf", ()))
    return next((kind["examples"][0] for kind in kinds if kind.get("examples")), None)


# --- HTML ----------------------------------------------------------------------------------------


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; the cells are HTML already."""
    head = "".join(f"<th>{_safe(title)}</th>" for title in titles)
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _safe(text: object) -> str:
    return html.escape(str(text))
