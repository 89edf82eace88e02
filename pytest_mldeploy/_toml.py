"""`mldeploy.toml`, or `[tool.mldeploy]` of a `pyproject.toml`, collected as tests without test code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.config.project import HARNESS
from mldeploy.errors import AzureMLException, ConfigException
from pytest_mldeploy import _marks
from pytest_mldeploy._compare import MOST_SHOWN, differences
from pytest_mldeploy._options import OPTIONS, Said

if TYPE_CHECKING:
    from mldeploy.config.harness import HarnessConfig, Sample, ServiceSection
    from mldeploy.webservice import Webservice


class HarnessFile(pytest.File):
    """The file; its children are the services in it."""

    def collect(self) -> Iterator[ServiceNode]:
        """One node for each service."""
        from mldeploy.config.harness import load_harness, read_toml

        try:
            harness, document = load_harness(self.path), read_toml(self.path)
        except ConfigException as error:
            raise self.CollectError(str(error)) from None
        options = self.config.stash[OPTIONS]
        said = {**options.file, **harness.settings()}
        workspace = options.value("workspace", file=said.get("workspace"))
        if harness.services and workspace != options.workspace:
            raise self.CollectError(
                f"{self.path}: 'workspace' is a setting of the whole run\n"
                f"  next:  say it in the root folder's {HARNESS}, or with --mldeploy-workspace={workspace}"
            )
        for number, section in enumerate(harness.services):
            found: dict[str, Any] = {"harness": harness, "section": section, "said": said}
            found["lines"] = [
                document.line(("service", number, *way)) or 1
                for way in [(), *(("sample", index) for index in range(len(section.samples)))]
            ]
            yield ServiceNode.from_parent(self, name=section.name, **found)


class ServiceNode(pytest.Collector):
    """A service; its children are what is checked of it on each target."""

    def __init__(
        self, *, harness: HarnessConfig, section: ServiceSection, said: Said, lines: list[int], **rest: Any
    ) -> None:
        super().__init__(**rest)
        self.lines = lines
        self.harness = harness
        self.section = section
        self.said = said

    def collect(self) -> Iterator[ServiceCheck]:
        """Healthy, and each sample, on each target."""
        for target in self.config.stash[OPTIONS].value("target", file=self.said.get("target")):
            yield HealthyCheck.from_parent(self, name=f"healthy[{target}]", target=target, line=self.lines[0])
            for number, sample in enumerate(self.section.samples):
                place = {"target": target, "line": self.lines[number + 1]}
                yield SampleCheck.from_parent(self, name=f"sample{number}[{target}]", sample=sample, **place)


class ServiceCheck(pytest.Item):
    """Something that is checked of a service on a target."""

    parent: ServiceNode

    def __init__(self, *, target: str, line: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.target = target
        self.line = line
        if self.parent.section.targets:
            self.add_marker(pytest.mark.mldeploy_targets(*self.parent.section.targets))

    def service(self) -> Webservice:
        """The service, deployed by the first check that needs it."""
        from pytest_mldeploy._services import shared_service

        harness, section = self.parent.harness, self.parent.section
        configuration = harness.deployment_config(section, self.target)
        wanted = _marks.wanted(
            self.path.parent,
            harness.inference_config(section),
            models=harness.model_paths(section),
            deployment_config=configuration and {self.target: configuration},
            name=section.name,
        )
        return shared_service(self, wanted, self.target, self.parent.said)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The difference or the error, without our frames."""
        if isinstance(excinfo.value, AzureMLException | Mismatch):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it is; pytest counts lines from 0."""
        return self.path, self.line - 1, f"{self.parent.name}::{self.name}"


class HealthyCheck(ServiceCheck):
    """The service becomes Healthy."""

    def runtest(self) -> None:
        """Deploy it, or look at it again."""
        service = self.service()
        if service.state != "Healthy":
            raise Mismatch(f"service {service.name} is {service.state}")


class SampleCheck(ServiceCheck):
    """A sample request gives its answer."""

    def __init__(self, *, sample: Sample, **rest: Any) -> None:
        super().__init__(**rest)
        self.sample = sample

    def runtest(self) -> None:
        """Send the request and compare."""
        sample = self.sample
        answer = self.service().run(sample.request)
        if sample.answer is None:
            return
        found = list(islice(differences(sample.answer, answer, sample.rtol, sample.atol), MOST_SHOWN + 1))
        if found:
            raise Mismatch(_explained(sample, answer, found))


class Mismatch(AssertionError):
    """A service does not do what its section says."""


def _explained(sample: Sample, answer: Any, found: list[str]) -> str:
    more = ["…"] if len(found) > MOST_SHOWN else []
    return "\n".join(
        [
            f"the answer differs from the sample's (rtol={sample.rtol:g}, atol={sample.atol:g})",
            *(f"  {line}" for line in [*found[:MOST_SHOWN], *more]),
            f"request:  {json.dumps(sample.request, ensure_ascii=False)}",
            f"expected: {json.dumps(sample.answer, ensure_ascii=False)}",
            f"got:      {json.dumps(answer, default=repr, ensure_ascii=False)}",
        ]
    )
