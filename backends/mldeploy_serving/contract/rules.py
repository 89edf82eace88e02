"""The contract, as the worker needs it: what `run()` is called with, and what its result or its error becomes."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from mldeploy_serving.contract.arguments import DeclaredArguments, Headers, builder
from mldeploy_serving.contract.checks import Finding, shown
from mldeploy_serving.contract.encoding import Encoder, NotFinite, Unsendable
from mldeploy_serving.contract.table import Table
from mldeploy_serving.entry.script import Script
from mldeploy_serving.messages import Answer, Request, refusal
from mldeploy_serving.settings import Settings
from mldeploy_serving.worker.logs import entries, in_users_code

# where inference-schema turns what was sent into what was declared; errors from there are the client's
_CONVERSION = "_deserialize_input_argument"
# word for word, with the blanks where a reason would stand
_GUNICORN_500 = b"""<html>
  <head>
    <title>Internal Server Error</title>
  </head>
  <body>
    <h1><p>Internal Server Error</p></h1>
%s
  </body>
</html>
""" % (b" " * 4)


class Rules:
    """What a contract makes of requests, results and errors.

    Args:
        script: The entry script.
        settings: The service's.
    """

    def __init__(self, script: Script, settings: Settings) -> None:
        table = Table(settings.contract)
        self._table = table
        self._v1 = settings.contract == "v1"
        self._timeout_ms = settings.scoring_timeout_ms
        self._declared = DeclaredArguments(script, table) if script.decorated else None
        self.arguments = builder(script, self._declared, table)
        self._encode = Encoder(settings.contract, nan_as_null=settings.nan_as_null).encode
        self.awaits = _never if self._v1 else _is_awaitable

    def success(self, result: Any, exec_ms: float, headers: Headers) -> Answer:
        """The answer for what `run()` has returned.

        Args:
            result: It.
            exec_ms: How long `run()` took, in milliseconds.
            headers: What else the answer has.

        Raises:
            Exception: It cannot be written; what is raised says why.
        """
        if self._is_response(result):
            from mldeploy_serving.entry.aml_response import to_answer

            return to_answer(result, exec_ms)
        return Answer(200, self._encode(result), failed=False, exec_ms=exec_ms, headers=headers)

    def _is_response(self, result: Any) -> bool:
        wrappers = sys.modules.get("werkzeug.wrappers")
        if wrappers is None or not isinstance(result, wrappers.Response):
            return False
        if not self._v1:
            return True
        from mldeploy_serving.entry.aml_response import AMLResponse

        flask = sys.modules.get("flask")  # the official server knows Flask's kind only
        return isinstance(result, AMLResponse) or (flask is not None and isinstance(result, flask.Response))

    def internal(self, error: Exception) -> Answer:
        """The answer where it is not `run()` that has raised `error`, but what comes before or after it."""
        if isinstance(error, NotFinite):
            return self._refusal("result.not-finite", place=error.place, found=shown(error.found))
        if self._v1 and isinstance(error, Unsendable):
            return _gunicorns_own()
        return self._refusal("result.unencodable")

    def failure(self, request: Request, error: BaseException) -> Answer:
        """The answer for what `run()` has raised."""
        if isinstance(error, Exception):
            place = _converted(error.__traceback__) if self._declared else None
            if self._declared and place is not None:
                return self._misfit(self._declared, request, place, error)
            if self._v1 and isinstance(error, TimeoutError):
                return self._refusal("run.own-timeout-error", failed=True, timeout=self._timeout_ms)
        elif self._v1:  # the official server's process ends, and gunicorn answers
            return _gunicorns_own()
        return self._refusal("run.raised", failed=True)

    def _misfit(self, declared: DeclaredArguments, request: Request, place: str, error: Exception) -> Answer:
        if self._v1:
            return self._refusal("run.raised", failed=True)
        found = declared.misfit(declared.again(request), place.partition(".")[0])
        return declared.explain(found or Finding("value.conversion", place, (("reason", str(error)),)))

    def _refusal(self, rule: str, *, failed: bool = False, **said: object) -> Answer:
        row = self._table[rule]
        return refusal(row.status, row.message(**said), failed=failed)


def _gunicorns_own() -> Answer:
    return Answer(500, _GUNICORN_500, b"text/html", with_ids=False)


def _is_awaitable(result: Any) -> bool:
    return hasattr(type(result), "__await__")


def _never(result: Any) -> bool:  # noqa: ARG001 - in place of the other one
    return False


def _converted(trace: TracebackType | None) -> str | None:
    """Which value could not be converted (`parameter.key`); None where the user's own code was reached first."""
    place: list[str] = []
    for entry in entries(trace):
        code = entry.tb_frame.f_code
        if code.co_name == _CONVERSION and "inference_schema" in code.co_filename:
            name = str(entry.tb_frame.f_locals["param_name"])
            if place[-1:] != [name]:  # the elements of a list go by the list's name
                place.append(name)
        elif not place and in_users_code(entry):
            return None
    return ".".join(place) or None
