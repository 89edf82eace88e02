from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mldeploy.config import load_deployment_config
from mldeploy.config.deployment import (
    TARGETS,
    AciServiceDeploymentConfiguration,
    AksEndpointDeploymentConfiguration,
    AksServiceDeploymentConfiguration,
    DeploymentConfiguration,
    LocalWebserviceDeploymentConfiguration,
)
from mldeploy.config.deployment_file import STRAY, read_deployment
from mldeploy.config.files import Document
from mldeploy.errors import ConfigException
from mldeploy.events import Event, Notice

Write = Callable[[str, str], Path]


def load(data: dict[str, Any]) -> tuple[DeploymentConfiguration | None, list[str]]:
    made, findings = read_deployment(Document(Path("dc.json"), data))
    return made, [f"{finding.level}: {finding.message}" for finding in findings]


def errors_of(data: dict[str, Any]) -> list[str]:
    return [text.removeprefix("error: ") for text in load(data)[1] if text.startswith("error: ")]


def loaded(data: dict[str, Any]) -> DeploymentConfiguration:
    made, findings = load(data)
    assert findings == []
    assert made is not None
    return made


DEFAULTS: dict[str, dict[str, Any]] = {
    "local": {"port": None, "tags": None, "properties": None, "description": None},
    "aci": {
        "cpu_cores": 0.1,
        "memory_gb": 0.5,
        "auth_enabled": False,
        "ssl_enabled": False,
        "enable_app_insights": False,
        "collect_model_data": False,
        "location": None,
        "dns_name_label": None,
    },
    "aks": {
        "autoscale_enabled": True,
        "autoscale_min_replicas": 1,
        "autoscale_max_replicas": 10,
        "autoscale_refresh_seconds": 1,
        "autoscale_target_utilization": 70,
        "collect_model_data": False,
        "auth_enabled": True,
        "token_auth_enabled": False,
        "cpu_cores": 0.1,
        "memory_gb": 0.5,
        "gpu_cores": 0,
        "scoring_timeout_ms": 60000,
        "replica_max_concurrent_requests": 1,
        "max_request_wait_time": 500,
        "num_replicas": None,
        "period_seconds": 10,
        "initial_delay_seconds": 310,
        "timeout_seconds": 2,
        "success_threshold": 1,
        "failure_threshold": 3,
        "namespace": None,
    },
    "aksendpoint": {"traffic_percentile": None, "version_name": None, "auth_enabled": True},
}


@pytest.mark.parametrize("target", TARGETS)
def test_defaults_are_those_of_v1(target: str) -> None:
    made = loaded({"computeType": target})
    assert type(made) is TARGETS[target]
    assert {name: getattr(made, name) for name in DEFAULTS[target]} == DEFAULTS[target]


@pytest.mark.parametrize(
    "spelling", ["local", "LOCAL", "Local", "aCi", "ACI", "aks", "AKS", "AksEndpoint", "AKSENDPOINT"]
)
def test_compute_types_in_any_case(spelling: str) -> None:
    assert loaded({"computeType": spelling}).compute_type == spelling.upper()


VALUES: dict[str, Any] = {
    "description": "text",
    "tags": {"area": "mnist"},
    "properties": {"build": "7"},
    "port": 8890,
    "cpu_cores": 1.5,
    "memory_gb": 2,
    "enable_app_insights": True,
    "collect_model_data": True,
    "event_hub_enabled": False,
    "primary_key": "abc",
    "secondary_key": "def",
    "location": "westeurope",
    "auth_enabled": True,
    "ssl_enabled": True,
    "ssl_cert_pem_file": "-----BEGIN CERTIFICATE-----\nx",
    "ssl_key_pem_file": "-----BEGIN PRIVATE KEY-----\nx",
    "ssl_cname": "www.example.com",
    "dns_name_label": "scoring",
    "cmk_vault_base_url": "https://vault.example",
    "cmk_key_name": "key",
    "cmk_key_version": "1",
    "vnet_name": "net",
    "subnet_name": "sub",
    "autoscale_enabled": True,
    "autoscale_min_replicas": 2,
    "autoscale_max_replicas": 3,
    "autoscale_refresh_seconds": 5,
    "autoscale_target_utilization": 30,
    "token_auth_enabled": False,
    "cpu_cores_limit": 2.0,
    "memory_gb_limit": 4.0,
    "gpu_cores": 1,
    "scoring_timeout_ms": 1000,
    "replica_max_concurrent_requests": 2,
    "max_request_wait_time": 900,
    "period_seconds": 1,
    "initial_delay_seconds": 0,
    "timeout_seconds": 3,
    "success_threshold": 2,
    "failure_threshold": 4,
    "namespace": "scoring-1",
    "compute_target_name": "myaks",
    "blobfuse_enabled": False,
    "version_name": "version-a",
    "traffic_percentile": 12.5,
    "is_default": True,
    "version_type": "Treatment",
}


