"""`mldeploy config …`: schemas for editors, and checks without a deployment."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from mldeploy.runner import _exits
from mldeploy.runner._options import FILE
from mldeploy.runner._verbs import Room, Verb, finish

KINDS = ("inference", "deployment", "environment", "mldeploy")


@click.group(cls=Room)
def config() -> None:
    """Check config files, and print their schemas."""


@config.command("schema", cls=Verb, in_workspace=False)
@click.argument("kind", type=click.Choice(KINDS))
def schema(kind: str) -> dict[str, Any]:
    """Print the JSON Schema of a kind of config file, for an editor's completion."""
    from mldeploy.config import json_schema

    return json_schema(kind)


@config.command("check", cls=Verb, columns=("level", "file", "line", "message", "hint"), in_workspace=False)
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...]) -> list[dict[str, Any]]:
    """Check config files of any kind; exit code 2 where one would be refused."""
    from mldeploy.config import check as find

    findings = [finding for file in files for finding in find(file)]
    if any(finding.level == "error" for finding in findings):
        finish(ctx, _exits.USAGE)
    return [dataclasses.asdict(finding) for finding in findings]
