"""Workspaces: where models, environments and services are recorded.

The names and parameters are `azureml.core.workspace.Workspace`'s (azureml-core 1.61, observed). What needs
an account or a region there needs none here.
"""

from __future__ import annotations

import builtins
import difflib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.errors import UserErrorException, WorkspaceException
from mldeploy.events import Notice, Report
from mldeploy.store.catalog import Catalog, Details, Identity, open_catalog

if TYPE_CHECKING:
    from mldeploy.environment import Environment
    from mldeploy.model import Model
    from mldeploy.store.store import Store
    from mldeploy.webservice import Webservice

# Azure Resource Manager's rule for Microsoft.MachineLearningServices/workspaces.
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}")
DEFAULT = "default"
LOCAL = "local"
CONFIG_PLACES = (".azureml/config.json", "aml_config/config.json", "config.json")
_CLOUD_ONLY = {
    "adb_workspace",
    "app_insights",
    "cmk_keyvault",
    "container_registry",
    "default_cpu_compute_target",
    "default_gpu_compute_target",
    "hbi_workspace",
    "key_vault",
    "primary_user_assigned_identity",
    "private_endpoint_auto_approval",
    "private_endpoint_config",
    "resource_cmk_uri",
    "storage_account",
    "system_datastores_auth_mode",
    "user_assigned_identity_for_cmk_encryption",
    "v1_legacy_mode",
}