@pytest.mark.parametrize("target", TARGETS)
def test_every_key_reaches_its_attribute_and_comes_back(target: str) -> None:
    model = TARGETS[target]
    values = {name: VALUES[name] for name in model.ways() if name in VALUES}
    assert set(model.ways()) - set(values) <= {"num_replicas"}  # which excludes the autoscaler
    made = model.of(**values)
    data = made.to_dict()
    assert {name: getattr(loaded(data), name) for name in values} == values
    for name, way in model.ways().items():
        if name in values:
            inner = data
            for key in way:
                inner = inner[key]
            assert inner == values[name]


@pytest.mark.parametrize("target", TARGETS)
def test_null_is_not_given(target: str) -> None:
    data: dict[str, Any] = {"computeType": target}
    for way in TARGETS[target].ways().values():
        data[way[0]] = None if len(way) == 1 else {**data.get(way[0], {}), way[-1]: None}
    assert loaded(data) == loaded({"computeType": target})
    sections = {way[0] for way in TARGETS[target].ways().values()}
    assert loaded({"computeType": target, **dict.fromkeys(sections)}) == loaded({"computeType": target})


@pytest.mark.parametrize("target", TARGETS)
def test_a_key_of_another_target_is_an_error_that_names_its_owners(target: str) -> None:
    own = {way[0] for way in TARGETS[target].ways().values()}
    for other, model in TARGETS.items():
        for way in model.ways().values():
            if way[0] in own or (way[0] == "sslEnabled" and target.startswith("aks")):
                continue
            (text,) = errors_of({"computeType": target, way[0]: 1})
            assert text == f"'{way[0]}' has no effect on '{target}'"
            assert other in load_findings_hint({"computeType": target, way[0]: 1})


def load_findings_hint(data: dict[str, Any]) -> str:
    (finding,) = read_deployment(Document(Path("dc.json"), data))[1]
    return finding.hint


def test_an_inner_key_of_another_target() -> None:
    data = {"computeType": "aci", "containerResourceRequirements": {"cpu": 1, "cpuLimit": 2}}
    assert errors_of(data) == ["'containerResourceRequirements.cpuLimit' has no effect on 'aci'"]
    assert load_findings_hint(data) == "it belongs to 'aks' and 'aksendpoint'; remove it"


@pytest.mark.parametrize(
    ("name", "text", "place", "near"),
    [
        ("dc.json", '{"computeType": "local",\n "prot": 8890}', "dc.json:2", "port"),
        (
            "dc.yml",
            "computeType: aci\ncontainerResourceRequirements:\n  cpu: 1\n  memoryInGb: 1",
            "dc.yml:4",
            "memoryInGB",
        ),
        ("dc.yml", "computeType: aks\nAutoScaler: {}", "dc.yml:2", "autoScaler"),
    ],
)
def test_an_unknown_key_names_the_nearest_the_file_and_the_line(
    write: Write, name: str, text: str, place: str, near: str
) -> None:
    with pytest.raises(ConfigException, match="is not a known key") as caught:
        load_deployment_config(write(name, text))
    assert caught.value.where == place
    assert caught.value.hint == f"did you mean '{near}'?"


