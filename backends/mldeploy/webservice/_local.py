"""Services on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mldeploy import deployment
from mldeploy.events import Notice, Report, Step, silent
from mldeploy.webservice._orders import labels_of, recorded_order, registered
from mldeploy.webservice._service import Webservice

if TYPE_CHECKING:
    from mldeploy.config.deployment import LocalWebserviceDeploymentConfiguration
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.model import Model


class LocalWebservice(Webservice):
    """A service on this machine (v1's `azureml.core.webservice.LocalWebservice`).

    v1 had states of its own for it; here they are Azure ML's five words everywhere, and the constants say so.
    """

    STATE_RUNNING = "Healthy"
    STATE_DEPLOYING = "Transitioning"
    STATE_FAILED = "Failed"
    STATE_UNKNOWN = "Unhealthy"

    @staticmethod
    def deploy_configuration(
        port: int | None = None, *, cpu_cores: float | None = None, memory_gb: float | None = None
    ) -> LocalWebserviceDeploymentConfiguration:
        """What can be asked of the local target.

        Args:
            port: 1 to 65535; None lets the system choose a free one.
            cpu_cores: The most cores the service gets, in fractions too; needs Docker.
            memory_gb: The most memory it gets, in GB of 2^30 bytes; needs Docker.
        """
        from mldeploy.config.deployment import LocalWebserviceDeploymentConfiguration

        return LocalWebserviceDeploymentConfiguration.of(port=port, cpu_cores=cpu_cores, memory_gb=memory_gb)

    @property
    def port(self) -> int | None:
        """The loopback port it listens on."""
        handle = self._look()[0].handle
        return handle.get("port")

    def reload(self, wait: bool = False, *, report: Report = silent) -> None:
        """Restart with fresh copies of the entry script and the source directory; the environment stays (C §5.3).

        Args:
            wait: Until it is Healthy.
            report: Told each step.
        """
        report(Notice("The environment stays as it was deployed: an update takes a changed one"))
        self._again({"keep_environment": True}, wait, report)

    def update(
        self,
        models: Sequence[Model | str] | None = None,
        deployment_config: LocalWebserviceDeploymentConfiguration | None = None,
        wait: bool = False,
        inference_config: InferenceConfig | None = None,
        *,
        report: Report = silent,
    ) -> None:
        """Deploy again with what is given; None keeps what is (C §5.5).

        Args:
            models: The models instead of the present ones.
            deployment_config: The configuration instead of the present one.
            wait: Until it is Healthy.
            inference_config: Script, source and environment instead of the present ones.
            report: Told each step.
        """
        changes: dict[str, Any] = {}
        if models is not None:
            changes["models"] = registered(self.workspace, models)
        if deployment_config is not None:
            labels = labels_of(self._look()[0])
            given = deployment_config.model_dump(exclude_unset=True)
            changes["configuration"] = deployment_config.of(**{**labels, **given})
        if inference_config is not None:
            changes["inference_config"] = inference_config
        self._again(changes, wait, report)

    def _again(self, changes: Mapping[str, Any], wait: bool, report: Report) -> None:
        order = replace(recorded_order(self.workspace, self._look()[0]), **changes)
        deployment.deploy(self.workspace, self.name, order, overwrite=True, report=report)
        if wait:
            self.wait_for_deployment(report=report)

    def wait_for_deployment(
        self, show_output: bool = False, timeout_sec: float | None = None, *, report: Report = silent
    ) -> None:
        """Wait until the service is Healthy; see `Webservice.wait_for_deployment`.

        On Docker it tells, and with `show_output` prints, what v1 told (C §5.3).
        """
        from mldeploy.targets.local import engine

        container = engine(self._look()[0].handle) == "docker"

        def say(text: str) -> None:
            report(Step("health", text))
            if show_output:
                sys.stdout.write(f"{text}\n")

        if container:
            say("Checking container health...")
        super().wait_for_deployment(show_output, timeout_sec, report=report)
        if container:
            say(f"Local webservice is running at http://localhost:{self.port}")

    def delete(self, delete_cache: bool = True, delete_image: bool = False) -> None:
        """Stop the service and forget it; returns when it is gone.

        Args:
            delete_cache: v1's build cache. Here services share what is cached, so it has no effect: see
                `mldeploy images prune`.
            delete_image: Remove the image of its environment too, unless another container has it. A process has
                none.

        Raises:
            EngineException: Docker does not answer: nothing is forgotten.
        """
        from mldeploy.targets.local import remove_image

        handle = self._look()[0].handle
        super().delete()
        if delete_image:
            remove_image(handle)
