"""From a request to the arguments of `run()`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from mldeploy_serving.contract.checks import Finding, findings
from mldeploy_serving.contract.parameters import Declared, Parameter, declared
from mldeploy_serving.contract.reading import Twice, once, reader
from mldeploy_serving.contract.table import Table
from mldeploy_serving.entry.script import Script
from mldeploy_serving.messages import Answer, Request, refusal, to_json
from mldeploy_serving.worker.logs import LOGGER

_SHOWN = 300
Headers = tuple[tuple[bytes, bytes], ...]
Arguments = tuple[dict[str, Any], Headers]


class Refused(Exception):
    """The request cannot be scored; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def header_names(request: Request) -> dict[str, str]:
    """The headers with their names written `Like-This`; a repeated one has its values joined by commas."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if b"_" in name:  # could be taken for the one with a hyphen
            continue
        key, text = name.decode("latin-1").title(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def builder(
    script: Script, declared_arguments: DeclaredArguments | None, table: Table
) -> Callable[[Request], Arguments]:
    """The function that makes the arguments for this script, and headers for the answer; it raises `Refused`."""
    first = script.parameters[0].name
    if script.raw:
        from mldeploy_serving.entry.aml_request import AMLRequest

        def build(request: Request) -> Arguments:
            return {first: AMLRequest.of(request)}, ()
    elif declared_arguments is not None:
        build = declared_arguments.of
    else:

        def build(request: Request) -> Arguments:
            return {first: _text(request, table)}, ()

    if not script.wants_headers:
        return build

    def with_headers(request: Request) -> Arguments:
        arguments, headers = build(request)
        return {**arguments, "request_headers": header_names(request)}, headers

    return with_headers


def _text(request: Request, table: Table) -> str:
    """All of the body, undecoded otherwise; of a form there is nothing left, as forms were parsed on the way in."""
    if request.method == b"GET":
        return json.dumps(_query(request, table))
    if _is_form(request):
        if request.body:
            _warn_of_forms()
        return ""
    try:
        return request.body.decode()
    except UnicodeDecodeError as error:
        raise _refused(table, "body.text-utf8", reason=error) from None


@cache
def _warn_of_forms() -> None:
    LOGGER.warning("A form's fields do not reach run(), which gets an empty text: send Content-Type: application/json")


def _refused(table: Table, rule: str, **said: object) -> Refused:
    row = table[rule]
    return Refused(refusal(row.status, row.message(**said)))


class DeclaredArguments:
    """The arguments of a `run()` with `@input_schema`.

    Args:
        script: The entry script.
        table: The contract.
    """

    def __init__(self, script: Script, table: Table) -> None:
        self._parameters = script.parameters
        self._table = table
        self._strict = table.contract == "strict"
        self._declared = declared(script.run)
        always = (each for each in self._declared if each.converted and not each.optional)
        types: dict[str, Declared | None] = {each.name: each.type for each in always}
        read = reader([types.get(each.name) for each in script.parameters])
        self._read = once(read) if self._strict else read

    def of(self, request: Request) -> Arguments:
        """The arguments that a request has, and headers for its answer.

        Raises:
            Refused: They are not to be had.
        """
        values = self._values(request)
        arguments = {each.name: self._value(each, values) for each in self._parameters}
        if not self._strict:
            return arguments, ()
        from mldeploy_serving.contract.arranging import arranged

        found = self.misfit(values)  # and not defaults in Python, which are the script's own
        if found:
            raise Refused(self.explain(found))
        for parameter in self._looked_at(values):
            arguments[parameter.name] = arranged(parameter.type, values[parameter.name])
        return arguments, _warning([name for name in values if name not in arguments])

    def misfit(self, values: dict[str, Any], only: str | None = None) -> Finding | None:
        """The first thing about these values that the contract refuses; of one parameter where it is known which."""
        for parameter in self._looked_at(values):
            if only not in {None, parameter.name}:
                continue
            for found in findings(parameter.type, values[parameter.name], parameter.name):
                if self._table[found.rule].status >= 400:
                    return found
        return None

    def explain(self, found: Finding) -> Answer:
        """The answer to a request that does not fit: it names the rule and the place."""
        row = self._table[found.rule]
        place, parts = _cut(found.place), {name: _cut(text) for name, text in found.said}
        said = {"message": row.message(place=place, **parts), "rule": found.rule, "place": place}
        return Answer(row.status, to_json(said), failed=row.status >= 500)

    def again(self, request: Request) -> dict[str, Any]:
        """The values once more: a conversion may have changed the first ones where they stood."""
        values = self._values(request)
        return {each.name: values[each.name] for each in self._declared if each.name in values}

    def _looked_at(self, values: dict[str, Any]) -> list[Parameter]:
        there = [each for each in self._declared if each.name in values and each.converted]
        return [each for each in there if values[each.name] or not each.optional]

    def _values(self, request: Request) -> dict[str, Any]:
        if request.method == b"GET":
            return _query(request, self._table)
        table = self._table
        kind = request.mimetype
        if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
            raise _refused(table, "body.content-type")
        if not request.body:
            raise _refused(table, "body.empty")
        try:
            values = self._read(request.body)
        except (ValueError, RecursionError) as error:
            rule = _unreadable(error)
            if table[rule].status == 500:  # not looked for by the official server: an error of its own
                raise
            raise _refused(table, rule, reason=error) from None
        except Twice as twice:
            found = Finding("body.duplicate-key", twice.place or "the body", (("key", twice.key),))
            raise Refused(self.explain(found)) from None
        if not isinstance(values, dict):
            raise _refused(table, "body.object")
        return values

    def _value(self, parameter: inspect.Parameter, values: dict[str, Any]) -> Any:
        value = values.get(parameter.name, parameter.default)
        if value is inspect.Parameter.empty:
            raise _refused(self._table, "body.parameter", parameter=parameter.name)
        return value


def _cut(text: str) -> str:
    """One line that can be read, also where a key or a value is as large as the body."""
    line = " ".join(text[: 2 * _SHOWN].split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _unreadable(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "body.json"
    return "body.json-utf8" if isinstance(error, UnicodeDecodeError) else "body.json-limits"


def _warning(ignored: list[str]) -> Headers:
    if not ignored:
        return ()
    names = ", ".join(ignored).encode("ascii", "backslashreplace").decode()
    printable = "".join(letter if letter.isprintable() else "?" for letter in names)[:200]
    return ((b"x-mldeploy-warning", f"not parameters of run(), and ignored: {printable}".encode()),)


def _is_form(request: Request) -> bool:
    """Whether it can be parsed as one; of several parts nothing is known without what stands between them."""
    mimetype = request.mimetype
    if mimetype == b"multipart/form-data":
        return b"boundary=" in request.fields[b"content-type"].lower()
    return mimetype == b"application/x-www-form-urlencoded"


def _query(request: Request, table: Table) -> dict[str, Any]:
    """`?a=1&b=[1,2]&c=x&c=y` is `{"a": 1, "b": [1, 2], "c": ["x", "y"]}`."""
    found: dict[str, list[Any]] = {}
    for name, text in request.pairs():
        found.setdefault(name, []).append(_value(text, table))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _value(text: str, table: Table) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        if table["body.query-brackets"].status == 500:
            raise
        return text
