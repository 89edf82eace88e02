"""Options that several commands share, declared once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from mldeploy.errors import UserErrorException

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

FILE = click.Path(path_type=Path)


class Pairs(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """`key=value`; with `bare`, a `key` alone too, which is told from `key=` by its None."""

    name = "KEY=VALUE"

    def __init__(self, bare: bool = False) -> None:
        self._bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str | None]:
        """Split at the first `=`."""
        key, equals, rest = value.partition("=")
        if not key or not (equals or self._bare):
            self.fail(f"'{value}' is not KEY=VALUE", param, ctx)
        return key, rest if equals else None


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several option decorators as one, shown in the order given."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def pairs(flag: str, help: str) -> Callable[[F], F]:  # noqa: A002 - click's word
    """A repeatable `KEY=VALUE` option."""
    return click.option(flag, multiple=True, type=Pairs(), help=help)


def filters(function: F) -> F:
    """`--tag` and `--property` of the `list` commands."""
    kind = Pairs(bare=True)
    return together(
        click.option("--tag", "tags", multiple=True, type=kind, metavar="KEY[=VALUE]", help="Only with this tag."),
        click.option(
            "--property", "properties", multiple=True, type=kind, metavar="KEY[=VALUE]", help="Only with this property."
        ),
    )(function)


def relabel(function: F) -> F:
    """`--add-tag`, `--remove-tag`, `--add-property` and `-d` of the `update` commands."""
    return together(
        pairs("--add-tag", "A tag to add or change; may be repeated."),
        click.option("--remove-tag", multiple=True, metavar="KEY", help="A tag to remove; may be repeated."),
        pairs("--add-property", "A property to add; may be repeated."),
        click.option("--description", "-d", help="The description instead of the present one."),
    )(function)


def metadata_file(function: F) -> F:
    """`-t`: the result as a file, which `-f` of other commands takes."""
    return click.option(
        "--output-metadata-file", "-t", type=FILE, help="Write the result there too, as JSON; `-f` reads it."
    )(function)


def named(what: str) -> Callable[[F], F]:
    """A name that may be given by `-n` or as the first word."""
    return together(
        click.argument("word", required=False, metavar="[NAME]"),
        click.option("--name", "-n", "flag", help=f"The {what}'s name."),
    )


def one_of(ctx: click.Context, word: str | None, flag: str | None, shown: str = "-n NAME") -> str:
    """The name, given in either way.

    Raises:
        UsageError: It is missing, or given twice and not the same.
    """
    if word and flag and word != flag:
        raise click.UsageError(f"'{word}' and '{flag}': which one is meant?", ctx)
    name = word or flag
    if not name:
        raise click.UsageError(f"it is not said which one: {shown}", ctx)
    return name


def text_or_file(value: str) -> bytes:
    """What `-d` means: the text itself, `@file` for what is in a file, `-` or `@-` for stdin.

    Raises:
        UserErrorException: The file cannot be read.
    """
    if value in {"-", "@-"}:
        return sys.stdin.buffer.read()
    if not value.startswith("@"):
        return value.encode()
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise UserErrorException(
            f"the input cannot be read: {error.strerror}",
            where=value[1:],
            hint="@file is a path from the current folder",
        ) from None


def as_filter(chosen: Sequence[tuple[str, str | None]]) -> list[Any] | None:
    """`--tag` values as v1's `list` methods take them: `"key"` or `["key", "value"]`."""
    return [key if value is None else [key, value] for key, value in chosen] or None


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given."""
    return {name: value for name, value in values.items() if value is not None}
