"""From the data of a file to a model of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mldeploy.config.findings import Problem, explain
from mldeploy.config.spelling import tree_of, unknown_keys

if TYPE_CHECKING:
    from typing import TypeVar

    from mldeploy.config.sections import Section

    S = TypeVar("S", bound=Section)


def parse(model: type[S], data: Any) -> tuple[S | None, list[Problem]]:
    """Makes a model of some data, and tells everything that stands against it.

    Returns:
        The model, which unknown keys alone do not prevent, and the problems.
    """
    known, problems = unknown_keys(data, tree_of(model))
    try:
        return model.model_validate(known), problems
    except ValidationError as error:
        return None, problems + explain(error, known)
