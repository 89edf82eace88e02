"""Requests that nobody thought of are answered the same, too, or differ in a way that is known.

`MLDEPLOY_EXAMPLES` says how many there are; the default keeps `make test` short.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mldeploy_serving.differential.conftest import Asked, Difference, Group, Servers

EXAMPLES = int(os.environ.get("MLDEPLOY_EXAMPLES", "60"))
# those that a request, and not a row's script, decides
DECIDED_BY_REQUESTS = ("misfit", "unreadable", "broken-http", "brackets-in-a-query")
SCRIPTS = ("ids", "numpy", "rawhttp", "standard", "undecorated")

PARAMETERS = {
    "numpy": ["data", "i8", "u8", "i64", "f32", "flag", "text", "octets", "day", "loose", "untyped", "fail"],
    "standard": [
        "whole",
        "number",
        "text",
        "flag",
        "octets",
        "items",
        "pairs",
        "nested",
        "arrays",
        "perhaps",
        "as_sent",
    ],
}
TYPES = (
    *(
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/vnd.x+json",
        "text/plain",
    ),
    *("application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "application/json;", "*/*", ""),
)
NAMES = (
    *("x-request-id", "x-ms-request-id", "x-ms-client-request-id", "TraceId", "Origin", "Accept", "Cookie"),
    *("X-Want", "User-Agent", "Authorization", "Content-Encoding", "Range", "If-None-Match", "X-Some-Thing"),
)

visible = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"])
values = st.one_of(
    st.text(visible, max_size=20).map(str.strip),
    st.integers(98, 102).map(lambda size: "x" * size),  # an id may have 100 characters
    st.sampled_from(["plain", "json", "stream", "404", "commas", "https://a.example"]),
)
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.integers(-200, 300))
scalars = st.one_of(
    st.none(), st.booleans(), numbers, st.text(max_size=8), st.sampled_from(["1", "2020-01-01", "YWI="])
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
rows = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(numbers | scalars, min_size=width, max_size=width), min_size=1, max_size=3)
)
escaped = st.text(max_size=6).map(quote) | st.sampled_from(["%FF", "%zz", "%", "+", "[1,2]", "null", "%22a%22"])


def arguments(script: str) -> st.SearchStrategy[Any]:
    names = st.sampled_from(PARAMETERS.get(script, ["data"])) | st.text(max_size=3)
    return st.dictionaries(names, rows | st.lists(scalars, max_size=3) | anything, max_size=3)


@st.composite
def bodies(draw: Callable[..., Any], script: str) -> bytes:
    text = json.dumps(draw(arguments(script) | anything), ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:  # not quite JSON
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 2)) :]
    encoded: bytes = text.encode(
        draw(st.sampled_from(["utf-8"] * 6 + ["utf-16", "utf-32", "utf-8-sig"])), "surrogatepass"
    )
    return encoded if draw(st.integers(0, 4)) else draw(st.binary(max_size=20))


@st.composite
def targets(draw: Callable[..., Any], script: str) -> str:
    path: str = draw(
        st.sampled_from(["/score"] * 8 + ["/", "/swagger.json", "//score", "/score/", "/%73core", "/nope"])
    )
    names = st.sampled_from([*PARAMETERS.get(script, []), "a", "version"]) | escaped
    pairs = draw(st.lists(st.tuples(names, escaped | st.integers(0, 4).map(str)), max_size=3))
    return path + ("?" + "&".join(f"{name}={value}" for name, value in pairs) if pairs else "")


@st.composite
def requests(draw: Callable[..., Any], script: str) -> dict[str, Any]:
    method = draw(st.sampled_from(["POST"] * 6 + ["GET", "GET", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH"]))
    kind = draw(st.sampled_from(TYPES) if draw(st.booleans()) else st.just(TYPES[0]))
    more = draw(st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=3))
    body = draw(bodies(script)) if method == "POST" or draw(st.booleans()) else None
    headers = ([("Content-Type", kind)] if kind else []) + more
    chunked = body is not None and draw(st.integers(0, 5)) == 0
    return {"method": method, "target": draw(targets(script)), "headers": headers, "body": body, "chunked": chunked}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("contract", ["v1", "compatible"])
def test_stream(
    servers: Servers,
    known: dict[str, Difference],
    scripts: dict[str, Group],
    asking: Callable[..., Asked],
    contract: str,
    script: str,
) -> None:
    official_server, our_server = servers.pair(scripts[script], contract)
    decided = [known[name] for name in DECIDED_BY_REQUESTS if contract in known[name].contracts]

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(requests(script))
    @example({"body": b"", "headers": [("Content-Type", "application/json")]})
    def compare(request: dict[str, Any]) -> None:
        asked = asking(**request)
        official, ours = official_server.ask(asked), our_server.ask(asked)
        if ours.comparable() != official.comparable():
            assert any(each.is_shown_by(official, ours) for each in decided), (official.comparable(), ours.comparable())

    compare()
