"""The local target: a package on this machine's process engine.

The Docker engine joins it with the issue on images; until then a package that needs an image is refused when its
environment is resolved.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.engines import process
from mldeploy.engines.process import Observation, Program, Running
from mldeploy.errors import WebserviceException
from mldeploy.events import Report, Step
from mldeploy.targets._protocol import Deployment, Description, Handle

if TYPE_CHECKING:
    from mldeploy.targets.capabilities import Capability

_HTTP_OK = 200
_FAILED_TO_START = 3  # the server's exit code when script or init() fails (C §4.1)


class LocalTarget:
    """Deploys to this machine; the handle is a `Running` as a mapping."""

    name = "local"
    compute_type = "Local"
    capabilities: frozenset[Capability] = frozenset({"reload"})

    def deploy(self, deployment: Deployment, report: Report) -> Handle:
        """Lay the package out in a folder of its own and start it.

        Raises:
            EnvironmentException: The environment cannot be installed.
            WebserviceException: The port is taken.
        """
        with _laid_out(deployment, report) as program:
            report(Step("start", f"Starting {deployment.service}"))
            return asdict(process.start(program, _port(deployment)))

    def update(self, handle: Handle, deployment: Deployment, report: Report) -> Handle:
        """Start the new one on the old one's port, which is stopped when nearly all that can fail is done.

        Only where another port is asked for are both there for a moment.
        """
        old = Running(**handle)
        with _laid_out(deployment, report) as program:
            report(Step("start", f"Starting {deployment.service}"))
            asked = _port(deployment)
            if asked in {None, old.port}:
                process.stop(old)
            try:
                return asdict(process.start(program, asked or old.port))
            except WebserviceException:
                if asked:
                    raise
                # nobody asked for the port, and somebody has taken it since the old one ended
                return asdict(process.start(program, None))

    def describe(self, handle: Handle) -> Description:
        """What the process engine sees now."""
        running = Running(**handle)
        if process.elsewhere(running):
            return Description("Unhealthy", None, None, _out_of_sight(running))
        seen = process.observe(running)
        base = f"http://localhost:{running.port}"
        error = None if seen.alive else _error(seen)
        return Description(_state(seen), f"{base}/score", f"{base}/swagger.json", error)

    def logs(self, handle: Handle, num_lines: int) -> str:
        """The last `num_lines` lines the server and the script wrote."""
        return process.logs(Path(handle["folder"]), num_lines)

    def delete(self, handle: Handle) -> None:
        """Stop it and remove its folder."""
        running = Running(**handle)
        process.stop(running)
        shutil.rmtree(running.folder, ignore_errors=True)

    def sweep(self, folder: Path, keep: Handle) -> None:
        """End and remove every instance in a service's folder but one, whoever started them."""
        kept = Path(keep["folder"]).name if keep else None
        for instance in folder.glob("*"):
            if instance.name != kept:
                process.remove(instance)
        with contextlib.suppress(OSError):
            folder.rmdir()


@contextlib.contextmanager
def _laid_out(deployment: Deployment, report: Report) -> Iterator[Program]:
    """The program in a folder of its own, which is gone again when it could not be started."""
    from mldeploy.packaging.environments import install

    python = install(deployment.package.environment, offline=deployment.offline, report=report)
    folder = deployment.folder / uuid.uuid4().hex[:12]
    try:
        _lay_out(deployment, folder / "app")
        variables = _variables(deployment, folder / "app")
        yield Program(python, folder, variables, deployment.timeout, deployment.serving.module)
    except BaseException:
        process.remove(folder)
        raise


def _lay_out(deployment: Deployment, app_root: Path) -> None:
    try:
        deployment.package.lay_out(app_root)
    except OSError as error:
        raise WebserviceException(
            f"the files of service {deployment.service} cannot be laid out",
            where=str(app_root),
            reason=f"{error.strerror}: {error.filename}" if error.filename else str(error),
            hint="make room there, or put MLDEPLOY_STORE on a larger disk"
            if error.errno in {errno.ENOSPC, errno.EDQUOT}
            else "see that the one can be read and the other written",
        ) from error


def _port(deployment: Deployment) -> int | None:
    from mldeploy.config.deployment import LocalWebserviceDeploymentConfiguration

    assert isinstance(deployment.configuration, LocalWebserviceDeploymentConfiguration)
    return deployment.configuration.port


def _variables(deployment: Deployment, app_root: Path) -> dict[str, str]:
    package = deployment.package
    variables = {
        **package.variables,
        "AML_APP_ROOT": str(app_root),
        "AZUREML_ENTRY_SCRIPT": package.source.entry_script,
        "SERVICE_NAME": deployment.service,
        "WORKSPACE_NAME": deployment.workspace,
        **deployment.serving.variables(),
    }
    if package.source.directory:
        variables["AZUREML_SOURCE_DIRECTORY"] = package.source.directory
    if package.model_dir:
        variables["AZUREML_MODEL_DIR"] = str(app_root / package.model_dir)
    return variables


def _state(seen: Observation) -> Any:
    if not seen.alive:
        return "Failed"
    return "Healthy" if seen.health == _HTTP_OK else "Unhealthy"


def _out_of_sight(running: Running) -> dict[str, Any]:
    return {
        "code": "LocalDeploymentElsewhere",
        "statusCode": 400,
        "message": f"The service runs on the machine {running.host}, which cannot be looked at from here.",
        "details": [],
    }


def _error(seen: Observation) -> dict[str, Any]:
    """v1's error object for a container that crashed (C §5.2, observed)."""
    in_init = seen.exit_code == _FAILED_TO_START
    message = (
        "Your container application crashed. This may be caused by errors in your scoring file's init() function."
        if in_init
        else f"The service ended ({seen.reason})."
    )
    return {
        "code": "LocalDeploymentFailed",
        "statusCode": 400,
        "message": message,
        "exitCode": seen.exit_code,
        "details": [
            {
                "code": "CrashLoopBackOff" if in_init else "ServiceEnded",
                "message": f"Error in entry script, {seen.reason}, please run print(service.get_logs()) to get details."
                if in_init
                else seen.reason,
            }
        ],
    }
