"""`mldeploy environment …`: describe, register, find and build what entry scripts need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldeploy.events import Notice
from mldeploy.runner._options import FILE, metadata_file, named, one_of
from mldeploy.runner._settings import setting_flags, settings
from mldeploy.runner._verbs import Call, Room, Verb

if TYPE_CHECKING:
    from mldeploy.environment import Environment
    from mldeploy.workspace import Workspace

COLUMNS = ("name", "version")


@click.group(cls=Room)
def environment() -> None:
    """Describe, register, find and build environments."""


_folder = click.option("--directory", "-d", type=FILE, required=True, help="The folder that describes it.")
_version = click.option("--version", "-v", help="Its version.  [default: the latest]")


@environment.command("scaffold", cls=Verb, columns=COLUMNS, in_workspace=False)
@click.option("--name", "-n", required=True, help="Its name.")
@_folder
@metadata_file
def scaffold(name: str, directory: Path, output_metadata_file: Path | None) -> dict[str, Any]:
    """Write a folder that describes a small environment, to be changed and registered."""
    from mldeploy.conda_dependencies import CondaDependencies
    from mldeploy.environment import Environment

    made = Environment(name)
    made.environment_variables["EXAMPLE_ENV_VAR"] = "EXAMPLE_VALUE"
    made.python.conda_dependencies = CondaDependencies.create(pip_packages=["azureml-defaults"])
    made.save_to_directory(directory)
    return _written(made, output_metadata_file)


@environment.command("register", cls=Verb, columns=COLUMNS)
@_folder
@metadata_file
@click.pass_obj
def register(call: Call, directory: Path, output_metadata_file: Path | None) -> dict[str, Any]:
    """Register the environment that a folder describes; an unchanged one keeps its version."""
    from mldeploy.environment import Environment

    return _written(Environment.load_from_directory(directory).register(call.workspace()), output_metadata_file)


@environment.command("list", cls=Verb, columns=COLUMNS)
@metadata_file
@click.pass_obj
def list_environments(call: Call, output_metadata_file: Path | None) -> list[dict[str, Any]]:
    """List the environments: those registered, each in its latest version, and the curated ones."""
    from mldeploy.environment import Environment

    records = [_record(found) for found in Environment.list(call.workspace()).values()]
    _write(records, output_metadata_file)
    return records


@environment.command("show", cls=Verb, columns=COLUMNS)
@named("environment")
@_version
@metadata_file
@click.pass_context
def show(
    ctx: click.Context, word: str | None, flag: str | None, version: str | None, output_metadata_file: Path | None
) -> dict[str, Any]:
    """Show what an environment consists of."""
    return _written(_environment(ctx, word, flag, version), output_metadata_file)


@environment.command("download", cls=Verb, columns=COLUMNS)
@named("environment")
@_version
@_folder
@click.option("--overwrite", is_flag=True, help="Write into a folder that exists.")
@metadata_file
@click.pass_context
def download(
    ctx: click.Context,
    word: str | None,
    flag: str | None,
    version: str | None,
    directory: Path,
    overwrite: bool,
    output_metadata_file: Path | None,
) -> dict[str, Any]:
    """Write an environment to a folder, as `scaffold` does."""
    found = _environment(ctx, word, flag, version)
    found.save_to_directory(directory, overwrite)
    return _written(found, output_metadata_file)


@environment.command("build", cls=Verb, columns=("python", "digest", "path"))
@named("environment")
@_version
@click.option("--directory", "-d", type=FILE, help="A folder that describes it, instead of a name.")
@click.option(
    "--ic", "--inference-config-file", "ic", type=FILE, help="An inference configuration that has it, instead."
)
@click.option("--refresh", is_flag=True, help="Decide every package anew; the only way in which a lock changes.")
@click.option("--lock-file", type=FILE, help="Write the lock there: requirements with hashes.")
@setting_flags("engine", "offline")
@click.pass_context
def build(
    ctx: click.Context,
    word: str | None,
    flag: str | None,
    version: str | None,
    directory: Path | None,
    ic: Path | None,
    refresh: bool,
    lock_file: Path | None,
    engine: str | None,
    offline: bool | None,
) -> dict[str, Any]:
    """Resolve and install an environment, or make its image, before a deployment asks for it.

    Without a name, folder or --ic: the serving stack only, as for a deployment without an environment.
    """
    from mldeploy.packaging.building import build as build_environment

    call: Call = ctx.obj
    workspace = call.workspace()
    chosen = settings({"engine": engine, "offline": offline}, call.where.path)
    wanted = _wanted(ctx, workspace, word or flag, version, directory, ic)
    built = build_environment(
        wanted,
        workspace.store.locks,
        engine=chosen["engine"],
        refresh=refresh,
        offline=chosen["offline"],
        report=call.report,
    )
    if lock_file is not None:
        lock_file.write_text(built.resolved.lock, encoding="utf-8")
    return {
        "name": None if wanted is None else wanted.name,
        "python": built.resolved.python,
        "digest": built.resolved.digest,
        "path": built.place,
        "packages": [line.split()[0] for line in built.resolved.lock.splitlines() if "==" in line and line[0] != " "],
    }


@environment.command("modernize", cls=Verb, in_workspace=False)
@click.argument("file", type=FILE)
@click.option("--output-file", type=FILE, help="Where to write it.  [default: beside FILE, as NAME.modernized.yml]")
@setting_flags("offline")
@click.pass_obj
def modernize(call: Call, file: Path, output_file: Path | None, offline: bool | None) -> dict[str, Any]:
    """Write a conda or requirements file anew, with pins that install, and show the difference."""
    from mldeploy.packaging.modernize import modernize as mend

    mended = mend(file, offline=settings({"offline": offline}, Path())["offline"])
    target = output_file or file.with_name(f"{file.stem}.modernized{file.suffix}")
    if mended.diff:
        target.write_text(mended.text, encoding="utf-8")
    call.report(Notice(mended.diff.rstrip() or f"{file} needs no change"))
    return {"changed": bool(mended.diff), "file": str(target if mended.diff else file), "diff": mended.diff}


def _wanted(
    ctx: click.Context,
    workspace: Workspace,
    name: str | None,
    version: str | None,
    directory: Path | None,
    ic: Path | None,
) -> Environment | None:
    from mldeploy.config import load_inference_config
    from mldeploy.environment import Environment

    if sum(place is not None for place in (name, directory, ic)) > 1:
        raise click.UsageError("a name, --directory and --ic exclude each other", ctx)
    if directory is not None:
        return Environment.load_from_directory(directory)
    if ic is not None:
        return load_inference_config(ic, ctx.obj.report).environment
    return None if name is None else Environment.get(workspace, name, version)


def _environment(ctx: click.Context, word: str | None, flag: str | None, version: str | None) -> Environment:
    from mldeploy.environment import Environment

    return Environment.get(ctx.obj.workspace(), one_of(ctx, word, flag), version)


def _record(found: Environment) -> dict[str, Any]:
    """Its definition as printed: a registry's password is kept for pulling, not for showing."""
    definition: dict[str, Any] = found.definition().model_dump(mode="json", by_alias=True)
    registry = definition["docker"]["baseImageRegistry"]
    if registry and registry["password"]:
        registry["password"] = "******"  # noqa: S105
    return definition


def _written(found: Environment, file: Path | None) -> dict[str, Any]:
    record = _record(found)
    _write(record, file)
    return record


def _write(result: Any, file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
