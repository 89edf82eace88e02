"""From a plain mapping to an environment's definition, with errors in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mldeploy.errors import ConfigException

if TYPE_CHECKING:
    from mldeploy.config.environment import EnvironmentDefinition


def checked(content: dict[str, Any], where: str) -> EnvironmentDefinition:
    """Check an environment.

    Args:
        content: Its JSON form.
        where: What an error is about.

    Returns:
        The definition.

    Raises:
        ConfigException: A value is of the wrong type, or a key is not known.
    """
    from pydantic import ValidationError

    from mldeploy.config.environment import EnvironmentDefinition
    from mldeploy.config.findings import explain

    try:
        return EnvironmentDefinition.model_validate(content)
    except ValidationError as error:
        problems = explain(error, content)
        raise ConfigException(
            "\n".join(problem.text for problem in problems), where=where, hint=problems[0].hint
        ) from None
