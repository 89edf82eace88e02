"""What is wrong with a config file: findings with a level, a place and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mldeploy.config.sections import RULES, SHAPE
from mldeploy.config.words import found, kind_of
from mldeploy.errors import ConfigException
from mldeploy.events import Notice, Report, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from mldeploy.config.files import Document
    from mldeploy.config.syntax import Keys


@dataclass(frozen=True)
class Finding:
    """One thing that `mldeploy config check` tells about a file.

    Args:
        level: "error": the file is refused; "warning": it is taken, and should be changed.
        message: The key, what was expected and what was found.
        file: The file as it was given.
        line: Its line, from 1; None when the finding is about the whole file.
        hint: What to write instead; may be empty.
    """

    level: Literal["error", "warning"]
    message: str
    file: str
    line: int | None = None
    hint: str = ""

    @property
    def place(self) -> str:
        """The file and line, as editors and terminals link them."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True)
class Problem:
    """Something a model does not accept, before it is known where it was written.

    Args:
        keys: The way to the value: keys of the file, or argument names.
        message: What was expected and what was found; follows the key.
        hint: What to write instead; may be empty.
    """

    keys: Keys
    message: str
    hint: str = ""

    @property
    def text(self) -> str:
        """The key and the message."""
        return f"{spell(self.keys)} {self.message}" if self.keys else self.message

    def found_in(self, document: Document, level: Literal["error", "warning"] = "error") -> Finding:
        """The same with file and line."""
        return Finding(level, self.text, str(document.path), document.line(self.keys), self.hint)


def spell(keys: Keys) -> str:
    """The way to a value as one quoted word.

    Examples:
        >>> spell(("environment", "docker", "arguments", 0))
        "'environment.docker.arguments[0]'"
    """
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return f"'{text.lstrip('.')}'"


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Findings as they stand in the file, those about the whole of it first."""
    return sorted(findings, key=lambda finding: finding.line or 0)


def settle(findings: Iterable[Finding], report: Report = silent) -> None:
    """Raises the errors, all in one; tells the warnings.

    Raises:
        ConfigException: There is an error; its message has one line for each.
    """
    findings = in_order(findings)
    for finding in findings:
        if finding.level == "warning":
            report(Notice(str(finding)))
    errors = [finding for finding in findings if finding.level == "error"]
    if not errors:
        return
    if len(errors) == 1:
        raise ConfigException(errors[0].message, where=errors[0].place, hint=errors[0].hint)
    raise ConfigException("\n".join(str(error) for error in errors), where=errors[0].file)


def explain(error: ValidationError, data: Any) -> list[Problem]:
    """Pydantic's errors about some data in our words."""
    return [problem for details in error.errors(include_url=False) for problem in _problems(details, data)]


_EXPECTED = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "dict_type": "expected an object",
    "model_type": "expected an object",
    "list_type": "expected a list",
    "none_required": "expected null",
    "greater_than": "expected a number above {gt:g}",
    "greater_than_equal": "expected {ge:g} or more",
    "less_than": "expected a number below {lt:g}",
    "less_than_equal": "expected {le:g} or less",
}
_ALONE = {
    "missing": "is required",
    "extra_forbidden": "is not known",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "too_long": "must be empty",
}
_SECRETS = {
    "password",
    "primaryKey",
    "secondaryKey",
    "sslKey",
    "primary_key",
    "secondary_key",
    "ssl_key_pem_file",
}


def _problems(details: ErrorDetails, data: Any) -> list[Problem]:
    kind, context = details["type"], details.get("ctx", {})
    keys = _way(details["loc"], data, keep_last=kind == "missing")
    if kind == RULES:
        return [Problem((*keys, *way), text) for way, text in context["broken"]]
    if kind in _ALONE:
        return [Problem(keys, _ALONE[kind])]
    if kind == "literal_error":
        expected = f"expected {context['expected'].replace('False', 'false')}"
    else:
        expected = details["msg"] if kind == SHAPE else _EXPECTED.get(kind, "is not valid").format(**context)
    value = details["input"]
    if keys and keys[-1] in _SECRETS:
        return [Problem(keys, f"{expected}, found {kind_of(value)}")]
    return [Problem(keys, f"{expected}, found {found(value)}", _hint(kind, value))]


def _way(location: tuple[int | str, ...], data: Any, *, keep_last: bool) -> Keys:
    """The keys of a pydantic location, without the names it adds for the branches of a union."""
    way: list[int | str] = []
    for number, key in enumerate(location, start=1):
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            if not (keep_last and number == len(location)):
                continue
        way.append(key)
    return tuple(way)


def _hint(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return f'put it in quotes: "{str(value).lower()}"'
    if kind in {"int_type", "float_type", "bool_type"} and isinstance(value, str):
        return "without the quotes"
    return ""
