"""`mldeploy images …`: the images that deployments stand on, as they are on the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from mldeploy.events import Notice
from mldeploy.runner._verbs import Call, Room, Verb

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from mldeploy.images.foundations.base import BaseImage
    from mldeploy.images.stock import Stocked

MAKERS = "mldeploy.images"
"""The entry-point group by which other distributions add images: each a function with `base`'s arguments."""

_COLUMNS = ("reference", "kind", "megabytes", "created", "usedBy")


@click.group(cls=Room)
def images() -> None:
    """List, make and remove the images on the Docker engine that services stand on."""


@images.command("list", cls=Verb, columns=_COLUMNS, in_workspace=False)
def list_() -> list[dict[str, Any]]:
    """List our images, and the services whose containers use them."""
    from mldeploy.engines.connection import connect
    from mldeploy.images.stock import stock

    return [_record(image) for image in stock(connect())]


@images.command("build", cls=Verb, columns=("reference", "id", "megabytes"), in_workspace=False)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--refresh", is_flag=True, help="Make it anew although it is there, with the packages there are today.")
@click.pass_context
def build(ctx: click.Context, names: tuple[str, ...], refresh: bool) -> list[dict[str, Any]]:
    """Make images before a deployment asks for them; without a NAME: `base`, which all others stand on."""
    from mldeploy.engines.connection import connect

    makers = _makers()
    unknown = next((name for name in names if name not in makers), None)
    if unknown is not None:
        raise click.UsageError(f"there is no image '{unknown}', but {', '.join(makers)}", ctx)
    call: Call = ctx.obj
    client = connect()
    built: list[BaseImage] = [
        makers[name].load()(client, report=call.report, refresh=refresh) for name in names or ("base",)
    ]
    return [
        {
            "reference": image.reference,
            "id": image.id,
            "size": image.size,
            "megabytes": _megabytes(image.size),
            "architecture": image.architecture,
        }
        for image in built
    ]


@images.command("prune", cls=Verb, columns=("reference", "kind", "megabytes", "action", "reason"), in_workspace=False)
@click.option("--all", "everything", is_flag=True, help="Also packages, foundations, builders, and the base in use.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@click.pass_obj
def prune(call: Call, everything: bool, dry_run: bool) -> list[dict[str, Any]]:
    """Remove our images that no container uses, a stopped one neither.

    What is made again when it is needed goes: environments, and bases of other versions. What a container uses, or an
    image that stays stands on, never goes. Images of others are not touched. With --all, layers in the cache that no
    deployment has asked for within the hour go too.
    """
    from mldeploy.engines.connection import connect
    from mldeploy.images.builds.building import sweep
    from mldeploy.images.stock import judge, remove, stock

    client = connect()
    if not dry_run:
        sweep(client)
    records = []
    for verdict in judge(stock(client), everything=everything):
        reason = verdict.reason
        if verdict.goes and not dry_run:
            reason = remove(client, verdict.image)
        action = "kept" if reason else "would be removed" if dry_run else "removed"
        records.append({**_record(verdict.image), "action": action, "reason": reason})
    if everything:
        _prune_layers(call, dry_run)
    return records


def _prune_layers(call: Call, dry_run: bool) -> None:
    from mldeploy.images.layers.layer import unused

    old = unused()
    megabytes = _megabytes(sum(path.stat().st_size for path in old))
    if not dry_run:
        for path in old:
            path.unlink(missing_ok=True)
    if old:
        would = "would be removed" if dry_run else "removed"
        call.report(Notice(f"{len(old)} layer{'s' * (len(old) > 1)} in the cache {would}: {megabytes} MB"))


def _makers() -> Mapping[str, EntryPoint]:
    from importlib.metadata import EntryPoint, entry_points

    ours = EntryPoint("base", "mldeploy.images.foundations.base:base", MAKERS)
    brought = {point.name: point for point in entry_points(group=MAKERS)}
    return {**brought, ours.name: ours}


def _record(image: Stocked) -> dict[str, Any]:
    return {
        "reference": image.names[0] if image.names else image.id.removeprefix("sha256:")[:12],
        "names": list(image.names),
        "kind": image.kind,
        "id": image.id,
        "size": image.size,
        "megabytes": _megabytes(image.size),
        "created": image.created.isoformat() if image.created else None,
        "containers": image.containers,
        "services": list(image.services),
        "usedBy": ", ".join(image.services) or image.used_by,
    }


def _megabytes(size: int) -> int:
    return round(size / 1e6)
