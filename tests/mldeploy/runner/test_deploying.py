"""The flags that stand for keys of deployment configurations."""

from __future__ import annotations

from typing import Any

import click
import pytest

from mldeploy.config.deployment import (
    TARGETS,
    AciServiceDeploymentConfiguration,
    AksEndpointDeploymentConfiguration,
    AksServiceDeploymentConfiguration,
    DeploymentConfiguration,
    LocalWebserviceDeploymentConfiguration,
)
from mldeploy.events import silent
from mldeploy.runner._deploying import FLAGS, deployment_config, deployment_flags, inference_flags, sort

WITHOUT_A_FLAG = {
    *("description", "tags", "properties"),  # have flags of their own
    *("event_hub_enabled", "is_default", "version_type", "blobfuse_enabled"),  # v1 had none for `model deploy`
}


def parsed(*args: str) -> dict[str, Any]:
    """What click makes of some flags."""

    @click.command()
    @inference_flags
    @deployment_flags
    def command(**values: Any) -> dict[str, Any]:
        return values

    values: dict[str, Any] = command.main(args, standalone_mode=False)
    return values


def configuration(*args: str, cp: str | None = None) -> DeploymentConfiguration | None:
    """The deployment configuration that some flags ask for."""
    return deployment_config(sort(parsed(*args)), cp, silent)


def test_every_flag_stands_for_a_key_and_every_key_has_one() -> None:
    keys = {name for kind in TARGETS.values() for name in kind.model_fields}
    assert FLAGS.keys() <= keys
    assert keys - FLAGS.keys() == WITHOUT_A_FLAG


def test_no_flag_is_given_twice() -> None:
    names = [name for flag in FLAGS.values() for name in flag.names.split()]
    assert len(names) == len(set(names))


def test_nothing_said_is_no_configuration() -> None:
    assert configuration() is None


def test_local() -> None:
    assert configuration("--port", "8890") == LocalWebserviceDeploymentConfiguration.of(port=8890)
    assert configuration(cp="LOCAL") == LocalWebserviceDeploymentConfiguration.of()


def test_aci() -> None:
    made = configuration("--cc", "0.5", "--gb", "1", "--ae", "--lo", "westus", "--dn", "label", cp="ACI")
    assert made == AciServiceDeploymentConfiguration.of(
        cpu_cores=0.5, memory_gb=1, auth_enabled=True, location="westus", dns_name_label="label"
    )


def test_aks() -> None:
    made = configuration("--nr", "3", "--as", "false", "--tm", "100", "--id", "5", "-ct", "myaks", cp="aks")
    assert made == AksServiceDeploymentConfiguration.of(
        num_replicas=3,
        autoscale_enabled=False,
        scoring_timeout_ms=100,
        initial_delay_seconds=5,
        compute_target_name="myaks",
    )
    endpoint = configuration("--vn", "blue", "--tp", "12.5", cp="AKSEndpoint")
    assert endpoint == AksEndpointDeploymentConfiguration.of(version_name="blue", traffic_percentile=12.5)


@pytest.mark.parametrize(("typed", "value"), [((), True), (("true",), True), (("False",), False), (("0",), False)])
def test_a_switch_may_be_followed_by_its_value(typed: tuple[str, ...], value: bool) -> None:
    made = configuration("--ai", *typed, "--cc", "1", cp="ACI")
    assert isinstance(made, AciServiceDeploymentConfiguration)
    assert made.enable_app_insights is value


def test_flags_go_over_the_file(tmp_path: Any) -> None:
    file = tmp_path / "dc.yml"
    file.write_text("computeType: ACI\ncontainerResourceRequirements: {cpu: 2, memoryInGB: 4}\n")
    made = configuration("--dc", str(file), "--cc", "1")
    assert made == AciServiceDeploymentConfiguration.of(cpu_cores=1, memory_gb=4)


def test_the_scoring_timeout_is_a_setting_where_it_is_no_key() -> None:
    assert configuration("--tm", "100") == LocalWebserviceDeploymentConfiguration.of()
    assert sort(parsed("--tm", "100")).scoring_timeout_ms == 100
