"""What every config model has in common: strict types, no unknown keys, and rules that span several keys.

A rule is told by `broken()`, not by a validator of its own, so that all broken rules of a model are reported
together, as v1's AKS configuration did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = "mldeploy_rules"
"""The type of the one pydantic error that carries all broken rules of a model in `ctx["broken"]`."""


class Section(BaseModel):
    """An object in a config file: camelCase keys in the file, snake_case attributes in Python."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True, frozen=True
    )

    def broken(self) -> Iterator[tuple[str, str]]:
        """Yields every rule between keys that does not hold: the attribute to point at, and what is wrong."""
        yield from ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Section:
        broken = tuple(self.broken())
        if broken:
            raise PydanticCustomError(RULES, "{text}", {"text": broken[0][1], "broken": broken})
        return self

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of what was set, with the file's keys; loading it gives an equal model."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
