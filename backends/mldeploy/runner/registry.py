"""`mldeploy images push|pull|sbom`: images to and from registries, and what is in them."""

from __future__ import annotations

import json
from typing import Any

import click

from mldeploy.errors import UserErrorException
from mldeploy.runner._settings import setting_flags, settings
from mldeploy.runner._verbs import Call, Verb


@click.command("push", cls=Verb)
@click.argument("image")
@click.argument("target", required=False)
@setting_flags("registry")
@click.pass_context
def push(ctx: click.Context, image: str, target: str | None, registry: str | None) -> dict[str, str]:
    """Push an image to a registry.

    It gets the name TARGET there; without one, its own below --registry. Credentials are Docker's own: docker login.
    A push that was interrupted goes on where it ended.
    """
    from mldeploy.engines.connection import connect
    from mldeploy.images.registries import registry as registries

    call: Call = ctx.obj
    chosen = settings({"registry": registry}, call.where.path)["registry"]
    if target is None and not chosen:
        raise UserErrorException(
            "it is not said where to", where=image, hint=f"--registry HOST, or a name there: HOST/{image}"
        )
    name = target or f"{chosen.removesuffix('/')}/{registries.Reference.of(image)}"
    return {"location": name, "digest": registries.push(connect(), image, name, report=call.report)}


@click.command("pull", cls=Verb, in_workspace=False)
@click.argument("reference")
@click.pass_context
def pull(ctx: click.Context, reference: str) -> dict[str, str]:
    """Pull an image from a registry, by name or by digest."""
    from mldeploy.engines.connection import connect
    from mldeploy.images.registries import registry as registries

    call: Call = ctx.obj
    return {"location": reference, "id": registries.pull(connect(), reference, report=call.report)}


@click.command("sbom", cls=Verb, in_workspace=False)
@click.argument("image")
def sbom(image: str) -> Any:
    """Print what an image is made of: CycloneDX, as JSON."""
    from mldeploy.engines.connection import connect
    from mldeploy.images.sbom import sbom_of

    return json.loads(sbom_of(connect(), image))
