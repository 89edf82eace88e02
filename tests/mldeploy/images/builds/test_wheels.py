"""Wheels built in a container of what an index has only as a source."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import sys
import tarfile
import textwrap
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from mldeploy.conda_dependencies import CondaDependencies
from mldeploy.config.environment import EnvironmentDefinition
from mldeploy.environment import Environment
from mldeploy.errors import EnvironmentException
from mldeploy.events import Event, Output, Step
from mldeploy.images import resolving
from mldeploy.images.assemble import environment_image
from mldeploy.images.builds import building, wheels
from mldeploy.images.builds.sdists import Source, build_system, fetched, index_options, without_wheels
from mldeploy.images.builds.throwaway import throwaway
from mldeploy.images.builds.wheels import build_wheels, substituted
from mldeploy.images.foundations.foundation import Foundation, found
from mldeploy.images.loading import load
from mldeploy.packaging import uv

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

# a backend in the source itself, which needs nothing to build
_BACKEND = """
import base64, hashlib, json, os, pathlib, subprocess, sys, sysconfig, zipfile
NAME, VERSION = {name!r}, {version!r}
CONTENT = {{f"{{NAME}}.py": f"VERSION = {{VERSION!r}}"}}
TAG = "py3-none-any"
REQUIRES = []

def get_requires_for_build_wheel(settings):
    return REQUIRES

def build_wheel(folder, settings, metadata):
    global TAG
{build}
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    CONTENT[f"{{info}}/METADATA"] = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
    CONTENT[f"{{info}}/WHEEL"] = f"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: false\\nTag: {{TAG}}\\n"
    lines = []
    file = f"{{NAME}}-{{VERSION}}-{{TAG}}.whl"
    with zipfile.ZipFile(os.path.join(folder, file), "w") as wheel:
        for name, text in CONTENT.items():
            data = text if isinstance(text, bytes) else text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append(f"{{name}},sha256={{digest}},{{len(data)}}")
            wheel.writestr(zipfile.ZipInfo(name), data)
        wheel.writestr(zipfile.ZipInfo(f"{{info}}/RECORD"), "\\n".join([*lines, f"{{info}}/RECORD,,", ""]))
    return file