def test_without_a_near_key_all_are_listed() -> None:
    hint = load_findings_hint({"computeType": "local", "colour": 1})
    assert hint == "known keys: computeType, containerResourceRequirements, description, port, properties, tags"


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ({}, ["'computeType' is required"]),
        ({"computeType": None}, ["'computeType' is required"]),
        ({"computeType": 1}, ["'computeType' expected 'LOCAL', 'ACI', 'AKS' or 'AKSENDPOINT', found the number 1"]),
        ({"computeType": "k8s"}, ["'computeType' expected 'LOCAL', 'ACI', 'AKS' or 'AKSENDPOINT', found text \"k8s\""]),
        ({"computeType": "IOT"}, ["'computeType' is 'IOT': IoT Edge comes with a target of its own"]),
        ({"computeType": "fpga"}, ["'computeType' is 'fpga': FPGA comes with a target of its own"]),
        (
            {"computeType": "AMLCOMPUTE"},
            ["'computeType' is 'AMLCOMPUTE': a compute cluster runs batch jobs, not services"],
        ),
        ({"computeType": "local", "port": "8890"}, ["'port' expected a whole number, found text \"8890\""]),
        ({"computeType": "local", "port": 88.5}, ["'port' expected a whole number, found the number 88.5"]),
        ({"computeType": "local", "port": True}, ["'port' expected a whole number, found true"]),
        ({"computeType": "local", "port": 65536}, ["'port' expected 65535 or less, found the number 65536"]),
        ({"computeType": "local", "port": -1}, ["'port' expected 1 or more, found the number -1"]),
        ({"computeType": "local", "tags": []}, ["'tags' expected an object, found a list"]),
        ({"computeType": "local", "tags": {"a": 1}}, ["'tags.a' expected text, found the number 1"]),
        ({"computeType": "aci", "authEnabled": "yes"}, ["'authEnabled' expected true or false, found text \"yes\""]),
        ({"computeType": "aci", "keys": 5}, ["'keys' expected an object, found a number"]),
        ({"computeType": "aci", "keys": {"primaryKey": 5}}, ["'keys.primaryKey' expected text, found a number"]),
        (
            {"computeType": "aci", "containerResourceRequirements": {"cpu": 0, "memoryInGB": "1"}},
            [
                "'containerResourceRequirements.cpu' expected a number above 0, found the number 0",
                "'containerResourceRequirements.memoryInGB' expected a number, found text \"1\"",
            ],
        ),
        (
            {"computeType": "aci", "dataCollection": {"eventHubEnabled": True}},
            ["'dataCollection.eventHubEnabled' expected false, found true"],
        ),
        (
            {"computeType": "aci", "sslEnabled": True},
            [
                "'sslCertificate' is required, as TLS is enabled",
                "'sslKey' is required, as TLS is enabled",
                "'cname' is required, as TLS is enabled",
            ],
        ),
        (
            {
                "computeType": "aci",
                "sslEnabled": True,
                "sslCertificate": "no.pem",
                "sslKey": "-----BEGIN",
                "cname": "a",
            },
            ["'sslCertificate' is neither a file that exists nor PEM text"],
        ),
        ({"computeType": "aci", "vnetName": "net"}, ["'subnetName' is required, as 'vnetName' is given"]),
        (
            {"computeType": "aci", "vaultBaseUrl": "u", "keyVersion": "1"},
            ["'keyName' is required, as 'vaultBaseUrl' and 'keyVersion' are given"],
        ),
        (
            {"computeType": "aci", "containerResourceRequirements": {"fpga": 2}},
            [
                (
                    "'containerResourceRequirements.fpga' is not for a deployment config: "
                    "FPGA comes with a target of its own"
                )
            ],
        ),
        (
            {"computeType": "aks", "authEnabled": True, "tokenAuthEnabled": True},
            ["'tokenAuthEnabled' excludes 'authEnabled': turn on one of the two"],
        ),
        (
            {"computeType": "aks", "autoScaler": {"autoscaleEnabled": True}, "numReplicas": 2},
            ["'numReplicas' excludes the autoscaler: leave it out, or turn the autoscaler off"],
        ),
        (
            {"computeType": "aks", "autoScaler": {"autoscaleEnabled": False}},
            ["'numReplicas' is required, as the autoscaler is off"],
        ),
        (
            {"computeType": "aks", "autoScaler": {"minReplicas": 1}, "numReplicas": 2},
            ["'autoScaler.minReplicas' has no effect, as the autoscaler is off"],
        ),
        (
            {"computeType": "aks", "autoScaler": {"minReplicas": 4, "maxReplicas": 2}},
            ["'autoScaler.minReplicas' must not be above 'autoScaler.maxReplicas' (2)"],
        ),
        (
            {"computeType": "aks", "autoScaler": {"targetUtilization": 500}},
            ["'autoScaler.targetUtilization' expected 100 or less, found the number 500"],
        ),
        (
            {"computeType": "aks", "containerResourceRequirements": {"cpu": 2, "cpuLimit": 1, "memoryInGBLimit": 0.1}},
            [
                "'containerResourceRequirements.cpuLimit' must not be below 'containerResourceRequirements.cpu' (2)",
                (
                    "'containerResourceRequirements.memoryInGBLimit' must not be below "
                    "'containerResourceRequirements.memoryInGB' (0.5)"
                ),
            ],
        ),
        (
            {"computeType": "aks", "namespace": "-a"},
            ["'namespace' must have 1 to 63 of a-z, 0-9 and hyphens, and neither begin nor end with a hyphen"],
        ),
        ({"computeType": "aks", "gpuCores": 0.5}, ["'gpuCores' expected a whole number, found the number 0.5"]),
        ({"computeType": "aks", "maxQueueWaitMs": 0}, ["'maxQueueWaitMs' expected 1 or more, found the number 0"]),
        (
            {"computeType": "aks", "livenessProbeRequirements": {"initialDelaySeconds": -1, "periodSeconds": 0}},
            [
                "'livenessProbeRequirements.periodSeconds' expected 1 or more, found the number 0",
                "'livenessProbeRequirements.initialDelaySeconds' expected 0 or more, found the number -1",
            ],
        ),
        (
            {"computeType": "aksendpoint", "versionName": "v1"},
            ["'versionName' must have 3 to 32 of a-z, 0-9 and hyphens, begin with a letter and not end with a hyphen"],
        ),
        (
            {"computeType": "aksendpoint", "trafficPercentile": 101},
            ["'trafficPercentile' expected 100 or less, found the number 101"],
        ),
        (
            {"computeType": "aksendpoint", "type": "control"},
            ["'type' expected 'Control' or 'Treatment', found text \"control\""],
        ),
    ],
)
def test_what_is_refused(data: dict[str, Any], texts: list[str]) -> None:
    assert errors_of(data) == texts


