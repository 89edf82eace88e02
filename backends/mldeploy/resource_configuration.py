"""`azureml.core.resource_configuration`: what a model asks for where no deployment configuration says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mldeploy.errors import UserErrorException


@dataclass
class ResourceConfiguration:
    """What a service with a model needs.

    Args:
        cpu: Cores, above 0.
        memory_in_gb: Gigabytes, above 0.
        gpu: Graphics cards, 0 or more.

    Raises:
        UserErrorException: A number is out of range.

    Examples:
        >>> ResourceConfiguration(cpu=1, memory_in_gb=0.5).serialize()
        {'cpu': 1, 'memoryInGB': 0.5, 'gpu': None}
    """

    cpu: float | None = None
    memory_in_gb: float | None = None
    gpu: int | None = None

    def __post_init__(self) -> None:
        _check("cpu", self.cpu, above=0)
        _check("memory_in_gb", self.memory_in_gb, above=0)
        _check("gpu", self.gpu, above=-1)

    def serialize(self) -> dict[str, Any]:
        """The JSON of it: `cpu`, `memoryInGB`, `gpu`."""
        return {"cpu": self.cpu, "memoryInGB": self.memory_in_gb, "gpu": self.gpu}

    @staticmethod
    def deserialize(payload: dict[str, Any] | None) -> ResourceConfiguration | None:
        """Read what `serialize` wrote; None stays None."""
        if payload is None:
            return None
        return ResourceConfiguration(payload.get("cpu"), payload.get("memoryInGB"), payload.get("gpu"))


def _check(name: str, value: object, above: int) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and value > above):  # type: ignore[operator]
        raise UserErrorException(
            f"{name} is {value!r}", where="ResourceConfiguration", hint="a number above 0; gpu may be 0"
        )
