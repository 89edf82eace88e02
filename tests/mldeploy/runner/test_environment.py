"""`mldeploy environment …`, every verb."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project


@pytest.fixture
def scaffolded(project: Project) -> Project:
    """A project with the environment `scoring` registered from the folder `env`."""
    project.ok("environment", "scaffold", "-n", "scoring", "-d", "env")
    project.ok("environment", "register", "-d", "env")
    return project


def test_scaffold_writes_v1_s_files(project: Project) -> None:
    record = project.ok("environment", "scaffold", "-n", "scoring", "-d", "env", "-t", "out.json")
    assert record["environmentVariables"] == {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"}
    assert sorted(path.name for path in Path("env").iterdir()) == ["azureml_environment.json", "conda_dependencies.yml"]
    assert json.loads(Path("out.json").read_text()) == record
    outcome = project.run("environment", "scaffold", "-n", "scoring", "-d", "env")
    assert outcome.code == 2
    assert "File exists: env" in outcome.err


def test_register_keeps_the_version_of_an_unchanged_one(scaffolded: Project) -> None:
    assert scaffolded.ok("environment", "register", "-d", "env")["version"] == "1"
    conda = Path("env/conda_dependencies.yml")
    conda.write_text(conda.read_text().replace("azureml-defaults", "azureml-defaults\n  - numpy"))
    assert scaffolded.ok("environment", "register", "-d", "env")["version"] == "2"
    assert scaffolded.ok("environment", "show", "scoring", "-v", "1")["version"] == "1"
    assert scaffolded.ok("environment", "show", "-n", "scoring")["version"] == "2"


def test_list_has_the_curated_ones_too(scaffolded: Project) -> None:
    names = [each["name"] for each in scaffolded.ok("environment", "list")]
    assert names[0] == "scoring"
    assert "AzureML-Minimal" in names


def test_a_registrys_password_is_never_printed(scaffolded: Project) -> None:
    described = Path("env/azureml_environment.json")
    definition = json.loads(described.read_text())
    definition["docker"]["baseImage"] = "registry.example/mine:1"
    definition["docker"]["baseImageRegistry"] = {"address": "registry.example", "username": "me", "password": "s3cret"}
    described.write_text(json.dumps(definition))
    for command in (["register", "-d", "env"], ["show", "scoring"], ["list"]):
        outcome = scaffolded.run("environment", *command)
        assert outcome.code == 0
        assert "registry.example" in outcome.out
        assert "s3cret" not in outcome.out + outcome.err


def test_show_what_is_not_there(project: Project) -> None:
    assert project.run("environment", "show", "nothing").code == 5
    assert project.run("environment", "register", "-d", "nowhere").code == 2


def test_download_gives_the_folder_back(scaffolded: Project) -> None:
    scaffolded.ok("environment", "download", "-n", "scoring", "-d", "back")
    assert scaffolded.ok("environment", "register", "-d", "back")["version"] == "1", "it is the same"
    assert scaffolded.run("environment", "download", "scoring", "-d", "back").code == 2
    scaffolded.ok("environment", "download", "scoring", "-d", "back", "--overwrite")


def test_build_installs_and_exports_the_lock(project: Project, serving_python: Path) -> None:
    built = project.ok("environment", "build", "--lock-file", "lock.txt")
    assert Path(built["path"]).exists()
    lock = Path("lock.txt").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert built["packages"]
    assert all(package in lock for package in built["packages"])


def test_build_of_a_folder_or_of_a_config(scaffolded: Project, serving_python: Path) -> None:
    scaffolded.write("ic.json", '{"entryScript": "score.py"}')
    by_name = scaffolded.ok("environment", "build", "scoring", "--offline")
    assert by_name["name"] == "scoring"
    assert scaffolded.ok("environment", "build", "-d", "env", "--offline")["digest"] == by_name["digest"]
    assert scaffolded.ok("environment", "build", "--ic", "ic.json")["name"] is None
    assert scaffolded.run("environment", "build", "scoring", "--ic", "ic.json").code == 2


def test_deploy_in_a_registered_environment(scaffolded: Project, serving_python: Path) -> None:
    scaffolded.write(
        "score.py", "import os\n\ndef init():\n    pass\n\ndef run(data):\n    return os.environ['EXAMPLE_ENV_VAR']\n"
    )
    scaffolded.ok("model", "deploy", "-n", "svc", "--es", "score.py", "-e", "scoring", "--offline")
    assert scaffolded.ok("service", "run", "svc", "-d", "1") == "EXAMPLE_VALUE"
    scaffolded.write("ic.json", '{"entryScript": "score.py"}')
    scaffolded.ok("service", "update", "svc", "--ic", "ic.json", "--ed", "env")
    assert scaffolded.ok("service", "run", "svc", "-d", "1") == "EXAMPLE_VALUE"


def test_modernize_writes_beside_the_file_and_shows_the_difference(project: Project) -> None:
    old = "name: old\ndependencies:\n# what the model was trained with\n- python=3.6.2\n"
    project.write("env.yml", old)
    outcome = project.run("environment", "modernize", "env.yml", "--offline")
    assert outcome.json["changed"] is True
    assert outcome.json["file"] == "env.modernized.yml"
    assert "-- python=3.6.2" in outcome.err
    assert Path("env.yml").read_text() == old
    new = Path("env.modernized.yml").read_text()
    assert "# what the model was trained with\n- python=3." in new
    assert "3.6.2" not in new
    again = project.run("environment", "modernize", "env.modernized.yml", "--offline")
    assert again.json["changed"] is False
    assert "needs no change" in again.err
