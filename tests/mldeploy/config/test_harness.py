from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mldeploy.config import HarnessConfig, load_harness
from mldeploy.config.deployment import AciServiceDeploymentConfiguration, LocalWebserviceDeploymentConfiguration
from mldeploy.config.harness import ServingSettings
from mldeploy.config.settings import SETTINGS, resolve
from mldeploy.errors import ConfigException

Write = Callable[[str, str], Path]

FULL = """\
target = ["local", "aci"]
engine = "process"
workspace = "mine"
timeout = 60
offline = true

[serving]
contract = "compatible"
serving = "mldeploy"
nan = "null"
scoring_timeout_ms = 1000

[[service]]
name = "diabetes"
inference_config = "conf/inferenceconfig.json"
models = ["outputs/model.pkl", "diabetes:3"]
targets = ["local", "aci"]

[service.deployment.local]
port = 8890

[service.deployment]
aci = "conf/dc.json"

[[service.sample]]
request = {data = [[1.0, 2.0]]}
answer = [3.5]
rtol = 0.01
atol = 0.5

[[service.sample]]
request = '''
{"data": [[1, 2]]}
'''

[[service]]
name = "echo"
inference_config = {entryScript = "score.py", sourceDirectory = "src"}
models = {echo = "model.bin"}
"""
PYPROJECT = """\
[project]
name = "x"

[tool.mldeploy]
timeout = 60

[[tool.mldeploy.service]]
name = "a"
inference_config = "ic.json"
"""


def test_every_key(write: Write) -> None:
    path = write("project/mldeploy.toml", FULL)
    write("project/conf/dc.json", '{"computeType": "ACI", "location": "westeurope"}')
    write("project/conf/inferenceconfig.json", '{"entryScript": "score.py"}')
    harness = load_harness(path)
    first, second = harness.services
    assert (first.name, first.targets) == ("diabetes", ["local", "aci"])
    assert harness.model_paths(first) == [str(Path("project/outputs/model.pkl").absolute()), "diabetes:3"]
    assert harness.model_paths(second) == {"echo": str(Path("project/model.bin").absolute())}
    assert harness.inference_config(first).base == Path("project/conf").absolute()
    assert harness.inference_config(second).entry_script_path == Path("project/src/score.py").absolute()
    local = harness.deployment_config(first, "local")
    assert isinstance(local, LocalWebserviceDeploymentConfiguration)
    assert local.port == 8890
    aci = harness.deployment_config(first, "aci")
    assert isinstance(aci, AciServiceDeploymentConfiguration)
    assert aci.location == "westeurope"
    assert harness.deployment_config(second, "local") is None
    sample, text_sample = first.samples
    assert (sample.request, sample.answer, sample.rtol, sample.atol) == ({"data": [[1.0, 2.0]]}, [3.5], 0.01, 0.5)
    assert (text_sample.request, text_sample.answer) == ('{"data": [[1, 2]]}\n', None)
    assert (text_sample.rtol, text_sample.atol) == (1e-6, 1e-12)
    assert harness.settings() == {
        "target": ["local", "aci"],
        "engine": "process",
        "workspace": "mine",
        "timeout": 60,
        "offline": True,
        "contract": "compatible",
        "serving": "mldeploy",
        "nan": "null",
        "scoring_timeout_ms": 1000,
    }
    for name, value in harness.settings().items():
        assert resolve(name, environ={}, file=value) == (tuple(value) if isinstance(value, list) else value)


def test_a_table_of_pyproject(write: Write) -> None:
    harness = load_harness(write("pyproject.toml", PYPROJECT))
    assert [service.name for service in harness.services] == ["a"]
    assert harness.settings() == {"timeout": 60}
    with pytest.raises(ConfigException, match="not a known key") as caught:
        load_harness(write("pyproject.toml", PYPROJECT + "modls = []\n"))
    assert (caught.value.where, caught.value.hint) == ("pyproject.toml:10", "did you mean 'models'?")
    for text in ("[project]\nname = 'x'", "tool = 3"):
        with pytest.raises(ConfigException, match=r"no \[tool.mldeploy\]"):
            load_harness(write("pyproject.toml", text))


