"""The way of a deployment on the local target: what is recorded, seen and left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from mldeploy import Environment, InferenceConfig, LocalWebservice, Model, Webservice, Workspace
from mldeploy.config.harness import ServingSettings
from mldeploy.errors import ComputeTargetException, UserErrorException, WebserviceException
from mldeploy.events import Event, StateChanged, Step
from mldeploy.targets.local import LocalTarget

SCRIPT = """
import json, os

def init():
    global answer
    with open(os.path.join(os.getenv("AZUREML_MODEL_DIR"), "model.txt")) as stream:
        answer = stream.read()

def run(data):
    return {"model": answer, "rows": json.loads(data)["data"]}
"""
ECHO = "def init():\n    pass\n\ndef run(data):\n    return data\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace.create("tests", store=str(tmp_path / "store"))
    yield workspace
    for service in Webservice.list(workspace):
        service.delete()
    assert children() == set()


def children() -> set[int]:
    """Scoring servers that this process has started and that still run."""
    return {
        one.pid
        for one in psutil.Process().children(recursive=True)
        if one.status() != psutil.STATUS_ZOMBIE and "mldeploy_serving" in " ".join(one.cmdline())
    }


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "score.py"
    path.write_text(ECHO)
    return path


@pytest.fixture
def model(workspace: Workspace, tmp_path: Path) -> Model:
    (tmp_path / "model.txt").write_text("forty-two")
    return Model.register(workspace, str(tmp_path / "model.txt"), "answer")


def until_failed(service: LocalWebservice) -> None:
    deadline = time.monotonic() + 10
    while service.state != "Failed":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def listening(port: int) -> socket.socket:
    """A port as soon as whoever had it has let go of it: a dying process keeps it for a moment."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def deployed(workspace: Workspace, script: Path, name: str = "echo", **more: Any) -> LocalWebservice:
    service = Model.deploy(workspace, name, more.pop("models", []), InferenceConfig(str(script)), **more)
    assert isinstance(service, LocalWebservice)
    return service


def test_deploy_wait_score_delete(workspace: Workspace, model: Model, script: Path) -> None:
    script.write_text(SCRIPT)
    service = deployed(workspace, script, models=[model])
    assert service.state in {"Transitioning", "Healthy"}
    states: list[Event] = []
    service.wait_for_deployment(report=states.append)
    assert states[-1] == StateChanged("echo", "Healthy")
    assert service.run('{"data": [1, 2]}') == {"model": "forty-two", "rows": [1, 2]}
    assert service.run({"data": []}) == {"model": "forty-two", "rows": []}
    assert service.scoring_uri == f"http://localhost:{service.port}/score"
    assert workspace.webservices["echo"].get_logs()
    assert service.serialize()["models"] == ["answer:1"]
    service.delete()
    assert Webservice.list(workspace) == []
    with pytest.raises(WebserviceException, match="WebserviceNotFound: Webservice with name echo"):
        Webservice(workspace, "echo")


def test_a_service_that_is_found_again_is_the_same(workspace: Workspace, script: Path) -> None:
    deployed(workspace, script).wait_for_deployment()
    again = Webservice(workspace, "echo")
    assert type(again) is LocalWebservice
    assert again.state == LocalWebservice.STATE_RUNNING == "Healthy"
    assert again.run("as it is") == "as it is"