"""


class Index:
    """A folder of packages, which uv sees as its only index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def source(self, name: str, build: str = "pass", requires: str = "[]", **files: str) -> Path:
        """Version 1.0 of a package as a source: `build` are lines of Python that run when it is built."""
        root = f"{name}-1.0"
        backend = _BACKEND.format(name=name, version="1.0", build=textwrap.indent(textwrap.dedent(build), "    "))
        content = {
            "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n",
            "pyproject.toml": f'[build-system]\nrequires = {requires}\nbuild-backend = "backend"\n'
            f'backend-path = ["."]\n[project]\nname = "{name}"\nversion = "1.0"\n',
            "backend.py": backend,
            **{file.replace("__", "."): text for file, text in files.items()},
        }
        path = self.folder / f"{root}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for file, text in content.items():
                entry = tarfile.TarInfo(f"{root}/{file}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        return path

    def wheel(self, name: str, **files: str) -> Path:
        """Version 1.0 of a package as a wheel, with a program of its name."""
        info = f"{name}-1.0.dist-info"
        content = {
            f"{name}.py": f"def main():\n    print('{name} ran')\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name}-program = {name}:main\n",
            **files,
        }
        path = self.folder / f"{name}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in content.items():
                archive.writestr(file, text)
            archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in content))
        return path

    def lock(self, *requirements: str) -> str:
        """What uv decides of them."""
        asked, answer = self.folder / "requirements.in", self.folder / "lock.out"
        asked.write_text("\n".join(requirements))
        uv.run(
            "pip", "compile", str(asked), "--output-file", str(answer), "--generate-hashes", "--no-header",
            "--no-annotate", "--quiet", "--python", sys.executable, "--python-version", "3.11",
            "--python-platform", "x86_64-manylinux_2_36",
        )  # fmt: skip
        return answer.read_text()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index with nothing in it yet, and caches of the test's own."""
    made = Index(tmp_path / "index")
    config = tmp_path / "uv.toml"
    config.write_text(f"no-index = true\nfind-links = ['{made.folder}']\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(config))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    return made


@pytest.fixture
def foundation(client: DockerClient, base: BaseImage) -> Foundation:
    """Our own."""
    return found(client, EnvironmentDefinition())


def _ran(client: DockerClient, foundation: Foundation, wheel: Path, code: str) -> str:
    """What a program prints on the foundation, with a wheel's content importable."""
    with throwaway(client, foundation.image.id, [foundation.interpreter, "-c", code], kind="test") as container:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive, zipfile.ZipFile(wheel) as content:
            for name in content.namelist():
                info = tarfile.TarInfo(f"usr/lib/python3/dist-packages/{name}")
                data = content.read(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        container.put(packed.getvalue())
        ended = container.run(60)
    assert ended.code == 0, ended.err
    return ended.out.strip()


def test_what_has_a_wheel_is_not_built(client: DockerClient, foundation: Foundation, index: Index) -> None:
    index.wheel("both")
    source = index.source("both")
    told: list[Event] = []
    assert build_wheels(client, foundation, index.lock("both"), report=told.append) == {}
    assert told == []
    # an index proper tells the hashes of all files; uv knows those of a folder only of what it has chosen
    lock = f"both==1.0 --hash=sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}\n"
    built = build_wheels(client, foundation, lock, options=("--no-binary", "both"))
    assert list(built) == ["both"]


def test_a_source_without_native_code_is_built_on_the_foundation(
    client: DockerClient, foundation: Foundation, index: Index, tmp_path: Path
) -> None:
    index.source("Some_Thing", "print('building it')")
    index.wheel("other")
    lock = index.lock("some-thing", "other")
    told: list[Event] = []
    built = build_wheels(client, foundation, lock, report=told.append)
    assert {name: wheel.name for name, wheel in built.items()} == {"some-thing": "Some_Thing-1.0-py3-none-any.whl"}
    assert told == [
        Step("wheel", "building a wheel of some-thing 1.0 from its source"),
        Output("building it"),
    ]

    # the lock goes the way of all wheels then
    mended = substituted(lock, built)
    assert mended.count("--hash=") == lock.count("--hash=")
    (tmp_path / "lock.txt").write_text(mended)
    uv.run(
        "pip", "install", "--target", str(tmp_path / "there"), "--require-hashes", "--no-deps", "--no-build",
        "--python", sys.executable, "--requirements", str(tmp_path / "lock.txt"),
    )  # fmt: skip
    assert (tmp_path / "there" / "Some_Thing.py").read_text() == "VERSION = '1.0'"

    # once
    told.clear()
    assert build_wheels(client, foundation, lock, report=told.append, offline=True) == built
    assert told == []


_C = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_native(void) {
    PyObject *made = PyModule_Create(&module);
    PyModule_AddIntConstant(made, "ANSWER", 42);
    return made;
}
"""

_COMPILE = """
suffix = sysconfig.get_config_var("EXT_SUFFIX")
compiler = sysconfig.get_config_var("CC").split()[0]
include = sysconfig.get_path("include")
subprocess.run([compiler, "-shared", "-fPIC", f"-I{include}", "native.c", "-o", f"native{suffix}"], check=True)
CONTENT.clear()
CONTENT[f"native{suffix}"] = pathlib.Path(f"native{suffix}").read_bytes()
TAG = "cp311-cp311-linux_x86_64"
"""


def test_native_code_is_compiled_and_the_service_gets_no_compiler(
    client: DockerClient, foundation: Foundation, index: Index
) -> None:
    index.source("native", _COMPILE, native__c=_C)
    built = build_wheels(client, foundation, index.lock("native"))
    assert _ran(client, foundation, built["native"], "import native; print(native.ANSWER)") == "42"
    (builder,) = _builders(client, foundation)
    assert builder["RepoTags"][0].startswith("mldeploy/builder:")
    assert client.api.inspect_image(foundation.image.id)["RootFS"]["Layers"] == list(foundation.image.diff_ids)


def test_a_build_that_writes_its_native_code_itself_gets_the_compiler_when_it_asks_for_one(
    client: DockerClient, foundation: Foundation, index: Index
) -> None:
    build = f"""
import shutil
if not shutil.which("cc"):
    raise SystemExit("error: command 'cc' failed: No such file or directory")
pathlib.Path("native.c").write_text({_C!r})
{_COMPILE}"""
    index.source("native", build)
    built = build_wheels(client, foundation, index.lock("native"))
    assert _ran(client, foundation, built["native"], "import native; print(native.ANSWER)") == "42"


def _builders(client: DockerClient, foundation: Foundation) -> list[Any]:
    images = [
        client.api.inspect_image(one["Id"]) for one in client.api.images(filters={"label": "mldeploy.kind=builder"})
    ]
    return [
        one
        for one in images
        if one["RootFS"]["Layers"][: len(foundation.image.diff_ids)] == list(foundation.image.diff_ids)
    ]


def test_what_a_build_requires_is_fetched_by_the_host(
    client: DockerClient, foundation: Foundation, index: Index
) -> None:
    index.wheel("first")
    index.wheel("second")
    build = """
    import first, second
    print(subprocess.run(["second-program"], capture_output=True, text=True, check=True).stdout.strip())
    """
    index.source("thing", build, '["first", "missing; python_version < \'3\'"]')
    text = "REQUIRES = ['second>=0.5', 'first', 'nowhere; python_version < \"3\"']"
    _changed(index.folder / "thing-1.0.tar.gz", "REQUIRES = []", text)
    told: list[Event] = []
    assert build_wheels(client, foundation, index.lock("thing"), report=told.append)
    assert Output("second ran") in told


def _changed(path: Path, old: str, new: str) -> None:
    with tarfile.open(path) as archive:
        content = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    with tarfile.open(path, "w:gz") as archive:
        for name, data in content.items():
            changed = data.replace(old.encode(), new.encode())
            entry = tarfile.TarInfo(name)
            entry.size = len(changed)
            archive.addfile(entry, io.BytesIO(changed))


def test_what_a_build_requires_cannot_be_had(client: DockerClient, foundation: Foundation, index: Index) -> None:
    index.source("thing", requires='["nosuch>=2"]')
    with pytest.raises(EnvironmentException, match=r"what the build of thing 1\.0 requires cannot be had") as caught:
        build_wheels(client, foundation, index.lock("thing"))
    assert caught.value.where == "thing: nosuch>=2"
    assert "nosuch" in caught.value.reason
    assert caught.value.hint


def test_a_build_has_no_network_and_sees_nothing_of_the_host(
    client: DockerClient, foundation: Foundation, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", "s3cr3t-t0ken")
    build = """
    import socket
    print("devices", sorted(os.listdir("/sys/class/net")))
    print("secrets", [name for name in os.environ if "UV_" in name or "SSL" in name])
    print("said s3cr3t-t0ken")
    print("capabilities", [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")])
    """
    index.source("thing", build)
    told: list[Event] = []
    build_wheels(client, foundation, index.lock("thing"), report=told.append)
    assert {Output("devices ['lo']"), Output("secrets []"), Output("said ***")} <= set(told)
    assert Output("capabilities ['0000000000000000']") in told


def test_one_that_does_not_build_is_named_with_its_last_output(
    client: DockerClient, foundation: Foundation, index: Index
) -> None:
    build = """
    for number in range(40):
        print("line", number, flush=True)
    raise SystemExit("x.c:1:10: fatal error: sql.h: No such file or directory")
    """
    index.source("odbc", build)
    with pytest.raises(EnvironmentException) as caught:
        build_wheels(client, foundation, index.lock("odbc"))
    error = caught.value
    assert error.message == "odbc 1.0 does not build: the C header sql.h is missing"
    assert error.where == "odbc==1.0"
    assert error.reason.splitlines()[-1].startswith("x.c:1:10: fatal error")
    assert "line 39" in error.reason
    assert "line 9" not in error.reason.splitlines()
    assert "docker.baseDockerfile" in error.hint
    assert not client.containers.list(all=True, filters={"label": "mldeploy.kind=wheel"})


def test_an_endless_build_is_stopped(client: DockerClient, foundation: Foundation, index: Index) -> None:
    index.source("slow", "print('begun', flush=True)\nimport time\ntime.sleep(999)")
    with pytest.raises(EnvironmentException, match=r"slow 1\.0 was not built within 3 s") as caught:
        build_wheels(client, foundation, index.lock("slow"), timeout=3)
    assert caught.value.reason == "begun"
    assert building.TIMEOUT in caught.value.hint
    assert not client.containers.list(all=True, filters={"label": "mldeploy.kind=wheel"})


def test_a_build_that_outlives_its_client_ends_by_itself(
    client: DockerClient, foundation: Foundation, tmp_path: Path
) -> None:
    program = Path(wheels.__file__).with_name("_build_wheel.py")
    with tarfile.open(tmp_path / "thing-1.0.tar.gz", "w:gz") as archive:
        content = b"import time\ntime.sleep(999)\n"
        entry = tarfile.TarInfo("thing-1.0/backend.py")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    command = [foundation.interpreter, "/build/build.py", "/build", "2"]
    with throwaway(client, foundation.image.id, command, kind="test") as container:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(program, "build/build.py")
            archive.add(tmp_path / "thing-1.0.tar.gz", "build/source/thing-1.0.tar.gz")
            entry = tarfile.TarInfo("build/system.json")
            system = b'{"backend": "backend", "path": ["."], "requires": []}'
            entry.size = len(system)
            archive.addfile(entry, io.BytesIO(system))
        container.put(packed.getvalue())
        assert container.run(30).code == 124


def test_a_source_with_a_wrong_hash(client: DockerClient, foundation: Foundation, index: Index) -> None:
    path = index.source("thing")
    lock = index.lock("thing")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    sources = without_wheels(lock, "3.11", foundation.platform)
    assert [(one.name, one.version, one.hashes) for one in sources] == [("thing", "1.0", (right,))]
    index.source("thing", "print('another')")
    with pytest.raises(EnvironmentException, match="its hash is another one") as caught:
        build_wheels(client, foundation, lock)
    assert right in caught.value.reason


def test_a_full_disk_is_not_taken_for_a_source_that_is_gone(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "thing-1.0.tar.gz"
    archive.write_bytes(bytes(4_000_000))
    monkeypatch.setenv("MLDEPLOY_CACHE", str(small_disk))
    with pytest.raises(EnvironmentException, match="the disk is full"):
        fetched(Source("thing", "1.0", str(archive), (hashlib.sha256(archive.read_bytes()).hexdigest(),)))
    assert [file for file in small_disk.rglob("*") if file.is_file()] == []


def test_a_source_that_builds_something_else(client: DockerClient, foundation: Foundation, index: Index) -> None:
    index.source("thing", "global VERSION\nVERSION = '2.0'")
    with pytest.raises(EnvironmentException, match=r"the source of thing 1\.0 has built thing-2\.0"):
        build_wheels(client, foundation, index.lock("thing"))


def test_a_source_that_is_none(client: DockerClient, foundation: Foundation, index: Index) -> None:
    index.source("thing")
    lock = index.lock("thing")
    (source,) = without_wheels(lock, "3.11", foundation.platform)
    archive = fetched(source)
    archive.write_bytes(b"no archive")
    with pytest.raises(EnvironmentException, match=r"thing 1\.0 has a source that cannot be read"):
        build_system(archive, source)


class _Guarded(http.server.SimpleHTTPRequestHandler):
    """A simple index (PEP 503) that wants a password."""

    wanted = f"Basic {base64.b64encode(b'me:s3cr3t-passw0rd').decode()}"

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != self.wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def guarded(index: Index, tmp_path: Path) -> Iterator[int]:
    """The port of an index that has `thing` as a source."""
    path = index.source("thing")
    folder = tmp_path / "served" / "simple" / "thing"
    folder.mkdir(parents=True)
    path.rename(folder / path.name)
    digest = hashlib.sha256((folder / path.name).read_bytes()).hexdigest()
    (folder / "index.html").write_text(f'<a href="{path.name}#sha256={digest}">{path.name}</a>')
    handler = partial(_Guarded, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_an_index_with_a_password(
    client: DockerClient,
    foundation: Foundation,
    index: Index,
    guarded: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "uv.toml").write_text("")
    monkeypatch.setenv("UV_INDEX", f"team=http://127.0.0.1:{guarded}/simple")
    monkeypatch.setenv("UV_INDEX_TEAM_USERNAME", "me")
    monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", "s3cr3t-passw0rd")
    lock = index.lock("thing")
    told: list[Event] = []
    with pytest.raises(EnvironmentException, match="offline it is not downloaded"):
        build_wheels(client, foundation, lock, offline=True)
    monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", "another-one")
    with pytest.raises(EnvironmentException, match=r"the source of thing 1\.0 cannot be had") as caught:
        build_wheels(client, foundation, lock, report=told.append)
    assert "UV_INDEX_NAME_PASSWORD" in caught.value.hint
    assert "another-one" not in f"{caught.value} {told}"
    monkeypatch.delenv("UV_INDEX_TEAM_PASSWORD")
    monkeypatch.setenv("UV_INDEX", f"http://me:s3cr3t-passw0rd@127.0.0.1:{guarded}/simple")
    assert list(build_wheels(client, foundation, lock, report=told.append)) == ["thing"]
    assert "s3cr3t" not in f"{told}"


def test_the_same_source_is_the_same_wheel(
    client: DockerClient, foundation: Foundation, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.source("thing", "CONTENT['stamp'] = os.environ['SOURCE_DATE_EPOCH'] + str(hash('text'))")
    lock = index.lock("thing")
    made = []
    for machine in ("a", "b"):
        monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / machine))
        made.append(build_wheels(client, foundation, lock)["thing"].read_bytes())
    assert made[0] == made[1]


def test_offline_no_builder_is_made(client: DockerClient, base: BaseImage, index: Index, tmp_path: Path) -> None:
    marker = f"mldeploy-test-{uuid4().hex[:12]}"
    text = f"FROM azureml/base:latest\nLABEL test={marker}\n"
    foundation = found(client, EnvironmentDefinition.model_validate({"docker": {"baseDockerfile": text}}))
    try:
        index.source("native", _COMPILE, native__c=_C)
        with pytest.raises(EnvironmentException, match="the image that compiles is not there, and offline"):
            build_wheels(client, foundation, index.lock("native"), offline=True)
    finally:
        client.images.remove(foundation.image.id, force=True)


class _Locks(dict[str, str]):
    def put(self, key: str, text: str) -> None:
        self[key] = text


def test_the_whole_way_from_an_environment_to_an_image(
    client: DockerClient, base: BaseImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    index = Index(tmp_path / "index")
    index.source("thing", "CONTENT['thing_made.py'] = 'FROM = \\'source\\''")
    environment = Environment("sources")
    environment.python.conda_dependencies = CondaDependencies()
    told: list[Event] = []
    for options in ((), ("--no-binary thing",)):
        environment.python.conda_dependencies.set_pip_requirements([f"--find-links {index.folder}", *options, "thing"])
        resolved = resolving.resolve(environment, _Locks(), report=told.append)
        assert resolved.sources
    image = environment_image(client, resolved, report=told.append)
    assert Step("wheel", "building a wheel of thing 1.0 from its source") in told
    load(client, image)
    try:
        code = "import thing_made; print(thing_made.FROM)"
        with throwaway(client, image.id, [f"{resolving.PREFIX}/bin/python", "-c", code], kind="test") as container:
            assert container.run(60).out.strip() == "source"
    finally:
        client.images.remove(image.id)


def test_arguments_about_indexes() -> None:
    options = ("--index-url", "https://a.example", "--no-binary", "x", "--only-binary=y", "--find-links", "/f")
    assert index_options(options) == ["--index-url", "https://a.example", "--find-links", "/f"]


def test_a_lock_with_built_wheels(tmp_path: Path) -> None:
    wheel = tmp_path / "a_b-1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    digest = hashlib.sha256(b"wheel").hexdigest()
    head, other = "a-b==1.0 ; sys_platform == 'linux'", f"c==2 \\\n    --hash=sha256:{'2' * 64}\n"
    lock = f"{head} \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n{other}"
    mended = f"a-b @ {wheel.as_uri()} ; sys_platform == 'linux' \\\n    --hash=sha256:{digest}\n{other}"
    assert substituted(lock, {"a-b": wheel}) == mended
    assert substituted(lock, {}) == lock
