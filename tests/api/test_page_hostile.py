"""Whatever is sent to a door's own page, the answer is a page or a line, and never an error of ours."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote_plus

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.running import Running
from tests.api.visiting import PAGE, TARA

NAMES = st.sampled_from(
    [
        "matrix_id",
        "opened",
        "proof",
        "website",
        "rules",
        "answer-why",
        "answer-day",
        "answer-likes",
        "answer-adult",
        "x",
    ]
)
VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [TARA, "yes", "Sunday", "0-", "9" * 40, "-1-", "e30=", "bnVsbA==", "W10=", "\ud800", "\0"]
    ),
    st.builds(
        lambda value: json.dumps(value),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["challenge", "solution", "parameters", "signature", "data", "nonce", "expiresAt"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
        ),
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, VALUES), max_size=12), st.booleans())
async def test_no_post_is_an_error_of_ours(
    garden: Running, pairs: list[tuple[str, str]], encoded: bool
) -> None:
    def written(name: str, value: str) -> str:
        raw = value.encode("utf-8", "surrogatepass")
        return f"{name}={quote_plus(b64encode(raw) if encoded and name == 'proof' else raw)}"

    body = "&".join(written(name, value) for name, value in pairs).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await garden.call("POST", PAGE, content=body, headers=kind)
    assert answer.status_code in (303, 413, 422)
    again = await garden.call("POST", f"{PAGE}/check", content=body, headers=kind)
    assert again.status_code in (200, 413, 422)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300),
    st.sampled_from(
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/html"]
    ),
)
async def test_no_bytes_are_an_error_of_ours(garden: Running, body: bytes, kind: str) -> None:
    answer = await garden.call("POST", PAGE, content=body, headers={"Content-Type": kind})
    assert answer.status_code in (303, 422)
