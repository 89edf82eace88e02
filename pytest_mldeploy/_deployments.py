"""What one pytest process has deployed: shared where tests ask for the same, deleted whatever happens."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from mldeploy import deployment
from mldeploy.deployment import Order
from mldeploy.errors import AzureMLException, UserErrorException, WebserviceException
from mldeploy.events import Event, Notice, Report
from mldeploy.webservice import Webservice
from mldeploy.workspace import Workspace
from pytest_mldeploy._marks import Wanted
from pytest_mldeploy._options import Options
from pytest_mldeploy._orders import Orders

_CHANGES = ("update", "reload", "delete", "regen_key")
_PREFIX = "pytest"
_LONGEST_PREFIX = 23  # with a dash and eight digits it is a service name of 32 characters, v1's longest
_NOT_FOUND = 404
_GRACE_S = 10.0  # the service ends itself when its time is up; this much later it is given up here


@dataclass(frozen=True)
class Asker:
    """A test that asks for a service.

    Args:
        item: The test.
        target: Where it runs.
        file: What its `mldeploy.toml` says about the settings.
    """

    item: pytest.Item
    target: str
    file: Mapping[str, Any]


class Deployments:
    """The deployments of this process.

    Args:
        options: What the run asks for.

    Attributes:
        workspace: A throwaway one, unless the options name another.

    Raises:
        WorkspaceException: The workspace that is named cannot be opened.
    """

    def __init__(self, options: Options) -> None:
        self._folder = ""
        self.workspace = self._open(options.workspace)
        self._orders = Orders(self.workspace, options)
        self._names: list[str] = []
        self._made: dict[str, Webservice | AzureMLException] = {}
        self._keys: dict[str, str] = {}

    def _open(self, name: str) -> Workspace:
        if name:
            return Workspace.get(name)
        self._folder = tempfile.mkdtemp(prefix="pytest-mldeploy-")
        return Workspace.create(_PREFIX, store=self._folder)

    def deploy(self, asker: Asker, wanted: Wanted) -> Webservice:
        """A service of the test's own; `delete` ends it.

        Raises:
            AzureMLException: It cannot be deployed; nothing is left running.
        """
        return self._deploy(asker, wanted, self._order(asker, wanted))

    def shared(self, asker: Asker, wanted: Wanted) -> Webservice:
        """The service that all tests share that want the same package, configuration, settings and target.

        One that has Failed since is replaced. A deployment that failed is not tried again.

        Raises:
            AzureMLException: It cannot be deployed.
        """
        asked = f"{_owner(asker.item, wanted)}\0{asker.target}\0{wanted.key}\0{sorted(asker.file.items())}"
        made = self._made_before(self._keys.get(asked, ""), asker)
        if made is None:
            made = self._make(asker, wanted, asked)
        if isinstance(made, AzureMLException):
            raise made
        return made

    def _made_before(self, key: str, asker: Asker) -> Webservice | AzureMLException | None:
        made = self._made.get(key)
        if isinstance(made, Webservice) and made.state == "Failed":
            _teller(asker.item)(f"{made.name} had failed by itself; it was deployed again")
            self._end(made, key)
            return None
        return made

    def _make(self, asker: Asker, wanted: Wanted, asked: str) -> Webservice | AzureMLException:
        order = self._order(asker, wanted)
        try:
            key = f"{_owner(asker.item, wanted)}\0{self._key(order)}"
        except AzureMLException as error:
            self._keys[asked], self._made[asked] = asked, error
            return error
        made = self._made_before(key, asker) or self._first(asker, wanted, order, key)
        self._keys[asked], self._made[key] = key, made
        return made

    def _first(self, asker: Asker, wanted: Wanted, order: Order, key: str) -> Webservice | AzureMLException:
        try:
            service = self._deploy(asker, wanted, order)
        except AzureMLException as error:
            return error
        for change in _CHANGES:
            setattr(service, change, _refusal(service.name, change))
        module = asker.item.getparent(pytest.Module)
        if wanted.scope == "module" and module is not None:
            module.addfinalizer(lambda: self._end(service, key))
        return service

    def _end(self, service: Webservice, key: str) -> None:
        """End a shared service; one that has taken its place since stays."""
        if self._made.get(key) is service:
            del self._made[key]
        self.delete(service.name)

    def _order(self, asker: Asker, wanted: Wanted) -> Order:
        return self._orders.of(wanted, asker.target, _teller(asker.item), asker.file)

    def _key(self, order: Order) -> str:
        """Equal for two orders that the same service fills; the timeout does not count."""
        made = deployment.packed(self.workspace, order)
        docker = order.docker.to_dict() if order.docker else {}
        parts = (made.digest, order.configuration.to_dict(), order.serving.to_dict(), order.engine, docker)
        return json.dumps([order.configuration.compute_type, *parts], sort_keys=True)

    def _deploy(self, asker: Asker, wanted: Wanted, order: Order) -> Webservice:
        prefix = (wanted.name or _PREFIX)[:_LONGEST_PREFIX].rstrip("-")
        name = f"{prefix}-{secrets.token_hex(4)}"
        self._names.append(name)  # before anything is there: what is made is deleted, wherever this is interrupted
        began = time.monotonic()
        deployment.deploy(self.workspace, name, order, report=_reporter(asker.item))
        service = Webservice(self.workspace, name)
        hook = asker.item.ihook
        try:
            service.wait_for_deployment(timeout_sec=order.timeout + _GRACE_S)
        except AzureMLException as error:
            hook.pytest_mldeploy_failed(item=asker.item, service=service, target=asker.target, error=error)
            self.delete(name)
            raise
        seconds = time.monotonic() - began
        hook.pytest_mldeploy_deployed(item=asker.item, service=service, target=asker.target, seconds=seconds)
        return service

    def delete(self, name: str) -> None:
        """Delete a service of ours, if it is still there, in whatever state; again does nothing."""
        if name not in self._names:
            return
        if self.workspace.store.services.get(name) is not None:
            deployment.delete(self.workspace, name)
        self._names.remove(name)

    def close(self) -> list[str]:
        """Delete all that was deployed, and the workspace if it is a throwaway one.

        Returns:
            What could not be deleted, and why, one line each; empty if nothing is left.
        """
        left = []
        for name in dict.fromkeys([*self._names, *self._others()]):
            try:
                deployment.delete(self.workspace, name)
            except WebserviceException as error:
                if error.status_code != _NOT_FOUND:
                    left.append(f"{name}: {error}")
            except Exception as error:  # one that resists must not keep the others
                left.append(f"{name}: {error!r}")
        self._names.clear()
        self._made.clear()
        if self._folder and not left:
            shutil.rmtree(self._folder, ignore_errors=True)
        return left

    def _others(self) -> list[str]:
        """What tests deployed by themselves into a workspace that is thrown away."""
        if not self._folder:
            return []
        try:
            return [record.name for record in self.workspace.store.services.list()]
        except AzureMLException:
            return []


def _owner(item: pytest.Item, wanted: Wanted) -> str:
    """Who shares: everybody, or the tests of one module."""
    module = item.getparent(pytest.Module)
    return module.nodeid if wanted.scope == "module" and module is not None else ""


def _refusal(name: str, change: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        __tracebackhide__ = True
        raise UserErrorException(
            f"{change}() of a service that tests share",
            where=f"service {name}",
            reason="other tests rely on it as it was deployed",
            hint='ask for one of the test\'s own: @pytest.mark.mldeploy(…, scope="function")',
        )

    return refuse


def _teller(item: pytest.Item) -> Callable[[str], None]:
    return lambda text: item.ihook.pytest_mldeploy_notice(item=item, text=text)


def _reporter(item: pytest.Item) -> Report:
    tell = _teller(item)

    def report(event: Event) -> None:
        if isinstance(event, Notice):
            tell(event.text)

    return report
