"""A conda channel that the tests make, with real packages in both formats, and a server for it on loopback."""

from __future__ import annotations

import base64
import bz2
import hashlib
import io
import json
import os
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mldeploy.images.foundations.base import BaseImage
from mldeploy.images.foundations.foundation import Foundation

PLACEHOLDER = "/opt/placeholder_" + "placehold_" * 20
Files = Mapping[str, bytes | str]
"""For a path, a file's content, or where a link points. What is in `bin/` can be run."""


@dataclass
class Channel:
    """A folder as conda's clients ask for it."""

    folder: Path
    index: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        version: str,
        files: Files,
        *,
        depends: tuple[str, ...] = (),
        noarch: str | None = None,
        entry_points: tuple[str, ...] = (),
        kind: str = ".conda",
        build: str = "0",
    ) -> Path:
        """Build a package, and list it."""
        subdir = "noarch" if noarch else "linux-64"
        of_the_platform = {"noarch": noarch} if noarch else {"arch": "x86_64", "platform": "linux"}
        said = {"name": name, "version": version, "build": build, "build_number": 0, "license": "MIT"}
        said |= {"depends": list(depends), "subdir": subdir, "timestamp": 1_600_000_000_000, **of_the_platform}
        info: dict[str, bytes | str] = {
            "info/index.json": json.dumps(said).encode(),
            "info/paths.json": json.dumps({"paths_version": 1, "paths": [*map(_path, files.items())]}).encode(),
            "info/files": "".join(f"{path}\n" for path in files).encode(),
        }
        if noarch == "python":
            link = {"noarch": {"type": "python", "entry_points": list(entry_points)}, "package_metadata_version": 1}
            info["info/link.json"] = json.dumps(link).encode()
        stem = f"{name}-{version}-{build}"
        content = _conda(stem, files, info) if kind == ".conda" else bz2.compress(_tar({**files, **info}))
        archive = self.folder / subdir / f"{stem}{kind}"
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(content)
        said |= {"sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content).hexdigest()}
        self.index.setdefault(subdir, {})[archive.name] = {**said, "size": len(content)}
        self.write()
        return archive

    def write(self) -> None:
        """Write what it lists."""
        for subdir in ("linux-64", "noarch"):
            listed = self.index.get(subdir, {})
            kinds: dict[str, dict[str, Any]] = {"packages": {}, "packages.conda": {}}
            for file, record in listed.items():
                kinds["packages.conda" if file.endswith(".conda") else "packages"][file] = record
            (self.folder / subdir).mkdir(parents=True, exist_ok=True)
            repodata = {"info": {"subdir": subdir}, "repodata_version": 1, **kinds}
            (self.folder / subdir / "repodata.json").write_text(json.dumps(repodata))


def _path(item: tuple[str, bytes | str]) -> dict[str, Any]:
    path, content = item
    raw = content if isinstance(content, bytes) else b""
    said: dict[str, Any] = {
        "_path": path,
        "path_type": "hardlink" if isinstance(content, bytes) else "softlink",
        "sha256": hashlib.sha256(raw).hexdigest(),
        "size_in_bytes": len(raw),
    }
    if PLACEHOLDER.encode() in raw:
        said |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in raw else "text"}
    return said


def _conda(stem: str, files: Files, info: Files) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        archive.writestr(f"pkg-{stem}.tar.zst", _zstd(_tar(files)))
        archive.writestr(f"info-{stem}.tar.zst", _zstd(_tar(info)))
    return packed.getvalue()


def _tar(files: Files) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.mtime = 1_600_000_000
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size, member.mode = len(content), 0o755 if path.startswith("bin/") else 0o644
                archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _zstd(data: bytes) -> bytes:
    """A frame of blocks that are not compressed (RFC 8878)."""
    blocks = [data[start : start + 0x10000] for start in range(0, len(data), 0x10000)]
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", len(data))
    for number, block in enumerate(blocks):
        frame += struct.pack("<I", len(block) << 3 | (number == len(blocks) - 1))[:3] + block
    return frame


