"""What every command has in common: the global options, the result on stdout, and the groups.

click rather than typer: v1's `model deploy` and `service update` share some sixty options, which here are rows of
a table; typer wants each as a parameter of each function, in its signature.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldeploy.runner import _exits
from mldeploy.runner._output import FORMATS, render
from mldeploy.runner._progress import shown
from mldeploy.runner._workspace import Where, find

if TYPE_CHECKING:
    from mldeploy.events import Report
    from mldeploy.workspace import Workspace

_ARGS = "mldeploy.args"
_EXIT = "mldeploy.exit"


@dataclass(frozen=True)
class Call:
    """One command as it was typed.

    Args:
        where: Which workspace.
        report: Takes the events of long steps.
    """

    where: Where
    report: Report

    def workspace(self, name: str | None = None) -> Workspace:
        """The workspace that the command works in.

        Args:
            name: Typed as a word of its own, in the place of `-w`.

        Raises:
            WorkspaceException: It is not there, or cannot be opened.
            UserErrorException: The flags or the config.json do not say which.
        """
        return find(replace(self.where, name=name) if name else self.where, self.report)


def _compiled(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:  # noqa: ARG001
    """`--query` is checked before the command runs, not when its work is done."""
    if value is None:
        return None
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.compile(value)
    except JMESPathError as error:
        raise click.BadParameter(f"is no JMESPath query: {error}".replace("\n", " ")) from None


def _global_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--output", "-o", "output"],
            type=click.Choice(FORMATS),
            default="json",
            help="Output format.  [default: json]",
        ),
        click.Option(["--query"], callback=_compiled, help="JMESPath query over the result."),
        click.Option(["--only-show-errors"], is_flag=True, help="No progress and no notices on stderr."),
        click.Option(["--verbose", "-v"], is_flag=True, help="A line for each step, with the seconds so far."),
        click.Option(["--debug"], is_flag=True, help="The traceback of an error."),
    ]


def _workspace_options() -> list[click.Parameter]:
    return [
        click.Option(["--workspace-name", "-w"], help="The workspace; else config.json's, else `default`."),
        click.Option(["--resource-group", "-g"], help="Its resource group, where several have the name."),
        click.Option(["--subscription-id"], help="Its subscription, where several have the name."),
        click.Option(
            ["--path", "project"],
            type=click.Path(path_type=Path),
            default=Path(),
            help="The project's folder, where config.json is looked for.  [default: here]",
        ),
    ]


class Verb(click.Command):
    """A command whose function returns its result as JSON values, or a function that gives it.

    Args:
        columns: The keys that `-o table` shows.
        in_workspace: Whether it takes `-w` and its like.
    """

    def __init__(self, *args: Any, columns: Sequence[str] = (), in_workspace: bool = True, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self._columns = columns
        self._own = len(self.params)
        self._in_workspace = in_workspace
        taken = {name for param in self.params for name in param.opts}
        for param in [*(_workspace_options() if in_workspace else []), *_global_options()]:
            param.opts = [name for name in param.opts if name not in taken]  # `-v` is a version in some commands
            self.params.append(param)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the line as typed, for errors that show the whole line to type."""
        ctx.meta[_ARGS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> None:
        """Run it and print what it returns."""
        given = {name: ctx.params.pop(name) for name in ("output", "query", "only_show_errors", "verbose", "debug")}
        where = Where()
        if self._in_workspace:
            where = Where(*(ctx.params.pop(param.name) for param in _workspace_options() if param.name))
        with shown(given["verbose"], given["only_show_errors"]) as report:
            ctx.obj = Call(where, report)
            result = super().invoke(ctx)
        if callable(result):  # what writes by itself, when the steps have been shown
            result = result()
        columns = self._columns
        if given["query"] and result is not None:
            result, columns = given["query"].search(result), ()
        if isinstance(result, bytes):
            write(ctx, result)
        elif result is not None and (text := render(result, given["output"], columns)):
            write(ctx, text + "\n")
        ctx.exit(ctx.meta.get(_EXIT, _exits.OK))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options first, then those of every command."""
        own = [record for param in self.params[: self._own] if (record := param.get_help_record(ctx))]
        shared = [record for param in self.get_params(ctx)[self._own :] if (record := param.get_help_record(ctx))]
        for title, records in (("Options", own), ("Global options", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def write(ctx: click.Context, text: str | bytes) -> None:
    """Put something on stdout at once; a reader that has gone ends the command without a word."""
    try:
        if isinstance(text, bytes):
            sys.stdout.buffer.write(text)
        else:
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ctx.exit(_exits.BROKEN_PIPE)


def finish(ctx: click.Context, code: int) -> None:
    """Let the command print its result, and then end with an exit code.

    Args:
        ctx: The command's context.
        code: One of `_exits`.
    """
    ctx.meta[_EXIT] = code


def typed_line(ctx: click.Context, *added: str) -> str:
    """The command as it was typed, with something added after its words.

    Args:
        ctx: The command's context.
        added: Options and values.
    """
    import shlex

    return shlex.join([*ctx.command_path.split(), *added, *ctx.meta[_ARGS]])


class Room(click.Group):
    """A group of commands that also answers for words that are to come."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of the group, or the answer for a word that is to come."""
        from mldeploy.runner import later

        path = (*ctx.command_path.split()[1:], cmd_name)
        return super().get_command(ctx, cmd_name) or later.word(path)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; a word that is unknown is answered in the group's own words."""
        first = args[0]
        if not first.startswith("-") and self.get_command(ctx, first) is None:
            raise click.UsageError(self.unknown(ctx, first), ctx)
        return super().resolve_command(ctx, args)

    def unknown(self, ctx: click.Context, word: str) -> str:
        """What to say to a word that is no command of the group."""
        from difflib import get_close_matches

        known = self.list_commands(ctx)
        near = get_close_matches(word, known, n=1)
        return f"'{word}' is no command. " + (f"Did you mean '{near[0]}'?" if near else f"There is {', '.join(known)}.")
