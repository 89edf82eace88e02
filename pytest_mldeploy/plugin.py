"""The plugin itself: pytest's hooks and the fixtures.

Nearly everything is imported where it is first used, our own modules too: pytest rewrites the modules of a plugin as
it rewrites tests, which takes some milliseconds each where no byte code is kept.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.config.project import is_project_file
from mldeploy.errors import AzureMLException
from pytest_mldeploy import _options, hooks
from pytest_mldeploy._options import OPTIONS, Options

if TYPE_CHECKING:
    from mldeploy.webservice import Webservice
    from mldeploy.workspace import Workspace
    from pytest_mldeploy._types import Deploy, Target


MARKS = (
    "mldeploy(inference_config, *, models, deployment_config, name, scope, timeout, **serving): the service wanted.",
    "mldeploy_requires(*capabilities): skip the test on targets that cannot do all of these.",
    "mldeploy_targets(*targets): skip the test on other targets than these.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings, as flags and ini keys."""
    _options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Ours, for others to implement."""
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what cannot be had before anything is collected."""
    for description in MARKS:
        config.addinivalue_line("markers", description)
    config.stash[OPTIONS] = Options(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that uses a fixture of ours once per target."""
    from pytest_mldeploy._services import FIXTURES

    if not FIXTURES.isdisjoint(metafunc.fixturenames):
        if "mldeploy_target" not in metafunc.fixturenames:
            metafunc.fixturenames.append("mldeploy_target")
        metafunc.parametrize("mldeploy_target", metafunc.config.stash[OPTIONS].targets, indirect=True, scope="session")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take `mldeploy.toml` for a file of tests."""
    if not is_project_file(file_path):
        return None
    from pytest_mldeploy import _toml

    return _toml.HarnessFile.from_parent(parent, path=file_path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check how the marks are used, and skip where a test makes no sense."""
    if not items:
        return
    from pytest_mldeploy import _marks, _services, _workers

    try:
        _marks.check(items)
        ours = [(item, target) for item in items if (target := _services.target_of(item))]
        if ours:
            _options.check_platform()
            _services.check_workspace(config)
            _services.check_engine(config)
    except pytest.UsageError as error:
        _workers.refuse(config, items, str(error))
        return
    for item, target in ours:
        if reason := _services.reason_to_skip(item, target):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """A failed test's report shows its services and none of our frames."""
    from pytest_mldeploy import _report
    from pytest_mldeploy._services import target_of

    target = target_of(item)
    if target and call.excinfo:
        _report.hide_internals(item, call.excinfo.value)
    report = yield
    if target and report.failed:
        report.sections += _report.sections(item, target)
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Delete everything, when all fixtures are torn down; something left makes the run fail."""
    if not session.testscollected:
        return
    from pytest_mldeploy import _report, _services, _workers

    _services.close(session.config)
    _workers.send(session.config)
    if session.config.stash.get(_report.LEFT, []):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """pytest-xdist's: a worker ended."""
    from pytest_mldeploy import _workers

    _workers.receive(node.config, getattr(node, "workeroutput", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was deployed."""
    if terminalreporter.stats:
        from pytest_mldeploy import _report

        _report.summarise(terminalreporter)


def pytest_mldeploy_deployed(item: pytest.Item, service: Webservice, target: str, seconds: float) -> None:
    """Our own reports follow the deployments through the same hooks as others'."""
    from pytest_mldeploy import _report

    _report.deployed(item, service, target, seconds)


def pytest_mldeploy_failed(item: pytest.Item, service: Webservice, target: str) -> None:
    """See `pytest_mldeploy_deployed`."""
    from pytest_mldeploy import _report

    _report.failed(item, service, target)


def pytest_mldeploy_notice(item: pytest.Item, text: str) -> None:
    """See `pytest_mldeploy_deployed`."""
    from pytest_mldeploy import _report

    _report.noticed(item, text)


@pytest.fixture(scope="session")
def mldeploy_workspace(pytestconfig: pytest.Config) -> Workspace:
    """The workspace that models are registered and services deployed in.

    It is a throwaway one, deleted after the session, unless --mldeploy-workspace names another: no test touches
    your own services by accident.
    """
    from pytest_mldeploy import _services

    return _services.deployments(pytestconfig).workspace


@pytest.fixture(scope="session")
def mldeploy_target(request: pytest.FixtureRequest) -> Target:
    """Where the test runs: `.name` ("local", "aci", …) and `.capabilities` ("keys", "traffic", …).

    A test that uses any fixture of mldeploy runs once for each --mldeploy-target.
    """
    from pytest_mldeploy import _services

    targets = request.config.stash[OPTIONS].targets
    return _services.target(getattr(request, "param", targets[0]))


@pytest.fixture
def mldeploy_deploy(request: pytest.FixtureRequest, mldeploy_target: Target) -> Deploy:
    """Deploys a service of the test's own and waits until it is Healthy; deleted after the test.

    Called like the mark: `mldeploy_deploy("inferenceconfig.json", models=["model.pkl"])`. Paths are relative to
    the test file.
    """
    from pytest_mldeploy import _marks, _services

    item, target = request.node, mldeploy_target.name

    def deploy(inference_config: Any, **more: Any) -> Webservice:
        __tracebackhide__ = True
        wanted = _marks.wanted_of_its_own(item.path.parent, inference_config, **more)
        return _services.own_service(item, wanted, target, item.config.stash[OPTIONS].file)

    return deploy


@pytest.fixture
def mldeploy_service(request: pytest.FixtureRequest, mldeploy_target: Target) -> Webservice:
    """The service that the test's @pytest.mark.mldeploy(inference_config, …) describes, Healthy.

    Tests that describe the same service share it: do not change it, or ask for scope="function".
    """
    from pytest_mldeploy import _marks, _services

    item = request.node
    mark = item.get_closest_marker("mldeploy")
    if mark is None:
        pytest.fail('mldeploy_service needs a mark: @pytest.mark.mldeploy("inferenceconfig.json")', pytrace=False)
    wanted = _marks.read_mark(mark, item.path.parent)
    give = _services.own_service if wanted.scope == "function" else _services.shared_service
    try:
        return give(item, wanted, mldeploy_target.name, item.config.stash[OPTIONS].file)
    except AzureMLException as error:
        text = f"{type(error).__name__}: {error}"
    pytest.fail(text, pytrace=False)