def program(text: str) -> bytes:
    """An executable for x86-64 Linux that prints a text which ends at the first NUL, as a C string does."""
    code = bytes.fromhex("31d2 803c1600 7404 ffc2 ebf6 bf01000000 b801000000 0f05 31ff b83c000000 0f05")
    code = bytes.fromhex("488d35") + struct.pack("<i", len(code)) + code  # lea rsi, [rip + …]; strlen; write; exit
    image = code + text.encode().ljust(400, b"\0")
    size, start = 120 + len(image), 0x400000
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, start + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 0x1000) + image


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    """The tests' own channel."""
    made = Channel(tmp_path / "channel")
    made.add(
        "shapes",
        "1.2",
        {"share/shapes/square.txt": b"four sides\n", "share/shapes/latest": "square.txt"},
        noarch="generic",
        kind=".tar.bz2",
    )
    made.add("shapes", "1.1", {"share/shapes/square.txt": b"three sides\n"}, noarch="generic", kind=".tar.bz2")
    made.add(
        "teller",
        "2.0",
        {
            "bin/teller": program(f"{PLACEHOLDER}/share/shapes"),
            "bin/teller-reads": (
                f"#!{PLACEHOLDER}/bin/python\nprint(open('{PLACEHOLDER}/share/shapes/latest').read(), end='')\n"
            ).encode(),
            "etc/teller.conf": f"root = {PLACEHOLDER}/share\n".encode(),
        },
        depends=("shapes >=1.2", "__glibc >=2.17", "__unix"),
    )
    made.add(
        "greeter",
        "0.3",
        {
            "site-packages/greeter/__init__.py": b"import sys\ndef main():\n    print('hello from', sys.prefix)\n",
            "site-packages/gree_ter-0.3.dist-info/METADATA": b"Metadata-Version: 2.1\nName: Gree.Ter\nVersion: 0.3\n",
        },
        depends=("python >=3.8",),
        noarch="python",
        entry_points=("greet = greeter:main",),
    )
    made.add("picky", "1.0", {"share/picky": b"x"}, depends=("shapes >=9",))
    return made


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder; `trouble` decides what is answered instead."""

    trouble: Callable[[str], int | None]
    password: str | None
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        """A file, or what is wrong."""
        self.asked.append(self.path)
        status = type(self).trouble(self.path)
        expected = f"Basic {base64.b64encode(f'me:{self.password}'.encode()).decode()}"
        if self.password and self.headers.get("Authorization") != expected:
            status = 401
        if status is None:
            super().do_GET()
        else:
            self.send_error(status)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name of it
        """Nothing."""


@dataclass
class Served:
    """A channel at a URL."""

    url: str
    handler: type[_Handler]

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for."""
        return self.handler.asked


class _Server(ThreadingHTTPServer):
    """Says nothing of clients that went away."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the test looks at what the client has made of it."""


Serve = Callable[..., Served]


@pytest.fixture
def serve(channel: Channel) -> Iterator[Serve]:
    """Serves the channel, or another folder."""
    servers = []

    def start(
        folder: Path | None = None,
        trouble: Callable[[str], int | None] = lambda path: None,
        password: str | None = None,
    ) -> Served:
        class Handler(_Handler):
            asked: ClassVar[list[str]] = []

            def __init__(self, *args: Any, **more: Any) -> None:
                super().__init__(*args, directory=str(folder or channel.folder), **more)

        Handler.trouble = staticmethod(trouble)
        Handler.password = password
        server = _Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        servers.append((server, thread))
        return Served(f"http://127.0.0.1:{server.server_address[1]}", Handler)

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


_OUTSIDE = {name: os.environ.get(name) for name in ("HOME", "XDG_CONFIG_HOME")}


@pytest.fixture
def outside(own_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv's settings and its cache after all."""
    for name, value in _OUTSIDE.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a home of the test's own, so that nothing of the machine's conda is read."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("CONDARC", "CONDA_CHANNEL_ALIAS", "CONDA_OVERRIDE_CUDA", "XDG_CONFIG_HOME", "RATTLER_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    return home


@pytest.fixture
def nowhere() -> Foundation:
    """What packages are decided for where no container is started."""
    image = BaseImage("mldeploy/base:none", "sha256:0", (), {}, "amd64", "linux", 0)
    return Foundation(image, "3.11", "/usr/bin/python3.11", "x86_64-manylinux_2_36")
