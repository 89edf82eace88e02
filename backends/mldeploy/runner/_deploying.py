"""The flags of `model deploy` and `service update`, and the configurations they make.

One table has every flag that stands for a key of some deployment configuration; which targets have that key is
asked of the configurations themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldeploy.errors import ConfigException, UserErrorException
from mldeploy.events import Report
from mldeploy.runner._options import FILE, F, together, without_none

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.workspace import Workspace


@dataclass(frozen=True)
class Flag:
    """A flag that stands for one attribute of a deployment configuration."""

    names: str
    attribute: str
    type: Any
    help: str

    def option(self, shown: bool) -> Callable[[F], F]:
        """Its declaration; a switch may be followed by true or false, as in v1."""
        switch: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if self.type is bool else {}
        return click.option(
            *self.names.split(), self.attribute, type=self.type, help=self.help, hidden=not shown, **switch
        )


LOCAL_FLAGS = (
    Flag("--po --port", "port", int, "The port to listen on.  [default: a free one]"),
    Flag("--cc --cpu-cores", "cpu_cores", float, "Most CPU cores; local needs Docker for it."),
    Flag("--gb --memory-gb", "memory_gb", float, "Most memory in GB; local needs Docker for it."),
    Flag("--tm --scoring-timeout-ms", "scoring_timeout_ms", int, "Longest scoring, in ms.  [default: 3600000]"),
)
LATER_FLAGS = (
    Flag("--ccl --cpu-cores-limit", "cpu_cores_limit", float, "AKS: most CPU cores."),
    Flag("--gbl --memory-gb-limit", "memory_gb_limit", float, "AKS: most memory in GB."),
    Flag("--gc --gpu-cores", "gpu_cores", int, "AKS: GPUs."),
    Flag("--ae --auth-enabled", "auth_enabled", bool, "ACI, AKS: keys guard the service."),
    Flag("--token-auth-enabled", "token_auth_enabled", bool, "AKS: tokens guard the service."),
    Flag("--kp --primary-key", "primary_key", str, "ACI, AKS: the first key."),
    Flag("--ks --secondary-key", "secondary_key", str, "ACI, AKS: the second key."),
    Flag("--ai --enable-app-insights", "enable_app_insights", bool, "ACI, AKS: Application Insights."),
    Flag("--md --collect-model-data", "collect_model_data", bool, "AKS: collect model data."),
    Flag("--as --autoscale-enabled", "autoscale_enabled", bool, "AKS: replicas follow the load."),
    Flag("--mi --autoscale-min-replicas", "autoscale_min_replicas", int, "AKS: fewest replicas."),
    Flag("--ma --autoscale-max-replicas", "autoscale_max_replicas", int, "AKS: most replicas."),
    Flag("--ar --autoscale-refresh-seconds", "autoscale_refresh_seconds", int, "AKS: seconds between decisions."),
    Flag("--at --autoscale-target-utilization", "autoscale_target_utilization", int, "AKS: aimed-at load, in percent."),
    Flag("--nr --num-replicas", "num_replicas", int, "AKS: replicas, where they do not follow the load."),
    Flag("--rm --replica-max-concurrent-requests", "replica_max_concurrent_requests", int, "AKS: requests at once."),
    Flag("--mr --max-request-wait-time", "max_request_wait_time", int, "AKS: longest wait in the queue, in ms."),
    Flag("--ps --period-seconds", "period_seconds", int, "AKS: seconds between liveness probes."),
    Flag("--id --initial-delay-seconds", "initial_delay_seconds", int, "AKS: seconds before the first probe."),
    Flag("--ts --timeout-seconds", "timeout_seconds", int, "AKS: seconds a probe may take."),
    Flag("--st --success-threshold", "success_threshold", int, "AKS: probes that make a replica healthy."),
    Flag("--ft --failure-threshold", "failure_threshold", int, "AKS: probes that make a replica unhealthy."),
    Flag("--namespace", "namespace", str, "AKS: the namespace."),
    Flag("--vn --version-name", "version_name", str, "AKS endpoint: the version's name."),
    Flag("--tp --traffic-percentile", "traffic_percentile", float, "AKS endpoint: its share of the traffic."),
    Flag("--lo --location", "location", str, "ACI: the region."),
    Flag("--dn --dns-name-label", "dns_name_label", str, "ACI: the DNS label."),
    Flag("--se --ssl-enabled", "ssl_enabled", bool, "ACI: TLS."),
    Flag("--sp --ssl-cert-pem-file", "ssl_cert_pem_file", str, "ACI: the certificate."),
    Flag("--sk --ssl-key-pem-file", "ssl_key_pem_file", str, "ACI: the certificate's key."),
    Flag("--sc --ssl-cname", "ssl_cname", str, "ACI: the name in the certificate."),
    Flag("--vault-base-url", "cmk_vault_base_url", str, "ACI: the vault of the customer's key."),
    Flag("--key-name", "cmk_key_name", str, "ACI: the customer's key."),
    Flag("--key-version", "cmk_key_version", str, "ACI: its version."),
    Flag("--vnet-name", "vnet_name", str, "ACI: the virtual network."),
    Flag("--subnet-name", "subnet_name", str, "ACI: the subnet."),
    Flag("-ct --ct --compute-target", "compute_target_name", str, "AKS: the cluster."),
)
FLAGS = {flag.attribute: flag for flag in (*LOCAL_FLAGS, *LATER_FLAGS)}


def deployment_flags(function: F) -> F:
    """`--dc` and every flag of the table; those of later targets are left out of `--help`."""
    flags = [*(flag.option(shown=True) for flag in LOCAL_FLAGS), *(flag.option(shown=False) for flag in LATER_FLAGS)]
    return together(
        click.option(
            "-dc", "--dc", "--deploy-config-file", "dc", type=FILE, help="Deployment configuration (JSON or YAML)."
        ),
        *flags,
    )(function)


def model_flags(function: F) -> F:
    """`-m` and `-f`."""
    return together(
        click.option(
            "--model", "-m", "models", multiple=True, help="A registered model, name:version; may be repeated."
        ),
        click.option(
            "--model-metadata-file",
            "-f",
            "model_files",
            multiple=True,
            type=FILE,
            help="The same, from a file of `-t`.",
        ),
    )(function)


def inference_flags(function: F) -> F:
    """`--ic`, an environment by name or folder, and v1's older flags that stand for the keys of `--ic`."""
    return together(
        click.option(
            "-ic", "--ic", "--inference-config-file", "ic", type=FILE, help="Inference configuration (JSON or YAML)."
        ),
        click.option("--environment-name", "-e", help="A registered environment."),
        click.option("--environment-version", "--ev", help="Its version.  [default: the latest]"),
        click.option("--environment-directory", "--ed", type=FILE, help="An environment from `environment scaffold`."),
        click.option("--entry-script", "--es", help="The entry script, where there is no --ic."),
        click.option("--source-directory", "--sd", help="The folder that goes with it."),
        click.option("--conda-file", "--cf", help="Its conda environment file."),
        click.option("--extra-docker-file-steps", "--ds", help="A file with Docker steps."),
        click.option(
            "--runtime", "--rt", type=click.Choice(["spark-py", "python", "python-slim"]), help="v1's runtime."
        ),
        click.option("--base-image", "--bi", help="The image below the environment."),
        click.option("--base-image-registry", "--ir", help="Its registry."),
        click.option("--enable-gpu", "--eg", type=bool, is_flag=False, flag_value="true", help="An image for GPUs."),
        click.option("--cuda-version", "--cv", type=click.Choice(["9.0", "9.1", "10.0"]), help="Its CUDA version."),
    )(function)


