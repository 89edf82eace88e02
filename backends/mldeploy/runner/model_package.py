"""`mldeploy model package`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mldeploy.errors import UserErrorException
from mldeploy.events import Notice
from mldeploy.runner import _deploying
from mldeploy.runner._options import FILE
from mldeploy.runner._settings import SERVING, serving, setting_flags, settings
from mldeploy.runner._verbs import Call, Verb

COLUMNS = ("location", "state", "digest")
_SETTINGS = ("registry", "offline", *SERVING)


@click.command("package", cls=Verb, columns=COLUMNS)
@_deploying.model_flags
@_deploying.inference_flags
@click.option("--image-name", "--in", help="The image's name.  [default: package]")
@click.option("--image-label", "--il", help="The image's label.  [default: the time, in UTC]")
@click.option("--output-path", type=FILE, help="Write a Dockerfile and its context there, and make no image.")
@click.option(
    "--debug-port",
    type=click.IntRange(1, 65535),
    help="The server waits there for a debugger (debugpy), till one comes.",
)
@click.option("--sbom", type=FILE, help="Write there what the environment is made of, in CycloneDX.")
@setting_flags(*_SETTINGS)
@click.option("--no-wait", is_flag=True, hidden=True)
@click.pass_context
def package(
    ctx: click.Context,
    /,
    image_name: str | None,
    image_label: str | None,
    output_path: Path | None,
    debug_port: int | None,
    sbom: Path | None,
    no_wait: bool,
    **given: Any,
) -> dict[str, Any]:
    """Make an image of models and what serves them, or a folder that `docker build` makes one of.

    The image is on this machine's engine; with --registry it is pushed there too. Its port is 5001.
    """
    from mldeploy.model import Model

    call: Call = ctx.obj
    if no_wait:
        raise UserErrorException(
            "--no-wait: there is nothing to wait for", reason="the package is made by this command", hint="leave it out"
        )
    chosen = settings({"scoring_timeout_ms": None, **{name: given.pop(name) for name in _SETTINGS}}, call.where.path)
    models = _deploying.model_ids(given.pop("models"), given.pop("model_files"))
    workspace = call.workspace()
    call.report(Notice(f"Workspace {workspace.name}"))
    made = Model.package(
        workspace,
        models,
        _deploying.inference_config(workspace, _deploying.sort({**given, "dc": None}), call.report),
        output_path is not None,
        image_name,
        image_label,
        registry=chosen["registry"],
        serving=serving(chosen),
        debug_port=debug_port,
        offline=chosen["offline"],
        report=call.report,
    )
    if output_path is not None:
        made.save(output_path)
    if sbom is not None:
        _write(sbom, made.bill_of_materials())
    return made.serialize()


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UserErrorException(
            f"the bill of materials cannot be written: {error.strerror}", where=str(file), hint="--sbom FILE"
        ) from None
