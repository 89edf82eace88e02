"""`mldeploy workspace …` and `mldeploy folder attach`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mldeploy.errors import UserErrorException
from mldeploy.runner._options import FILE, Pairs
from mldeploy.runner._verbs import Call, Room, Verb

COLUMNS = ("name", "resourceGroup", "subscriptionId", "location", "creationTime")


@click.group(cls=Room)
def workspace() -> None:
    """See, make and delete workspaces."""


@click.group(cls=Room)
def folder() -> None:
    """Say which workspace a folder's commands use."""


@workspace.command("list", cls=Verb, columns=COLUMNS, in_workspace=False)
@click.option("--resource-group", "-g", help="Only those of this resource group.")
@click.option("--subscription-id", help="Only those of this subscription.")
def list_workspaces(resource_group: str | None, subscription_id: str | None) -> list[dict[str, Any]]:
    """List workspaces."""
    from mldeploy.workspace import Workspace

    found = Workspace.list(subscription_id, resource_group=resource_group)
    return [each.get_details() for same_name in found.values() for each in same_name]


@workspace.command("show", cls=Verb, columns=COLUMNS)
@click.argument("word", required=False, metavar="[NAME]")
@click.pass_obj
def show(call: Call, word: str | None) -> dict[str, Any]:
    """Show a workspace; without a name, the one that commands use here."""
    return call.workspace(word).get_details()


@workspace.command("create", cls=Verb, columns=COLUMNS)
@click.argument("word", required=False, metavar="[NAME]")
@click.option("--location", "-l", help="A region, as free text.")
@click.option("--friendly-name", help="A name for people.")
@click.option("--tags", "-t", multiple=True, type=Pairs(), help="A tag; may be repeated.")
@click.option("--exist-ok", is_flag=True, help="Take the one that is there already.")
@click.pass_context
def create(
    ctx: click.Context,
    word: str | None,
    location: str | None,
    friendly_name: str | None,
    tags: tuple[tuple[str, str], ...],
    exist_ok: bool,
) -> dict[str, Any]:
    """Make a workspace."""
    from mldeploy.workspace import Workspace

    where = ctx.obj.where
    name = word or where.name
    if not name:
        raise click.UsageError("the workspace needs a name: -w NAME", ctx)
    made = Workspace.create(
        name,
        subscription_id=where.subscription_id,
        resource_group=where.resource_group,
        location=location,
        friendly_name=friendly_name,
        tags=dict(tags),
        exist_ok=exist_ok,
    )
    return made.get_details()


@workspace.command("delete", cls=Verb)
@click.argument("word", required=False, metavar="[NAME]")
@click.option("--all-resources", is_flag=True, help="Its services too.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(call: Call, word: str | None, all_resources: bool, yes: bool) -> None:
    """Delete a workspace with its models and environments."""
    if not (word or call.where.name):
        raise UserErrorException("which workspace?", hint="mldeploy workspace delete NAME")
    doomed = call.workspace(word)
    if not yes:
        _ask(f"Delete workspace {doomed.name} with {len(doomed.models)} models?")
    doomed.delete(delete_dependent_resources=all_resources)


def _ask(question: str) -> None:
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            raise UserErrorException("there is nobody to ask", hint="--yes deletes without asking") from None
        raise


@workspace.command("gc", cls=Verb)
@click.argument("word", required=False, metavar="[NAME]")
@click.pass_obj
def gc(call: Call, word: str | None) -> dict[str, int]:
    """Remove the bytes that no model has: what deleted models and interrupted registrations left."""
    return {"bytesFreed": call.workspace(word).store.models.gc(call.report)}


@folder.command("attach", cls=Verb, columns=COLUMNS)
@click.option("--experiment-name", "-e", hidden=True)
@click.option("--output-metadata-file", "-t", type=FILE, help="Write the result there too, as JSON.")
@click.pass_obj
def attach(call: Call, experiment_name: str | None, output_metadata_file: Path | None) -> dict[str, Any]:
    """Write .azureml/config.json, which makes -w and -g implicit in the folder and below."""
    if experiment_name:
        raise UserErrorException("there are no experiments here", hint="leave out -e")
    if not call.where.name:
        raise UserErrorException("which workspace?", hint="mldeploy folder attach -w NAME")
    attached = call.workspace()
    attached.write_config(call.where.path)
    details = attached.get_details()
    if output_metadata_file is not None:
        output_metadata_file.write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
    return details
