"""The way of a deployment: claim the name, make the package, hand it to the target, record what came of it.

Whatever goes wrong on the way, Ctrl-C included, the record is as it was before and nothing new is left running.
A deploying process that is killed cannot tidy up: what it leaves in the service's folder is ended and removed by
the next deployment or deletion of that name.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from mldeploy.errors import NeedsImage, WebserviceException
from mldeploy.events import Report, Step, silent
from mldeploy.store.owners import this_process
from mldeploy.store.services import Operation, ServiceRecord, busy, refuse_busy
from mldeploy.targets import target_for
from mldeploy.targets._protocol import UNREACHABLE, Deployment, Description, Handle

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.config.environment import DockerDefinition
    from mldeploy.config.harness import ServingSettings
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.model import Model
    from mldeploy.packaging.package import Package
    from mldeploy.workspace import Workspace

DEFAULT_TIMEOUT_S = 300.0
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_FINAL = ("Failed", "Healthy")
_INTERRUPTED = {
    "code": "LocalDeploymentFailed",
    "statusCode": 400,
    "message": "The deploying process ended before the service was started.",
    "details": [],
}


@dataclass(frozen=True)
class Order:
    """What is asked for: everything a deployment needs, before anything is looked up or made.

    Args:
        models: In the order the script gets them.
        inference_config: Script, source and environment.
        configuration: The place; decides the target by its compute type.
        serving: How the scoring server behaves.
        engine: `process`, `docker` or `auto`.
        timeout: Seconds until Healthy.
        offline: Whether to do without a network.
        keep_environment: Run it in the environment of the service that it replaces, as `reload` does.
    """

    models: tuple[Model, ...]
    inference_config: InferenceConfig
    configuration: DeploymentConfiguration
    serving: ServingSettings
    engine: str = "auto"
    timeout: float = DEFAULT_TIMEOUT_S
    offline: bool = False
    keep_environment: bool = False

    @property
    def docker(self) -> DockerDefinition | None:
        """What the environment asks of a container."""
        environment = self.inference_config.environment
        return environment.definition().docker if environment is not None else None


@dataclass(frozen=True)
class Plan:
    """What `deploy` would do, for `--dry-run`.

    Args:
        service: The name.
        compute_type: Where to.
        engine: What would run it on this machine: `process` or `docker`.
        package_digest: Of the package that would run.
        model_ids: `name:version` of each model.
        files: How many source files.
        size: Their bytes.
        environment_installed: Whether the environment is there already.
        replaces: Whether a service of that name would be replaced.
    """

    service: str
    compute_type: str
    engine: str
    package_digest: str
    model_ids: tuple[str, ...]
    files: int
    size: int
    environment_installed: bool
    replaces: bool


def check_name(name: str) -> None:
    """Hold a service name to v1's rule (C §6.3, observed in azureml-core).

    Raises:
        WebserviceException: It breaks the rule, which is quoted.
    """
    if not (3 <= len(name) <= 32 and _NAME.fullmatch(name)):
        raise WebserviceException(
            f"'{name}' is not a service name",
            reason="3 to 32 characters: lowercase letters, digits and dashes, a letter first, no dash last",
            hint=f"try '{_legal(name)}'",
        )


def deploy(
    workspace: Workspace, name: str, order: Order, *, overwrite: bool = False, report: Report = silent
) -> ServiceRecord:
    """Deploy; returns when the target runs it, which is before it is Healthy.

    Args:
        workspace: Where the service is recorded.
        name: The service's name.
        order: What is asked for.
        overwrite: Replace a service of that name.
        report: Told each step.

    Raises:
        WebserviceException: The name breaks v1's rule, is taken (409), or its operation is in progress (409).
        UserErrorException: Something given has to be changed.
    """
    check_name(name)
    target = target_for(order.configuration.compute_type)
    target.check(order.engine, order.docker, order.configuration)
    record = _record(name, order)
    folder = workspace.store.services_folder / name
    with _claimed(workspace, record, overwrite) as before:
        old = before.handle if before else {}
        target.sweep(folder, old)

        def place(made: Package) -> Handle:
            asked = Deployment(
                service=name,
                workspace=workspace.name,
                package=made,
                configuration=order.configuration,
                serving=order.serving,
                folder=folder,
                timeout=order.timeout,
                offline=order.offline,
                docker=order.docker,
                keep_environment=order.keep_environment,
            )
            return target.update(old, asked, report) if old else target.deploy(asked, report)

        made = packed(workspace, order, report)
        try:
            handle = dict(place(made))
        except NeedsImage as need:  # its packages do not install here
            from mldeploy.packaging.choosing import docker_instead

            docker_instead(need, order.engine, report)
            made = _package(workspace, order, "docker", report)
            handle = dict(place(made))
        try:
            # The name stays claimed until the old one is gone: if this process dies before, that is seen.
            owner = record.owner if old else None
            created = before.created_time if before and old else record.created_time
            new = replace(
                record,
                engine=handle.get("engine", "process"),
                handle=handle,
                package_digest=made.digest,
                created_time=created,
                owner=owner,
            )
            _write(workspace, new)
        except BaseException:
            # it may have been written already when it was interrupted
            _undo(workspace, record, before)
            target.delete(handle)
            raise
        if old:
            target.sweep(folder, handle)
            new = replace(new, owner=None)
            _write(workspace, new)
    return new


def plan(workspace: Workspace, name: str, order: Order, report: Report = silent) -> Plan:
    """Say what `deploy` would do; resolves the environment, starts nothing.

    Raises:
        UserErrorException: As `deploy` would.
    """
    from mldeploy.packaging import environments

    check_name(name)
    target = target_for(order.configuration.compute_type)
    target.check(order.engine, order.docker, order.configuration)
    made = packed(workspace, order, report)
    return Plan(
        service=name,
        compute_type=target.compute_type,
        package_digest=made.digest,
        model_ids=made.model_ids,
        files=len(made.source.files),
        size=made.source.size,
        engine="process" if isinstance(made.environment, environments.ResolvedEnvironment) else "docker",
        environment_installed=_installed(made),
        replaces=workspace.store.services.get(name) is not None,
    )


def _installed(made: Package) -> bool:
    from mldeploy.packaging import environments

    if isinstance(made.environment, environments.ResolvedEnvironment):
        return environments.installed(made.environment) is not None
    from mldeploy.images.layers.environment import recalled

    return recalled(made.environment) is not None


def packed(workspace: Workspace, order: Order, report: Report = silent) -> Package:
    """The package that an order asks for, with what its scoring server needs, for the engine that can run it.

    Raises:
        UserErrorException: As `deploy` would.
        EngineException: Docker is needed, and there is none.
    """
    if not (why := order.configuration.needs_docker):
        return _package(workspace, order, order.engine, report)
    from mldeploy.packaging.choosing import docker_instead

    if order.engine != "docker":
        need = NeedsImage(
            f"a process cannot give what is asked for: {why}",
            where="deployment configuration",
            hint="leave out the engine",
        )
        docker_instead(need, order.engine, report)
    return _package(workspace, order, "docker", report)


def _package(workspace: Workspace, order: Order, engine: str, report: Report) -> Package:
    from mldeploy.packaging.package import package

    return package(
        workspace,
        order.models,
        order.inference_config,
        besides=order.serving.requirements,
        engine=engine,
        offline=order.offline,
        report=report,
    )


def settle(workspace: Workspace, name: str) -> tuple[ServiceRecord, Description] | None:
    """Look at a service, and record that its operation has ended when it is seen to have.

    Returns:
        The record and what is seen of it; None where there is no such service.
    """
    record = workspace.store.services.get(name)
    if record is None:
        return None
    at_work = busy(record)
    if not record.handle:
        if at_work:
            return record, Description("Transitioning", None, None, None)
        return record, Description("Failed", None, None, _INTERRUPTED)
    seen = target_for(record.compute_type).describe(record.handle)
    unseen = not at_work and seen.error is not None and seen.error["code"] == UNREACHABLE
    if record.operation != "Running" or unseen:
        return record, seen
    if at_work or seen.state not in _FINAL:
        return record, replace(seen, state="Transitioning", error=None if at_work else seen.error)
    ended: Operation = "Succeeded" if seen.state == "Healthy" else "Failed"
    operation_id = record.operation_id

    def end(now: ServiceRecord) -> ServiceRecord:
        same = now.operation_id == operation_id
        return replace(now, operation=ended, owner=None, error=seen.error) if same else now

    written = workspace.store.services.change(name, end)
    return None if written is None else (written, seen)


def delete(workspace: Workspace, name: str, report: Report = silent) -> None:
    """Stop a service and forget it.

    Raises:
        WebserviceException: There is no such service (404), or somebody is at work on it (409).
    """
    services = workspace.store.services
    now = datetime.now(timezone.utc)
    operation_id, owner = str(uuid.uuid4()), this_process()

    def claim(found: ServiceRecord) -> ServiceRecord:
        refuse_busy(found)
        return replace(found, operation="Running", operation_id=operation_id, owner=owner, updated_time=now)

    try:
        record = services.change(name, claim)
        if record is None:
            raise not_found(workspace, name)
        report(Step("delete", f"Deleting {name}"))
        target = target_for(record.compute_type)
        if record.handle:
            target.delete(record.handle)
        target.sweep(workspace.store.services_folder / name, {})
    except BaseException:
        services.release(name, operation_id)
        raise
    services.delete(name)


def not_found(workspace: Workspace, name: str) -> WebserviceException:
    """v1's error for a name that nothing is deployed under."""
    known = ", ".join(sorted(record.name for record in workspace.store.services.list()))
    return WebserviceException(
        f"WebserviceNotFound: Webservice with name {name} not found in provided workspace",
        status_code=404,
        where=f"workspace {workspace.name}",
        hint=f"deployed here: {known}" if known else "nothing is deployed here: mldeploy model deploy --help",
    )


