"""Reading `deploymentconfig.json`: nested keys to attributes, stray spellings, keys of other targets."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mldeploy.config.deployment import PATHS, PEM, TARGETS, DeploymentConfiguration, Key
from mldeploy.config.files import Document, read
from mldeploy.config.findings import Finding, Problem, settle
from mldeploy.config.paths import locate
from mldeploy.config.spelling import Tree, unknown_keys
from mldeploy.config.words import found, kind_of, listing, nearest
from mldeploy.errors import ConfigException
from mldeploy.events import Report, silent

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = {
    "iot": "IoT Edge comes with a target of its own",
    "fpga": "FPGA comes with a target of its own",
    "amlcompute": "a compute cluster runs batch jobs, not services",
}
"""Compute types that v1 knew and no deployment config is for, and why."""

STRAY = {
    "ComputeTarget": "computeTargetName",
    "computeName": "computeTargetName",
    "enableAppInsights": "appInsightsEnabled",
    "aadAuthEnabled": "tokenAuthEnabled",
    "kvTags": "tags",
    "containerResourceRequirements.gpu": "gpuCores",
}
"""Spellings seen in v1's samples and wire format, and the file's own."""

_CLUSTER_TLS = "has no effect: on AKS, TLS is a matter of the cluster, not of a service"


def load_deployment_config(path: str | Path, report: Report = silent) -> DeploymentConfiguration:
    """Loads `deploymentconfig.json` (JSON or YAML).

    Args:
        path: The file.
        report: Gets a `Notice` for each stray spelling, and for each path that was only found under the
            current folder.

    Returns:
        The configuration of the target that `computeType` names.

    Raises:
        ConfigException: Something in the file is wrong; the message has one line for each, with file and line.
    """
    configuration, findings = read_deployment(read(path))
    settle(findings, report)
    if configuration is None:  # settle() has raised already: there is no configuration only with an error
        raise ConfigException("No configuration", where=str(path))
    return configuration


def deployment_from_dict(data: dict[str, Any]) -> DeploymentConfiguration:
    """Makes a configuration from what its `to_dict` gave."""
    model = TARGETS[data["computeType"].casefold()]
    return model.of(**_flatten(data, model)[0])


def read_deployment(
    document: Document, target: str | None = None
) -> tuple[DeploymentConfiguration | None, list[Finding]]:
    """Reads a deployment config that is a file, or a table in `mldeploy.toml`.

    Args:
        document: The object.
        target: The compute type where something else names it, in lower case.

    Returns:
        The configuration, None if there is an error, and the findings.
    """
    data = dict(document.data)
    named, problem = _compute_type(data.pop("computeType", None), required=target is None)
    if problem is not None:
        return None, [problem.found_in(document)]
    if target and named and named != target:
        other = Problem(("computeType",), f"is {named!r} in what is for {target!r}")
        return None, [other.found_in(document)]
    model = TARGETS[target or named]
    data, strays = _mend(data, model)
    data, unknown = unknown_keys(data, tree_of_keys(model))
    errors = [_of_another_target(each, model) for each in unknown]
    values, shapes = _flatten(data, model)
    notes = _locate_files(values, document)
    configuration, wrong = model.problems(values)
    errors += shapes + [_as_in_file(each, model) for each in wrong]
    findings = [each.found_in(document) for each in errors]
    findings += [each.found_in(document, "warning") for each in strays + notes]
    return (None if errors else configuration), findings


def tree_of_keys(model: type[DeploymentConfiguration]) -> Tree:
    """The keys that a target's file may have."""
    tree: Tree = {"computeType": None}
    for section, *inner in model.ways().values():
        below = tree.setdefault(section, {} if inner else None)
        if below is not None:
            below.update(dict.fromkeys(inner))
    return tree


