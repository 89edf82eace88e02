"""A local service as a process: laid out in a folder, and run by the environment's own Python."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.engines import process
from mldeploy.engines.process import Program, Running
from mldeploy.events import Report, Step
from mldeploy.targets import _local_states
from mldeploy.targets._local_folder import instance, lay_out, variables
from mldeploy.targets._protocol import Deployment, Description, Handle

if TYPE_CHECKING:
    from mldeploy.targets.local import Start


@contextlib.contextmanager
def prepared(deployment: Deployment, port: int | None, report: Report, old: Handle) -> Iterator[Start]:
    """Do all that can be done before the port is needed; undo it when what follows fails.

    Args:
        deployment: What is asked for.
        port: The port it will probably have; the engine binds it when it starts.
        report: Told each step.
        old: What it replaces; empty where there is nothing.

    Yields:
        Starts it on a port.
    """
    del port
    python = _python(deployment, report, old)
    folder = instance(deployment)
    try:
        lay_out(deployment, folder / "app")
        program = Program(
            python,
            folder,
            variables(deployment, str(folder / "app")),
            deployment.timeout,
            deployment.serving.module,
        )

        def start(asked: int | None) -> Handle:
            return {"engine": "process", **asdict(process.start(program, asked)), "python": str(python)}

        report(Step("start", f"Starting {deployment.service}"))
        yield start
    except BaseException:
        process.remove(folder)
        raise


def _python(deployment: Deployment, report: Report, old: Handle) -> Path:
    from mldeploy.packaging.environments import ResolvedEnvironment, install

    if deployment.keep_environment and old.get("python") and Path(old["python"]).exists():
        return Path(old["python"])
    environment = deployment.package.environment
    assert isinstance(environment, ResolvedEnvironment)
    return install(environment, offline=deployment.offline, report=report)


def stop(handle: Handle) -> None:
    """End it; its folder stays."""
    process.stop(_running(handle))


def resume(handle: Handle) -> None:
    """A process that was ended does not come back."""


def describe(handle: Handle) -> Description:
    """What the process engine sees now."""
    running = _running(handle)
    if process.elsewhere(running):
        return _local_states.elsewhere(running.host)
    seen = process.observe(running)
    error = None if seen.alive else _local_states.ended(seen.exit_code, seen.reason)
    return _local_states.description(running.port, seen.alive, seen.health, error)


def logs(handle: Handle, num_lines: int) -> str:
    """The last lines of its log files."""
    return process.logs(Path(handle["folder"]), num_lines)


def delete(handle: Handle) -> None:
    """End it and remove its folder."""
    process.stop(_running(handle))
    shutil.rmtree(handle["folder"], ignore_errors=True)


def _running(handle: Handle) -> Running:
    values: dict[str, Any] = {each.name: handle[each.name] for each in fields(Running)}
    return Running(**values)