def _record(name: str, order: Order) -> ServiceRecord:
    """What is asked for, as it is recorded while it is being made."""
    now = datetime.now(timezone.utc)
    model_ids = tuple(model.id for model in order.models)
    return ServiceRecord(
        name=name,
        compute_type=target_for(order.configuration.compute_type).compute_type,
        engine=order.engine,
        description=order.configuration.description,
        tags=dict(order.configuration.tags or {}),
        properties=dict(order.configuration.properties or {}),
        created_time=now,
        updated_time=now,
        model_ids=model_ids,
        package_digest="",
        inference_config={"base": str(order.inference_config.base), **order.inference_config.to_dict()},
        deployment_config=order.configuration.to_dict(),
        serving={**order.serving.to_dict(), "timeout": order.timeout},
        operation="Running",
        operation_id=str(uuid.uuid4()),
        owner={**this_process(), "model_ids": list(model_ids)},
    )


@contextlib.contextmanager
def _claimed(workspace: Workspace, record: ServiceRecord, overwrite: bool) -> Iterator[ServiceRecord | None]:
    """Hold the name while its deployment is made; on any failure the record is what it was before."""
    services = workspace.store.services
    try:
        yield services.begin(record, overwrite)
    except BaseException:
        services.release(record.name, record.operation_id)
        raise


def _write(workspace: Workspace, record: ServiceRecord) -> None:
    """Put a record in its place, as long as the name is claimed by its operation.

    Raises:
        WebserviceException: It is not any more: the record was removed meanwhile (404).
    """

    def written(now: ServiceRecord) -> ServiceRecord:
        return record if now.operation_id == record.operation_id else now

    if workspace.store.services.change(record.name, written) != record:
        raise WebserviceException(f"service {record.name} was deleted meanwhile", 404, where=record.name)


def _undo(workspace: Workspace, record: ServiceRecord, before: ServiceRecord | None) -> None:
    """Put the record back that was there while the name was claimed."""

    def undone(now: ServiceRecord) -> ServiceRecord:
        if now.operation_id != record.operation_id:
            return now
        if before is None:
            return replace(now, handle={})
        return replace(before, operation="Running", operation_id=record.operation_id, owner=record.owner)

    workspace.store.services.change(record.name, undone)


def _legal(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
    return (words or "service")[:32].rstrip("-").ljust(3, "x")