def test_waiting_prints_in_v1s_words(workspace: Workspace, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deployed(workspace, script).wait_for_deployment(show_output=True)
    out = capsys.readouterr().out
    assert out.startswith("Running")
    assert out.endswith('Succeeded\nLocal service creation operation finished, operation "Succeeded"\n')


def test_a_failed_init_says_why_and_leaves_nothing(workspace: Workspace, script: Path) -> None:
    script.write_text("def init():\n    raise OSError('no weights here')\n\ndef run(data):\n    return data\n")
    service = deployed(workspace, script)
    with pytest.raises(WebserviceException) as caught:
        service.wait_for_deployment()
    text = str(caught.value)
    assert "current service state: Failed" in text
    assert "no weights here" in text
    assert service.state == "Failed"
    assert service.error is not None
    assert service.error["exitCode"] == 3
    assert children() == set()
    with pytest.raises(WebserviceException, match="cannot be reached: it is Failed"):
        service.run("x")


def test_a_script_that_wants_a_model_and_got_none_is_told_so(workspace: Workspace, script: Path) -> None:
    script.write_text(SCRIPT.replace('os.getenv("AZUREML_MODEL_DIR")', 'os.environ["AZUREML_MODEL_DIR"]'))
    service = deployed(workspace, script)
    with pytest.raises(WebserviceException) as caught:
        service.wait_for_deployment()
    assert "deployed without a model" in caught.value.hint


def test_two_deployments_of_one_name(workspace: Workspace, script: Path) -> None:
    deployed(workspace, script).wait_for_deployment()
    with pytest.raises(WebserviceException) as caught:
        deployed(workspace, script)
    assert caught.value.status_code == 409
    first = Webservice(workspace, "echo").serialize()
    deployed(workspace, script, overwrite=True).wait_for_deployment()
    second = Webservice(workspace, "echo").serialize()
    assert first["createdTime"] == second["createdTime"]
    assert first["scoringUri"] == second["scoringUri"]
    assert len(children()) == 2  # one supervisor, one worker


def test_at_the_same_time_one_wins(workspace: Workspace, script: Path) -> None:
    results: list[object] = []
    barrier = threading.Barrier(4)

    def one() -> None:
        barrier.wait()
        try:
            results.append(deployed(workspace, script))
        except WebserviceException as error:
            results.append(error.status_code)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(409) == 3
    Webservice(workspace, "echo").wait_for_deployment()


def test_a_taken_port_loses_nothing(workspace: Workspace, script: Path, own_store: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        configuration = LocalWebservice.deploy_configuration(port=taken.getsockname()[1])
        with pytest.raises(WebserviceException, match="cannot be listened on"):
            deployed(workspace, script, deployment_config=configuration)
        assert Webservice.list(workspace) == []
        service = deployed(workspace, script)
        service.wait_for_deployment()
        with pytest.raises(WebserviceException, match="cannot be listened on"):
            service.update(deployment_config=configuration)
        assert service.state == "Healthy"
        assert service.run("still here") == "still here"
    assert list(own_store.rglob("exit.json")) == []


def test_a_broken_script_loses_nothing(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    script.write_text("def init(:\n")
    with pytest.raises(UserErrorException, match=r"score\.py"):
        service.reload()
    assert service.state == "Healthy"


def test_reload_takes_fresh_copies(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    digest = service.serialize()["packageDigest"]
    script.write_text(ECHO.replace("return data", "return data[::-1]"))
    assert service.run("abc") == "abc"
    service.reload(wait=True)
    assert service.run("abc") == "cba"
    assert service.serialize()["packageDigest"] != digest


def test_update_keeps_what_is_not_given(workspace: Workspace, model: Model, script: Path, tmp_path: Path) -> None:
    script.write_text(SCRIPT)
    service = deployed(workspace, script, models=[model])
    service.wait_for_deployment()
    (tmp_path / "model.txt").write_text("forty-three")
    newer = Model.register(workspace, str(tmp_path / "model.txt"), "answer")
    assert service.run({"data": 0})["model"] == "forty-two"
    service.update(models=[newer], wait=True)
    assert service.run({"data": 0})["model"] == "forty-three"
    assert [model.id for model in service.models] == ["answer:2"]


def test_a_model_in_use_is_not_deleted(workspace: Workspace, model: Model, script: Path) -> None:
    service = deployed(workspace, script, models=[model])
    with pytest.raises(Exception, match="echo"):
        model.delete()
    service.delete()
    model.delete()


def test_both_documented_layouts_serve(workspace: Workspace, tmp_path: Path) -> None:
    project = tmp_path / "source_directory"
    (project / "x" / "y").mkdir(parents=True)
    (project / "extra.json").write_text('"extra"')
    (project / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    (project / "x" / "y" / "score.py").write_text(
        "import json\nfrom helper import double\n"
        "def init():\n    global seen\n"
        "    seen = [json.load(open(p)) for p in ('./source_directory/extra.json', './extra.json')]\n"
        "def run(data):\n    return seen + [double(len(data))]\n"
    )
    config = InferenceConfig("x/y/score.py", source_directory=str(project))
    service = Model.deploy(workspace, "layouts", [], config)
    service.wait_for_deployment()
    assert service.run("ab") == ["extra", "extra", 4]


@pytest.mark.parametrize("name", ["ab", "Upper", "1st", "under_score", "dash-", "a" * 33])
def test_names_are_held_to_v1s_rule(workspace: Workspace, script: Path, name: str) -> None:
    with pytest.raises(WebserviceException, match="is not a service name") as caught:
        deployed(workspace, script, name)
    assert "3 to 32 characters" in str(caught.value)
    proposed = caught.value.hint.split("'")[1]
    deployed(workspace, script, proposed).delete()


def test_a_target_that_is_not_built_says_so(workspace: Workspace, script: Path) -> None:
    from mldeploy import AksWebservice

    with pytest.raises(ComputeTargetException, match="cannot deploy to AKS"):
        deployed(workspace, script, deployment_config=AksWebservice.deploy_configuration(cpu_cores=1))
    with pytest.raises(UserErrorException, match="'podman' is no engine"):
        deployed(workspace, script, engine="podman")


@pytest.mark.parametrize("stage", ["package", "start"])
def test_ctrl_c_on_the_way_leaves_nothing(workspace: Workspace, script: Path, stage: str, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if getattr(event, "name", "") == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Model.deploy(workspace, "echo", [], InferenceConfig(str(script)), report=interrupt)
    assert Webservice.list(workspace) == []
    assert children() == set()
    assert list((tmp_path / "store").rglob("score.py")) == []


def test_a_deployer_that_was_killed_is_taken_over(workspace: Workspace, script: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from mldeploy import InferenceConfig, Model, Workspace\n"
        "def hang(event):\n"
        "    if getattr(event, 'name', '') == 'package':\n"
        "        print('claimed', flush=True); time.sleep(600)\n"
        "ws = Workspace.create('tests', store=sys.argv[1], exist_ok=True)\n"
        "Model.deploy(ws, 'echo', [], InferenceConfig(sys.argv[2]), report=hang)\n"
    )
    folder = tmp_path / "project"
    folder.mkdir()
    command = [sys.executable, "-c", code, str(tmp_path / "store"), str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as deployer:
        assert deployer.stdout is not None
        assert deployer.stdout.readline() == "claimed\n"
        with pytest.raises(WebserviceException) as caught:
            deployed(workspace, script)
        assert caught.value.status_code == 409
        assert Webservice(workspace, "echo").state == "Transitioning"
        os.kill(deployer.pid, signal.SIGKILL)
    assert Webservice(workspace, "echo").state == "Failed"
    deployed(workspace, script).wait_for_deployment()


# Replaces a service and is killed on the way: before or after the first, second … call of a function.
DYING = """
import os, signal, sys
from mldeploy import InferenceConfig, Model, Workspace
from mldeploy.engines import process
from mldeploy.store.services import ServiceTable
from mldeploy.targets.local import LocalTarget
store, script, name, when, number = sys.argv[1:]
owner = {"start": process, "change": ServiceTable, "sweep": LocalTarget}[name]
real, calls = getattr(owner, name), []
def dying(*arguments):
    calls.append(name)
    last = len(calls) == int(number)
    if last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, dying)
workspace = Workspace.create("tests", store=store, exist_ok=True)
Model.deploy(workspace, "echo", ["answer:2"], InferenceConfig(script), overwrite=True)
"""


def all_of(store: Path) -> set[int]:
    """Supervisors of services in a store, whoever started them."""
    found = set()
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(store / "services") in word for word in one.cmdline()):
                found.add(one.pid)
    return found


@pytest.mark.parametrize(
    ("name", "when", "number", "runs"),
    [
        ("change", "after", 1, "new"),
        ("sweep", "before", 2, "new"),
        ("change", "before", 2, "new"),
    ],
)
def test_a_deployer_killed_while_it_replaces(
    workspace: Workspace, model: Model, script: Path, tmp_path: Path, name: str, when: str, number: int, runs: str
) -> None:
    deployed(workspace, script, models=[model]).wait_for_deployment()
    newer = tmp_path / "newer.py"
    newer.write_text(ECHO.replace("return data", "return 'new'"))
    Model.register(workspace, str(tmp_path / "model.txt"), "answer")
    command = [sys.executable, "-c", DYING, str(tmp_path / "store"), str(newer), name, when, str(number)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    # What is recorded is what runs.
    service = Webservice(workspace, "echo")
    service.wait_for_deployment()
    assert service.run("old") == runs
    assert [model.id for model in service.models] == ["answer:2"]
    # Whoever is next finds what was left.
    if number == 1:
        deployed(workspace, script, overwrite=True).wait_for_deployment()
        assert len(all_of(tmp_path / "store")) == 1
    Webservice(workspace, "echo").delete()
    assert all_of(tmp_path / "store") == set()
    assert list((tmp_path / "store" / "services").rglob("*.py")) == []


@pytest.mark.parametrize(("name", "when"), [("start", "before"), ("start", "after"), ("change", "before")])
def test_a_deployer_killed_between_the_old_one_and_the_new_one(
    workspace: Workspace, model: Model, script: Path, tmp_path: Path, name: str, when: str
) -> None:
    deployed(workspace, script, models=[model]).wait_for_deployment()
    Model.register(workspace, str(tmp_path / "model.txt"), "answer")
    command = [sys.executable, "-c", DYING, str(tmp_path / "store"), str(script), name, when, "1"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    # The old one had made room on its port, and that is what is told of it.
    service = Webservice(workspace, "echo")
    assert service.state == "Failed"
    assert [model.id for model in service.models] == ["answer:1"]
    deployed(workspace, script, overwrite=True).wait_for_deployment()
    assert len(all_of(tmp_path / "store")) == 1
    Webservice(workspace, "echo").delete()
    assert all_of(tmp_path / "store") == set()


def test_a_replaced_service_keeps_its_uri_unless_another_is_asked_for(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    first = service.scoring_uri
    service.reload()
    assert service.scoring_uri == first
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        other = probe.getsockname()[1]
    service.update(deployment_config=LocalWebservice.deploy_configuration(port=other), wait=True)
    assert service.port == other
    assert service.run("moved") == "moved"


def test_where_somebody_has_taken_the_port_since_another_is_chosen(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    port = service.port
    assert port is not None
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    until_failed(service)
    with listening(port):
        service.reload(wait=True)
        assert service.port != port
        assert service.run("elsewhere") == "elsewhere"


def test_a_first_deployer_killed_leaves_what_a_deletion_removes(
    workspace: Workspace, model: Model, script: Path, tmp_path: Path
) -> None:
    Model.register(workspace, str(tmp_path / "model.txt"), "answer")
    command = [sys.executable, "-c", DYING, str(tmp_path / "store"), str(script), "start", "after", "1"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    service = Webservice(workspace, "echo")
    assert service.state == "Failed"
    assert service.error is not None
    assert "ended before the service was started" in service.error["message"]
    assert len(all_of(tmp_path / "store")) == 1
    service.delete()
    assert all_of(tmp_path / "store") == set()
    assert list((tmp_path / "store" / "services").rglob("*.py")) == []


def test_while_it_is_replaced(workspace: Workspace, model: Model, script: Path, tmp_path: Path) -> None:
    deployed(workspace, script).wait_for_deployment()
    service = LocalWebservice(workspace, "echo")
    assert isinstance(service, LocalWebservice)
    told: list[str] = []

    def look(event: Event) -> None:
        if isinstance(event, Step) and event.name == "start":
            told.append(service.state)
            assert service.run("old one") == "old one"
            changes: list[Callable[[], object]] = [service.delete, service.reload, lambda: service.add_tags({"a": "b"})]
            for change in changes:
                with pytest.raises(WebserviceException, match="another operation is in progress") as caught:
                    change()
                assert caught.value.status_code == 409
            with pytest.raises(UserErrorException, match="used by service echo"):
                model.delete()

    deployed(workspace, script, models=[model], overwrite=True, report=look)
    assert told == ["Transitioning"]
    service.wait_for_deployment()
    assert service.tags == {}
    model_ids = [model.id for model in service.models]
    assert model_ids == ["answer:1"]


def test_a_service_killed_from_outside_is_failed_and_can_be_replaced(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    until_failed(service)
    assert service.error is not None
    assert "killed" in json.dumps(service.error)
    deployed(workspace, script, overwrite=True).wait_for_deployment()


def test_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    workspace = Workspace.create("tests", store=str(small_disk))
    project = tmp_path / "project"
    project.mkdir()
    (project / "score.py").write_text(ECHO)
    config = InferenceConfig("score.py", source_directory=str(project))
    service = Model.deploy(workspace, "echo", [], config)
    service.wait_for_deployment()
    (project / "large.bin").write_bytes(os.urandom(3_000_000))
    with pytest.raises(WebserviceException, match="cannot be laid out") as caught:
        Model.deploy(workspace, "echo", [], config, overwrite=True)
    assert "No space left" in caught.value.reason
    assert service.run("still here") == "still here"
    assert list(small_disk.rglob("large.bin")) == []
    service.delete()
    assert list(small_disk.rglob("score.py")) == []


def test_what_v1_had_not_on_local_it_has_not(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    calls: list[Callable[[], object]] = [service.get_keys, service.get_token, lambda: service.regen_key("Primary")]
    for call in calls:
        with pytest.raises(NotImplementedError, match="not supported for LocalWebservice"):
            call()


def test_labels_change_while_it_runs(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    service.add_tags({"stage": "test", "owner": "me"})
    service.remove_tags("owner")
    service.add_properties({"from": "here"})
    with pytest.raises(UserErrorException, match="only added to"):
        service.add_properties({"from": "elsewhere"})
    assert (service.tags, service.properties) == ({"stage": "test"}, {"from": "here"})
    listed = [Webservice.list(workspace, tags={"stage": stage}) for stage in ("test", "live")]
    assert [len(found) for found in listed] == [1, 0]
    service.delete()
    with pytest.raises(WebserviceException, match="WebserviceNotFound"):
        service.add_tags({"late": ""})


def test_what_is_no_model_is_said(workspace: Workspace, script: Path) -> None:
    for wrong in (["unknown:x", 5], [None]):
        with pytest.raises(UserErrorException, match="is no model"):
            deployed(workspace, script, models=wrong)
    assert Webservice.list(workspace) == []


def test_a_service_of_another_machine_is_out_of_sight(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    here = workspace.store.services.get("echo")
    assert here
    far = {**here.handle, "host": "far", "folder": "/far/away/instance"}
    workspace.store.services.change("echo", lambda now: replace(now, handle=far))
    assert service.state == "Unhealthy"
    assert service.scoring_uri is None
    assert service.error is not None
    assert "runs on the machine far" in service.error["message"]
    workspace.store.services.change("echo", lambda now: replace(now, handle=here.handle))
    assert service.state == "Healthy"


def test_listing_by_what_is_recorded(workspace: Workspace, model: Model, script: Path) -> None:
    script.write_text(SCRIPT)
    deployed(workspace, script, "with-model", models=["answer:1"])
    script.write_text(ECHO)
    deployed(workspace, script, "without")

    def names(**only: Any) -> list[str]:
        return [service.name for service in Webservice.list(workspace, **only)]

    assert names() == ["with-model", "without"]
    assert names(compute_type="LOCAL") == ["with-model", "without"]
    assert names(compute_type="AKS") == []
    assert names(model_name="answer") == names(model_id="answer:1") == ["with-model"]
    assert names(model_id="answer:2") == []
    assert names(tags=["any"]) == []


def test_the_local_target_keeps_the_protocol() -> None:
    from mldeploy.targets import target_for
    from mldeploy.targets._protocol import Target

    target: Target = LocalTarget()
    assert target_for("LOCAL").name == target.name


ENVIRON = """
import os

def init():
    pass

def run(name):
    return os.environ.get(name)  # None is answered as {}
"""


def test_the_environments_own_variables_hold_until_a_setting_is_said(workspace: Workspace, script: Path) -> None:
    script.write_text(ENVIRON)
    environment = Environment("with variables")
    environment.environment_variables = {"WORKER_COUNT": "2", "SCORING_TIMEOUT_MS": "7000", "MLDEPLOY_NAN": "null"}
    config = InferenceConfig(str(script), environment=environment)
    service = Model.deploy(workspace, "echo", [], config, serving=ServingSettings(scoring_timeout_ms=8000))
    assert isinstance(service, LocalWebservice)
    service.wait_for_deployment()
    assert service.run("WORKER_COUNT") == "2"
    assert service.run("SCORING_TIMEOUT_MS") == "8000"
    assert service.run("MLDEPLOY_NAN") == "null"
    assert service.run("MLDEPLOY_CONTRACT") == {}
    assert service.serialize()["serving"] == {"scoring_timeout_ms": 8000}
    service.update(wait=True)
    assert service.run("SCORING_TIMEOUT_MS") == "8000"
    assert service.run("MLDEPLOY_NAN") == "null"


@pytest.mark.usefixtures("official_python")
def test_the_official_server_the_whole_way(workspace: Workspace, model: Model, script: Path) -> None:
    script.write_text(SCRIPT)
    official = ServingSettings(serving="azmlinfsrv", worker_count=2)
    service = deployed(workspace, script, models=[model], serving=official)
    service.wait_for_deployment()
    assert requests.get(f"http://localhost:{service.port}/", timeout=20).headers["Server"] == "gunicorn"
    assert service.run({"data": [1, 2]}) == {"model": "forty-two", "rows": [1, 2]}
    deadline = time.monotonic() + 20
    while service.get_logs().count("ready for serving traffic") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    digest = service.serialize()["packageDigest"]
    service.reload(wait=True)
    assert requests.get(f"http://localhost:{service.port}/", timeout=20).headers["Server"] == "gunicorn"
    assert service.serialize()["packageDigest"] == digest
    assert service.serialize()["serving"] == {"serving": "azmlinfsrv", "worker_count": 2}
    service.delete()
    assert children() == set()
    ours = deployed(workspace, script, models=[model])
    assert ours.serialize()["packageDigest"] != digest


@pytest.mark.usefixtures("official_python")
def test_why_the_official_server_does_not_start(workspace: Workspace, script: Path) -> None:
    script.write_text("def init():\n    raise OSError('no weights here')\n\ndef run(data):\n    return data\n")
    service = deployed(workspace, script, serving=ServingSettings(serving="azmlinfsrv"))
    with pytest.raises(WebserviceException, match=r"OSError: no weights here \(score.py, line 2\)"):
        service.wait_for_deployment()
    assert service.error is not None
    assert service.error["exitCode"] == 3
    assert children() == set()
