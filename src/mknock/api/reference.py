"""What the endpoints take and answer, as an OpenAPI description.

FastAPI describes the admin endpoints from their shapes. What is no FastAPI
endpoint, because a form's body is read by Knock itself, is described here by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from mknock.api.shapes import Problem, Readiness, Received, Status

Json = dict[str, Any]

MEANINGS: Mapping[int, str] = {
    401: "The key or the form's secret is missing or wrong.",
    403: "Knock refuses to act on its own account, on somebody with as much power in the room, or on too many.",
    404: "There is no such person, knock or rule on record.",
    409: "The knock is not held (any more).",
    413: "The body is larger than 256 KiB.",
    422: "The body has the wrong shape, or names nobody.",
    429: "Too many requests from the visitor's network; only without a secret. Nothing was kept.",
    502: "The homeserver refused what it was asked.",
    503: "The store or the homeserver gives no answer: nothing was changed by that; try again.",
}
"""What each status means, for every endpoint that may answer it."""

_WAIT = {"Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}}
_BY_HAND: tuple[type[BaseModel], ...] = (Problem, Readiness, Received, Status)
_REFERENCES = "#/components/schemas/{model}"
# Named instead of given as a model, of which FastAPI would make a validator for every status of every endpoint.
_PROBLEM: Json = {"application/json": {"schema": {"$ref": _REFERENCES.format(model=Problem.__name__)}}}


def problems(*statuses: int) -> dict[int | str, Json]:
    """What an endpoint answers when it cannot do as it was asked: ``{"error": sentence}`` with one of these."""
    return {status: {"description": MEANINGS[status], "content": _PROBLEM} for status in statuses}


class Described(FastAPI):
    """A FastAPI application whose description holds what FastAPI cannot know."""

    _complete: Json | None = None

    def openapi(self) -> Json:
        if self._complete is None:
            self._complete = completed(super().openapi())
        return self._complete


def completed(schema: Json) -> Json:
    """Add what FastAPI does not know: who may call what, and the endpoints that are not its own."""
    admin = {path: _keyed(operations) for path, operations in schema["paths"].items()}
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "serialization") for model in _BY_HAND]
    _, shapes = models_json_schema(wanted, ref_template=_REFERENCES)
    components = {
        "schemas": {**schema["components"]["schemas"], **shapes["$defs"]},
        "securitySchemes": SECRETS,
    }
    return {**schema, "paths": {**PATHS, **admin}, "components": components, "tags": TAGS}


def _keyed(operations: Mapping[str, Json]) -> Json:
    return {method: {**operation, "security": [{"api_key": []}]} for method, operation in operations.items()}


# --- by hand -------------------------------------------------------------------------------------

TAGS = [
    {"name": "form", "description": "Where forms arrive."},
    {"name": "health", "description": "For monitors; they need no key."},
    {"name": "admin", "description": "For moderators, with the API key."},
]

SECRETS: Json = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "API_KEY, or the key that Knock made: mknock api-key.",
    },
    "form_token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "FORM_TOKEN in the form's address; also as a bearer token, or in X-Form-Token.",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Webhook-Signature",
        "description": (
            "A platform's signature of the body, made with its signing secret; in a header of the platform's own,"
            " such as Tally-Signature or Webhook-Signature."
        ),
    },
}

_EXAMPLE = {"matrix_id": "@alice:example.org", "Why do you want to join?": "A friend told me of you."}
_FIELDS = {
    "type": "object",
    "properties": {
        "matrix_id": {
            "type": "string",
            "description": "Who knocks. Any label that asks for a Matrix ID does, or FORM_ID_FIELD.",
        }
    },
    "additionalProperties": {"description": "Any other answer, for the moderators."},
}
_RECEIVED = {
    "status": "received",
    "message": "Thank you. If you are admitted, the invitation is in your Matrix app within moments.",
}


def _shape(model: type[BaseModel]) -> Json:
    return {"$ref": _REFERENCES.format(model=model.__name__)}


def _answer(description: str, model: type[BaseModel], *examples: Json, headers: Json | None = None) -> Json:
    named = {f"example {number}": {"value": example} for number, example in enumerate(examples, 1)}
    content = {"application/json": {"schema": _shape(model), "examples": named}}
    return {"description": description, "content": content, **({"headers": headers} if headers else {})}


def _problem(status: int, error: str) -> Json:
    headers = _WAIT if status in (429, 503) else None
    return _or_page(_answer(MEANINGS[status], Problem, {"error": error}, headers=headers))


def _or_page(answer: Json) -> Json:
    """The same for a plain HTML form, which gets a page."""
    return {**answer, "content": {**answer["content"], "text/html": {"schema": {"type": "string"}}}}


def _probe(name: str, summary: str, answers: Json) -> Json:
    return {"get": {"tags": ["health"], "operationId": name, "summary": summary, "responses": answers}}


_RUNS = {"200": _answer("The process answers.", Status, {"status": "running"})}

_KNOCK: Json = {
    "tags": ["form"],
    "operationId": "invite_from_form",
    "summary": "Knock",
    "description": (
        "Takes what a form delivers: the webhook of a platform, generic JSON, or a plain HTML form, which gets a page"
        " back instead of JSON. The answer is the same for every decision. Once FORM_TOKEN or a signing secret is"
        " set, every delivery must satisfy one of them; the API key does too."
    ),
    "security": [{}, {"form_token": []}, {"signature": []}, {"api_key": []}],
    "parameters": [
        {
            "name": "token",
            "in": "query",
            "schema": {"type": "string"},
            "description": "FORM_TOKEN; in the header X-Form-Token or as a bearer token it does as well.",
        },
        {
            "name": "Prefer",
            "in": "header",
            "schema": {"type": "string", "examples": ["wait=5"]},
            "description": "wait=N waits up to N seconds (at most 10) for the outcome; only with a valid secret.",
        },
    ],
    "requestBody": {
        "required": True,
        "description": "At most 256 KiB.",
        "content": {
            "application/json": {"schema": _FIELDS, "example": _EXAMPLE},
            "application/x-www-form-urlencoded": {"schema": _FIELDS},
            "multipart/form-data": {"schema": _FIELDS},
        },
    },
    "responses": {
        "200": _or_page(
            _answer(
                "Decided and on disk, whatever the decision; or it names nobody, and the message says why.",
                Received,
                _RECEIVED,
                {
                    "status": "nothing_to_do",
                    "message": "This Typeform response is not finished; Knock waits for the finished one.",
                },
                {
                    "status": "not_understood",
                    "message": "That looks like an e-mail address; a Matrix ID looks like @alice:example.org.",
                },
                _RECEIVED
                | {"knock_id": "01JZX4T8M2V7Q9R3C5B6N8KDWE", "outcome": "invited", "reason": "invited"},
            )
        ),
        "401": _problem(
            401, "this form needs its secret: a valid signature, or FORM_TOKEN as ?token= or bearer"
        ),
        "413": _problem(413, "the body is larger than 256 KiB"),
        "429": _problem(429, "Too many requests from your network. Please try again later."),
        "503": _problem(503, "the store cannot be used right now (database or disk is full)"),
    },
}

_KNOCK_AT_DOOR: Json = {
    **_KNOCK,
    "operationId": "form_of_door",
    "summary": "Knock at a door by its name",
    "description": (
        "The same for any door, by its slug. A secret is always needed: a token or a signing secret of that door, or"
        " the API key. A door that does not exist answers as one whose secret is wrong. The platform names the reader;"
        " any other word lets the shape of the delivery say whose it is."
    ),
    "security": [{"form_token": []}, {"signature": []}, {"api_key": []}],
    "parameters": [
        {
            "name": "slug",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "The door's name.",
        },
        {
            "name": "platform",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "examples": ["tally"]},
            "description": "Whose form it is, such as tally or typeform.",
        },
        {**_KNOCK["parameters"][0], "description": "The door's token; in a header it does as well."},
        _KNOCK["parameters"][1],
    ],
    "responses": {
        **_KNOCK["responses"],
        "401": _problem(
            401, "this form needs its door's secret: a valid signature, or the token as ?token= or bearer"
        ),
    },
}

PATHS: Json = {
    "/": _probe("root", "The first mknock's health probe", _RUNS),
    "/healthz": _probe("healthz", "Whether the process answers", _RUNS),
    "/readyz": _probe(
        "readyz",
        "Whether the store can be written and the homeserver answers",
        {
            "200": _answer("Ready.", Readiness, {"status": "ready"}),
            "503": _answer(
                "Not ready.",
                Readiness,
                {"status": "not_ready", "not_ready": ["homeserver"]},
                headers=_WAIT,
            ),
        },
    ),
    "/invite_from_form": {"post": _KNOCK},
    "/d/{slug}/forms/{platform}": {"post": _KNOCK_AT_DOOR},
}
