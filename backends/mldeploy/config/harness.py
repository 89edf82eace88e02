"""`mldeploy.toml`, or `[tool.mldeploy]` in `pyproject.toml`: services and their samples, and settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr, Tag

from mldeploy.config.deployment import DeploymentConfiguration
from mldeploy.config.deployment_file import read_deployment
from mldeploy.config.files import Document, read
from mldeploy.config.findings import Finding, Problem, settle
from mldeploy.config.inference import inference_config_of, read_inference
from mldeploy.config.parsing import parse
from mldeploy.config.paths import locate
from mldeploy.config.sections import Section, Way, by_shape
from mldeploy.config.settings import SETTINGS
from mldeploy.errors import ConfigException
from mldeploy.events import Report, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mldeploy.inference_config import InferenceConfig

COMING = {
    "edge": "has no deployment config yet: it comes with a target of its own",
    "fpga": "has no deployment config yet: it comes with a target of its own",
}
"""Targets whose keys their own version fixes."""

_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,31}")
_MODEL_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,254}:[0-9]+")

Target = Literal["local", "aci", "aks", "edge", "fpga"]

_Table = dict[str, Any]
PathOrTable = Annotated[
    Annotated[str, Tag("text")] | Annotated[_Table, Tag("object")],
    by_shape("expected the path of a file, or a table"),
]
Models = Annotated[
    Annotated[list[str], Tag("list")] | Annotated[dict[str, str], Tag("object")],
    by_shape("expected a list of paths and of name:version, or a table of names and paths"),
]


_VARIABLES = {
    "contract": "MLDEPLOY_CONTRACT",
    "nan": "MLDEPLOY_NAN",
    "scoring_timeout_ms": "SCORING_TIMEOUT_MS",
    "scoring_grace_ms": "MLDEPLOY_SCORING_GRACE_MS",
    "worker_count": "WORKER_COUNT",
    "metrics": "MLDEPLOY_METRICS",
    "request_log": "MLDEPLOY_REQUEST_LOG",
}
# the values that the official server honours, where it has not all of them; `compatible` and `v1` are both like it
_OFFICIAL: dict[str, tuple[Any, ...]] = {
    "contract": ("compatible", "v1"),
    "nan": ("bare",),
    "scoring_grace_ms": (),
    "metrics": (False,),
    "request_log": ("text",),
}


class _TomlSection(Section):
    """A table whose keys are written as in Python."""

    model_config = ConfigDict(alias_generator=None)


class ServingSettings(_TomlSection):
    """`[serving]`: how the scoring server answers.

    What is not said here is decided by the environment's own variables (`WORKER_COUNT` and the like, as in v1), and
    only then by the defaults.

    Args:
        contract: How requests that do not fit are treated.
        serving: Which scoring server runs.
        nan: How NaN and infinities are written in answers: bare as v1 did, or as null.
        scoring_timeout_ms: Milliseconds one scoring call may take; by default an hour, as in v1's container.
        scoring_grace_ms: Milliseconds it may go on after that, until its worker is replaced.
        worker_count: Worker processes; each has the script and one call at a time.
        metrics: Whether `GET /metrics` is answered, in Prometheus' format.
        request_log: How the log's line for each request is written.
    """

    contract: Literal["compatible", "strict", "v1"] = "compatible"
    serving: Literal["mldeploy", "azmlinfsrv"] = "mldeploy"
    nan: Literal["bare", "null"] = "bare"
    scoring_timeout_ms: int = Field(default=3_600_000, ge=1)
    scoring_grace_ms: int = Field(default=5_000, ge=1)
    worker_count: int = Field(default=1, ge=1)
    metrics: bool = False
    request_log: Literal["text", "json"] = "text"

    def broken(self) -> Iterator[tuple[Way, str]]:
        """What the official server cannot do is refused with it."""
        if self.serving != "azmlinfsrv":
            return
        for name, honoured in _OFFICIAL.items():
            value = getattr(self, name)
            if name in self.model_fields_set and value not in honoured:
                yield (name,), f"is {value!r}, which the official server (serving = 'azmlinfsrv') cannot do"

    @property
    def module(self) -> str:
        """The server: what `python -m` runs in the service's environment."""
        return "mldeploy_serving.official" if self.serving == "azmlinfsrv" else "mldeploy_serving"

    @property
    def requirements(self) -> tuple[str, ...]:
        """What the service's environment needs besides `mldeploy-serving` for it."""
        return ("azureml-inference-server-http",) if self.serving == "azmlinfsrv" else ()

    def variables(self) -> dict[str, str]:
        """What was said, as the environment variables that the server reads.

        Examples:
            >>> ServingSettings(contract="strict", metrics=True).variables()
            {'MLDEPLOY_CONTRACT': 'strict', 'MLDEPLOY_METRICS': 'true'}
        """
        said = self.to_dict()
        return {variable: str(said[name]).lower() for name, variable in _VARIABLES.items() if name in said}