class Workspace:
    """A workspace that is there.

    Args:
        subscription_id: Free text.
        resource_group: Free text.
        workspace_name: Its name.
        auth: v1's; no account is needed here.
        store: The folder or URL it is in; None takes `$MLDEPLOY_STORE`, else the user's data folder.

    Attributes:
        name: Its name.
        subscription_id: As given when it was made; `local` where nothing was said.
        resource_group: The same.
        store: Its records and files.

    Raises:
        WorkspaceException: There is none, or it cannot be opened.
    """

    def __init__(
        self,
        subscription_id: str,
        resource_group: str,
        workspace_name: str,
        auth: object = None,
        *,
        store: str | None = None,
    ) -> None:
        catalog = open_catalog(store)
        identity = Identity(subscription_id, resource_group, workspace_name)
        if identity not in catalog.identities():
            raise _unknown(catalog, identity.name)
        self._open(catalog, identity)

    def _open(self, catalog: Catalog, identity: Identity) -> None:
        self._catalog = catalog
        self._identity = identity
        self.subscription_id = identity.subscription_id
        self.resource_group = identity.resource_group
        self.name = identity.name
        self.store: Store = catalog.open(identity)

    def __repr__(self) -> str:
        return (
            f"Workspace.get(name={self.name!r}, subscription_id={self.subscription_id!r}, "
            f"resource_group={self.resource_group!r})"
        )

    @staticmethod
    def create(
        name: str,
        auth: object = None,  # noqa: ARG004  (v1's scripts pass it)
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        create_resource_group: bool = True,  # noqa: ARG004
        sku: str = "basic",  # noqa: ARG004
        tags: dict[str, str] | None = None,
        friendly_name: str | None = None,
        *,
        exist_ok: bool = False,
        show_output: bool = True,  # noqa: ARG004
        store: str | None = None,
        **cloud: object,
    ) -> Workspace:
        """Make a workspace.

        Args:
            name: 3 to 33 letters, digits, `-` and `_`, the first a letter or digit.
            auth: v1's; no account is needed here, and `create_resource_group`, `sku` and `show_output` have
                nothing to decide.
            subscription_id: Free text; part of what tells workspaces apart.
            resource_group: The same.
            location: Free text.
            create_resource_group: See `auth`.
            sku: See `auth`.
            tags: Free pairs.
            friendly_name: A name for people.
            exist_ok: Whether to take the one that is there already.
            show_output: See `auth`.
            store: The folder or URL to make it in; None takes `$MLDEPLOY_STORE`, else the user's data folder.
            **cloud: v1's names of what a workspace has in Azure (`storage_account`, `key_vault`, …).

        Returns:
            The workspace.

        Raises:
            WorkspaceException: The name breaks the rule, or the workspace exists and `exist_ok` is False.

        Examples:
            >>> Workspace.create("my-workspace", exist_ok=True).name
            'my-workspace'
        """
        if unknown := sorted(cloud.keys() - _CLOUD_ONLY):
            raise TypeError(f"Workspace.create() got an unexpected keyword argument {unknown[0]!r}")
        identity = Identity(subscription_id or LOCAL, resource_group or LOCAL, _checked(name))
        catalog = open_catalog(store)
        made = catalog.create(identity, Details(location, friendly_name, dict(tags or {})))
        if not made and not exist_ok:
            raise WorkspaceException(
                f"workspace {name} already exists",
                where=catalog.shown,
                hint=f"Workspace.get({name!r}) takes it, and so does create with exist_ok=True",
            )
        return _opened(catalog, identity)

    @staticmethod
    def get(
        name: str,
        auth: object = None,  # noqa: ARG004  (v1's scripts pass it)
        subscription_id: str | None = None,
        resource_group: str | None = None,
        *,
        store: str | None = None,
    ) -> Workspace:
        """Take a workspace that is there.

        Args:
            name: Its name.
            auth: v1's; no account is needed here.
            subscription_id: Needed only where several have the name.
            resource_group: The same.
            store: The folder or URL it is in; None takes `$MLDEPLOY_STORE`, else the user's data folder.

        Returns:
            The workspace.

        Raises:
            WorkspaceException: There is none of that name (those nearest are named), or several.
        """
        catalog = open_catalog(store)
        found = [identity for identity in _matching(catalog, subscription_id, resource_group) if identity.name == name]
        if not found:
            raise _unknown(catalog, name)
        if len(found) > 1:
            raise WorkspaceException(
                f"there are {len(found)} workspaces named {name}",
                where=catalog.shown,
                reason="\n".join(f"{one.subscription_id} / {one.resource_group}" for one in found),
                hint="give the subscription and the resource group too",
            )
        return _opened(catalog, found[0])

    @staticmethod
    def default(report: Report | None = None, *, store: str | None = None) -> Workspace:
        """The workspace named `default`, made when it is first asked for.

        Args:
            report: Is told if it is made; None logs that.
            store: The folder or URL it is in; None takes `$MLDEPLOY_STORE`, else the user's data folder.

        Returns:
            The workspace.
        """
        return _made_if_missing(Identity(LOCAL, LOCAL, DEFAULT), report, store)

    @staticmethod
    def list(
        subscription_id: str | None = None,
        auth: object = None,  # noqa: ARG004  (v1's scripts pass it)
        resource_group: str | None = None,
        *,
        store: str | None = None,
    ) -> dict[str, builtins.list[Workspace]]:
        """All workspaces.

        Args:
            subscription_id: Only those of it.
            auth: v1's; no account is needed here.
            resource_group: Only those of it.
            store: The folder or URL to look in; None takes `$MLDEPLOY_STORE`, else the user's data folder.

        Returns:
            As v1: from a name to the workspaces that have it.
        """
        catalog = open_catalog(store)
        found: dict[str, builtins.list[Workspace]] = {}
        for identity in _matching(catalog, subscription_id, resource_group):
            found.setdefault(identity.name, []).append(_opened(catalog, identity))
        return found

    @staticmethod
    def from_config(
        path: str | Path | None = None,
        auth: object = None,  # noqa: ARG004  (v1's scripts pass it)
        *,
        report: Report | None = None,
        store: str | None = None,
    ) -> Workspace:
        """Take the workspace that a project's configuration names; made, and said, if it is not here yet.

        Args:
            path: The file, or a folder to look in and above for `.azureml/config.json`,
                `aml_config/config.json` or `config.json`; None begins in the current folder.
            auth: v1's; no account is needed here.
            report: Is told if the workspace is made; None logs a warning (logger `mldeploy`).
            store: The folder or URL it is in; None takes `$MLDEPLOY_STORE`, else the user's data folder.

        Returns:
            The workspace.

        Raises:
            UserErrorException: No configuration is found, or it is not v1's.
        """
        return _made_if_missing(_read_config(_find_config(Path(path or "."))), report, store)

    def write_config(self, path: str | Path | None = None, file_name: str | None = None) -> None:
        """Write `.azureml/config.json`, for `from_config`.

        Args:
            path: The project's folder; None is the current one.
            file_name: Another name than `config.json`.
        """
        folder = Path(path or ".") / ".azureml"
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "subscription_id": self.subscription_id,
            "resource_group": self.resource_group,
            "workspace_name": self.name,
        }
        (folder / (file_name or "config.json")).write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")

    @property
    def models(self) -> dict[str, Model]:
        """The latest version of every model, by name."""
        from mldeploy.model import Model

        return {model.name: model for model in Model.list(self, latest=True)}

    @property
    def environments(self) -> dict[str, Environment]:
        """The registered environments, by name."""
        from mldeploy.environment import Environment

        return dict(Environment.list(self))

    @property
    def webservices(self) -> dict[str, Webservice]:
        """The services, by name."""
        from mldeploy.webservice import Webservice

        return {service.name: service for service in Webservice.list(self)}

    @property
    def location(self) -> str | None:
        """The region, as the user wrote it."""
        return self.store.details().location

    @property
    def tags(self) -> dict[str, str]:
        """Free pairs."""
        return self.store.details().tags

    def get_details(self) -> dict[str, Any]:
        """What is known of the workspace, under the keys v1 used where it had them.

        Returns:
            `id`, `name`, `subscriptionId`, `resourceGroup`, `location`, `friendlyName`, `tags`,
            `creationTime` (ISO 8601, UTC) and `store`, the place it is in.
        """
        details = self.store.details()
        return {
            "id": (
                f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
                f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
            ),
            "name": self.name,
            "subscriptionId": self.subscription_id,
            "resourceGroup": self.resource_group,
            "location": details.location,
            "friendlyName": details.friendly_name,
            "tags": details.tags,
            "creationTime": details.created_time and details.created_time.isoformat(),
            "store": self._catalog.shown,
        }

    def delete(self, delete_dependent_resources: bool = False, no_wait: bool = False) -> None:
        """Remove the workspace with its models and environments.

        Args:
            delete_dependent_resources: Whether to delete its services first.
            no_wait: v1's; it is removed when this returns.

        Raises:
            WorkspaceException: It has services and they are not to be deleted.
        """
        if delete_dependent_resources:
            for service in self.webservices.values():
                service.delete()
        if services := self.store.services.list():
            raise WorkspaceException(
                f"workspace {self.name} cannot be deleted: it has services",
                reason=", ".join(service.name for service in services),
                hint="delete them first, or give delete_dependent_resources=True",
            )
        self._catalog.delete(self._identity)