def test_all_errors_are_told_together_in_the_order_of_the_file(write: Write) -> None:
    text = """\
computeType: AKS
tokenAuthEnabled: true
authEnabled: true
autoScaler:
  minReplicas: 20
  maxReplicas: "3"
keys: {primaryKey: 12345}
colour: red
"""
    with pytest.raises(ConfigException) as caught:
        load_deployment_config(write("dc.yml", text))
    assert [line.partition(" (")[0] for line in caught.value.message.splitlines()] == [
        "dc.yml:2: 'tokenAuthEnabled' excludes 'authEnabled': turn on one of the two",
        "dc.yml:6: 'autoScaler.maxReplicas' expected a whole number, found text \"3\"",
        "dc.yml:7: 'keys.primaryKey' expected text, found a number",
        "dc.yml:8: 'colour' is not a known key",
    ]
    assert "12345" not in str(caught.value)


def test_dependent_defaults() -> None:
    made = loaded({"computeType": "aks", "numReplicas": 3})
    assert isinstance(made, AksServiceDeploymentConfiguration)
    assert (made.autoscale_enabled, made.num_replicas) == (False, 3)
    made = loaded({"computeType": "aks", "numReplicas": 0, "tokenAuthEnabled": True})
    assert isinstance(made, AksServiceDeploymentConfiguration)
    assert (made.autoscale_enabled, made.num_replicas, made.auth_enabled) == (True, None, False)
    local = loaded({"computeType": "local", "port": 0})
    assert isinstance(local, LocalWebserviceDeploymentConfiguration)
    assert local.port is None


@pytest.mark.parametrize(("stray", "right"), STRAY.items())
def test_a_stray_spelling_is_a_warning_that_names_the_right_key(stray: str, right: str) -> None:
    value: Any = {"gpuCores": 2, "tags": {"a": "b"}, "computeTargetName": "x"}.get(right, True)
    outer, _, inner = stray.partition(".")
    made, findings = load({"computeType": "aks", outer: {inner: value} if inner else value})
    assert made == loaded({"computeType": "aks", right: value})
    assert findings == [f"warning: '{stray}' is a stray spelling of '{right}'"]


