"""Finding models: by id, version, tags and properties, as v1 did, and what to say where there is none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from mldeploy.errors import ModelNotFoundException, UserErrorException

if TYPE_CHECKING:
    from mldeploy.store.models import ModelRecord
    from mldeploy.workspace import Workspace

# A `key`, or a `[key, value]`: how v1 filtered by tags and properties.
Filter = Iterable["str | Iterable[str]"] | Mapping[str, str]


def latest_first(records: Iterable[ModelRecord]) -> list[ModelRecord]:
    """The models, the one registered last first."""
    return sorted(records, key=lambda record: (record.created_time, record.version), reverse=True)


def fits(tags: Filter | None, properties: Filter | None, framework: str | None) -> Callable[[ModelRecord], bool]:
    """Whether a model has what is asked for.

    Args:
        tags: Keys, or `[key, value]` pairs, that it must have; None asks for nothing.
        properties: The same for properties.
        framework: Its framework.

    Returns:
        The question to ask of each record.
    """

    def fit(record: ModelRecord) -> bool:
        return (
            framework in {None, record.framework}
            and has_all(record.tags, tags)
            and has_all(record.properties, properties)
        )

    return fit


def has_all(pairs: Mapping[str, str], wanted: Filter | None) -> bool:
    """Whether tags or properties have everything that is asked for.

    Examples:
        >>> has_all({"stage": "test"}, ["stage"]), has_all({"stage": "test"}, [["stage", "live"]])
        (True, False)
    """
    return all(_has(pairs, *one) for one in _pairs(wanted))


def _pairs(wanted: Filter | None) -> list[tuple[str, ...]]:
    if isinstance(wanted, str):
        return [(wanted,)]
    if isinstance(wanted, Mapping):
        return [*wanted.items()]
    return [(one,) if isinstance(one, str) else tuple(one) for one in wanted or ()]


def _has(pairs: Mapping[str, str], key: str, value: str | None = None) -> bool:
    return key in pairs and value in {None, pairs[key]}


def split_id(model_id: str) -> tuple[str, str]:
    """A model id's name and version.

    Raises:
        UserErrorException: It is none.
    """
    name, _, version = model_id.rpartition(":")
    if not name:
        raise UserErrorException(f"{model_id!r} is no model id", where="id", hint="name:version, such as diabetes:1")
    return name, version


def version_number(version: int | str | None) -> int | None:
    """A version as a number; None stays None.

    Raises:
        UserErrorException: It is none.
    """
    if version is None:
        return None
    try:
        return int(version)
    except ValueError:
        raise UserErrorException(f"{version!r} is no model version", where="version", hint="1, 2, 3 …") from None


def not_found(
    workspace: Workspace,
    name: str | None,
    version: int | None,
    tags: Filter | None,
    properties: Filter | None,
) -> ModelNotFoundException:
    """The error for a model that is not there, naming those that are near."""
    asked = {"name": name, "version": version, "tags": tags, "properties": properties}
    shown = ", ".join(f"{key} {value}" for key, value in asked.items() if value)
    records = workspace.store.models.list()
    names = sorted({record.name for record in records})
    if name in names:
        versions = sorted(record.version for record in records if record.name == name)
        reason = f"{name} has version {', '.join(map(str, versions))}"
    else:
        near = difflib.get_close_matches(name or "", names) or names[:10]
        reason = f"there is {', '.join(near)}" if near else "no model is registered there"
    return ModelNotFoundException(
        f"Model with {shown} not found in workspace {workspace.name}",
        where=workspace.name,
        reason=reason,
        hint="mldeploy model list",
    )
