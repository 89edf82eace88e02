"""The Dockerfile folder: built by plain `docker build` in another place, and run."""

from __future__ import annotations

import io
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from mldeploy import Environment, InferenceConfig, Model, Workspace
from mldeploy.errors import UserErrorException
from mldeploy.images.foundations.base import inspect

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

SCRIPT = """\
import os

from pieces import factor


def init():
    global text
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model", "ein Modell", "größe.txt")) as stream:
        text = stream.read()


def run(data):
    return [text, factor.VALUE, os.environ["ODD"], os.getcwd(), os.access("/var/azureml-app/azureml-models", os.W_OK)]
"""
ODD = 'a "b" $HOME \\ c`d \\n #e'
STOCK = "mcr.microsoft.com/azureml/openmpi3.1.2-ubuntu18.04"

StartContainer = Callable[..., tuple[Any, dict[int, int]]]
Eventually = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def workspace(tmp_path: Path, client: DockerClient) -> Workspace:
    workspace = Workspace.create("tests", store=str(tmp_path / "store"))
    model = tmp_path / "model" / "ein Modell"
    model.mkdir(parents=True)
    (model / "größe.txt").write_text("half")
    Model.register(workspace, tmp_path / "model", "half")
    return workspace


@pytest.fixture
def config(tmp_path: Path) -> InferenceConfig:
    source = tmp_path / "source"
    (source / "pieces of it").mkdir(parents=True)
    (source / "pieces of it" / "factor.py").write_text("VALUE = 2\n")
    (source / "pieces").symlink_to("pieces of it")
    (source / "score.py").write_text(SCRIPT)
    (source / ".hidden").write_text("")
    environment = Environment("tests")
    environment.environment_variables["ODD"] = ODD
    return InferenceConfig("score.py", source_directory=str(source), environment=environment)


@pytest.fixture
def theirs(client: DockerClient) -> Iterator[str]:
    """A value that is in one Dockerfile only; the image that is built of it is gone at the end."""
    value = uuid.uuid4().hex
    yield value
    for image in client.images.list(filters={"label": "mldeploy.kind=foundation"}):
        if f"THEIRS={value}" in (image.attrs["Config"]["Env"] or ()):
            client.images.remove(str(image.id), force=True)


def saved(workspace: Workspace, config: InferenceConfig, folder: Path, name: str = "tests") -> str:
    """The Dockerfile of a folder that is written."""
    Model.package(workspace, ["half"], config, generate_dockerfile=True, image_name=name, image_label="1").save(folder)
    return (folder / "Dockerfile").read_text()


def built(client: DockerClient, folder: Path, tag: str, **arguments: str) -> Any:
    image, _ = client.images.build(path=str(folder), tag=tag, buildargs=arguments, rm=True, forcerm=True)
    return image


def score(port: int) -> Any:
    """The answer, as soon as there is one; what went wrong, where it is none."""
    try:
        answer = requests.post(f"http://127.0.0.1:{port}/score", json=1, timeout=20)
    except requests.ConnectionError:
        return None
    return None if answer.status_code == 503 else answer.json()


EXPECTED = ["half", 2, ODD, "/var/azureml-app", False]


def test_it_is_built_elsewhere_and_serves(
    client: DockerClient,
    base: BaseImage,
    workspace: Workspace,
    config: InferenceConfig,
    tmp_path: Path,
    image_name: str,
    start_container: StartContainer,
    eventually: Eventually,
) -> None:
    text = saved(workspace, config, tmp_path / "context", image_name)
    assert f"docker build --tag {image_name}:1 ." in text
    shutil.move(tmp_path / "context", tmp_path / "another place")
    image = built(client, tmp_path / "another place", f"{image_name}:1", BASE_IMAGE=base.reference)
    _, ports = start_container(f"{image_name}:1")
    assert eventually(lambda: score(ports[5001])) == EXPECTED
    # and is what the image is that was made without a Docker build
    made = client.images.get(Model.package(workspace, ["half"], config, False, image_name, "2").image_id)
    theirs, ours = image.attrs["Config"], made.attrs["Config"]
    for key in ("User", "ExposedPorts", "WorkingDir", "Cmd", "Healthcheck", "StopSignal"):
        assert theirs[key] == ours[key]
    assert set(ours["Env"]) == set(theirs["Env"])
    assert set(ours["Labels"]) - set(theirs["Labels"]) == {"org.opencontainers.image.base.digest"}
    assert files(client, str(image.id)) == files(client, str(made.id))


def files(client: DockerClient, image: str) -> dict[str, tuple[int, int, str]]:
    """What is below the app root and the environment: owner, kind and target by path."""
    found: dict[str, tuple[int, int, str]] = {}
    container = client.containers.create(image)
    try:
        for place in ("/var/azureml-app", "/opt/mldeploy"):
            archive = io.BytesIO(b"".join(container.get_archive(place)[0]))
            with tarfile.open(fileobj=archive) as tar:
                found |= {one.name: (one.uid, one.isdir(), one.linkname) for one in tar if not one.islnk()}
    finally:
        container.remove(v=True)
    return found


