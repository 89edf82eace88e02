"""`deploymentconfig.json`: one model for each target, under v1's class names.

The attributes are the arguments of v1's `deploy_configuration`; `Key` tells where each stands in the file, which
nests some of them (`cpu_cores` is `containerResourceRequirements.cpu`). Null means "not given" everywhere.
"""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from mldeploy.config.findings import Problem, explain
from mldeploy.config.sections import Section, Way
from mldeploy.config.words import listing
from mldeploy.errors import ConfigException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    C = TypeVar("C", bound="DeploymentConfiguration")


@dataclass(frozen=True)
class Key:
    """Where an attribute stands in the file: `Key("keys.primaryKey")`."""

    path: str

    @property
    def way(self) -> tuple[str, ...]:
        """The path in steps."""
        return tuple(self.path.split("."))


Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0)]
Cores = Annotated[float, Field(ge=0.01)]  # the least that Docker gives a container
Memory = Annotated[float, Field(ge=0.006)]

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SERVICE_NAME = re.compile(r"(?=.{3,32}\Z)[a-z]([-a-z0-9]*[a-z0-9])?")
PEM = "-----BEGIN"
"""How the text of a certificate or key begins, where it is given instead of a path."""


class DeploymentConfiguration(Section):
    """What every target takes: `description`, `tags`, `properties`."""

    model_config = ConfigDict(alias_generator=None)

    compute_type: ClassVar[str]
    """The `computeType` of the file, as v1 wrote it."""

    unset_by_zero: ClassVar[tuple[str, ...]] = ()
    """The attributes for which 0 means "not given"."""

    description: Annotated[str | None, Key("description")] = None
    tags: Annotated[dict[str, str] | None, Key("tags")] = None
    properties: Annotated[dict[str, str] | None, Key("properties")] = None

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls: type[C], values: Any, make: ModelWrapValidatorHandler[C]) -> C:
        if not isinstance(values, dict):
            return make(values)
        given = {name: value for name, value in values.items() if not (value is None or cls.means_unset(name, value))}
        made = make({**cls.dependent_defaults(given), **given})
        made.model_fields_set.intersection_update(given)  # what was not said is not written, and can be said later
        return made

    @classmethod
    def means_unset(cls, name: str, value: Any) -> bool:
        """Tells whether a value stands for "not given", beside null."""
        return name in cls.unset_by_zero and value == 0 and isinstance(value, int) and not isinstance(value, bool)

    @classmethod
    def dependent_defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The defaults that depend on what is given."""
        del given
        return {}

    def missing_files(self) -> Iterator[tuple[Way, str]]:
        """Yields every file that is named but does not exist."""
        yield from ()

    @property
    def needs_docker(self) -> str | None:
        """Why this needs the Docker engine on this machine, in words that follow "because"; None if it does not."""
        return None

    @classmethod
    def problems(cls: type[C], values: dict[str, Any]) -> tuple[C | None, list[Problem]]:
        """Makes a configuration, or tells everything that stands against it, under the names of the arguments.

        What spans several values is judged from those that are right by themselves.
        """
        try:
            made = cls.model_validate(values)
        except ValidationError as error:
            problems = explain(error, values)
            wrong = {problem.keys[0] for problem in problems}
            try:
                cls.model_validate({name: value for name, value in values.items() if name not in wrong})
            except ValidationError as rest:
                judged = (each for each in explain(rest, values) if each not in problems)
                problems += [each for each in judged if not any(repr(name) in each.message for name in wrong)]
            return None, problems
        return made, [Problem(way, text) for way, text in made.missing_files()]

    @classmethod
    def of(cls: type[C], **values: Any) -> C:
        """Makes a configuration from v1's arguments; None means the default.

        Raises:
            ConfigException: Arguments are unknown, of a wrong type, out of range or exclude each other; the
                message has one line for each (as v1's AKS configuration told them).

        Examples:
            >>> AciServiceDeploymentConfiguration.of(cpu_cores=1, memory_gb=None).memory_gb
            0.5
            >>> LocalWebserviceDeploymentConfiguration.of(port=70000)
            Traceback (most recent call last):
            mldeploy.errors.ConfigException: 'port' expected 65535 or less, found the number 70000
              where: LocalWebserviceDeploymentConfiguration
        """
        made, problems = cls.problems(values)
        if problems or made is None:
            raise ConfigException("\n".join(problem.text for problem in problems), where=cls.__name__)
        return made

    @classmethod
    def ways(cls) -> dict[str, tuple[str, ...]]:
        """The way to each attribute in the file."""
        return {
            name: next(item.way for item in field.metadata if isinstance(item, Key))
            for name, field in cls.model_fields.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of what was set, with the file's keys; loading it gives an equal configuration."""
        values = self.model_dump(mode="json", exclude_unset=True)
        tree: dict[str, Any] = {"computeType": self.compute_type}
        for name, way in self.ways().items():
            if name in values:
                section = tree
                for key in way[:-1]:
                    section = section.setdefault(key, {})
                section[way[-1]] = values[name]
        return tree


class LocalWebserviceDeploymentConfiguration(DeploymentConfiguration):
    """`computeType: local`: a service on this machine.

    The limits are ours: v1 had none here. They are the most that a container gets, not what is kept free for it.
    """

    compute_type = "LOCAL"

    unset_by_zero = ("port",)

    port: Annotated[int | None, Field(ge=1, le=65535), Key("port")] = None
    cpu_cores: Annotated[Cores | None, Key("containerResourceRequirements.cpu")] = None
    memory_gb: Annotated[Memory | None, Key("containerResourceRequirements.memoryInGB")] = None

    @property
    def needs_docker(self) -> str | None:
        """Only a container can be held to a limit."""
        limits = {name: getattr(self, name) for name in ("cpu_cores", "memory_gb")}
        asked = [f"{self.ways()[name][-1]}: {value:g}" for name, value in limits.items() if value is not None]
        return f"it has limits (containerResourceRequirements.{', '.join(asked)})" if asked else None


class _RemoteConfiguration(DeploymentConfiguration):
    """What ACI, AKS and AKS endpoints have in common."""

    cpu_cores: Annotated[Amount, Key("containerResourceRequirements.cpu")] = 0.1
    memory_gb: Annotated[Amount, Key("containerResourceRequirements.memoryInGB")] = 0.5
    enable_app_insights: Annotated[bool, Key("appInsightsEnabled")] = False
    collect_model_data: Annotated[bool, Key("dataCollection.storageEnabled")] = False
    event_hub_enabled: Annotated[Literal[False], Key("dataCollection.eventHubEnabled")] = False
    primary_key: Annotated[str | None, Field(repr=False, min_length=1), Key("keys.primaryKey")] = None
    secondary_key: Annotated[str | None, Field(repr=False, min_length=1), Key("keys.secondaryKey")] = None


class AciServiceDeploymentConfiguration(_RemoteConfiguration):
    """`computeType: ACI`: a service on Azure Container Instances."""

    compute_type = "ACI"

    location: Annotated[str | None, Key("location")] = None
    auth_enabled: Annotated[bool, Key("authEnabled")] = False
    ssl_enabled: Annotated[bool, Key("sslEnabled")] = False
    ssl_cert_pem_file: Annotated[str | None, Key("sslCertificate")] = None
    ssl_key_pem_file: Annotated[str | None, Field(repr=False, min_length=1), Key("sslKey")] = None
    ssl_cname: Annotated[str | None, Key("cname")] = None
    dns_name_label: Annotated[str | None, Key("dnsNameLabel")] = None
    cmk_vault_base_url: Annotated[str | None, Key("vaultBaseUrl")] = None
    cmk_key_name: Annotated[str | None, Key("keyName")] = None
    cmk_key_version: Annotated[str | None, Key("keyVersion")] = None
    vnet_name: Annotated[str | None, Key("vnetName")] = None
    subnet_name: Annotated[str | None, Key("subnetName")] = None

    def broken(self) -> Iterator[tuple[Way, str]]:
        """TLS, the customer's key and the network each need all their parts."""
        if self.ssl_enabled:
            yield from self._together("ssl_cert_pem_file", "ssl_key_pem_file", "ssl_cname", because="TLS is enabled")
        yield from self._all_or_none("cmk_vault_base_url", "cmk_key_name", "cmk_key_version")
        yield from self._all_or_none("vnet_name", "subnet_name")

    def _all_or_none(self, *names: str) -> Iterator[tuple[Way, str]]:
        given = [name for name in names if getattr(self, name)]
        if given:
            verb = "is" if len(given) == 1 else "are"
            yield from self._together(*names, because=f"{listing(given, 'and')} {verb} given")

    def _together(self, *names: str, because: str) -> Iterator[tuple[Way, str]]:
        for name in names:
            if not getattr(self, name):
                yield (name,), f"is required, as {because}"

    def missing_files(self) -> Iterator[tuple[Way, str]]:
        """The certificate and its key are files, or PEM text."""
        for name in PATHS:
            value = getattr(self, name)
            if self.ssl_enabled and value and not value.startswith(PEM) and not os.path.isfile(value):  # noqa: PTH113
                yield (name,), "is neither a file that exists nor PEM text"


PATHS = ("ssl_cert_pem_file", "ssl_key_pem_file")
"""The attributes that hold a path (or PEM text)."""

_AUTOSCALE = (
    "autoscale_min_replicas",
    "autoscale_max_replicas",
    "autoscale_refresh_seconds",
    "autoscale_target_utilization",
)


class AksServiceDeploymentConfiguration(_RemoteConfiguration):
    """`computeType: AKS`: a service on a Kubernetes cluster."""

    compute_type = "AKS"
    unset_by_zero = ("num_replicas",)

    autoscale_enabled: Annotated[bool, Key("autoScaler.autoscaleEnabled")] = True
    autoscale_min_replicas: Annotated[Positive, Key("autoScaler.minReplicas")] = 1
    autoscale_max_replicas: Annotated[Positive, Key("autoScaler.maxReplicas")] = 10
    autoscale_refresh_seconds: Annotated[Positive, Key("autoScaler.refreshPeriodInSeconds")] = 1
    autoscale_target_utilization: Annotated[int, Field(ge=1, le=100), Key("autoScaler.targetUtilization")] = 70
    auth_enabled: Annotated[bool, Key("authEnabled")] = True
    token_auth_enabled: Annotated[bool, Key("tokenAuthEnabled")] = False
    cpu_cores_limit: Annotated[Amount | None, Key("containerResourceRequirements.cpuLimit")] = None
    memory_gb_limit: Annotated[Amount | None, Key("containerResourceRequirements.memoryInGBLimit")] = None
    gpu_cores: Annotated[int, Field(ge=0), Key("gpuCores")] = 0
    scoring_timeout_ms: Annotated[Positive, Key("scoringTimeoutMs")] = 60000
    replica_max_concurrent_requests: Annotated[Positive, Key("maxConcurrentRequestsPerContainer")] = 1
    max_request_wait_time: Annotated[Positive, Key("maxQueueWaitMs")] = 500
    num_replicas: Annotated[Positive | None, Key("numReplicas")] = None
    period_seconds: Annotated[Positive, Key("livenessProbeRequirements.periodSeconds")] = 10
    initial_delay_seconds: Annotated[int, Field(ge=0), Key("livenessProbeRequirements.initialDelaySeconds")] = 310
    timeout_seconds: Annotated[Positive, Key("livenessProbeRequirements.timeoutSeconds")] = 2
    success_threshold: Annotated[Positive, Key("livenessProbeRequirements.successThreshold")] = 1
    failure_threshold: Annotated[Positive, Key("livenessProbeRequirements.failureThreshold")] = 3
    namespace: Annotated[str | None, Key("namespace")] = None
    compute_target_name: Annotated[str | None, Key("computeTargetName")] = None
    blobfuse_enabled: Annotated[bool, Key("storageInitEnabled")] = True

    @classmethod
    def dependent_defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The autoscaler is on unless replicas are counted; keys are on unless tokens are."""
        return {
            "autoscale_enabled": "num_replicas" not in given,
            "auth_enabled": given.get("token_auth_enabled") is not True,
        }

    def broken(self) -> Iterator[tuple[Way, str]]:
        """v1's rules for AKS, told all together as v1 told them."""
        yield from self._broken_scaling()
        for name, limit in (("cpu_cores", "cpu_cores_limit"), ("memory_gb", "memory_gb_limit")):
            asked, most = getattr(self, name), getattr(self, limit)
            if most is not None and most < asked:
                yield (limit,), f"must not be below {name!r} ({asked:g})"
        if self.auth_enabled and self.token_auth_enabled:
            yield ("token_auth_enabled",), "excludes 'auth_enabled': turn on one of the two"
        if self.namespace is not None and not _NAMESPACE.fullmatch(self.namespace):
            yield (
                ("namespace",),
                "must have 1 to 63 of a-z, 0-9 and hyphens, and neither begin nor end with a hyphen",
            )

    def _broken_scaling(self) -> Iterator[tuple[Way, str]]:
        if self.autoscale_enabled:
            if self.num_replicas is not None:
                yield ("num_replicas",), "excludes the autoscaler: leave it out, or turn the autoscaler off"
            if self.autoscale_min_replicas > self.autoscale_max_replicas:
                yield (
                    ("autoscale_min_replicas",),
                    f"must not be above 'autoscale_max_replicas' ({self.autoscale_max_replicas})",
                )
            return
        if self.num_replicas is None:
            yield ("num_replicas",), "is required, as the autoscaler is off"
        for name in _AUTOSCALE:
            if name in self.model_fields_set:
                yield (name,), "has no effect, as the autoscaler is off"


class AksEndpointDeploymentConfiguration(AksServiceDeploymentConfiguration):
    """`computeType: AKSENDPOINT`: a version of an endpoint that splits its traffic among several."""

    compute_type = "AKSENDPOINT"

    version_name: Annotated[str | None, Key("versionName")] = None
    traffic_percentile: Annotated[float | None, Field(ge=0, le=100), Key("trafficPercentile")] = None
    is_default: Annotated[bool | None, Key("isDefault")] = None
    version_type: Annotated[Literal["Control", "Treatment"] | None, Key("type")] = None

    def broken(self) -> Iterator[tuple[Way, str]]:
        """AKS's rules, and the name of the version follows the rule for service names."""
        yield from super().broken()
        if self.version_name is not None and not _SERVICE_NAME.fullmatch(self.version_name):
            yield (
                ("version_name",),
                "must have 3 to 32 of a-z, 0-9 and hyphens, begin with a letter and not end with a hyphen",
            )


TARGETS: dict[str, type[DeploymentConfiguration]] = {
    "local": LocalWebserviceDeploymentConfiguration,
    "aci": AciServiceDeploymentConfiguration,
    "aks": AksServiceDeploymentConfiguration,
    "aksendpoint": AksEndpointDeploymentConfiguration,
}
"""The configuration of each target, by `computeType` in lower case."""
