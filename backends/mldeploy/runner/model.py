"""`mldeploy model …`: register, find, change, download and delete models. Deploying them is in `deploy.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldeploy.errors import UserErrorException
from mldeploy.runner._options import FILE, as_filter, filters, metadata_file, one_of, pairs, relabel, together
from mldeploy.runner._verbs import Call, Room, Verb, typed_line

if TYPE_CHECKING:
    from mldeploy.model import Model
    from mldeploy.resource_configuration import ResourceConfiguration
    from mldeploy.workspace import Workspace

FRAMEWORKS = ("TensorFlow", "ScikitLearn", "Onnx", "Custom", "Multi", "TfKeras", "PyTorch")
COLUMNS = ("name", "version", "framework", "createdTime", "description")


@click.group(cls=Room)
def model() -> None:
    """Register, find, change, download, delete and deploy models."""


_resources = together(
    click.option("--cpu-cores", "--cc", type=float, help="CPU cores it needs by default."),
    click.option("--memory-gb", "--gb", type=float, help="Memory in GB it needs by default."),
    click.option("--gpu-cores", "--gc", type=int, help="GPUs the model needs by default."),
    click.option("--sample-input-dataset-id", help="A dataset with sample requests."),
    click.option("--sample-output-dataset-id", help="A dataset with sample answers."),
)


def _identified(function: Any) -> Any:
    """A model by `-i name:version`, or by that as the first word."""
    function = click.option("--model-id", "-i", help="The model, name:version.")(function)
    return click.argument("word", required=False, metavar="[NAME:VERSION]")(function)


@model.command("register", cls=Verb, columns=COLUMNS)
@click.option("--name", "-n", required=True, help="The model's name.")
@click.option("--model-path", "-p", type=FILE, help="Its file or folder.")
@click.option("--description", "-d", help="Free text.")
@click.option("--model-framework", type=click.Choice(FRAMEWORKS), help="What it was made with.")
@click.option("--model-framework-version", help="The version of that.")
@pairs("--tag", "A tag; may be repeated.")
@pairs("--property", "A property; may be repeated.")
@_resources
@metadata_file
@click.option("--asset-path", hidden=True)
@click.option("--experiment-name", hidden=True)
@click.option("--run-id", "-r", hidden=True)
@click.option("--run-metadata-file", "-f", hidden=True)
@click.pass_context
def register(
    ctx: click.Context,
    /,
    name: str,
    model_path: Path | None,
    output_metadata_file: Path | None,
    tag: tuple[tuple[str, str], ...],
    property: tuple[tuple[str, str], ...],  # noqa: A002 - the flag's name
    **given: Any,
) -> dict[str, Any]:
    """Register a file or folder under a name; the registry gives the version."""
    from mldeploy.model import Model

    call: Call = ctx.obj
    run = {key: given.pop(key) for key in ("asset_path", "experiment_name", "run_id", "run_metadata_file")}
    if model_path is None or any(run.values()):
        raise _without_run(ctx, name, model_path or run["asset_path"])
    registered = Model.register(
        call.workspace(),
        model_path,
        name,
        tags=dict(tag),
        properties=dict(property),
        description=given["description"],
        model_framework=given["model_framework"],
        model_framework_version=given["model_framework_version"],
        sample_input_dataset=given["sample_input_dataset_id"],
        sample_output_dataset=given["sample_output_dataset_id"],
        resource_configuration=_configuration(given),
        report=call.report,
    )
    return _written(registered, output_metadata_file)


@model.command("list", cls=Verb, columns=COLUMNS)
@click.option("--model-name", "-n", help="Only this name.")
@click.option("--latest", "-l", is_flag=True, help="Only the latest version of each name.")
@filters
@click.option("--dataset-id", help="Only models registered with this dataset.")
@click.option("--run-id", hidden=True)
@click.pass_obj
def list_models(
    call: Call,
    model_name: str | None,
    latest: bool,
    tags: Any,
    properties: Any,
    dataset_id: str | None,
    run_id: str | None,
) -> list[dict[str, Any]]:
    """List models, the latest registered first."""
    from mldeploy.model import Model

    if run_id:
        return []  # nothing here was registered from a run
    found = Model.list(
        call.workspace(), model_name, as_filter(tags), as_filter(properties), latest=latest, dataset_id=dataset_id
    )
    return [each.serialize() for each in found]


@model.command("show", cls=Verb, columns=COLUMNS)
@_identified
@click.option("--model-name", "-n", help="Its name.")
@click.option("--version", type=int, help="Its version.  [default: the latest]")
@metadata_file
@click.pass_context
def show(
    ctx: click.Context,
    word: str | None,
    model_id: str | None,
    model_name: str | None,
    version: int | None,
    output_metadata_file: Path | None,
) -> dict[str, Any]:
    """Show a model: by name its latest version, by name:version that one."""
    from mldeploy.model import Model

    name = one_of(ctx, word, model_id or model_name, "-n NAME or -i NAME:VERSION")
    if ":" in name:
        return _written(Model(ctx.obj.workspace(), id=name), output_metadata_file)
    return _written(Model(ctx.obj.workspace(), name, version=version), output_metadata_file)


@model.command("update", cls=Verb, columns=COLUMNS)
@_identified
@relabel
@_resources
@metadata_file
@click.pass_context
def update(
    ctx: click.Context,
    /,
    word: str | None,
    model_id: str | None,
    add_tag: tuple[tuple[str, str], ...],
    remove_tag: tuple[str, ...],
    add_property: tuple[tuple[str, str], ...],
    output_metadata_file: Path | None,
    **given: Any,
) -> dict[str, Any]:
    """Change a model's tags, description and default resources, and add properties."""
    changed = _model(ctx.obj.workspace(), one_of(ctx, word, model_id, "-i NAME:VERSION"))
    changed.update_tags_properties(dict(add_tag), remove_tag, dict(add_property))
    changed.update(
        description=given["description"],
        sample_input_dataset=given["sample_input_dataset_id"],
        sample_output_dataset=given["sample_output_dataset_id"],
        resource_configuration=_configuration(given),
    )
    return _written(changed, output_metadata_file)