def test_on_a_plain_debian_it_makes_what_it_needs(
    client: DockerClient,
    base: BaseImage,
    workspace: Workspace,
    config: InferenceConfig,
    tmp_path: Path,
    image_name: str,
    start_container: StartContainer,
    eventually: Eventually,
) -> None:
    plain = next((name for name in ("debian:bookworm-slim", "mldeploy/debian:bookworm") if inspect(client, name)), None)
    if plain is None:
        pytest.skip("the base image was not made here: there is no plain Debian")
    assert "ARG BASE_IMAGE=debian:bookworm-slim\n" in saved(workspace, config, tmp_path / "context")
    built(client, tmp_path / "context", f"{image_name}:1", BASE_IMAGE=plain)
    _, ports = start_container(f"{image_name}:1")
    assert eventually(lambda: score(ports[5001])) == EXPECTED


def test_a_changed_script_is_a_changed_image(
    client: DockerClient,
    base: BaseImage,
    workspace: Workspace,
    config: InferenceConfig,
    tmp_path: Path,
    image_name: str,
    start_container: StartContainer,
    eventually: Eventually,
) -> None:
    context = tmp_path / "context"
    saved(workspace, config, context)
    (context / "azureml-app" / "source" / "score.py").write_text("def init(): pass\ndef run(data): return 'changed'\n")
    built(client, context, f"{image_name}:1", BASE_IMAGE=base.reference)
    _, ports = start_container(f"{image_name}:1")
    assert eventually(lambda: score(ports[5001])) == "changed"


def test_a_base_image_of_the_users_is_below(
    client: DockerClient,
    base: BaseImage,
    workspace: Workspace,
    config: InferenceConfig,
    tmp_path: Path,
    image_name: str,
) -> None:
    client.api.tag(base.id, image_name, "theirs")
    assert config.environment is not None
    config.environment.docker.base_image = f"{image_name}:theirs"
    text = saved(workspace, config, tmp_path / "context")
    assert f"ARG BASE_IMAGE={image_name}:theirs\nFROM ${{BASE_IMAGE}}\n" in text
    assert "apt-get" not in text


def test_a_dockerfile_of_the_users_comes_first(
    client: DockerClient,
    base: BaseImage,
    workspace: Workspace,
    config: InferenceConfig,
    tmp_path: Path,
    image_name: str,
    theirs: str,
) -> None:
    assert config.environment is not None
    lines = ("# escape=`", f"FROM {STOCK} AS first", f"ENV THEIRS={theirs} `", "    AND=this", "USER 7:7", "FROM first")
    config.environment.docker.base_dockerfile = "\n".join(lines)
    text = saved(workspace, config, tmp_path / "context")
    assert text.startswith("# escape=`\n# A package of mldeploy")
    assert "ARG BASE_IMAGE=debian:bookworm-slim\nFROM ${BASE_IMAGE} AS first\nENV LANG" in text
    image = built(client, tmp_path / "context", f"{image_name}:1", BASE_IMAGE=base.reference)
    assert {f"THEIRS={theirs}", "AND=this", f"ODD={ODD}"} <= set(image.attrs["Config"]["Env"])


def test_a_dockerfile_on_another_image_is_all_the_users(
    client: DockerClient,
    base: BaseImage,
    workspace: Workspace,
    config: InferenceConfig,
    tmp_path: Path,
    image_name: str,
    theirs: str,
) -> None:
    client.api.tag(base.id, image_name, "theirs")
    assert config.environment is not None
    config.environment.docker.base_dockerfile = f"FROM {image_name}:theirs\nENV THEIRS={theirs}\n"
    text = saved(workspace, config, tmp_path / "context")
    assert f"\nFROM {image_name}:theirs\nENV THEIRS={theirs}\n" in text
    assert "BASE_IMAGE" not in text


def test_a_folder_of_ours_is_replaced_and_another_is_left(
    workspace: Workspace, config: InferenceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    first = saved(workspace, config, context)
    (context / "azureml-app" / "more.txt").write_text("")
    monkeypatch.chdir(context)
    assert saved(workspace, config, Path()) == first
    assert (Path.cwd(), context.samefile(".")) == (context, True)
    assert not (context / "azureml-app" / "more.txt").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    with pytest.raises(UserErrorException, match="the folder is not empty"):
        saved(workspace, config, tmp_path / "other")
    with pytest.raises(UserErrorException, match="output path is not a directory"):
        saved(workspace, config, tmp_path / "other" / "mine.txt")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]


def test_what_fails_leaves_nothing_and_changes_nothing(
    workspace: Workspace, config: InferenceConfig, tmp_path: Path
) -> None:
    context = tmp_path / "new" / "context"
    before = saved(workspace, config, context)
    assert config.environment is not None
    config.environment.environment_variables["LINES"] = "a\nb"
    with pytest.raises(UserErrorException, match="the value of LINES has several lines"):
        saved(workspace, config, context)
    assert (context / "Dockerfile").read_text() == before
    assert [path.name for path in context.parent.iterdir()] == ["context"]


def test_a_full_disk(workspace: Workspace, config: InferenceConfig, small_disk: Path) -> None:
    with pytest.raises(UserErrorException, match="the package cannot be written") as raised:
        saved(workspace, config, small_disk / "context")
    assert raised.value.reason == "No space left on device"
    assert list(small_disk.iterdir()) == []