def _opened(catalog: Catalog, identity: Identity) -> Workspace:
    workspace = object.__new__(Workspace)
    workspace._open(catalog, identity)
    return workspace


def _made_if_missing(identity: Identity, report: Report | None, store: str | None) -> Workspace:
    catalog = open_catalog(store)
    _checked(identity.name)
    if catalog.create(identity, Details()):
        said = f"workspace {identity.name} was not here yet: it is made in {catalog.shown}"
        if report:
            report(Notice(said))
        else:
            logging.getLogger("mldeploy").warning(said)
    return _opened(catalog, identity)


def _matching(catalog: Catalog, subscription_id: str | None, resource_group: str | None) -> Iterator[Identity]:
    for identity in catalog.identities():
        if subscription_id in {None, identity.subscription_id} and resource_group in {None, identity.resource_group}:
            yield identity


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise WorkspaceException(
            f"{name!r} cannot be a workspace's name",
            reason="3 to 33 letters, digits, '-' and '_', the first one a letter or digit",
            hint="choose another name",
        )
    return name


def _unknown(catalog: Catalog, name: str) -> WorkspaceException:
    names = sorted({identity.name for identity in catalog.identities()})
    near = difflib.get_close_matches(name, names, n=3) or names[:10]
    return WorkspaceException(
        f"there is no workspace {name}",
        where=catalog.shown,
        reason=f"there is {', '.join(near)}" if near else "there is none at all",
        hint=f"mldeploy workspace create -w {name}",
    )


def _find_config(path: Path) -> Path:
    if path.is_file():
        return path
    start = path.resolve()
    for folder in (start, *start.parents):
        for place in CONFIG_PLACES:
            if (folder / place).is_file():
                return folder / place
    raise UserErrorException(
        "no workspace configuration is found",
        where=str(path),
        reason=f"looked for {', '.join(CONFIG_PLACES)} there and in every folder above",
        hint="Workspace.write_config() or `mldeploy workspace create` with its flags makes one",
    )


def _read_config(file: Path) -> Identity:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        found = [values[key] for key in ("subscription_id", "resource_group", "workspace_name")]
    except (ValueError, KeyError, TypeError) as error:
        raise UserErrorException(
            "the file is no workspace configuration",
            where=str(file),
            reason=f"{error} is missing" if isinstance(error, KeyError) else str(error),
            hint="v1's three keys: subscription_id, resource_group, workspace_name",
        ) from None
    return Identity(*(str(value) for value in found))
