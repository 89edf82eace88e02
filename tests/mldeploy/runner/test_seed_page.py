"""Every command line of the page on how to deploy and where, with `az ml` replaced by `mldeploy`.

Each runs, or is refused for a reason that `docs/runner.md` gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project

DOCS = Path(__file__).parents[3] / "docs" / "runner.md"
INFERENCE = '{\n    "entryScript": "score.py",\n    "sourceDirectory": "./working_dir"\n}\n'


@pytest.fixture
def page(project: Project) -> Project:
    """The files that the page's lines speak of, and a registered `mymodel:1`."""
    project.write("inferenceconfig.json", INFERENCE)
    project.write("deploymentconfig.json", '{"computeType": "local"}')
    project.write("working_dir/score.py", (project.folder / "score.py").read_text())
    project.write("mnist/model.onnx", "onnx")
    project.ok("model", "register", "-n", "mymodel", "-p", "model.txt")
    return project


def test_workspaces_are_listed(page: Project) -> None:
    assert page.ok("workspace", "list", "--resource-group=<my resource group>") == []
    assert [each["name"] for each in page.ok("workspace", "list", "--resource-group=local")] == ["default"]


def test_a_model_of_a_run_is_refused(page: Project) -> None:
    run = ("--experiment-name", "myexperiment", "--run-id", "myrunid", "--tag", "area=mnist")
    asset = ("--asset-path", "outputs/sklearn_mnist_model.pkl")
    outcome = page.run("model", "register", "-n", "sklearn_mnist", *asset, *run)
    assert outcome.code == 2
    assert "mldeploy model register -n sklearn_mnist -p outputs/sklearn_mnist_model.pkl" in outcome.err
    documented("a training run")


def test_a_model_of_a_file_is_registered(page: Project) -> None:
    assert page.ok("model", "register", "-n", "onnx_mnist", "-p", "mnist/model.onnx")["id"] == "onnx_mnist:1"


@pytest.mark.parametrize(
    ("models", "proposed"), [(("-m", "mymodel:1"), "mymodel"), ((), "myservice")], ids=["registered", "local"]
)
def test_the_deploy_lines_lack_a_name_and_run_as_proposed(
    page: Project, serving_python: Path, models: tuple[str, ...], proposed: str
) -> None:
    line = (*models, "--ic", "inferenceconfig.json", "--dc", "deploymentconfig.json")
    outcome = page.run("model", "deploy", *line)
    assert outcome.code == 2
    (typed,) = (text for text in outcome.err.splitlines() if "next:" in text)
    words = typed.split("mldeploy ")[1].split()
    assert words == ["model", "deploy", "-n", proposed, *line]
    assert page.ok(*words)["state"] == "Healthy"
    documented("`-n`")


def test_deleting_a_service_lacks_the_verb(page: Project) -> None:
    outcome = page.run("service", "myservice")
    assert outcome.code == 2
    assert "mldeploy service delete myservice" in outcome.err
    documented("lacks the verb")


def test_deleting_a_model(page: Project) -> None:
    assert page.run("model", "delete", "mymodel:1").code == 0
    assert page.ok("model", "list") == []


def documented(reason: str) -> None:
    """The page on the runner gives the reason."""
    assert reason in DOCS.read_text("utf-8")