class Sample(_TomlSection):
    """`[[service.sample]]`: a request and the answer it must give.

    Args:
        request: What is posted: text as it is, anything else as JSON.
        answer: What the answer must be, within the tolerances; None if any answer will do.
        rtol: Relative tolerance of numbers.
        atol: Absolute tolerance of numbers.
    """

    request: Any
    answer: Any = None
    rtol: float = Field(default=1e-6, ge=0)
    atol: float = Field(default=1e-12, ge=0)

    def broken(self) -> Iterator[tuple[Way, str]]:
        """Both are JSON; TOML knows more than JSON does."""
        for name in ("request", "answer"):
            try:
                json.dumps(getattr(self, name), allow_nan=name == "answer")
            except (TypeError, ValueError):
                yield (name,), "holds something that JSON has not (a date, nan or inf)"


class ServiceSection(_TomlSection):
    """`[[service]]`: a service that is deployed and checked on each of its targets.

    Args:
        name: The prefix of its name.
        inference_config: The path of an inference config, or one as a table.
        models: Paths and `name:version`, or a table of names and paths.
        targets: Where it makes sense; None if on every target.
        deployment: For a target, the path of a deployment config, or one as a table without `computeType`.
        samples: Requests and answers (`[[service.sample]]`).
    """

    name: str
    inference_config: PathOrTable
    models: Models = Field(default_factory=list)
    targets: list[Target] | None = Field(default=None, min_length=1)
    deployment: dict[Target, PathOrTable] = Field(default_factory=dict)
    samples: list[Sample] = Field(default_factory=list, alias="sample")

    def broken(self) -> Iterator[tuple[Way, str]]:
        """The name begins as the name of a service does."""
        if not _PREFIX.fullmatch(self.name):
            yield ("name",), "must have 1 to 32 of a-z, 0-9 and hyphens, and begin with a letter"


