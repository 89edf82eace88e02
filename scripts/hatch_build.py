"""Build hook: the scoring server's own wheel is built first and carried inside ours."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilder


class CarryServingWheel(BuildHookInterface[Any]):
    """Puts the `mldeploy-serving` wheel where `mldeploy.packaging` looks for it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the wheel afresh; an older one would be installed in its place.

        Args:
            version: What is being built (`standard` or `editable`); both need the wheel.
            build_data: Hatchling's, left as it is.
        """
        if self.target_name != "wheel":
            return
        backends = Path(self.root) / "backends"
        carried = backends / "mldeploy" / "_serving"
        carried.mkdir(exist_ok=True)
        for old in carried.glob("*.whl"):
            old.unlink()
        builder = WheelBuilder(str(backends / "mldeploy_serving"))
        for _ in builder.build(directory=str(carried), versions=["standard"]):
            pass
