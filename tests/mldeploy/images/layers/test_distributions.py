"""What uv installed, told apart by distribution, as it will be in the image, and nothing of this machine."""

from __future__ import annotations

import base64
import csv
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from mldeploy.images.layers.distributions import Distribution, by_need, installed
from mldeploy.packaging import uv

SITE = "opt/mldeploy/env/lib/python3.11/site-packages"


def wheel(folder: Path, name: str, files: dict[str, str], requires: str = "") -> Path:
    info = f"{name}-1.0.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in content.items()
    )
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(place, text)
    return path


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Distribution]:
    point = "[console_scripts]\ngreet = greeting.main:hello\ndeep = greeting.main:Tool.run\n"
    wheels = [
        wheel(
            tmp_path,
            "greeting",
            {
                "greeting/__init__.py": "",
                "greeting/main.py": "def hello(): print('hello')\n",
                "greeting-1.0.dist-info/entry_points.txt": point,
                "greeting-1.0.data/scripts/tool.sh": "#!/bin/sh\necho tool\n",
                "greeting-1.0.data/scripts/tool.py": "#!python\nprint('tool')\n",
                "greeting-1.0.data/data/share/greeting/text": "hi",
            },
            "Requires-Dist: Base_Thing>=1\nRequires-Dist: absent; extra == 'more'\n",
        ),
        wheel(tmp_path, "base_thing", {"base_thing.py": "x = 1\n"}),
    ]
    prefix = tmp_path / "prefix"
    uv.run("pip", "install", "-q", "--prefix", str(prefix), "--python", sys.executable, "--no-index", *map(str, wheels))
    (site,) = prefix.glob("lib/python*/site-packages")
    return {one.name: one for one in installed(prefix, site, "opt/mldeploy/env", SITE)}


def contents(distribution: Distribution) -> dict[str, bytes]:
    return {
        entry.path: entry.content if isinstance(entry.content, bytes) else entry.content.read_bytes()
        for entry in distribution.entries()
        if entry.content is not None
    }


def test_every_file_has_its_place_in_the_image(found: dict[str, Distribution]) -> None:
    files = contents(found["greeting"])
    assert {path for path in files if "dist-info" not in path} == {
        f"{SITE}/greeting/__init__.py",
        f"{SITE}/greeting/main.py",
        "opt/mldeploy/env/bin/greet",
        "opt/mldeploy/env/bin/deep",
        "opt/mldeploy/env/bin/tool.sh",
        "opt/mldeploy/env/bin/tool.py",
        "opt/mldeploy/env/share/greeting/text",
    }
    assert found["greeting"].version == "1.0"
    assert found["greeting"].requires == {"base-thing", "absent"}


def test_commands_find_the_images_python_and_not_this_machines(found: dict[str, Distribution]) -> None:
    files = contents(found["greeting"])
    greet = files["opt/mldeploy/env/bin/greet"].decode()
    assert greet.startswith("#!/opt/mldeploy/env/bin/python\n")
    assert "from greeting.main import hello" in greet
    assert "Tool.run()" in files["opt/mldeploy/env/bin/deep"].decode()
    assert files["opt/mldeploy/env/bin/tool.py"].startswith(b"#!/opt/mldeploy/env/bin/python\n")
    assert files["opt/mldeploy/env/bin/tool.sh"] == b"#!/bin/sh\necho tool\n"
    assert sys.prefix.encode() not in b"".join(files.values())
    modes = {entry.path: entry.mode for entry in found["greeting"].entries()}
    assert modes["opt/mldeploy/env/bin/greet"] == modes["opt/mldeploy/env/bin/tool.py"] == 0o755
    assert modes[f"{SITE}/greeting/main.py"] == 0o644


def test_neither_an_odd_requirement_nor_a_folder_with_a_space_gets_into_an_image(tmp_path: Path) -> None:
    scripts = {"odd-1.0.data/scripts/tool": "#!python\nprint('tool')\n"}
    odd = wheel(tmp_path, "odd", scripts, "Requires-Dist: pytz (>dev)\n")
    environment, prefix = tmp_path / "with space", tmp_path / "prefix"
    uv.run("venv", "-q", "--python", sys.executable, str(environment))
    python = str(environment / "bin" / "python")
    uv.run("pip", "install", "-q", "--prefix", str(prefix), "--python", python, "--no-index", "--no-deps", str(odd))
    assert (prefix / "bin" / "tool").read_bytes().startswith(b"#!/bin/sh\n")
    (site,) = prefix.glob("lib/python*/site-packages")
    (found,) = installed(prefix, site, "opt/mldeploy/env", SITE)
    assert found.requires == {"pytz"}
    assert contents(found)["opt/mldeploy/env/bin/tool"] == b"#!/opt/mldeploy/env/bin/python\nprint('tool')\n"


def test_record_is_true_of_what_is_in_the_image(found: dict[str, Distribution]) -> None:
    files = contents(found["greeting"])
    rows = list(csv.reader(files[f"{SITE}/greeting-1.0.dist-info/RECORD"].decode().splitlines()))
    assert len(rows) == len(files)
    for path, digest, size in rows:
        content = files[str(Path("/", SITE, path).resolve())[1:]]
        if digest:
            made = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={made}", str(len(content)))


def test_where_the_wheel_was_is_left_out(found: dict[str, Distribution], tmp_path: Path) -> None:
    assert not any(path.endswith("direct_url.json") for path in contents(found["greeting"]))
    assert str(tmp_path).encode() not in b"".join(contents(found["greeting"]).values())


def test_what_others_need_comes_first_and_a_circle_ends() -> None:
    def one(name: str, *requires: str) -> Distribution:
        return Distribution(name, "1", frozenset(requires), (), "", 0, name)

    ordered = by_need([one("app", "web", "numbers"), one("numbers"), one("web", "text"), one("text", "web")])
    assert (ordered[0].name, ordered[-1].name) == ("numbers", "app")
    names = [f"n{number:02}" for number in range(30)]
    circles = [one(name, *names) for name in names]
    assert by_need(circles) == by_need(circles[::-1])