def test_a_stray_spelling_gives_way_to_the_right_key() -> None:
    made, findings = load({"computeType": "aci", "enableAppInsights": False, "appInsightsEnabled": True})
    assert isinstance(made, AciServiceDeploymentConfiguration)
    assert made.enable_app_insights
    assert findings == ["warning: 'enableAppInsights' gives way to 'appInsightsEnabled', which is there too"]


@pytest.mark.parametrize("value", [True, False, None])
def test_tls_on_aks_is_a_warning(value: bool | None) -> None:
    made, (finding,) = load({"computeType": "AKS", "sslEnabled": value})
    assert made == loaded({"computeType": "AKS"})
    assert finding.startswith("warning: 'sslEnabled' has no effect: on AKS")


def test_certificates_are_beside_the_file_or_under_the_current_folder(write: Write) -> None:
    text = "computeType: aci\nsslEnabled: true\nsslCertificate: cert.pem\nsslKey: key.pem\ncname: www.example.com\n"
    path = write("conf/dc.yml", text)
    write("conf/cert.pem", "x")
    write("key.pem", "x")
    told: list[Event] = []
    made = load_deployment_config(path, told.append)
    assert isinstance(made, AciServiceDeploymentConfiguration)
    assert made.ssl_cert_pem_file == str(Path("conf/cert.pem").absolute())
    assert made.ssl_key_pem_file == str(Path("key.pem").absolute())
    (notice,) = told
    assert isinstance(notice, Notice)
    assert notice.text.startswith("conf/dc.yml:4: 'sslKey' is not beside its file; taken from the current folder")


def test_arguments_are_spelled_as_in_python() -> None:
    with pytest.raises(ConfigException) as caught:
        AksServiceDeploymentConfiguration.of(
            cpu_cores="1", num_replicas=2, autoscale_enabled=True, colour=1, memory_gb=None
        )
    assert caught.value.message.splitlines() == [
        "'cpu_cores' expected a number, found text \"1\"",
        "'colour' is not known",
        "'num_replicas' excludes the autoscaler: leave it out, or turn the autoscaler off",
    ]


def test_keys_are_not_shown() -> None:
    made = AciServiceDeploymentConfiguration.of(primary_key="s3cret", ssl_key_pem_file="s3cret")
    assert "s3cret" not in repr(made)


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{1,20}[a-z0-9])", fullmatch=True)
TEXTS: dict[str, st.SearchStrategy[Any]] = {
    "namespace": NAMES,
    "version_name": NAMES,
    "version_type": st.sampled_from(["Control", "Treatment"]),
    "port": st.integers(1, 65535),
    "autoscale_target_utilization": st.integers(1, 100),
    "traffic_percentile": st.floats(0, 100),
}


@st.composite
def configurations(draw: st.DrawFn) -> DeploymentConfiguration:
    """Any valid configuration: values of the right type, less those that break a rule."""
    model = draw(st.sampled_from(list(TARGETS.values())))
    values = {}
    for name in draw(st.sets(st.sampled_from(sorted(model.model_fields)))):
        kind = str(model.model_fields[name].annotation)
        if name in TEXTS:
            values[name] = draw(TEXTS[name])
        elif "False" in kind:
            values[name] = False
        elif "dict" in kind:
            values[name] = draw(st.dictionaries(st.text(), st.text(), max_size=3))
        elif "bool" in kind:
            values[name] = draw(st.booleans())
        elif "int" in kind:
            values[name] = draw(st.integers(1, 10_000))
        elif "float" in kind:
            values[name] = draw(st.floats(0.1, 100))
        else:
            values[name] = draw(st.text(min_size=1))
    values.pop("ssl_enabled", None)
    made, problems = model.problems(values)
    while made is None:
        for problem in problems:
            values.pop(str(problem.keys[0]), None)
        if any("is required" in problem.message for problem in problems):
            for name in (
                "autoscale_enabled",
                "vnet_name",
                "subnet_name",
                "cmk_vault_base_url",
                "cmk_key_name",
                "cmk_key_version",
            ):
                values.pop(name, None)
        made, problems = model.problems(values)
    return made


