"""All commands under one, and what an error looks like: message and exit code."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from mldeploy.errors import AzureMLException
from mldeploy.runner import _exits
from mldeploy.runner._verbs import Room
from mldeploy.runner.completion import completion
from mldeploy.runner.config import config
from mldeploy.runner.deploy import deploy
from mldeploy.runner.doctor import doctor
from mldeploy.runner.environment import environment
from mldeploy.runner.images import images
from mldeploy.runner.model import model
from mldeploy.runner.model_package import package
from mldeploy.runner.registry import pull, push, sbom
from mldeploy.runner.serve import serve
from mldeploy.runner.service import service
from mldeploy.runner.workspace import folder, workspace

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PROGRAM = "mldeploy"
_SETTINGS = {"help_option_names": ["--help", "-h"], "max_content_width": 110}
_USERS_FILES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


class _Program(Room):
    """The top: its own groups, and those of the entry-point group `mldeploy.commands`, in the order of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our own, then those that other distributions bring."""
        return [*self.commands, *sorted(_brought())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Our own first; nobody is asked for a word that is ours."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        brought = _brought().get(cmd_name)
        return brought.load() if brought else super().get_command(ctx, cmd_name)


def _brought() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group="mldeploy.commands")}


@click.group(PROGRAM, cls=_Program, context_settings=_SETTINGS)
@click.version_option(package_name="pytest-mldeploy", prog_name=PROGRAM)
def program() -> None:
    """Deploy machine-learning models as Azure Machine Learning v1 did: register, describe, deploy, score, delete."""


model.add_command(deploy)
model.add_command(package)
for _verb in (push, pull, sbom):
    images.add_command(_verb)
for _command in (model, service, environment, images, workspace, folder, config, serve, doctor, completion):
    program.add_command(_command)


def run(typed: Sequence[str]) -> int:
    """Run one command.

    Args:
        typed: The words after `mldeploy`.

    Returns:
        The exit code.
    """
    try:
        with _terminable():
            return program.main(list(typed), prog_name=PROGRAM, standalone_mode=False) or _exits.OK
    except Exception as error:
        if "--debug" in typed:
            traceback.print_exc()
        return _told(error)


def _told(error: Exception) -> int:
    """Say what ended the command, in one place for all of them."""
    if isinstance(error, AzureMLException):
        return _say(str(error), _exits.code_for(error))
    if isinstance(error, click.Abort):
        return _say("interrupted", _exits.INTERRUPTED)
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, _USERS_FILES):
        return _say(f"{error.strerror}: {error.filename}", _exits.USAGE)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return _say(
        f"{type(error).__name__}: {error} ({where.filename}:{where.lineno}). "
        "This is a fault of mldeploy's own: the same command with --debug shows the traceback.",
        _exits.UNEXPECTED,
    )


def _say(text: str, code: int) -> int:
    click.echo(f"Error: {text}", err=True)
    return code


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: what it had begun is undone."""

    def end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a handler
        raise SystemExit(_exits.TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