def _compute_type(value: Any, *, required: bool) -> tuple[str, Problem | None]:
    known = listing(each.compute_type for each in TARGETS.values())
    if value is None:
        return "", Problem(("computeType",), "is required", known) if required else None
    name = value.casefold() if isinstance(value, str) else ""
    if name in TARGETS:
        return name, None
    if name in ELSEWHERE:
        return "", Problem(("computeType",), f"is {value!r}: {ELSEWHERE[name]}", f"here: {known}")
    near = nearest(name, [*TARGETS, *ELSEWHERE])
    return "", Problem(
        ("computeType",), f"expected {known}, found {found(value)}", f"did you mean {near!r}?" if near else ""
    )


def _mend(data: dict[str, Any], model: type[DeploymentConfiguration]) -> tuple[dict[str, Any], list[Problem]]:
    """Puts what stands under a stray spelling under the right key, if the target has that key."""
    ways = {".".join(way) for way in model.ways().values()}
    data = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    warnings: list[Problem] = []
    for stray, right in STRAY.items():
        way = Key(stray).way
        section = data if len(way) == 1 else data.get(way[0])
        if not isinstance(section, dict) or way[-1] not in section or right not in ways:
            continue
        value = section.pop(way[-1])
        if data.get(right, value) != value:
            warnings.append(Problem(way, f"gives way to {right!r}, which is there too", f"remove {stray!r}"))
            continue
        data[right] = value
        warnings.append(Problem(way, f"is a stray spelling of {right!r}", f"write {right!r}"))
    if "sslEnabled" in data and "sslEnabled" not in ways and model.compute_type.startswith("AKS"):
        del data["sslEnabled"]
        warnings.append(Problem(("sslEnabled",), _CLUSTER_TLS, "enable it with AksCompute's 'enable_ssl'"))
    return data, warnings


def _of_another_target(problem: Problem, model: type[DeploymentConfiguration]) -> Problem:
    """Tells whose key it is when it is not unknown but another target's."""
    steps = len(problem.keys)
    owners = [
        name for name, other in TARGETS.items() if any(way[:steps] == problem.keys for way in other.ways().values())
    ]
    if owners:
        here = model.compute_type.lower()
        return replace(
            problem,
            message=f"has no effect on {here!r}",
            hint=f"it belongs to {listing(owners, 'and')}; remove it",
        )
    if problem.keys == ("containerResourceRequirements", "fpga"):
        return replace(problem, message=f"is not for a deployment config: {ELSEWHERE['fpga']}", hint="remove it")
    return problem


def _flatten(data: dict[str, Any], model: type[DeploymentConfiguration]) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    wrong: dict[str, Problem] = {}
    for name, way in model.ways().items():
        section: Any = data
        for key in way[:-1]:
            section = section.get(key)
        if isinstance(section, dict):
            if way[-1] in section:
                values[name] = section[way[-1]]
        elif section is not None:
            shown = kind_of if way[0] == "keys" else found  # which may be a key, put where the object should be
            wrong[way[0]] = Problem(way[:1], f"expected an object, found {shown(section)}")
    return values, list(wrong.values())


def _locate_files(values: dict[str, Any], document: Document) -> list[Problem]:
    """Makes paths absolute, by the rule for paths in a config file."""
    notes: list[Problem] = []
    for name in PATHS:
        value = values.get(name)
        if isinstance(value, str) and not value.startswith(PEM):
            place = locate(value, document.path.parent)
            values[name] = str(place.path)
            if place.note:
                notes.append(Problem(_way(name), place.note))
    return notes


def _way(name: str) -> tuple[str, ...]:
    return next(target.ways()[name] for target in TARGETS.values() if name in target.ways())


def _as_in_file(problem: Problem, model: type[DeploymentConfiguration]) -> Problem:
    """The problem with attributes spelled as the file spells them."""
    ways = model.ways()
    message = re.sub(
        r"'(\w+)'",
        lambda match: repr(".".join(ways[match[1]])) if match[1] in ways else match[0],
        problem.message,
    )
    name, *rest = problem.keys
    return replace(problem, keys=(*ways.get(str(name), (name,)), *rest), message=message)