@given(configurations())
def test_what_loads_dumps_and_loads_again_to_the_same(made: DeploymentConfiguration) -> None:
    data = json.loads(json.dumps(made.to_dict()))
    for name in ("sslCertificate", "sslKey"):  # paths become absolute
        data.pop(name, None)
    again = loaded(data)
    assert type(again) is type(made)
    assert loaded(again.to_dict()) == again
    kept = {name: value for name, value in made if name not in {"ssl_cert_pem_file", "ssl_key_pem_file"}}
    assert {name: getattr(again, name) for name in kept} == kept


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        # the vendor's own pages and samples (C §3, §11)
        ("seed-local.json", '{"computeType": "local", "port": 8890}', LocalWebserviceDeploymentConfiguration),
        ("legacy-local.json", '{"computeType": "LOCAL", "port": 32267}', LocalWebserviceDeploymentConfiguration),
        (
            "include-aci.json",
            '{"containerResourceRequirements": {"cpu": 0.5, "memoryInGB": 1.0}, "computeType": "aci"}',
            AciServiceDeploymentConfiguration,
        ),
        (
            "sample-aci.yml",
            "---\ncontainerResourceRequirements:\n  cpu: 1\n  memoryInGB: 1\ncomputeType: ACI",
            AciServiceDeploymentConfiguration,
        ),
        (
            "include-aks.json",
            """{"computeType": "aks",
            "autoScaler": {"autoscaleEnabled": true, "minReplicas": 1, "maxReplicas": 3,
                           "refreshPeriodInSeconds": 1, "targetUtilization": 70},
            "dataCollection": {"storageEnabled": true}, "authEnabled": true,
            "containerResourceRequirements": {"cpu": 0.5, "memoryInGB": 1.0}}""",
            AksServiceDeploymentConfiguration,
        ),
        (
            "sample-aks.yml",
            (
                "computeType: AKS\nautoScaler:\n    autoscaleEnabled: True\n    minReplicas: 1\n    maxReplicas: 3\n"
                "    refreshPeriodInSeconds: 10\n    targetUtilization: 70\nauthEnabled: True\n"
                "containerResourceRequirements:\n    cpu: 1\n    memoryInGB: 0.5\nappInsightsEnabled: True\n"
                "scoringTimeoutMs: 1000\nmaxConcurrentRequestsPerContainer: 2\nmaxQueueWaitMs: 1000\n"
                "sslEnabled: False\n"
            ),
            AksServiceDeploymentConfiguration,
        ),
        (
            "gpu-aks.json",
            (
                '{"computeType": "aks", "autoScaler": {"autoscaleEnabled": false}, "numReplicas": 3, "gpuCores": 1,'
                ' "containerResourceRequirements": {"cpu": 2, "memoryInGB": 4}}'
            ),
            AksServiceDeploymentConfiguration,
        ),
        (
            "endpoint.json",
            '{"computeType": "AKSENDPOINT", "versionName": "versiona", "trafficPercentile": 20, "namespace": "abc"}',
            AksEndpointDeploymentConfiguration,
        ),
    ],
)
def test_samples_load(write: Write, name: str, text: str, kind: type[DeploymentConfiguration]) -> None:
    assert type(load_deployment_config(write(name, text))) is kind


def test_limits_of_a_local_service_need_docker() -> None:
    local = LocalWebserviceDeploymentConfiguration
    assert local.of(port=8890).needs_docker is None
    limited = local.of(cpu_cores=0.5, memory_gb=0.25)
    assert limited.needs_docker == "it has limits (containerResourceRequirements.cpu: 0.5, memoryInGB: 0.25)"
    assert limited.to_dict()["containerResourceRequirements"] == {"cpu": 0.5, "memoryInGB": 0.25}
    assert local.of(memory_gb=2).needs_docker == "it has limits (containerResourceRequirements.memoryInGB: 2)"
    assert AciServiceDeploymentConfiguration.of(cpu_cores=1).needs_docker is None
    for values in ({"cpu_cores": 0}, {"cpu_cores": 0.001}, {"memory_gb": 0.001}, {"memory_gb": "1g"}):
        with pytest.raises(ConfigException, match="expected"):
            local.of(**values)
