"""From a request to the arguments of `run()`."""

from __future__ import annotations

import codecs
import inspect
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from mldeploy_serving.entry.script import Script
from mldeploy_serving.messages import Answer, Request, refusal


class Refused(Exception):
    """The request cannot be scored; `answer` says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer: Answer = refusal(status, message)


def builder(script: Script) -> Callable[[Request], dict[str, Any]]:
    """The function that makes the arguments for this script; it raises `Refused`."""
    build = _shape(script)
    if not script.wants_headers:
        return build
    return lambda request: {**build(request), "request_headers": header_names(request)}


def header_names(request: Request) -> dict[str, str]:
    """The headers with their names written `Like-This`; a repeated one has its values joined by commas."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if b"_" in name:  # could be taken for the one with a hyphen
            continue
        key, text = name.decode("latin-1").title(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _shape(script: Script) -> Callable[[Request], dict[str, Any]]:
    first = script.parameters[0].name
    if script.raw:
        from mldeploy_serving.entry.aml_request import AMLRequest

        return lambda request: {first: AMLRequest.of(request)}
    if script.decorated:
        return lambda request: _pick(script.parameters, _body_object(request))
    return lambda request: {first: _text(request)}


def _text(request: Request) -> str:
    """All of the body, undecoded otherwise; of a form there is nothing left, as forms were parsed on the way in."""
    if request.method == b"GET":
        return json.dumps(_query(request))
    if _is_form(request):
        return ""
    try:
        return request.body.decode()
    except UnicodeDecodeError as error:
        raise Refused(400, f"Input cannot be decoded as UTF-8: {error}") from None


def _is_form(request: Request) -> bool:
    """Whether it can be parsed as one; of several parts nothing is known without what stands between them."""
    mimetype = request.mimetype
    if mimetype == b"multipart/form-data":
        return b"boundary=" in request.fields[b"content-type"].lower()
    return mimetype == b"application/x-www-form-urlencoded"


def _body_object(request: Request) -> dict[str, Any]:
    if request.method == b"GET":
        return _query(request)
    mimetype = request.mimetype
    if mimetype != b"application/json" and not (mimetype.startswith(b"application/") and mimetype.endswith(b"+json")):
        raise Refused(415, "Expects Content-Type to be application/json")
    if not request.body:
        raise Refused(400, "POST body is empty. Expecting a JSON dictionary.")
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"POST body could not be decoded as JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused(400, "POST body should be a JSON dictionary.")
    return value


def _pick(parameters: tuple[inspect.Parameter, ...], values: dict[str, Any]) -> dict[str, Any]:
    arguments = {}
    for parameter in parameters:
        value = values.get(parameter.name, parameter.default)
        if value is inspect.Parameter.empty:
            raise Refused(400, f"A value is not provided for the {parameter.name!r} parameter.")
        arguments[parameter.name] = value
    return arguments


def _as_sent(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"%{byte:02X}" for byte in error.object[error.start : error.end]), error.end


_AS_SENT = "mldeploy.as_sent"  # for bytes that are not UTF-8
codecs.register_error(_AS_SENT, _as_sent)


def _query(request: Request) -> dict[str, Any]:
    """`?a=1&b=[1,2]&c=x&c=y` is `{"a": 1, "b": [1, 2], "c": ["x", "y"]}`."""
    found: dict[str, list[Any]] = {}
    pairs = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True, errors=_AS_SENT)
    for name, text in pairs:
        found.setdefault(name, []).append(_value(text))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
