"""What a user says of a model, checked before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mldeploy.errors import UserErrorException, WebserviceException

if TYPE_CHECKING:
    from mldeploy.resource_configuration import ResourceConfiguration

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-\._]{0,254}")


class Framework:
    """The frameworks a model may name."""

    CUSTOM = "Custom"
    TENSORFLOW = "TensorFlow"
    SCIKITLEARN = "ScikitLearn"
    ONNX = "Onnx"
    TFKERAS = "TfKeras"
    PYTORCH = "PyTorch"
    MULTI = "Multi"


_FRAMEWORKS = tuple(value for name, value in vars(Framework).items() if name.isupper())


def checked_name(name: str) -> str:
    """A model's name that obeys v1's rule.

    Raises:
        WebserviceException: It does not; the rule is quoted.
    """
    if not _NAME.fullmatch(name):
        raise WebserviceException(
            f"{name!r} cannot be a model's name",
            where="model_name",
            reason=f"1 to 255 letters, digits, '-', '.' and '_', the first one a letter or digit (^{_NAME.pattern}$)",
            hint="choose another name",
        )
    return name


def checked_framework(framework: str | None) -> str:
    """One of `Framework`; None is `Custom`.

    Raises:
        UserErrorException: It is none of them.
    """
    if framework is None:
        return Framework.CUSTOM
    if framework not in _FRAMEWORKS:
        raise UserErrorException(
            f"{framework!r} is no model framework",
            where="model_framework",
            hint=f"one of {', '.join(_FRAMEWORKS)}",
        )
    return framework


def checked_pairs(what: str, pairs: Mapping[str, str] | None) -> dict[str, str]:
    """Tags or properties as strings; None is none.

    Raises:
        UserErrorException: It is no mapping; `what` names it.
    """
    if not isinstance(pairs or {}, Mapping):
        raise UserErrorException(f"{what} is {pairs!r}", where=what, hint="a dict of keys and values")
    return {str(key): str(value) for key, value in (pairs or {}).items()}


class Changes:
    """What is to change in the tags and properties of a model or service.

    Args:
        tags: Pairs to add or change.
        removed: Keys of tags to remove, after that; one key or several.
        properties: Pairs to add.

    Raises:
        UserErrorException: Tags or properties are no mapping.
    """

    def __init__(
        self, tags: Mapping[str, str] | None, removed: Iterable[str] | None, properties: Mapping[str, str] | None
    ) -> None:
        self._tags, self._properties = checked_pairs("tags", tags), checked_pairs("properties", properties)
        self._removed = {removed} if isinstance(removed, str) else set(removed or ())

    def made(
        self, whose: str, tags: Mapping[str, str], properties: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The tags and properties after the changes.

        Args:
            whose: The model or service, for the error.
            tags: Those before.
            properties: The same.

        Raises:
            UserErrorException: A property is there with another value.
        """
        for key, value in self._properties.items():
            if properties.get(key, value) != value:
                raise UserErrorException(
                    f"property {key} of {whose} is {properties[key]!r} and stays so",
                    where=whose,
                    hint="properties are only added to; use a tag for what changes",
                )
        kept = {key: value for key, value in {**tags, **self._tags}.items() if key not in self._removed}
        return kept, {**properties, **self._properties}


def resources(configuration: ResourceConfiguration | None) -> dict[str, Any] | None:
    """The JSON of a resource configuration; None stays None."""
    return None if configuration is None else configuration.serialize()


def dataset_id(dataset: Any) -> str | None:
    """What a dataset goes by: itself if that is a string, else its `id` or `name`; None stays None.

    Raises:
        UserErrorException: It has neither.
    """
    if dataset is None or isinstance(dataset, str):
        return dataset
    found = getattr(dataset, "id", None) or getattr(dataset, "name", None)
    if not found:
        raise UserErrorException(
            f"{dataset!r} is no dataset", where="datasets", hint="an id, or an object with an id or a name"
        )
    return str(found)


def references(datasets: Iterable[tuple[str, object]] | None) -> list[list[str]]:
    """Pairs of a purpose and a dataset, as they are stored."""
    return [[purpose, dataset_id(dataset) or ""] for purpose, dataset in datasets or ()]
