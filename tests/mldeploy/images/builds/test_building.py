"""`docker build` on a real engine: what it tells, how it fails, and what is left when it is killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from docker.errors import NotFound

from mldeploy.errors import EnvironmentException
from mldeploy.events import Event, Output
from mldeploy.images.builds import building, failures
from mldeploy.images.builds.dockerfile import bases, instructions, with_bases

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

pytestmark = pytest.mark.usefixtures("nothing_left")
DEADLINE_S = 30


@pytest.fixture
def build(client: DockerClient, label: str) -> Callable[..., str]:
    """A build with this test's label."""

    def build(dockerfile: str, **more: object) -> str:
        return building.build(client, dockerfile, tag=None, labels={"test": label}, **more)  # type: ignore[arg-type]

    return build


Build = Callable[..., str]


def test_output_is_told_as_it_happens(client: DockerClient, base: BaseImage, build: Build) -> None:
    told: list[tuple[float, str]] = []

    def report(event: Event) -> None:
        assert isinstance(event, Output)
        told.append((time.monotonic(), event.text))

    image = build(
        f"FROM {base.reference}\nRUN echo first; sleep 1; echo second >&2; printf '10%%\\r100%%\\n'\n", report=report
    )
    assert client.api.inspect_image(image)["Id"] == image
    times = {text: when for when, text in told}
    assert times["second"] - times["first"] > 0.5
    texts = [text for _, text in told]
    assert not [text for text in texts if "LABEL" in text], "the labels are ours"
    assert texts[0] == f"Step 1/2 : FROM {base.reference}"
    assert "100%" in texts
    assert not [text for text in texts if "\x1b" in text or "--->" in text or "\n" in text]


def test_an_unchanged_build_is_the_same_image(base: BaseImage, build: Build) -> None:
    text = f"FROM {base.reference}\nCOPY a /a\nRUN cat /a > /b\n"
    assert build(text, files={"a": b"1"}) == build(text, files={"a": b"1"})
    assert build(text, files={"a": b"1"}) != build(text, files={"a": b"2"})


def test_labels_tag_arguments_and_files(
    client: DockerClient, base: BaseImage, build: Build, tmp_path: Path, label: str
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho ran $1\n")
    script.chmod(0o755)
    told: list[Event] = []
    image = building.build(
        client,
        f"FROM {base.reference}\nARG WHO\nCOPY Dockerfile folder/script /tmp/\nRUN /tmp/script $WHO; cat /tmp/D*\n",
        {"folder/script": script, "Dockerfile": b"a file of that name\n"},
        tag=f"{label}:1",
        labels={"test": label, "mldeploy.kind": "foundation"},
        arguments={"WHO": "me"},
        report=told.append,
    )
    assert {Output("ran me"), Output("a file of that name")} <= set(told)
    found = client.api.inspect_image(f"{label}:1")
    assert (found["Id"], found["Config"]["Labels"]["mldeploy.kind"]) == (image, "foundation")


def test_a_failing_step_is_told_by_line_instruction_and_last_output(base: BaseImage, build: Build) -> None:
    with pytest.raises(EnvironmentException) as caught:
        build(
            f"FROM {base.reference}\n# why\n\nRUN true\nRUN seq 30 && \\\n    echo oh dear && exit 3\nRUN never\n",
            where="docker.baseDockerfile",
        )
    error = caught.value
    assert error.where == "docker.baseDockerfile, line 5"
    lines = error.reason.splitlines()
    assert lines[0].startswith("Step 3/4 : RUN seq 30")
    assert lines[1] == "12"
    assert lines[-2] == "oh dear"
    assert lines[-1].endswith("returned a non-zero code: 3")
    assert error.hint


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("FROM {base}\n\nFOO bar\n", ", line 3", "unknown instruction: FOO"),
        ("FROM {base}\nRUN true\nENV A\n", ", line 3", "ENV must have two arguments"),
        ("RUN true\n", "", "no build stage in current context"),
        ("\n# nothing\n", "", "file with no instructions"),
    ],
)
def test_a_syntax_error_names_its_line(base: BaseImage, build: Build, text: str, line: str, said: str) -> None:
    with pytest.raises(EnvironmentException) as caught:
        build(text.format(base=base.reference), where="docker.baseDockerfile")
    assert caught.value.where == f"docker.baseDockerfile{line}"
    assert said in caught.value.reason


def test_a_file_that_is_not_there(base: BaseImage, build: Build) -> None:
    with pytest.raises(EnvironmentException, match=r"there is no file requirements\.txt to copy") as caught:
        build(f"FROM {base.reference}\nCOPY requirements.txt /\n")
    assert "sourceDirectory" in caught.value.hint


def test_what_needs_buildkit_is_told(base: BaseImage, build: Build) -> None:
    with pytest.raises(EnvironmentException, match="it needs BuildKit") as caught:
        build(f"FROM {base.reference}\nRUN --mount=type=cache,target=/root true\n")
    assert "classic builder" in caught.value.hint


