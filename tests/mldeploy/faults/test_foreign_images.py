"""An image of somebody else under the name that one of ours has: it is neither run nor removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mldeploy import LocalWebservice, Workspace

if TYPE_CHECKING:
    from mldeploy.images.foundations.base import BaseImage


def test_an_environments_name(
    engine: Any, workspace: Workspace, deploy: Callable[..., LocalWebservice], base: BaseImage
) -> None:
    deploy().delete()
    with engine.asked() as client:
        (ours,) = client.images.list(filters={"label": "mldeploy.kind=environment"})
        (name,) = ours.tags
        client.images.remove(ours.id, force=True)
        container = client.containers.create(base.id, "false")
        foreign = container.commit(*name.split(":"))
        container.remove()

        service = deploy()
        service.wait_for_deployment()
        (running,) = client.containers.list()
        assert running.image.id == ours.id
        assert client.images.get(name).id == ours.id
        assert client.images.get(foreign.id).tags == [], "it has lost the name, and nothing else"

        service.delete(delete_image=True)
        assert not client.images.list(name="mldeploy/environment")
        client.images.remove(foreign.id)
