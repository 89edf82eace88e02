"""What every config model has in common: strict types, no unknown keys, and rules that span several keys.

A rule is told by `broken()`, not by a validator of its own, so that all broken rules of a model are reported
together, as v1's AKS configuration did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Discriminator, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from mldeploy.errors import ConfigException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    S = TypeVar("S", bound="Section")

RULES = "mldeploy_rules"
"""The type of the one pydantic error that carries all broken rules of a model in `ctx["broken"]`."""


SHAPE = "mldeploy_shape"
"""The type of the error for a value that is of none of the kinds its key may have."""

Way = tuple[str | int, ...]


def by_shape(expected: str) -> Discriminator:
    """Chooses among the members of a union tagged "text", "list" and "object" by the value's JSON type.

    Args:
        expected: What to say when it is none of them: "expected text or an object".
    """
    return Discriminator(_shape, custom_error_type=SHAPE, custom_error_message=expected)


def _shape(value: Any) -> str | None:
    for kind, name in ((str, "text"), (list, "list"), (dict | BaseModel, "object")):
        if isinstance(value, kind):
            return name
    return None


class Section(BaseModel):
    """An object in a config file: camelCase keys in the file, snake_case attributes in Python."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
    )

    def broken(self) -> Iterator[tuple[Way, str]]:
        """Yields every rule between keys that does not hold: the key to point at, and what is wrong."""
        yield from ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Section:
        broken = tuple(self.broken())
        if broken:
            raise PydanticCustomError(RULES, "{text}", {"text": broken[0][1], "broken": broken})
        return self

    @classmethod
    def of(cls: type[S], **values: Any) -> S:
        """Makes one from Python values.

        Raises:
            ConfigException: Values are unknown, of a wrong type, out of range or exclude each other; the message
                has one line for each.
        """
        return cls.checked(values, cls.__name__)

    @classmethod
    def checked(cls: type[S], values: dict[str, Any], where: str) -> S:
        """Makes one from attributes or keys, with another word for where an error is.

        Raises:
            ConfigException: As `of`.
        """
        from mldeploy.config.findings import explain  # which is above this

        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = explain(error, values)
        raise ConfigException("\n".join(problem.text for problem in problems), where=where, hint=problems[0].hint)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of what was set, with the file's keys; loading it gives an equal model."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