def test_what_is_not_said_is_no_setting(write: Write) -> None:
    assert load_harness(write("mldeploy.toml", "service = []")).settings() == {}
    assert load_harness(write("mldeploy.toml", "[serving]\nnan = 'bare'")).settings() == {"nan": "bare"}


def test_defaults_of_serving_are_those_of_the_table() -> None:
    serving = ServingSettings()
    for name in ServingSettings.model_fields:
        assert getattr(serving, name) == SETTINGS[name].default
        assert SETTINGS[name].serving
    assert {setting.name for setting in SETTINGS.values() if setting.serving} == set(ServingSettings.model_fields)


SERVICE = "[[service]]\nname = 'a'\ninference_config = 'ic.json'\n"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("enginee = 'process'", "'enginee' is not a known key", 1),
        ("engine = 'podman'", "'engine' expected 'auto', 'process' or 'docker', found text \"podman\"", 1),
        ("timeout = 0", "'timeout' expected a number above 0, found the number 0", 1),
        ("target = 'local'", "'target' expected a list, found text \"local\"", 1),
        ("target = []", "'target' must not be empty", 1),
        ("target = ['moon']", "'target[0]' expected 'local', 'aci', 'aks', 'edge' or 'fpga', found text \"moon\"", 1),
        ("[serving]\ncontract = 'loose'", "'serving.contract' expected 'compatible', 'strict' or 'v1'", 2),
        *(
            (f"[serving]\nserving = 'azmlinfsrv'\n{line}", f"'serving.{line.split()[0]}' is {shown}, which the", 3)
            for line, shown in (
                ("contract = 'strict'", "'strict'"),
                ("nan = 'null'", "'null'"),
                ("scoring_grace_ms = 5000", "5000"),
                ("metrics = true", "True"),
                ("request_log = 'json'", "'json'"),
            )
        ),
        ("[serving]\nworker_count = 0", "'serving.worker_count' expected 1 or more, found the number 0", 2),
        ("[serving]\nscoring_timeout_ms = 0", "'serving.scoring_timeout_ms' expected 1 or more, found the number 0", 2),
        ("[[service]]\nname = 'a'", "'service[0].inference_config' is required", 1),
        (SERVICE + "models = 5", "'service[0].models' expected a list of paths and of name:version", 4),
        (SERVICE.replace("'a'", "'A'"), "'service[0].name' must have 1 to 32 of a-z", 2),
        (SERVICE + SERVICE, "'service[1].name' is 'a' a second time", 5),
        (SERVICE + "[[service.sample]]\nanswer = 1", "'service[0].sample[0].request' is required", 4),
        (SERVICE + "[[service.sample]]\nrequest = nan", "'service[0].sample[0].request' holds something", 5),
        (SERVICE + "[[service.sample]]\nrequest = 1\nanswer = 2020-01-01", "'service[0].sample[0].answer' holds", 6),
        (SERVICE + "[[service.sample]]\nrequest = 1\nrtol = -1", "'service[0].sample[0].rtol' expected 0 or more", 6),
        (SERVICE + "[service.deployment.local]\nprot = 1", "'prot' is not a known key", 5),
        (
            SERVICE + "[service.deployment.local]\ncomputeType = 'aci'",
            "'computeType' is 'aci' in what is for 'local'",
            5,
        ),
        (SERVICE + "[service.deployment.aci]\nport = 1", "'port' has no effect on 'aci'", 5),
        (SERVICE + "[service.deployment.edge]\nx = 1", "'service[0].deployment.edge' has no deployment config yet", 4),
        (SERVICE + "[service.deployment.moon]\nx = 1", "'service[0].deployment.moon' expected 'local', 'aci'", 4),
        ("[[service]]\nname = 'a'\n[service.inference_config]\nentryscript = 'a'", "'entryScript' is required", 3),
    ],
)
def test_what_is_refused(write: Write, text: str, message: str, line: int) -> None:
    with pytest.raises(ConfigException) as caught:
        load_harness(write("mldeploy.toml", text))
    first = (
        f"{caught.value.where}: {caught.value.message}" if "\n" not in caught.value.message else caught.value.message
    )
    assert f"mldeploy.toml:{line}: {message}" in first