_INFERENCE = (
    *("ic", "environment_name", "environment_version", "environment_directory", "entry_script", "source_directory"),
    *("conda_file", "extra_docker_file_steps", "runtime", "base_image", "base_image_registry", "enable_gpu"),
    "cuda_version",
)


@dataclass(frozen=True)
class Asked:
    """The flags of one `model deploy` or `service update`, sorted by what they are for.

    Args:
        inference: Of the inference configuration, by their names here.
        deployment: Of the deployment configuration, by attribute.
        dc: The deployment configuration's file.
    """

    inference: Mapping[str, Any]
    deployment: Mapping[str, Any]
    dc: Path | None

    @property
    def scoring_timeout_ms(self) -> int | None:
        """On AKS a key of the deployment configuration, elsewhere a setting of the server."""
        return self.deployment.get("scoring_timeout_ms")


def sort(values: dict[str, Any]) -> Asked:
    """Sort what click parsed: takes everything out of `values`."""
    inference = without_none({name: values.pop(name) for name in _INFERENCE})
    dc = values.pop("dc")
    return Asked(inference, without_none(values), dc)


def model_ids(models: Sequence[str], files: Sequence[Path]) -> list[str]:
    """The ids that `-m` and `-f` name.

    Raises:
        UserErrorException: A file is not what `-t` writes.
    """
    found = list(models)
    for file in files:
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            records = data if isinstance(data, list) else [data]
            found += [record.get("modelId") or record["id"] for record in records]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UserErrorException(
                "the model metadata file cannot be used",
                where=str(file),
                reason=str(error.strerror)
                if isinstance(error, OSError)
                else "it is not what `model register -t` writes",
                hint=f"mldeploy model register … -t {file}",
            ) from None
    return found