class HarnessConfig(_TomlSection):
    """The harness' own file.

    Args:
        target: Targets to run on.
        engine: What runs services on this machine.
        workspace: The workspace by name.
        timeout: Seconds a deployment may take.
        offline: Whether package indexes are never asked.
        registry: Where images of packages are pushed.
        serving: How the scoring server answers.
        services: The services (`[[service]]`).
    """

    target: list[Target] | None = Field(default=None, min_length=1)
    engine: Literal["auto", "process", "docker"] | None = None
    workspace: str | None = None
    timeout: float | None = Field(default=None, gt=0)
    offline: bool | None = None
    registry: str | None = None
    serving: ServingSettings = Field(default_factory=ServingSettings)
    services: list[ServiceSection] = Field(default_factory=list, alias="service")

    _document: Document | None = PrivateAttr(default=None)

    def broken(self) -> Iterator[tuple[Way, str]]:
        """Services are told apart by their names."""
        names = [service.name for service in self.services]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield ("service", index, "name"), f"is {name!r} a second time"

    def settings(self) -> dict[str, Any]:
        """What the file says about each setting, for the `file` of `mldeploy.config.settings.resolve`."""
        said = {name: getattr(self, name) for name in SETTINGS if name in self.model_fields_set}
        if said.pop("serving", None) is not None:
            said |= {name: getattr(self.serving, name) for name in self.serving.model_fields_set}
        return {name: value for name, value in said.items() if value is not None}

    def inference_config(self, service: ServiceSection, report: Report = silent) -> InferenceConfig:
        """The inference config of a service; paths in a table are relative to this file.

        Raises:
            ConfigException: It cannot be read, or something in it is wrong.
        """
        return inference_config_of(self._part(service, "inference_config", service.inference_config), report)

    def deployment_config(
        self, service: ServiceSection, target: str, report: Report = silent
    ) -> DeploymentConfiguration | None:
        """The deployment config of a service on a target; None if the file says nothing.

        Raises:
            ConfigException: It cannot be read, or something in it is wrong.
        """
        value = service.deployment.get(target)  # type: ignore[call-overload]
        if value is None:
            return None
        part = self._part(service, "deployment", value, target)
        made, findings = read_deployment(part, target)
        settle(findings, report)
        return made

    def model_paths(self, service: ServiceSection) -> list[str] | dict[str, str]:
        """The models of a service: paths made absolute, `name:version` as it is."""
        if isinstance(service.models, dict):
            return {name: self._path(path) for name, path in service.models.items()}
        return [model if _MODEL_ID.fullmatch(model) else self._path(model) for model in service.models]

    def _path(self, value: str) -> str:
        return str(locate(value, self._file().path.parent).path)

    def _file(self) -> Document:
        return self._document or Document(Path("mldeploy.toml"), self.to_dict())

    def _part(self, service: ServiceSection, key: str, value: str | _Table, *more: str) -> Document:
        """A config that is a file of its own, or a table of this one."""
        if isinstance(value, str):
            return read(self._path(value))
        return self._file().below("service", self.services.index(service), key, *more)


def load_harness(path: str | Path, report: Report = silent) -> HarnessConfig:
    """Loads `mldeploy.toml`, or `[tool.mldeploy]` of a `pyproject.toml`.

    Args:
        path: The file.
        report: Gets a `Notice` for each warning.

    Raises:
        ConfigException: Something in the file is wrong; the message has one line for each, with file and line.
            Configs that it names are read when they are used.
    """
    harness, findings = read_harness(read_toml(path))
    settle(findings, report)
    if harness is None:  # settle() has raised already: there is no harness only with an error
        raise ConfigException("No configuration", where=str(path))
    return harness


def read_toml(path: str | Path) -> Document:
    """Reads the harness' own file, or its table in a `pyproject.toml`.

    Raises:
        ConfigException: The file cannot be read, or is a `pyproject.toml` without `[tool.mldeploy]`.
    """
    document = read(path)
    if document.path.name != "pyproject.toml":
        return document
    tool = document.data.get("tool")
    if not isinstance(tool, dict) or "mldeploy" not in tool:
        raise ConfigException("There is no [tool.mldeploy] in this file", where=str(path))
    return document.below("tool", "mldeploy")


def read_harness(document: Document) -> tuple[HarnessConfig | None, list[Finding]]:
    """Reads the harness' own file; None if there is an error, and the findings, those of inner configs too."""
    harness, problems = parse(HarnessConfig, document.data)
    findings = [problem.found_in(document) for problem in problems]
    if harness is None:
        return None, findings
    harness._document = document
    for index, service in enumerate(harness.services):
        findings += _inner_findings(document, index, service)
    return (None if any(finding.level == "error" for finding in findings) else harness), findings


def _inner_findings(document: Document, index: int, service: ServiceSection) -> list[Finding]:
    """Findings in the configs that are tables; those that are files are looked at when they are used."""
    findings: list[Finding] = []
    if isinstance(service.inference_config, dict):
        findings += read_inference(document.below("service", index, "inference_config"))[1]
    for target, value in service.deployment.items():
        part = document.below("service", index, "deployment", target)
        if target in COMING:
            problem = Problem(("service", index, "deployment", target), COMING[target])
            findings.append(problem.found_in(document))
        elif isinstance(value, dict):
            findings += read_deployment(part, target)[1]
    return findings