@model.command("download", cls=Verb)
@_identified
@click.option("--target-dir", "-t", type=FILE, required=True, help="The folder to write it to.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.pass_context
def download(
    ctx: click.Context, word: str | None, model_id: str | None, target_dir: Path, overwrite: bool
) -> dict[str, str]:
    """Write a model's files to a folder."""
    wanted = _model(ctx.obj.workspace(), one_of(ctx, word, model_id, "-i NAME:VERSION"))
    return {"downloadPath": wanted.download(target_dir, exist_ok=overwrite)}


@model.command("delete", cls=Verb)
@_identified
@click.pass_context
def delete(ctx: click.Context, word: str | None, model_id: str | None) -> None:
    """Delete a model; refused while a service uses it."""
    _model(ctx.obj.workspace(), one_of(ctx, word, model_id, "-i NAME:VERSION")).delete()


def _model(workspace: Workspace, model_id: str) -> Model:
    """The model of an id; a name alone would change or delete a version that nobody named.

    Raises:
        UserErrorException: It has no version.
    """
    from mldeploy.model import Model

    if ":" not in model_id:
        latest = Model(workspace, model_id)
        raise UserErrorException(f"which version of {model_id}?", hint=f"{latest.id} is the latest")
    return Model(workspace, id=model_id)


def _configuration(given: dict[str, Any]) -> ResourceConfiguration | None:
    from mldeploy.resource_configuration import ResourceConfiguration

    cpu, memory, gpu = given["cpu_cores"], given["memory_gb"], given["gpu_cores"]
    if cpu is None and memory is None and gpu is None:
        return None
    return ResourceConfiguration(cpu=cpu, memory_in_gb=memory, gpu=gpu)


def _written(found: Model, file: Path | None) -> dict[str, Any]:
    """The model as JSON values, in `-t`'s file too, where `-f` of other commands finds the id."""
    record = found.serialize()
    if file is not None:
        workspace = found.workspace
        identity = {
            "modelId": found.id,
            "workspaceName": workspace.name,
            "resourceGroupName": workspace.resource_group,
            "subscriptionId": workspace.subscription_id,
        }
        file.write_text(json.dumps({**identity, **record}, indent=2) + "\n", encoding="utf-8")
    return record


def _without_run(ctx: click.Context, name: str, path: Any) -> UserErrorException:
    if path is None:
        return UserErrorException("the model's file or folder is needed", hint=typed_line(ctx, "-p", "PATH"))
    return UserErrorException(
        "a model cannot be registered from a training run",
        reason="--asset-path, --experiment-name and --run-id name a run in the cloud, and there are none here",
        hint=f"download its output, then: mldeploy model register -n {name} -p {path}",
    )