def inference_config(workspace: Workspace, asked: Asked, report: Report) -> InferenceConfig | None:
    """The inference configuration that was asked for; None where no flag of it was given.

    Raises:
        ConfigException: The file is wrong, or flags exclude each other.
    """
    from mldeploy.config import load_inference_config
    from mldeploy.inference_config import InferenceConfig

    given = dict(asked.inference)
    if not given:
        return None
    file = given.pop("ic", None)
    environment = _environment(workspace, given)
    if file is None:
        if "entry_script" not in given:
            raise ConfigException(
                "an entry script is needed",
                reason="there is no --ic",
                hint="--ic inferenceconfig.json, or --es score.py",
            )
        return InferenceConfig(**given, environment=environment)
    if given:
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigException(
            f"{shown} cannot go with --ic", where=str(file), hint="write it into that file, or leave out --ic"
        )
    config = load_inference_config(file, report)
    if environment is not None:
        config.environment = environment
    return config


def _environment(workspace: Workspace, given: dict[str, Any]) -> Any:
    from mldeploy.environment import Environment

    name, version = given.pop("environment_name", None), given.pop("environment_version", None)
    folder = given.pop("environment_directory", None)
    if folder is not None:
        return Environment.load_from_directory(str(folder))
    return None if name is None else Environment.get(workspace, name, version)


def deployment_config(
    asked: Asked, compute_type: str | None, report: Report, **labels: Any
) -> DeploymentConfiguration | None:
    """The deployment configuration that was asked for: the file, and the flags over it.

    Args:
        asked: The flags.
        compute_type: Of `--cp`.
        report: Told the file's warnings.
        **labels: `tags`, `properties` and `description` where they were given.

    Returns:
        None where nothing was said of it.

    Raises:
        ConfigException: The file is wrong, or a flag belongs to another target.
    """
    from mldeploy.config import load_deployment_config
    from mldeploy.config.deployment import TARGETS

    given = {**asked.deployment, **without_none(labels)}
    if asked.dc is None and not given and not compute_type:
        return None
    values: dict[str, Any] = {}
    kind = TARGETS["local"]
    if asked.dc is not None:
        loaded = load_deployment_config(asked.dc, report)
        kind, values = type(loaded), loaded.model_dump(exclude_unset=True)
    if compute_type:
        kind = _same_kind(compute_type, kind if asked.dc else None)
    if "scoring_timeout_ms" not in kind.model_fields:
        given.pop("scoring_timeout_ms", None)
    foreign = [name for name in given if name not in kind.model_fields]
    if foreign:
        raise ConfigException(
            "\n".join(_belongs(name, kind) for name in foreign),
            hint="leave it out, or say the target with --cp",
        )
    return kind.of(**{**values, **given})


def _same_kind(compute_type: str, of_file: type[DeploymentConfiguration] | None) -> type[DeploymentConfiguration]:
    from mldeploy.config.deployment import TARGETS

    kind = TARGETS.get(compute_type.lower())
    if kind is None:
        known = ", ".join(each.compute_type for each in TARGETS.values())
        raise ConfigException(f"--cp '{compute_type}' is no compute type", hint=f"one of {known}")
    if of_file is not None and of_file is not kind:
        raise ConfigException(
            f"--cp says {kind.compute_type}, the file of --dc says {of_file.compute_type}", hint="leave out --cp"
        )
    return kind


def _belongs(attribute: str, kind: type[DeploymentConfiguration]) -> str:
    from mldeploy.config.deployment import TARGETS

    owners = " and ".join(each.compute_type for each in TARGETS.values() if attribute in each.model_fields)
    names = FLAGS[attribute].names.split()
    flag = next(name for name in names if name.startswith("--"))
    return f"{flag} has no effect on {kind.compute_type}: it belongs to {owners}"
