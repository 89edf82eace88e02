"""`mldeploy model deploy` and `mldeploy service …`, every verb."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mldeploy.runner.service import _overlap

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project

pytestmark = pytest.mark.usefixtures("serving_python")


def test_deploy_waits_until_healthy(project: Project) -> None:
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--tag", "a=b", "--description", "text")
    record = outcome.json
    assert {"computeType", "scoringUri", "state", "tags", "name", "error"} <= record.keys()
    assert (record["state"], record["name"], record["tags"]) == ("Healthy", "svc", {"a": "b"})
    assert record["description"] == "text"
    assert 'operation finished, operation "Succeeded"' in outcome.err
    request = urllib.request.Request(record["scoringUri"], b"1", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer) == {"got": "1"}


@pytest.mark.usefixtures("docker_client")
def test_deploy_on_docker_with_limits(project: Project) -> None:
    refused = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--engine", "process", "--gb", "0.25")
    assert refused.code == 5
    assert "memoryInGB: 0.25" in refused.err
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--gb", "0.25", "--cc", "0.5")
    assert outcome.code == 0
    assert json.loads(outcome.out)["engine"] == "docker"
    assert "Starting Docker container..." in outcome.err
    assert "Local webservice is running at http://localhost:" in outcome.err
    assert project.ok("service", "reload", "svc")["state"] == "Healthy"
    assert project.ok("service", "update", "svc", "--cc", "1")["engine"] == "docker"
    project.ok("service", "delete", "svc")


def test_deploy_with_config_files_and_a_registered_model(project: Project) -> None:
    project.write(
        "working_dir/score.py",
        "import os\n\n\ndef init():\n    pass\n\n\n"
        "def run(data):\n    return open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'model.txt')).read()\n",
    )
    project.write("ic.json", '{"entryScript": "score.py", "sourceDirectory": "./working_dir"}')
    project.write("dc.yml", "computeType: local\n")
    project.ok("model", "register", "-n", "answer", "-p", "model.txt")
    project.ok("model", "deploy", "-n", "svc", "-m", "answer:1", "-ic", "ic.json", "-dc", "dc.yml")
    assert project.ok("service", "run", "svc", "-d", "{}") == "0.5\n"
    assert project.ok("service", "show", "svc")["models"] == ["answer:1"]


def test_a_name_is_taken_once(deployed: Project) -> None:
    outcome = deployed.run("model", "deploy", "-n", "echo", "--es", "score.py")
    assert outcome.code == 4
    assert "--overwrite" in outcome.err
    deployed.ok("model", "deploy", "-n", "echo", "--es", "score.py", "--overwrite")


def test_no_wait_returns_before_it_is_healthy(project: Project) -> None:
    project.write("score.py", "import time\n\ndef init():\n    time.sleep(600)\n\ndef run(data):\n    return 1\n")
    assert project.ok("model", "deploy", "-n", "svc", "--es", "score.py", "--no-wait")["state"] == "Transitioning"


def test_dry_run_starts_nothing(project: Project) -> None:
    plan = project.ok("model", "deploy", "-n", "svc", "--es", "score.py", "--dry-run")
    assert plan["environmentInstalled"] is True
    assert (plan["service"], plan["replaces"], plan["files"]) == ("svc", False, 1)
    assert project.ok("service", "list") == []
    assert project.servers() == []


def test_deploy_without_a_name_shows_the_whole_line(project: Project) -> None:
    outcome = project.run("model", "deploy", "-m", "mymodel:1", "--ic", "my config.json")
    assert outcome.code == 2
    assert "mldeploy model deploy -n mymodel -m mymodel:1 --ic 'my config.json'" in outcome.err


def test_deploy_without_a_script(project: Project) -> None:
    outcome = project.run("model", "deploy", "-n", "svc")
    assert outcome.code == 2
    assert "--ic inferenceconfig.json" in outcome.err
    assert project.run("model", "deploy", "-n", "svc", "--bi", "image").code == 2
    assert "model profile" in project.run("model", "deploy", "-n", "svc", "--pi", "profile.json").err


def test_flags_of_an_inference_config_exclude_its_file(project: Project) -> None:
    project.write("ic.json", '{"entryScript": "score.py"}')
    outcome = project.run("model", "deploy", "-n", "svc", "--ic", "ic.json", "--es", "other.py")
    assert outcome.code == 2
    assert "--entry-script" in outcome.err


@pytest.mark.parametrize(
    ("flags", "owners"),
    [
        (("--ks", "second"), "ACI and AKS"),
        (("--lo", "westus"), "ACI"),
        (("--nr", "3"), "AKS"),
        (("--ae",), "ACI and AKS"),
        (("--ae", "true"), "ACI and AKS"),
        (("-ct", "myaks"), "AKS"),
        (("--vn", "blue"), "AKSENDPOINT"),
    ],
)
def test_flags_of_other_targets_name_them(project: Project, flags: tuple[str, ...], owners: str) -> None:
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", *flags)
    assert outcome.code == 2
    assert f"has no effect on LOCAL: it belongs to {owners}" in outcome.err


def test_a_compute_type_that_is_none(project: Project) -> None:
    assert project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--cp", "moon").code == 2
    project.write("dc.json", '{"computeType": "local"}')
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--cp", "aks", "--dc", "dc.json")
    assert outcome.code == 2
    assert "leave out --cp" in outcome.err


def test_settings_come_from_flag_environment_and_file(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = ("model", "deploy", "-n", "svc", "--es", "score.py")
    project.write("mldeploy.toml", 'workspace = "of-the-file"\n[serving]\nnan = "null"\n')
    assert project.run(*deploy).code == 6
    project.ok("workspace", "create", "of-the-file")
    assert "Workspace of-the-file" in project.run(*deploy, "--dry-run").err
    monkeypatch.setenv("MLDEPLOY_ENGINE", "moon")
    outcome = project.run(*deploy)
    assert outcome.code == 2
    assert "MLDEPLOY_ENGINE" in outcome.err
    project.ok(*deploy, "--engine", "process")
    assert project.run(*deploy, "--timeout", "never").code == 2


def test_list_and_filters(deployed: Project) -> None:
    def names(*flags: str) -> list[str]:
        return [each["name"] for each in deployed.ok("service", "list", *flags)]

    assert names() == names("-c", "local") == ["echo"]
    assert names("-c", "ACI") == names("--model-name", "m") == names("--tag", "t") == []


def test_show_by_word_and_by_flag(deployed: Project) -> None:
    assert deployed.ok("service", "show", "echo") == deployed.ok("service", "show", "-n", "echo")
    assert deployed.run("service", "show", "ech").code == 3
    assert deployed.run("service", "show", "echo", "-o", "table").out.splitlines()[0].split() == [
        *("Name", "State", "ComputeType", "ScoringUri")
    ]


def test_run_takes_text_files_and_stdin(deployed: Project) -> None:
    deployed.write("input.json", "[1, 2]")
    assert deployed.ok("service", "run", "-n", "echo", "-d", "[1]") == {"got": "[1]"}
    assert deployed.ok("service", "run", "-n", "echo", "-d", "@input.json") == {"got": "[1, 2]"}
    assert deployed.command("service", "run", "echo", "-d", "-", typed="[3]").json == {"got": "[3]"}
    outcome = deployed.run("service", "run", "echo", "-d", "@nowhere.json")
    assert outcome.code == 2
    assert "nowhere.json" in outcome.err


def test_run_prints_an_answer_that_is_not_json_as_it_is(deployed: Project) -> None:
    deployed.write(
        "score.py",
        "from azureml.contrib.services.aml_request import rawhttp\n"
        "from azureml.contrib.services.aml_response import AMLResponse\n\n"
        "def init():\n    pass\n\n@rawhttp\ndef run(request):\n    return AMLResponse(b'<plain>', 200)\n",
    )
    deployed.ok("service", "reload", "echo")
    assert deployed.run("service", "run", "echo", "-d", "x").out == "<plain>"


def test_get_logs(deployed: Project) -> None:
    text = deployed.run("service", "get-logs", "echo").out
    assert "loaded" in text
    assert deployed.run("service", "get-logs", "echo", "-l", "1").out == text.splitlines(keepends=True)[-1]
    assert deployed.run("service", "get-logs", "echo", "--num_lines", "0").out == ""
    assert deployed.run("service", "get-logs", "echo", "--init").out == ""


def test_get_logs_follow_goes_on_until_the_service_is_deleted(deployed: Project) -> None:
    deployed.write("score.py", "def init():\n    pass\n\ndef run(data):\n    print(data)\n    return 1\n")
    deployed.ok("service", "reload", "echo")
    process = deployed.start("service", "get-logs", "echo", "--follow")
    assert process.stdout is not None
    process.stdout.readline()
    deployed.ok("service", "run", "echo", "-d", "written-later")
    assert any("written-later" in line for line in process.stdout)
    deployed.ok("service", "delete", "echo")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, ""), out


def test_ctrl_c_ends_following_the_log(deployed: Project) -> None:
    process = deployed.start("service", "get-logs", "echo", "--follow")
    assert process.stdout is not None
    process.stdout.readline()
    outcome = deployed.interrupt(process)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert deployed.ok("service", "show", "echo")["state"] == "Healthy"


@pytest.mark.parametrize(
    ("before", "after", "common"),
    [
        ([], ["a"], 0),
        (["a"], ["a", "b"], 1),
        (["a", "b", "c"], ["b", "c", "d"], 2),
        (["a"], ["b"], 0),
        (["a"] * 3, ["a"] * 3, 3),
    ],
)
def test_what_is_new_in_a_log_window(before: list[str], after: list[str], common: int) -> None:
    assert _overlap(before, after) == common


def test_update_labels_without_a_restart(deployed: Project) -> None:
    pids = deployed.servers()
    record = deployed.ok("service", "update", "echo", "--add-tag", "a=1", "--add-property", "p=2", "-d", "text")
    assert (record["tags"], record["properties"], record["description"]) == ({"a": "1"}, {"p": "2"}, "text")
    assert deployed.servers() == pids
    assert deployed.ok("service", "update", "echo", "--remove-tag", "a")["tags"] == {}
    assert deployed.run("service", "update", "echo", "--add-property", "p=3").code == 2
    assert deployed.run("service", "update", "echo").code == 2


def test_update_changes_what_is_given_and_keeps_the_rest(deployed: Project) -> None:
    deployed.ok("service", "update", "echo", "--add-tag", "kept=yes")
    deployed.ok("model", "register", "-n", "answer", "-p", "model.txt", "-t", "info.json")
    record = deployed.ok("service", "update", "-n", "echo", "--model-metadata-file", "info.json")
    assert record["models"] == ["answer:1"]
    assert record["tags"] == {"kept": "yes"}
    deployed.write("other.py", "def init():\n    pass\n\ndef run(data):\n    return 'other'\n")
    record = deployed.ok("service", "update", "-n", "echo", "--es", "other.py")
    assert record["models"] == ["answer:1"]
    assert deployed.ok("service", "run", "echo", "-d", "1") == "other"


def test_an_update_of_the_script_keeps_the_environment(project: Project, serving_python: Path) -> None:
    variables = {"environment": {"name": "mine", "environmentVariables": {"GREETING": "hello"}}}
    project.write("ic.json", json.dumps({"entryScript": "score.py", **variables}))
    project.write("score.py", "def init():\n    pass\n\ndef run(data):\n    return 'first'\n")
    project.ok("model", "deploy", "-n", "greeter", "--ic", "ic.json")
    reading = "import os\ndef init():\n    pass\n\ndef run(data):\n    return os.environ.get('GREETING')\n"
    project.write("other.py", reading)
    project.ok("service", "update", "greeter", "--es", "other.py")
    assert project.ok("service", "run", "greeter", "-d", "1") == "hello"
    assert project.run("service", "delete", "greeter").code == 0


def test_update_does_not_move_a_service(deployed: Project) -> None:
    deployed.write("dc.json", '{"computeType": "ACI"}')
    outcome = deployed.run("service", "update", "echo", "--dc", "dc.json")
    assert outcome.code == 2
    assert "local service" in outcome.err
    assert deployed.run("service", "update", "echo", "--tm", "100").code == 2


def test_reload_takes_the_script_as_it_is_now(deployed: Project) -> None:
    deployed.write("score.py", "def init():\n    pass\n\ndef run(data):\n    return 'fresh'\n")
    assert deployed.ok("service", "run", "echo", "-d", "1") == {"got": "1"}
    deployed.ok("service", "reload", "echo", "--no-wait")
    assert deployed.eventually(lambda: deployed.ok("service", "show", "echo")["state"] == "Healthy")
    assert deployed.ok("service", "run", "echo", "-d", "1") == "fresh"


def test_delete(deployed: Project) -> None:
    assert deployed.run("service", "delete", "echo").out == ""
    assert deployed.servers() == []
    assert deployed.instances() == []
    assert deployed.run("service", "delete", "-n", "echo").code == 3


def test_a_service_outlives_the_command_that_deployed_it(project: Project) -> None:
    outcome = project.command("model", "deploy", "-n", "svc", "--es", "score.py")
    assert outcome.code == 0, outcome.err
    assert project.command("service", "run", "svc", "-d", "1").json == {"got": "1"}
    assert Path(outcome.json["scoringUri"]).name == "score"


def test_a_service_without_its_verb_is_told_the_whole_line(deployed: Project) -> None:
    outcome = deployed.run("service", "echo")
    assert outcome.code == 2
    assert "`mldeploy service delete echo` deletes it" in outcome.err