def test_files_that_are_named_are_read_when_they_are_used(write: Write) -> None:
    harness = load_harness(write("mldeploy.toml", SERVICE + "[service.deployment]\naci = 'dc.json'"))
    with pytest.raises(ConfigException, match="cannot be read"):
        harness.inference_config(harness.services[0])
    with pytest.raises(ConfigException, match="cannot be read"):
        harness.deployment_config(harness.services[0], "aci")
    write("dc.json", '{"computeType": "aks"}')
    with pytest.raises(ConfigException, match="'computeType' is 'aks' in what is for 'aci'"):
        harness.deployment_config(harness.services[0], "aci")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TARGET = st.sampled_from(["local", "aci", "aks", "edge", "fpga"])
SAMPLES = st.fixed_dictionaries(
    {"request": JSON}, optional={"answer": JSON, "rtol": st.floats(0, 1), "atol": st.floats(0, 1)}
)
SERVICES = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
        "inference_config": st.text() | st.dictionaries(st.text(), JSON, max_size=2),
    },
    optional={
        "models": st.lists(st.text(), max_size=2) | st.dictionaries(st.text(), st.text(), max_size=2),
        "targets": st.lists(TARGET, min_size=1, max_size=2),
        "deployment": st.dictionaries(TARGET, st.text() | st.dictionaries(st.text(), JSON, max_size=2), max_size=2),
        "sample": st.lists(SAMPLES, max_size=2),
    },
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "target": st.lists(TARGET, min_size=1, max_size=2),
            "engine": st.sampled_from(["auto", "process", "docker"]),
            "workspace": st.text(),
            "timeout": st.floats(0.1, 1000),
            "offline": st.booleans(),
            "serving": st.fixed_dictionaries(
                {},
                optional={
                    "contract": st.sampled_from(["compatible", "strict", "v1"]),
                    "nan": st.sampled_from(["bare", "null"]),
                    "worker_count": st.integers(1),
                    "metrics": st.booleans(),
                },
            ),
            "service": st.lists(SERVICES, max_size=1),
        },
    )
)
def test_what_loads_dumps_and_loads_again_to_the_same(data: dict[str, Any]) -> None:
    harness = HarnessConfig.model_validate(data)
    dumped = json.loads(json.dumps(harness.to_dict()))
    assert dumped == data
    assert HarnessConfig.model_validate(dumped) == harness


def test_only_what_was_said_becomes_a_variable_of_the_server() -> None:
    assert ServingSettings().variables() == {}
    assert ServingSettings(serving="azmlinfsrv").variables() == {}
    settings = ServingSettings(
        contract="v1", nan="bare", scoring_timeout_ms=100, scoring_grace_ms=200, worker_count=2, metrics=False,
        request_log="json",
    )  # fmt: skip
    assert settings.variables() == {
        "MLDEPLOY_CONTRACT": "v1",
        "MLDEPLOY_NAN": "bare",
        "SCORING_TIMEOUT_MS": "100",
        "MLDEPLOY_SCORING_GRACE_MS": "200",
        "WORKER_COUNT": "2",
        "MLDEPLOY_METRICS": "false",
        "MLDEPLOY_REQUEST_LOG": "json",
    }


def test_every_setting_of_the_server_is_a_key_and_a_default_of_the_one_table() -> None:
    fields = {name: field.default for name, field in ServingSettings.model_fields.items()}
    assert fields == {name: setting.default for name, setting in SETTINGS.items() if setting.serving}


def test_what_the_official_server_does_as_said_is_taken() -> None:
    taken = ServingSettings.of(serving="azmlinfsrv", contract="v1", nan="bare", metrics=False, worker_count=2)
    assert taken.requirements == ("azureml-inference-server-http",)
    assert taken.module == "mldeploy_serving.official"
    assert ServingSettings().requirements == ()
