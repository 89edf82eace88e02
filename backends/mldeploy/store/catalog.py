"""Which workspaces there are: the same questions asked of a folder and of a team's database."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from mldeploy.store.places import FolderStore, store_location

if TYPE_CHECKING:
    from mldeploy.store.store import Store


@dataclass(frozen=True, order=True)
class Identity:
    """What tells one workspace from another.

    Args:
        subscription_id: Free text.
        resource_group: Free text.
        name: Obeys v1's rule.
    """

    subscription_id: str
    resource_group: str
    name: str

    def folder_name(self, place: str = "") -> str:
        """A folder's name that tells its workspace to a person, and is no other workspace's of any place."""
        key = "\0".join((self.subscription_id, self.resource_group, self.name, *([place] if place else [])))
        return f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Details:
    """What else is known of a workspace.

    Args:
        location: A region, as the user wrote it.
        friendly_name: A name for people.
        tags: Free pairs.
        created_time: UTC; None before it is made.
    """

    location: str | None = None
    friendly_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    created_time: datetime | None = None


class Catalog(Protocol):
    """All workspaces of one store."""

    shown: str

    def identities(self) -> list[Identity]:
        """Every workspace there is, in order."""
        ...

    def create(self, identity: Identity, details: Details) -> bool:
        """Make a workspace, whole or not at all; False if it is there already."""
        ...

    def open(self, identity: Identity) -> Store:
        """Open a workspace that is there; its schema is brought up to date."""
        ...

    def delete(self, identity: Identity) -> None:
        """Remove a workspace with all that is recorded in it."""
        ...


def open_catalog(store: str | None = None) -> Catalog:
    """The workspaces of a store.

    Args:
        store: A folder or URL; None takes `$MLDEPLOY_STORE`, and without that the user's data folder.

    Returns:
        The catalog of that place.

    Raises:
        WorkspaceException: The place cannot be used.
    """
    location = store_location(store)
    if isinstance(location, FolderStore):
        from mldeploy.store.folders import FolderCatalog

        return FolderCatalog(location)
    from mldeploy.store.shared import SharedCatalog

    return SharedCatalog(location)
