"""A project's own file: `mldeploy.toml`, or `pyproject.toml` with `[tool.mldeploy]`.

Nothing heavy is imported: the pytest plugin looks at every file that pytest collects.
"""

from __future__ import annotations

from pathlib import Path

HARNESS = "mldeploy.toml"
PYPROJECT = "pyproject.toml"


def is_project_file(path: Path) -> bool:
    """Whether a file, which is there, is a project's own; most `pyproject.toml` are not, and need not be parsed."""
    if path.name != PYPROJECT:
        return path.name == HARNESS
    content = path.read_bytes()
    if b"mldeploy" not in content:
        return False
    from mldeploy.config.syntax import ParseError
    from mldeploy.config.toml_text import parse_toml

    try:
        tool = parse_toml(content.decode())[0].get("tool")
    except (ParseError, UnicodeDecodeError):  # whoever has to read it says what is wrong
        return False
    return isinstance(tool, dict) and "mldeploy" in tool


def project_file(folder: Path) -> Path | None:
    """The project's own file in a folder; None if there is none."""
    candidates = (folder / name for name in (HARNESS, PYPROJECT))
    return next((path for path in candidates if path.is_file() and is_project_file(path)), None)
