"""What an environment stands on, with real images: found, pulled or built, and the Python in them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import trustme
from docker.errors import NotFound

from mldeploy.config.environment import EnvironmentDefinition
from mldeploy.errors import EngineException, EnvironmentException
from mldeploy.events import Event, Notice, Output, Step
from mldeploy.images import stock
from mldeploy.images.builds import building
from mldeploy.images.builds.throwaway import throwaway
from mldeploy.images.foundations.foundation import Foundation, found

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage


pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def image(client: DockerClient, label: str) -> Callable[..., str]:
    """Makes an image of a Dockerfile, as a user has one: its name."""

    def image(dockerfile: str, **files: bytes) -> str:
        name = f"{label}/image:{uuid4().hex[:6]}"
        building.build(client, dockerfile, files, tag=name, labels={"test": label})
        return name

    return image


Make = Callable[..., str]


def _definition(**docker: Any) -> EnvironmentDefinition:
    python = {key: docker.pop(key) for key in ("userManagedDependencies", "interpreterPath") if key in docker}
    return EnvironmentDefinition.model_validate(
        {"docker": docker, "python": python, "inferencingStackVersion": "latest"}
    )


OURS = ("3.11", "/usr/bin/python3.11", "x86_64-manylinux_2_36")


def _facts(foundation: Foundation) -> tuple[str, str, str]:
    return foundation.python, foundation.interpreter, foundation.platform


@pytest.mark.parametrize(
    "name", [None, "registry.example/azureml/base:intelmpi2018.3-ubuntu16.04", "azureml/base:latest"]
)
def test_without_an_image_of_its_own_it_is_ours(client: DockerClient, base: BaseImage, name: str | None) -> None:
    foundation = found(client, _definition(baseImage=name))
    assert foundation.image == base
    assert _facts(foundation) == OURS
    assert (foundation.present, foundation.site_packages, foundation.layers) == ((), (), ())


def test_our_base_is_what_we_say_it_is(client: DockerClient, base: BaseImage) -> None:
    same = client.api.tag(base.id, "mldeploy-test-same", "1")
    assert same
    try:
        assert _facts(found(client, _definition(baseImage="mldeploy-test-same:1"))) == OURS
    finally:
        client.api.remove_image("mldeploy-test-same:1")


def test_an_image_that_is_there(client: DockerClient, base: BaseImage, image: Make) -> None:
    name = image(f"FROM {base.reference}\nENV PATH=/opt/python/bin:$PATH\nUSER 1234\nWORKDIR /srv\n")
    foundation = found(client, _definition(baseImage=name), offline=True)
    assert foundation.image.reference == name
    assert _facts(foundation) == OURS


def test_an_image_without_a_shell(client: DockerClient, base: BaseImage, image: Make) -> None:
    name = image(f"FROM {base.reference}\nRUN rm -f /bin/sh /bin/dash /bin/bash\n")
    assert _facts(found(client, _definition(baseImage=name))) == OURS


def test_another_python_than_was_asked_for_is_seen_by_its_full_name_too(
    client: DockerClient, base: BaseImage, image: Make
) -> None:
    name = image(f"FROM {base.reference}\nRUN rm /usr/bin/python3\n")
    with pytest.raises(EnvironmentException, match=r"Python 3\.10 cannot be had for the image") as caught:
        found(client, _definition(baseImage=name), asked="3.10", offline=True)
    assert caught.value.hint.startswith("there are 3.11: ")


def test_an_image_without_a_python(client: DockerClient, base: BaseImage, image: Make) -> None:
    name = image("FROM scratch\nCOPY file /file\n", file=b"")
    with pytest.raises(EnvironmentException) as caught:
        found(client, _definition(baseImage=name))
    assert caught.value.message == f"there is no Python in the image {name}"
    assert caught.value.where == f"docker.baseImage: {name}"
    assert "apt-get install -y python3" in caught.value.hint


def test_a_dockerfile_that_removes_python(client: DockerClient, base: BaseImage, label: str) -> None:
    text = f"FROM azureml/base:latest\nLABEL test={label}\nRUN rm /usr/bin/python3*\n"
    with pytest.raises(EnvironmentException, match="there is no Python in the image mldeploy/foundation:") as caught:
        found(client, _definition(baseDockerfile=text))
    assert caught.value.where == "docker.baseDockerfile"


def test_an_image_for_another_machine(client: DockerClient, label: str) -> None:
    name = _foreign(client, label)
    for docker in ({"baseImage": name}, {"baseDockerfile": f"FROM {name}\nRUN true\n"}):
        with pytest.raises(EnvironmentException, match=f"{name} is for linux/arm64, and the engine runs linux/amd64"):
            found(client, _definition(**docker))


def _foreign(client: DockerClient, label: str) -> str:
    """An image whose configuration says arm64, as one has that was pulled for another machine."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    config = {
        "architecture": "arm64",
        "os": "linux",
        "config": {"Labels": {"test": label}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [f"{label}/foreign:1"], "Layers": ["layer.tar"]}]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in (
            ("manifest.json", json.dumps(manifest).encode()),
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", layer.getvalue()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    client.images.load(packed.getvalue())
    return f"{label}/foreign:1"


_POSING = b"""#!/usr/bin/python3.11
import sys
sys.version_info = (3, 8, 20)
exec(sys.argv[2])
"""


def test_a_python_that_is_too_old(client: DockerClient, base: BaseImage, image: Make) -> None:
    hide = "RUN mv /usr/bin/python3.11 /usr/bin/.hidden; rm /usr/bin/python3"
    pose = "COPY posing /usr/bin/python3\nRUN chmod 755 /usr/bin/python3"
    name = image(f"FROM {base.reference}\n{hide}\n{pose}\n", posing=_POSING.replace(b"python3.11", b".hidden"))
    with pytest.raises(EnvironmentException) as caught:
        found(client, _definition(baseImage=name))
    assert caught.value.message == "the image's Python is 3.8: a service runs on Python 3.10, 3.11, 3.12, 3.13"


def test_a_newer_one_beside_an_old_one_is_taken(client: DockerClient, base: BaseImage, image: Make) -> None:
    pose = "COPY posing /usr/local/bin/python3\nRUN chmod 755 /usr/local/bin/python3"
    name = image(f"FROM {base.reference}\n{pose}\n", posing=_POSING)
    assert found(client, _definition(baseImage=name)).interpreter == "/usr/bin/python3.11"


def test_a_python_that_only_root_can_run(client: DockerClient, base: BaseImage, image: Make) -> None:
    name = image(f"FROM {base.reference}\nRUN chmod 700 /usr/bin/python3.11\n")
    with pytest.raises(EnvironmentException, match=r"the image's Python, /usr/bin/python3, does not run") as caught:
        found(client, _definition(baseImage=name))
    assert "permission denied" in caught.value.reason
    assert "a user who is not root" in caught.value.hint


def test_a_python_that_hangs(
    client: DockerClient, base: BaseImage, image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mldeploy.images.foundations.probing.SECONDS", 1.0)
    hang = "RUN rm /usr/bin/python3*; printf '#!/bin/sh\\nsleep 999\\n' > /usr/bin/python3; chmod 755 /usr/bin/python3"
    name = image(f"FROM {base.reference}\n{hang}\n")
    with pytest.raises(EnvironmentException, match="does not run") as caught:
        found(client, _definition(baseImage=name))
    assert caught.value.reason == "it did not answer within 1 s"
    assert client.containers.list(all=True, filters={"ancestor": name}) == []


def test_a_c_library_that_has_no_wheels(client: DockerClient, base: BaseImage, image: Make) -> None:
    site = "import os\ndef confstr(name):\n    raise ValueError(name)\nos.confstr = confstr\n"
    write = "COPY site /usr/lib/python3/dist-packages/sitecustomize.py\nRUN rm -f /usr/lib/python3.11/sitecustomize.py"
    name = image(f"FROM {base.reference}\n{write}\n", site=site.encode())
    with pytest.raises(EnvironmentException, match=r"not glibc 2\.17 or newer") as caught:
        found(client, _definition(baseImage=name))
    assert "musl" in caught.value.reason


_MANAGED = """
FROM {base}
LABEL test={label}
RUN python3 -m venv --without-pip /opt/venv; ln -s /opt/venv /opt/other
COPY metadata /opt/venv/lib/python3.11/site-packages/thing-1.5.dist-info/METADATA
"""


@pytest.mark.parametrize("path", ["/opt/venv/bin/python", "/opt/other/bin/python3"])
def test_an_interpreter_that_the_user_manages(
    client: DockerClient, base: BaseImage, image: Make, label: str, path: str
) -> None:
    name = image(
        _MANAGED.format(base=base.reference, label=label),
        metadata=b"Metadata-Version: 2.1\nName: thing\nVersion: 1.5\n",
    )
    foundation = found(client, _definition(baseImage=name, userManagedDependencies=True, interpreterPath=path))
    assert _facts(foundation) == OURS
    assert foundation.present == ("thing==1.5",)
    assert [one.split("/opt/")[1][5:] for one in foundation.site_packages] == ["/lib/python3.11/site-packages"] or (
        foundation.site_packages == ("/opt/venv/lib/python3.11/site-packages",)
    )


def test_the_usual_interpreter_of_a_user_managed_image(client: DockerClient, base: BaseImage, image: Make) -> None:
    name = image(f"FROM {base.reference}\n")
    foundation = found(client, _definition(baseImage=name, userManagedDependencies=True), asked="3.12")
    assert _facts(foundation) == OURS, "what is asked for is the user's to bring"
    assert foundation.site_packages[-1] == "/usr/lib/python3/dist-packages"


@pytest.mark.parametrize("path", ["/opt/none/bin/python", "python9"])
def test_an_interpreter_that_does_not_exist(client: DockerClient, base: BaseImage, image: Make, path: str) -> None:
    name = image(f"FROM {base.reference}\n")
    with pytest.raises(EnvironmentException, match=f"the interpreter {path} does not exist in the image") as caught:
        found(client, _definition(baseImage=name, userManagedDependencies=True, interpreterPath=path))
    assert "interpreterPath" in caught.value.hint


def test_a_dockerfile_is_built_once(client: DockerClient, base: BaseImage, label: str) -> None:
    text = f"""
FROM azureml/base:latest AS build
RUN echo {label} > /made
FROM registry.example/azureml/openmpi3.1.2-ubuntu18.04
LABEL test={label}
COPY --from=build /made /made
FROM build
LABEL test={label}
COPY --from=1 /made /again
"""
    told: list[Event] = []
    foundation = found(client, _definition(baseDockerfile=text), report=told.append)
    assert _facts(foundation) == OURS
    assert foundation.image.reference.startswith("mldeploy/foundation:")
    assert foundation.image.labels["mldeploy.kind"] == "foundation"
    assert Step("image", "building the image of docker.baseDockerfile") in told
    assert [one.text for one in told if isinstance(one, Output) and one.text.endswith(f" : FROM {base.reference}")]
    told.clear()
    again = found(client, _definition(baseDockerfile=text), report=told.append, offline=True)
    assert (again, told) == (foundation, [])
    changed = found(client, _definition(baseDockerfile=f"{text}RUN true\n"))
    assert changed.image.id != foundation.image.id


def test_it_is_one_of_our_images_and_stays_until_all_go(client: DockerClient, base: BaseImage, label: str) -> None:
    text = f"FROM azureml/base:latest\nLABEL test={label}\nRUN echo {label} > /made\n"
    made = found(client, _definition(baseDockerfile=text)).image
    images = stock.stock(client)
    assert [(one.kind, one.names) for one in images if one.id == made.id] == [("foundation", (made.reference,))]
    for everything in (False, True):
        verdicts = {one.image.id: one for one in stock.judge(images, everything=everything)}
        assert verdicts[made.id].goes is everything
        ids = list(verdicts)
        assert ids.index(made.id) < ids.index(base.id), "what stands on another goes first"


def test_two_processes_build_it_once(client: DockerClient, base: BaseImage, label: str) -> None:
    text = f"FROM azureml/base:latest\nLABEL test={label}\nRUN sleep 2; date +%N > /made\n"
    code = f"""
from mldeploy.config.environment import EnvironmentDefinition
from mldeploy.engines.connection import connect
from mldeploy.events import Output
from mldeploy.images.foundations.foundation import found
definition = EnvironmentDefinition.model_validate({{"docker": {{"baseDockerfile": {text!r}}}}})
told = []
print(found(connect(), definition, report=told.append).image.id)
print(sorted(one.text for one in told if not isinstance(one, Output)))
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=120)[0].splitlines() for one in started]
    assert said[0][0] == said[1][0]
    assert sorted(lines[1] for lines in said) == [
        "['another process makes the same image: waiting for it']",
        "['building the image of docker.baseDockerfile']",
    ]


def test_refreshed_a_dockerfile_is_built_anew(client: DockerClient, base: BaseImage, label: str) -> None:
    text = f"FROM azureml/base:latest\nLABEL test={label}\nRUN date +%N > /made\n"
    first = found(client, _definition(baseDockerfile=text))
    second = found(client, _definition(baseDockerfile=text), refresh=True)
    assert second.image.id != first.image.id
    assert client.images.list(filters={"label": f"test={label}"}) == [client.images.get(second.image.id)]
    # somebody's own image on it has its labels too
    building.build(client, f"FROM {second.image.reference}\nRUN true\n", tag=f"{label}/mine:1", labels={})
    assert found(client, _definition(baseDockerfile=text)) == second


def test_a_foreign_image_of_our_name_is_not_taken(
    client: DockerClient, base: BaseImage, label: str, image: Make
) -> None:
    text = f"FROM azureml/base:latest\nLABEL test={label}\n"
    made = found(client, _definition(baseDockerfile=text))
    other = image("FROM scratch\nCOPY file /file\n", file=b"")
    repository, tag = made.image.reference.split(":")
    client.api.tag(other, repository, tag, force=True)
    assert found(client, _definition(baseDockerfile=text)).image.id == made.image.id


def test_a_dockerfile_that_fails(client: DockerClient, base: BaseImage, label: str) -> None:
    text = f"FROM azureml/base:latest\nLABEL test={label}\nRUN apt-get install -y no-such-package\n"
    with pytest.raises(EnvironmentException, match="apt knows no package no-such-package") as caught:
        found(client, _definition(baseDockerfile=text))
    assert caught.value.where == "docker.baseDockerfile, line 3"


def test_offline_a_dockerfile_is_built_without_a_network(client: DockerClient, base: BaseImage, label: str) -> None:
    look = 'python3 -c \'import os, socket; print(os.listdir("/sys/class/net")); socket.getaddrinfo("a.example", 1)\''
    text = f"FROM azureml/base:latest\nLABEL test={label}\nRUN {look}\n"
    told: list[Event] = []
    with pytest.raises(EnvironmentException, match="a host cannot be reached") as caught:
        found(client, _definition(baseDockerfile=text), report=told.append, offline=True)
    assert Output("['lo']") in told
    assert "leave out --offline" in caught.value.hint


_FETCH = """
import ssl, threading, http.server, urllib.request
server = http.server.HTTPServer(("127.0.0.1", 8443), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/server.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(urllib.request.urlopen("https://localhost:8443/srv/").status)
"""


def _text(path: str, content: bytes) -> str:
    return f"RUN echo {base64.b64encode(content).decode()} | base64 -d > {path}"


def test_a_networks_own_authority_is_trusted_while_it_is_built_and_is_not_in_the_image(
    client: DockerClient, base: BaseImage, label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    server = authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes()
    text = f"""
FROM azureml/base:latest AS fetched
LABEL test={label}
{_text("/srv/fetch.py", _FETCH.encode())}
{_text("/srv/server.pem", server)}
RUN python3 /srv/fetch.py > /srv/status
FROM fetched
ENV MINE=1 GIT_SSL_CAINFO=/mine.pem
USER 1234
RUN env > /tmp/seen
"""
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EnvironmentException, match="a server's certificate is not trusted") as caught:
        found(client, _definition(baseDockerfile=text))
    assert caught.value.where == "docker.baseDockerfile, line 6"
    assert "SSL_CERT_FILE" in caught.value.hint

    authorities = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(authorities)
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    told: list[Event] = []
    foundation = found(client, _definition(baseDockerfile=text), report=told.append)
    assert [one.text for one in told if isinstance(one, Notice)] == [
        f"building once more, with the certificate authorities of {authorities}; the image keeps none"
    ]
    config = foundation.image.config
    assert (config["User"], config["Labels"]["test"], config["Labels"]["mldeploy.kind"]) == (
        "1234",
        label,
        "foundation",
    )
    assert {"MINE=1", "GIT_SSL_CAINFO=/mine.pem", "LANG=C.UTF-8"} <= set(config["Env"])
    assert "authorities" not in json.dumps([config, client.api.history(foundation.image.id)])
    code = (
        "import os; print(os.path.exists('/.mldeploy-authorities.crt'), open('/srv/status').read().strip()); "
        "print(os.listdir('/etc/apt/apt.conf.d'))"
    )
    with throwaway(client, foundation.image.id, ["/usr/bin/python3", "-c", code], kind="test") as container:
        said = container.run(30).out
    assert said.startswith("False 200")
    assert "mldeploy" not in said
    assert found(client, _definition(baseDockerfile=text), offline=True) == foundation
    assert _trusting(client) == [], "no image that has the authorities is left"
    building.sweep(client)  # of the build that failed
    mine = client.images.list(filters={"label": f"test={label}"})
    assert [one.id for one in mine] == [foundation.image.id]


def _trusting(client: DockerClient) -> list[str]:
    found = []
    for one in client.api.images(all=True):
        with suppress(NotFound):  # another test's, gone since
            if "mldeploy-authorities" in json.dumps(client.api.inspect_image(one["Id"])["Config"]):
                found.append(one["Id"])
    return found


def test_an_image_that_cannot_be_pulled(client: DockerClient, free_port: int) -> None:
    name = f"127.0.0.1:{free_port}/team/image:1"
    registry = {"address": f"127.0.0.1:{free_port}", "username": "me", "password": "s3cr3t-passw0rd"}
    definition = _definition(baseImage="team/image:1", baseImageRegistry=registry)
    with pytest.raises(EnvironmentException, match=f"the image {name} is not on the engine, and offline") as offline:
        found(client, definition, offline=True)
    assert f"docker pull {name}" in offline.value.hint
    told: list[Event] = []
    with pytest.raises(EngineException, match=name) as caught:
        found(client, definition, report=told.append)
    assert caught.value.hint
    assert "s3cr3t" not in f"{caught.value} {caught.value.__cause__} {told} {definition}"
    with pytest.raises(EngineException, match=name):
        found(client, _definition(baseDockerfile=f"FROM {name}\n"))
    copying = f"FROM azureml/base:latest\nCOPY --from={name} /x /x\n"
    with pytest.raises(EnvironmentException, match=f"the image {name} is not on the engine, and offline"):
        found(client, _definition(baseDockerfile=copying), offline=True)


def test_an_unchanged_foundation_is_looked_up_and_no_more(
    client: DockerClient, base: BaseImage, label: str, image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = image(f"FROM {base.reference}\n")
    text = f"FROM azureml/base:latest\nLABEL test={label}\n"
    definitions = [_definition(**docker) for docker in ({}, {"baseImage": name}, {"baseDockerfile": text})]
    first = [found(client, definition) for definition in definitions]

    def refused(url: str, *args: object, **more: object) -> None:
        raise AssertionError(f"the engine is asked to do something: {url}")

    monkeypatch.setattr(client.api, "post", refused)
    assert [found(client, definition) for definition in definitions] == first


def test_what_was_seen_is_not_trusted_when_it_is_broken(
    client: DockerClient, base: BaseImage, image: Make, tmp_path: Path
) -> None:
    definition = _definition(baseImage=image(f"FROM {base.reference}\n"))
    first = found(client, definition)
    (memory,) = (tmp_path / "cache" / "foundations").glob("*.json")
    for broken in ("", "{}", json.dumps({**json.loads(memory.read_text()), "version": 3}), "[1]"):
        memory.write_text(broken)
        assert found(client, definition) == first