def test_secrets_are_not_told(base: BaseImage, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", "s3cr3t-t0ken")
    told: list[Event] = []
    with pytest.raises(EnvironmentException) as caught:
        build(
            f"FROM {base.reference}\nRUN echo https://me:pass@index.example/simple s3cr3t-t0ken; false\n",
            report=told.append,
        )
    everything = f"{told} {caught.value}"
    assert "***@index.example" in everything
    assert "me:pass" not in everything
    assert "s3cr3t" not in everything


def test_proxies_of_docker_are_passed_and_are_not_in_the_history(
    client: DockerClient, base: BaseImage, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    proxies = {"httpProxy": "http://me:pass@127.0.0.1:9", "noProxy": "a.example"}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": proxies}}))
    told: list[Event] = []
    image = build(f"FROM {base.reference}\nRUN echo $http_proxy $NO_PROXY\n", report=told.append)
    assert Output("http://***@127.0.0.1:9 a.example") in told
    assert "me:pass" not in json.dumps([client.api.history(image), client.api.inspect_image(image)])
    image = build(f"FROM {base.reference}\nARG http_proxy\nRUN echo $http_proxy\n", report=told.append)
    assert "me:pass" not in json.dumps([client.api.history(image), client.api.inspect_image(image)])


def test_an_endless_step_is_stopped(client: DockerClient, base: BaseImage, build: Build) -> None:
    seconds = f"3{uuid4().int % 10**6:06d}"
    began = time.monotonic()
    with pytest.raises(EnvironmentException) as caught:
        build(f"FROM {base.reference}\nRUN echo begun; sleep {seconds}\n", timeout=3)
    assert time.monotonic() - began < 15
    assert caught.value.message == "the image was not built within 3 s"
    assert caught.value.where == "Dockerfile, line 2"
    assert "begun" in caught.value.reason
    assert "MLDEPLOY_BUILD_TIMEOUT" in caught.value.hint
    _wait_until_nothing_runs(client, seconds)


def test_a_step_that_never_stops_talking_is_stopped(client: DockerClient, base: BaseImage, build: Build) -> None:
    marker = uuid4().hex
    with pytest.raises(EnvironmentException, match="not built within 2 s"):
        build(f"FROM {base.reference}\nRUN while true; do echo {marker}; sleep 0.1; done\n", timeout=2)
    _wait_until_nothing_runs(client, marker)


def test_the_timeout_is_a_setting(base: BaseImage, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(building.TIMEOUT, "1.5")
    with pytest.raises(EnvironmentException, match=r"not built within 1\.5 s"):
        build(f"FROM {base.reference}\nRUN sleep 60\n")
    for nothing in ("soon", "-1", "inf"):
        monkeypatch.setenv(building.TIMEOUT, nothing)
        with pytest.raises(EnvironmentException, match=f"'{nothing}' is no number of seconds"):
            build(f"FROM {base.reference}\n")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_build_leaves_nothing_running_and_the_next_one_completes(
    client: DockerClient, base: BaseImage, build: Build, label: str, end: signal.Signals
) -> None:
    marker = uuid4().hex
    text = f"FROM {base.reference}\nRUN echo {marker} > /made\nRUN test -e /go || sleep 900; echo {marker}\n"
    code = f"""
from mldeploy.engines.connection import connect
from mldeploy.images.builds.building import build
build(connect(), {text!r}, tag="{label}:1", labels={{"test": "{label}"}}, report=lambda event: print(event, flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"Step 3/3" in line:
                break
        _wait_until(lambda: bool(_running(client, marker)))
        process.send_signal(end)
        process.wait(DEADLINE_S)
    _wait_until_nothing_runs(client, marker)
    assert client.images.list(name=label) == []
    assert building.sweep(client) == 1, "the step that was done, and not the base"
    text = text.replace("test -e /go || sleep 900", "true")
    build(text)


def test_what_failed_builds_leave_is_swept(client: DockerClient, base: BaseImage, build: Build) -> None:
    marker = uuid4().hex
    text = f"FROM {base.reference}\nRUN echo {marker} > /a\nRUN {{end}}\n"
    told: list[Event] = []
    for _ in range(2):
        with pytest.raises(EnvironmentException):
            build(text.format(end="false"), report=told.append)
    assert len(_steps(client, marker)) == 1, "the second attempt went on where the first one failed"
    assert building.sweep(client) == 1
    assert _steps(client, marker) == []
    assert building.sweep(client) == 0

    with pytest.raises(EnvironmentException):
        build(text.format(end="false"))
    image = build(text.format(end="true"))
    building.sweep(client)
    assert client.api.inspect_image(image), "what an image stands on is no leftover"
    assert client.api.inspect_image(base.id)["RepoTags"]


def test_what_a_build_has_made_stays_while_it_goes_on(
    client: DockerClient, base: BaseImage, build: Build, tmp_path: Path
) -> None:
    marker = uuid4().hex
    swept: list[int] = []

    def report(event: Event) -> None:
        if event == Output("now"):
            swept.append(building.sweep(client))

    build(f"FROM {base.reference}\nRUN echo {marker} > /a\nRUN echo now; sleep 1\nRUN cat /a\n", report=report)
    assert swept == [0]
    assert list((tmp_path / "cache" / "builds").iterdir()) == []


def test_what_earlier_stages_leave_is_swept(client: DockerClient, base: BaseImage, build: Build) -> None:
    marker = uuid4().hex
    text = f"FROM {base.reference} AS a\nRUN echo {marker} > /a\nFROM {base.reference}\nCOPY --from=a /a /a\n"
    image = build(text)
    assert len(_steps(client, marker)) == 1
    building.sweep(client)
    assert _steps(client, marker) == []
    assert client.api.inspect_image(image)


def test_an_image_for_a_while_is_swept(client: DockerClient, base: BaseImage, build: Build) -> None:
    marker = uuid4().hex
    image = build(f"FROM {base.reference}\nRUN echo {marker} > /a\n", passing=True)
    assert client.api.inspect_image(image)
    assert building.sweep(client) == 2
    assert _steps(client, marker) == []


def test_an_engine_that_breaks_off(tmp_path: Path) -> None:
    import docker

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            answer = b'{"stream":"Step 1/2 : FROM scratch\\n"}\r\n'
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(answer), answer)
            )

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "engine.sock"))
        listener.listen()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        with (
            closing(docker.DockerClient(base_url=f"unix://{tmp_path}/engine.sock", version="1.41")) as engine,
            pytest.raises(EnvironmentException, match="the image does not build") as caught,
        ):
            building.build(engine, "FROM scratch\n", tag=None, labels={})
    assert "the engine broke off" in caught.value.reason
    assert "docker info" in caught.value.hint


@pytest.mark.parametrize(
    ("output", "what"),
    [
        ("ERROR: No matching distribution found for nosuch==9", "pip finds no nosuch==9"),
        ("  ERROR: Failed building wheel for pyodbc\nERROR: Could not build wheels", "pyodbc does not build"),
        ("E: Unable to locate package libnosuch", "apt knows no package libnosuch"),
        ("E: Package 'python2' has no installation candidate", "apt has no package python2 to install"),
        ("E: Version '9.9' for 'curl' was not found", "apt has no version 9.9 of curl"),
        (
            "PackagesNotFoundError: The following packages are not available:\n\n  - nosuch=1.0\n",
            "conda knows no package nosuch=1.0",
        ),
        ("SSL: CERTIFICATE_VERIFY_FAILED\nERROR: No matching distribution found for numpy", "a server's certificate"),
        ("Temporary failure resolving 'deb.example'\nE: Unable to locate package x", "a host cannot be reached"),
        ("× No solution: Because nosuch was not found in the package registry", "uv finds no nosuch"),
        ("/bin/sh: 1: git: not found", "there is no program git"),
        ("x.c:1:10: fatal error: sql.h: No such file or directory", "the C header sql.h is missing"),
        ("write /a: no space left on device", "no space is left"),
    ],
)
def test_the_package_that_caused_it(output: str, what: str) -> None:
    found = failures.cause(output)
    assert found is not None
    assert found.what.startswith(what)


def test_output_that_says_nothing_known() -> None:
    assert failures.cause("exit status 1") is None


def test_instructions_of_a_dockerfile() -> None:
    text = "# escape=`\nFROM a `\n  # inside\n\n  AS b\nRUN x\n  # last\nCMD y `"
    assert [(one.line, one.text, one.word) for one in instructions(text)] == [
        (2, "FROM a AS b", "FROM"),
        (6, "RUN x", "RUN"),
        (8, "CMD y", "CMD"),
    ]


def test_images_that_a_dockerfile_stands_on() -> None:
    text = "ARG V=1\nFROM --platform=linux/amd64 a:${V} AS One\nFROM scratch\nFROM one\nfrom b:${W:-2}\nFROM a:1\n"
    assert bases(text) == ["a:1", "b:2"]
    assert with_bases(text, lambda image: "c" if image == "a:1" else image).splitlines() == [
        "ARG V=1",
        "FROM --platform=linux/amd64 c AS One",
        "FROM scratch",
        "FROM one",
        "from b:${W:-2}",
        "FROM c",
    ]


def _running(client: DockerClient, marker: str) -> list[str]:
    return [one["Id"] for one in client.api.containers(all=True) if marker in one["Command"]]


def _wait_until_nothing_runs(client: DockerClient, marker: str) -> None:
    _wait_until(lambda: not _running(client, marker))


def _wait_until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def _steps(client: DockerClient, marker: str) -> list[str]:
    """The untagged images whose last step has the marker."""
    found = []
    for one in client.api.images(all=True):
        with suppress(NotFound):  # another test's, gone since
            image = client.api.inspect_image(one["Id"])
            if not image["RepoTags"] and marker in json.dumps(image["ContainerConfig"]):
                found.append(one["Id"])
    return found
