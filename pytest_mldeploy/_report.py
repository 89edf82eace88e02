"""What the report of a test says about its services, and the summary at the end."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.errors import AzureMLException
from pytest_mldeploy._options import OPTIONS

if TYPE_CHECKING:
    from mldeploy.webservice import Webservice

LOG_LINES = 40
NOTICE = "mldeploy_notice"  # the names of user properties: they are in JUnit files, and travel from xdist's workers
DEPLOYED = "mldeploy_deployed"
_PACKAGES = {"mldeploy", "pytest_mldeploy"}

Sections = list[tuple[str, str]]
_TAKEN: pytest.StashKey[dict[str, Webservice]] = pytest.StashKey()
_SECTIONS: pytest.StashKey[Sections] = pytest.StashKey()
LEFT: pytest.StashKey[list[str]] = pytest.StashKey()


def taken(item: pytest.Item, service: Webservice) -> None:
    """Remember that a test uses a service, for its report."""
    item.stash.setdefault(_TAKEN, {})[service.name] = service


def deployed(item: pytest.Item, service: Webservice, target: str, seconds: float) -> None:
    """Keep it for the summary."""
    item.user_properties.append((DEPLOYED, f"{service.name} on {target} in {seconds:.2f} s"))


def failed(item: pytest.Item, service: Webservice, target: str) -> None:
    """Keep it for the test's report: the service is gone when that is made."""
    item.stash.setdefault(_SECTIONS, []).append(_section(service, target))


def noticed(item: pytest.Item, text: str) -> None:
    """Keep it for the summary."""
    item.user_properties.append((NOTICE, text))


def sections(item: pytest.Item, target: str) -> Sections:
    """What the report of a failed test has: its services, and how to run it again."""
    services = [_section(service, target) for service in item.stash.get(_TAKEN, {}).values()]
    return [*item.stash.get(_SECTIONS, []), *services, ("mldeploy: once more", again(item, target))]


def again(item: pytest.Item, target: str) -> str:
    """The command that runs one test again."""
    config = item.config
    path, separator, names = item.nodeid.partition("::")  # the path is relative to the root folder
    here = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    options = config.stash[OPTIONS].asked(but="target")
    return shlex.join(["pytest", f"{here}{separator}{names}", f"--mldeploy-target={target}", *options])


def hide_internals(item: pytest.Item, error: BaseException) -> None:
    """Keep our own frames out of the traceback of an error that we raise on purpose.

    Pytest hides the frames of a module with a `__tracebackhide__`; the backend knows nothing of pytest, so it is
    set from here.
    """
    if not _on_purpose(error) or item.config.getoption("fulltrace"):
        return
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _PACKAGES:
            vars(module)["__tracebackhide__"] = _hidden
    mend(error)


def mend(error: BaseException) -> None:
    """Take from an error of ours what a test's report has no use for.

    That is its cause, as it says why in its own words, and a hint to look at a service that is soon gone: its log is
    in the report.
    """
    error.__cause__ = None
    error.__suppress_context__ = True
    if isinstance(error, AzureMLException) and error.hint.startswith("mldeploy service "):
        error.hint = ""


def _hidden(excinfo: pytest.ExceptionInfo[BaseException] | None) -> bool:
    return excinfo is not None and _on_purpose(excinfo.value)


def _on_purpose(error: BaseException) -> bool:
    return isinstance(error, AzureMLException | NotImplementedError)


def _section(service: Webservice, target: str) -> tuple[str, str]:
    return f"mldeploy: service {service.name} on {target}", _described(service)


def _described(service: Webservice) -> str:
    try:
        state, error, log = service.state, service.error, service.get_logs(LOG_LINES)
    except AzureMLException as gone:
        return str(gone)
    lines = [f"state:  {state}", f"uri:    {service.scoring_uri}"]
    if error:
        lines.append(f"reason: {json.dumps(error, indent=2)}")
    return "\n".join([*lines, f"log (the last {LOG_LINES} lines):", log.rstrip() or "(empty)"])


def summarise(reporter: pytest.TerminalReporter) -> None:
    """Say at the end what was deployed, and what the user should know."""
    said = {(name, str(value)) for reports in reporter.stats.values() for name, value in _properties(reports)}
    deployed = sum(name == DEPLOYED for name, _ in said)
    notices = sorted(value for name, value in said if name == NOTICE)
    left = reporter.config.stash.get(LEFT, [])
    if not (deployed or notices or left):
        return
    reporter.section("mldeploy")
    reporter.write_line(f"{deployed} deployed, {len(left) or 'none'} left")
    for line in notices:
        reporter.write_line(line, yellow=True)
    for line in left:
        reporter.write_line(f"could not be deleted: {line}", red=True)


def _properties(reports: list[Any]) -> Iterator[tuple[str, object]]:
    for report in reports:
        yield from getattr(report, "user_properties", ())
