"""An image: a base and the layers on it, as the OCI image configuration that names it.

Nothing here asks an engine: the configuration's bytes, and with them the image's id, follow from base and layers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mldeploy.images.foundations.base import BaseImage
    from mldeploy.images.layers.layer import Layer

CREATED = "1980-01-01T00:00:00Z"

# What the OCI specification knows of a container's configuration, and Docker's health check.
_KEYS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Healthcheck",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An image that may not be on any engine yet.

    Args:
        base: What it stands on.
        layers: On top of it, lowest first.
        settings: The container's configuration in Docker's words (`Env`, `User`, `Cmd`, …). It takes the place of the
            base's word by word; of `Env` and `Labels` name by name.
    """

    base: BaseImage
    layers: tuple[Layer, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def config(self) -> bytes:
        """The image configuration (OCI specification, `application/vnd.oci.image.config.v1+json`)."""
        document = {
            "architecture": self.base.architecture,
            "os": self.base.os,
            "created": CREATED,
            "config": self._settings(),
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
            "history": [
                *({"created": CREATED, "created_by": "base"} for _ in self.base.diff_ids),
                *({"created": CREATED, "created_by": layer.created_by} for layer in self.layers),
            ],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @cached_property
    def id(self) -> str:
        """What Docker calls it by: `sha256:` and the hash of its configuration."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers' hashes, the base's first."""
        return (*self.base.diff_ids, *(layer.diff_id for layer in self.layers))

    @property
    def size_above_base(self) -> int:
        """Bytes of the layers that are not the base's."""
        return sum(layer.size for layer in self.layers)

    def with_layers(self, *layers: Layer, **settings: Any) -> Image:
        """The image with more on top of it."""
        below = Image(self.base, self.layers, self.settings)._settings()
        return Image(self.base, (*self.layers, *layers), _merged(below, settings))

    def _settings(self) -> dict[str, Any]:
        return _merged({key: self.base.config.get(key) for key in _KEYS}, self.settings)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {**below, **above}
    both["Env"] = _variables([*(below.get("Env") or ()), *(above.get("Env") or ())])
    both["Labels"] = {**(below.get("Labels") or {}), **(above.get("Labels") or {})}
    return {key: value for key, value in both.items() if value}


def _variables(lines: list[str]) -> list[str]:
    """The last of each name, in the order of their names' first."""
    return [f"{name}={value}" for name, value in dict(line.partition("=")[::2] for line in lines).items()]
