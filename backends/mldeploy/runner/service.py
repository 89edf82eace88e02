"""`mldeploy service …`: see, score, read the log of, change and delete what is deployed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import click

from mldeploy.errors import ConfigException, WebserviceException
from mldeploy.runner import _deploying
from mldeploy.runner._options import as_filter, filters, named, one_of, relabel, text_or_file
from mldeploy.runner._verbs import Call, Room, Verb, write
from mldeploy.runner.deploy import COLUMNS, wait

if TYPE_CHECKING:
    from mldeploy.webservice import LocalWebservice, Webservice

LOG_LINES = 5000  # v1's default
_LOOK_AGAIN_S = 0.25


class Services(Room):
    """The group; the seed page's `service NAME` lacks the verb, and is told the whole line."""

    def unknown(self, ctx: click.Context, word: str) -> str:
        """What to say to a word that is no verb."""
        return (
            f"'{word}' is no verb. If it is a service, `{ctx.command_path} show {word}` shows it "
            f"and `{ctx.command_path} delete {word}` deletes it."
        )


@click.group(cls=Services)
def service() -> None:
    """See, score, change and delete what is deployed."""


@service.command("list", cls=Verb, columns=COLUMNS)
@click.option("--compute-type", "-c", help="Only those of one place: local, ACI, AKS.")
@click.option("--model-id", help="Only those that serve this name:version.")
@click.option("--model-name", help="Only those that serve some version of this model.")
@filters
@click.pass_obj
def list_services(
    call: Call, compute_type: str | None, model_id: str | None, model_name: str | None, tags: Any, properties: Any
) -> list[dict[str, Any]]:
    """List services by name."""
    from mldeploy.webservice import Webservice

    found = Webservice.list(
        call.workspace(), compute_type, model_name, model_id, as_filter(tags), as_filter(properties)
    )
    return [each.serialize() for each in found]


@service.command("show", cls=Verb, columns=COLUMNS)
@named("service")
@click.pass_context
def show(ctx: click.Context, word: str | None, flag: str | None) -> dict[str, Any]:
    """Show a service: its state, where it answers, what it serves."""
    return _service(ctx, word, flag).serialize()


@service.command("run", cls=Verb)
@named("service")
@click.option("--input-data", "-d", required=True, help="What to post: the text itself, @file, or - for stdin.")
@click.pass_context
def run(ctx: click.Context, word: str | None, flag: str | None, input_data: str) -> Any:
    """Score: post the input, print the answer."""
    body = text_or_file(input_data)
    return _service(ctx, word, flag).run(body)


@service.command("get-logs", cls=Verb)
@named("service")
@click.option(
    "--num-lines",
    "--num_lines",
    "-l",
    type=click.IntRange(min=0),
    default=LOG_LINES,
    help="Lines from the end.  [default: 5000]",
)
@click.option("--init", "-i", is_flag=True, help="v1's init container; a local service has none.")
@click.option("--follow", is_flag=True, help="Go on till the service ends, or Ctrl-C.")
@click.pass_context
def get_logs(ctx: click.Context, word: str | None, flag: str | None, num_lines: int, init: bool, follow: bool) -> None:
    """Print what the server and the entry script wrote, as it is."""
    found = _service(ctx, word, flag)
    text = found.get_logs(num_lines, init)
    write(ctx, text)
    if follow:
        for more in _followed(found, text):
            write(ctx, more)


@service.command("update", cls=Verb, columns=COLUMNS)
@named("service")
@_deploying.model_flags
@_deploying.inference_flags
@_deploying.deployment_flags
@relabel
@click.option("--no-wait", is_flag=True, help="Return as soon as it is started, before it is Healthy.")
@click.pass_context
def update(
    ctx: click.Context,
    /,
    word: str | None,
    flag: str | None,
    add_tag: tuple[tuple[str, str], ...],
    remove_tag: tuple[str, ...],
    add_property: tuple[tuple[str, str], ...],
    description: str | None,
    no_wait: bool,
    **given: Any,
) -> dict[str, Any]:
    """Change a service: what is not given stays. Tags, properties and description change without a restart."""
    from mldeploy.config.deployment import LocalWebserviceDeploymentConfiguration

    call: Call = ctx.obj
    changed = _service(ctx, word, flag)
    ids = _deploying.model_ids(given.pop("models"), given.pop("model_files"))
    asked = _deploying.sort(given)
    if asked.scoring_timeout_ms is not None:
        raise click.UsageError("--scoring-timeout-ms is said by `model deploy --overwrite`", ctx)
    inference = _deploying.inference_config(changed.workspace, asked, call.report)
    if inference is not None and inference.environment is None and "ic" not in asked.inference:
        inference.environment = changed.environment
    configuration = _deploying.deployment_config(asked, None, call.report)
    if configuration is not None and not isinstance(configuration, LocalWebserviceDeploymentConfiguration):
        raise ConfigException(
            f"{changed.name} is a local service, and --dc is for {configuration.compute_type}",
            where=str(asked.dc),
            hint="a service stays where it is: deploy another one there",
        )
    if not (ids or inference or configuration or add_tag or remove_tag or add_property or description is not None):
        raise click.UsageError("nothing is said to change", ctx)
    changed.relabel(dict(add_tag), dict(add_property), description, remove_tag)
    if ids or inference or configuration:
        changed.update(ids or None, configuration, inference_config=inference, report=call.report)
        if not no_wait:
            wait(changed, call, replaced=True)
    return changed.serialize()


@service.command("reload", cls=Verb, columns=COLUMNS)
@named("service")
@click.option("--no-wait", is_flag=True, help="Return as soon as it is started, before it is Healthy.")
@click.pass_context
def reload(ctx: click.Context, word: str | None, flag: str | None, no_wait: bool) -> dict[str, Any]:
    """Restart a local service with fresh copies of its entry script and source directory."""
    found = _service(ctx, word, flag)
    found.reload(report=ctx.obj.report)
    if not no_wait:
        wait(found, ctx.obj, replaced=True)
    return found.serialize()


@service.command("delete", cls=Verb)
@named("service")
@click.pass_context
def delete(ctx: click.Context, word: str | None, flag: str | None) -> None:
    """Stop a service and forget it; returns when it is gone."""
    from mldeploy import deployment

    name = one_of(ctx, word, flag)
    deployment.delete(ctx.obj.workspace(), name, ctx.obj.report)


def _service(ctx: click.Context, word: str | None, flag: str | None) -> LocalWebservice:
    from mldeploy.webservice import Webservice

    # Local is the only target so far, and what a record of it gives
    return cast("LocalWebservice", Webservice(ctx.obj.workspace(), one_of(ctx, word, flag)))


def _followed(found: Webservice, shown: str) -> Iterator[str]:
    """What is written from now on, till the service ends or is deleted."""
    seen = shown.splitlines(keepends=True)
    running = True
    while running:
        time.sleep(_LOOK_AGAIN_S)
        try:
            running = found.state != "Failed"
            lines = found.get_logs(max(len(seen), LOG_LINES)).splitlines(keepends=True)
        except WebserviceException:
            return
        fresh = lines[_overlap(seen, lines) :]
        if fresh:
            yield "".join(fresh)
        seen = lines


def _overlap(before: list[str], after: list[str]) -> int:
    """How many of the first lines of `after` end `before`: the log has moved on by the rest.

    Examples:
        >>> _overlap(["a", "b", "c"], ["b", "c", "d"])
        2
    """
    for start in range(len(before)):
        if before[start:] == after[: len(before) - start]:
            return len(before) - start
    return 0
