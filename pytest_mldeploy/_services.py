"""Services for tests: what fixtures and collected checks ask the process' deployments for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from mldeploy.errors import AzureMLException, EngineException, NeedsImage
from mldeploy.targets.capabilities import CAPABILITIES
from pytest_mldeploy import _report
from pytest_mldeploy._options import OPTIONS, Said
from pytest_mldeploy._types import Target

if TYPE_CHECKING:
    from mldeploy.webservice import Webservice
    from pytest_mldeploy._deployments import Asker, Deployments
    from pytest_mldeploy._marks import Wanted

FIXTURES = {"mldeploy_workspace", "mldeploy_target", "mldeploy_deploy", "mldeploy_service"}
_DEPLOYMENTS: pytest.StashKey[Deployments] = pytest.StashKey()


def target_of(item: pytest.Item) -> str | None:
    """Where a test runs; None if it does not use our fixtures."""
    target: str | None = getattr(item, "target", None)
    if target is None and FIXTURES & set(getattr(item, "fixturenames", ())):
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        target = parameters.get("mldeploy_target") or item.config.stash[OPTIONS].targets[0]
    return target


def deployments(config: pytest.Config) -> Deployments:
    """The process' deployments, made when first asked for; everything heavy is imported here."""
    made = config.stash.get(_DEPLOYMENTS, None)
    if made is None:
        from pytest_mldeploy._deployments import Deployments

        made = config.stash[_DEPLOYMENTS] = Deployments(config.stash[OPTIONS])
        config.add_cleanup(lambda: close(config))  # should the session's own end not be reached
    return made


def check_workspace(config: pytest.Config) -> None:
    """Open the workspace if one is named.

    Raises:
        pytest.UsageError: It cannot be opened.
    """
    if config.stash[OPTIONS].workspace:
        try:
            deployments(config)
        except AzureMLException as error:
            raise pytest.UsageError(str(error)) from None


def check_engine(config: pytest.Config) -> None:
    """See that Docker answers if it is asked for.

    Raises:
        pytest.UsageError: It does not; says in one line what is missing and what to type.
    """
    options = config.stash[OPTIONS]
    if options.value("engine", file=options.file.get("engine")) == "docker" and (missing := _no_docker()):
        raise pytest.UsageError(f"the engine 'docker' is asked for, and {missing}")


def _no_docker() -> str:
    """Why Docker cannot be had, and what to type, in one line; empty where it answers."""
    from mldeploy.engines.connection import connect

    try:
        connect()
    except EngineException as error:
        where = f" at {error.where}" if error.where else ""
        return f"{error.message}{where}" + (f"; next: {error.hint}" if error.hint else "")
    return ""


def close(config: pytest.Config) -> None:
    """Delete everything that was deployed; what could not be is kept for the summary."""
    made = config.stash.get(_DEPLOYMENTS, None)
    if made is not None:
        config.stash[_report.LEFT] = made.close()
        del config.stash[_DEPLOYMENTS]


def shared_service(item: pytest.Item, wanted: Wanted, target: str, file: Said) -> Webservice:
    """The service that all tests share that want the same.

    Raises:
        AzureMLException: It cannot be deployed.
    """
    made = deployments(item.config)
    return _given(item, lambda asker: made.shared(asker, wanted), target, file)


def own_service(item: pytest.Item, wanted: Wanted, target: str, file: Said) -> Webservice:
    """A service of the test's own, deleted after it.

    Raises:
        AzureMLException: It cannot be deployed.
    """
    made = deployments(item.config)

    def deploy(asker: Asker) -> Webservice:
        service = made.deploy(asker, wanted)
        item.addfinalizer(lambda: made.delete(service.name))
        return service

    return _given(item, deploy, target, file)


def _given(item: pytest.Item, give: Callable[[Asker], Webservice], target: str, file: Said) -> Webservice:
    """What is asked for, remembered for the test's report; our frames and causes stay out of a traceback."""
    __tracebackhide__ = True
    from pytest_mldeploy._deployments import Asker

    try:
        service = give(Asker(item, target, file))
    except AzureMLException as error:
        if isinstance(error, NeedsImage | EngineException) and _does_without_docker(item, file):
            _needs("docker", str(error))
        _report.mend(error)
        raise error.with_traceback(None) from None
    _report.taken(item, service)
    return service


def _does_without_docker(item: pytest.Item, file: Said) -> bool:
    """Whether a run is content without Docker: nobody asked for it, and it is not there or a process is wanted."""
    engine = item.config.stash[OPTIONS].value("engine", file=file.get("engine"))
    return engine == "process" or (engine == "auto" and bool(_no_docker()))


def _needs(tool: str, why: str) -> None:
    """Skip a test that needs a tool by itself; a failure where `MLDEPLOY_REQUIRE` lists the tool."""
    __tracebackhide__ = True
    if tool in os.environ.get("MLDEPLOY_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"{tool} is required by MLDEPLOY_REQUIRE: {why}", pytrace=False)
    pytest.skip(f"needs {tool}: {why}")


def target(name: str) -> Target:
    """A target by name, with what it can do."""
    from mldeploy.targets import target_for

    return Target(name, frozenset(target_for(name).capabilities))


def reason_to_skip(item: pytest.Item, name: str) -> str:
    """Why a test makes no sense on a target; empty if it does."""
    for mark in item.iter_markers("mldeploy_targets"):
        if name not in mark.args:
            return f"for {', '.join(mark.args)}, not for {name}"
    for mark in item.iter_markers("mldeploy_requires"):
        missing = [word for word in mark.args if word not in target(name).capabilities]
        if missing:
            return f"{name} lacks {', '.join(missing)} ({'; '.join(CAPABILITIES[word] for word in missing)})"
    return ""
