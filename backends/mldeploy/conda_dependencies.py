"""`CondaDependencies` of `azureml.core.conda_dependencies`: a conda environment file as an object."""

from __future__ import annotations

import builtins
import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.errors import UserErrorException

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_FILE = ".azureml/auto_conda_dependencies.yml"
"""Where `save_to_file` writes, below the folder it is given (v1's place)."""

_BASE: dict[str, Any] = {
    "name": "project_environment",
    "dependencies": [{"pip": ["azureml-defaults"]}],
    "channels": ["anaconda", "conda-forge"],
}


class CondaDependencies:  # noqa: PLW1641 - it changes, so it has no hash
    """Conda and pip packages for an environment.

    Without a file it is v1's default environment: `azureml-defaults`, which our scoring server fills. No Python
    version is in it (v1 had one), so that a service gets 3.11 where that can be had.

    Args:
        conda_dependencies_file_path: A conda environment file to begin with; None begins with the default.
        _underlying_structure: The content of such a file, instead of it.

    Raises:
        EnvironmentException: The file cannot be read or is no conda file.
        UserErrorException: Both are given.

    Examples:
        >>> conda = CondaDependencies.create(pip_packages=["scikit-learn"], python_version="3.10")
        >>> conda.add_pip_package("pandas>=2")
        >>> print(conda.serialize_to_string())
        name: project_environment
        dependencies:
        - python=3.10
        - pip:
          - scikit-learn
          - pandas>=2
        channels:
        - anaconda
        - conda-forge
        <BLANKLINE>
    """

    DEFAULT_NUMBER_OF_CONDA_PACKAGES = 0
    DEFAULT_NUMBER_OF_PIP_PACKAGES = 0

    def __init__(
        self,
        conda_dependencies_file_path: str | Path | None = None,
        _underlying_structure: dict[str, Any] | None = None,
    ) -> None:
        from mldeploy.packaging.requirement_files import read_conda

        if conda_dependencies_file_path is not None and _underlying_structure is not None:
            raise UserErrorException(
                "conda_dependencies_file_path and _underlying_structure exclude each other",
                where="CondaDependencies",
                hint="give one of them",
            )
        if conda_dependencies_file_path is not None:
            self._content = read_conda(Path(conda_dependencies_file_path))
        else:
            self._content = copy.deepcopy(_BASE if _underlying_structure is None else _underlying_structure)

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = None,
        pin_sdk_version: bool = True,  # noqa: ARG004 - there is no SDK here whose version could be pinned
    ) -> CondaDependencies:
        """Make one from lists of packages.

        Args:
            pip_indexurl: The index that pip packages come from; None leaves it to uv's configuration.
            pip_packages: Pip requirement lines, in place of the default `azureml-defaults`.
            conda_packages: Conda package specifications.
            python_version: `3.10`; None leaves the choice to mldeploy (v1's default was one fixed version).
            pin_sdk_version: Taken for v1's sake: `azureml-*` requirements are filled by the scoring server.

        Returns:
            The new object.
        """
        made = CondaDependencies()
        if pip_packages is not None:
            made.set_pip_requirements([])
            for package in pip_packages:
                made.add_pip_package(package)
        for package in conda_packages or ():
            made.add_conda_package(package)
        if pip_indexurl:
            made.set_pip_index_url(pip_indexurl)
        if python_version:
            made.set_python_version(python_version)
        return made

    @property
    def conda_channels(self) -> builtins.list[str]:
        """The channels; kept for an image, pip does not use them."""
        return list(self._content.get("channels") or [])

    @property
    def conda_packages(self) -> builtins.list[str]:
        """The conda packages, `python=…` among them."""
        return [entry for entry in self._dependencies() if isinstance(entry, str)]

    @property
    def pip_packages(self) -> builtins.list[str]:
        """The pip requirement lines, without the options."""
        return [line for line in self._pip() if not _is_option(line)]

    @property
    def pip_options(self) -> builtins.list[str]:
        """The pip lines that begin with `-`."""
        return [line for line in self._pip() if _is_option(line)]

    def add_channel(self, channel: str) -> None:
        """Add a channel, once."""
        if channel not in self.conda_channels:
            self._content["channels"] = [*self.conda_channels, channel]

    def remove_channel(self, channel: str) -> None:
        """Remove a channel if it is there."""
        self._content["channels"] = [other for other in self.conda_channels if other != channel]

    def add_conda_package(self, conda_package: str) -> None:
        """Add a conda package, in place of one of the same name.

        Args:
            conda_package: `NAME`, `NAME=VERSION` or `NAME>=VERSION`.
        """
        self.remove_conda_package(conda_package)
        self._dependencies().append(conda_package)

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove the conda package of that name, if it is there, whatever its version."""
        name = _name(conda_package)
        self._content["dependencies"] = [
            entry for entry in self._dependencies() if not isinstance(entry, str) or _name(entry) != name
        ]

    def add_pip_package(self, pip_package: str) -> None:
        """Add a pip requirement, in place of one of the same name.

        Args:
            pip_package: A requirement line.

        Raises:
            UserErrorException: It is an option; those are set with `set_pip_option`.
        """
        if _is_option(pip_package):
            raise UserErrorException(f"Invalid package name {pip_package}", hint="use set_pip_option")
        self.remove_pip_package(pip_package)
        self._set_pip([*self._pip(), pip_package])

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove the pip requirement of that name, if it is there, whatever its version."""
        name = _name(pip_package)
        self._set_pip([line for line in self._pip() if _is_option(line) or _name(line) != name])

    def set_pip_requirements(self, pip_requirements: Iterable[str]) -> None:
        """Put these lines in place of all pip lines, the options among them."""
        self._set_pip(list(pip_requirements))

    def set_pip_option(self, pip_option: str) -> None:
        """Set an option, in place of an earlier value of it.

        Args:
            pip_option: As in a requirements file: `--extra-index-url https://index.example/simple`.

        Raises:
            UserErrorException: It does not begin with `-`.
        """
        if not _is_option(pip_option):
            raise UserErrorException(f"Invalid pip option {pip_option}", hint="an option begins with '-'")
        self.remove_pip_option(pip_option)
        self._set_pip([*self._pip(), pip_option])

    def remove_pip_option(self, pip_option: str) -> None:
        """Remove the option of that name, if it is there, whatever its value."""
        option = _option(pip_option)
        self._set_pip([line for line in self._pip() if _option(line) != option])

    def set_pip_index_url(self, index_url: str) -> None:
        """Set the index that pip packages come from.

        Args:
            index_url: The URL, or v1's spelling `--index-url URL`.
        """
        self.set_pip_option(index_url if _is_option(index_url) else f"--index-url {index_url}")

    def set_python_version(self, version: str) -> None:
        """Ask for a Python version.

        Args:
            version: `3.10`, say.
        """
        self.remove_conda_package("python")
        self._dependencies().insert(0, f"python={version}")

    def get_python_version(self) -> str | None:
        """The Python version asked for, as it is written; None where none is."""
        for package in self.conda_packages:
            if _name(package) == "python":
                return re.sub(r"^python[\s=]*", "", package.strip(), flags=re.IGNORECASE) or None
        return None

    def add_tensorflow_pip_package(self, core_type: str = "cpu", version: str | None = None) -> None:
        """Add TensorFlow from pip.

        Args:
            core_type: `cpu` or `gpu`; one package has both now.
            version: Pinned to it; None pins none.
        """
        _core_type(core_type)
        self.add_pip_package(f"tensorflow=={version}" if version else "tensorflow")

    def add_tensorflow_conda_package(self, core_type: str = "cpu", version: str | None = None) -> None:
        """Add TensorFlow from conda.

        Args:
            core_type: `cpu` or `gpu`; one package has both now.
            version: Pinned to it; None pins none.
        """
        _core_type(core_type)
        self.add_conda_package(f"tensorflow={version}" if version else "tensorflow")

    def add_cntk_package(self, core_type: str = "cpu") -> None:
        """Refused: CNTK has no wheel for any Python that a service runs on.

        Args:
            core_type: Not looked at.

        Raises:
            UserErrorException: Always.
        """
        raise UserErrorException(
            f"CNTK ({core_type}) has no wheel for any Python that a service runs on",
            hint="export the model to ONNX and score it with onnxruntime",
        )

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> builtins.list[str]:
        """Join requirements of one package into one line.

        Args:
            requirements: Requirement lines.

        Returns:
            One line for each package, in the order of their first appearance.

        Examples:
            >>> CondaDependencies.merge_requirements(["numpy>=1", "pandas", "numpy<2"])
            ['numpy>=1,<2', 'pandas']
        """
        merged: dict[str, list[str]] = {}
        for line in requirements:
            match = re.match(r"\s*([\w.-]+(?:\[[^\]]*\])?)\s*(.*)", line)
            if match:
                merged.setdefault(match[1], []).append(match[2].strip())
        return [name + ",".join(part for part in parts if part) for name, parts in merged.items()]

    @staticmethod
    def sdk_origin_url() -> str:
        """The index that v1's own packages came from: none here, `azureml-*` is filled by the scoring server."""
        return ""

    def get_default_number_of_packages(self) -> tuple[int, int]:
        """How many conda and pip packages the default environment has."""
        return self.DEFAULT_NUMBER_OF_CONDA_PACKAGES, self.DEFAULT_NUMBER_OF_PIP_PACKAGES

    def as_dict(self) -> dict[str, Any]:
        """The content as plain data; changing it changes nothing here."""
        return copy.deepcopy(self._content)

    def serialize_to_string(self) -> str:
        """The content as the text of a conda environment file."""
        import yaml

        text: str = yaml.safe_dump(self._content, sort_keys=False)
        return text

    def save(self, path: str | Path | None = None) -> str:
        """Write the conda environment file.

        Args:
            path: A file, or a folder that gets a `conda_dependencies.yml`; None is the current folder.

        Returns:
            The file's path.
        """
        target = Path(path or ".")
        if target.is_dir():
            target /= "conda_dependencies.yml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.serialize_to_string(), encoding="utf-8")
        return str(target)

    def save_to_file(self, base_directory: str | Path, conda_file_path: str | Path | None = None) -> str:
        """Write the conda environment file below a folder.

        Args:
            base_directory: The folder.
            conda_file_path: Relative to it; None is `.azureml/auto_conda_dependencies.yml`.

        Returns:
            The file's path relative to the folder.
        """
        relative = str(conda_file_path or DEFAULT_FILE)
        self.save(Path(base_directory, relative))
        return relative

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CondaDependencies) and other._content == self._content

    def __repr__(self) -> str:
        return f"CondaDependencies({self._content!r})"

    def _dependencies(self) -> builtins.list[Any]:
        dependencies: list[Any] = self._content.setdefault("dependencies", [])
        return dependencies

    def _pip(self) -> builtins.list[str]:
        return [line for entry in self._dependencies() if isinstance(entry, dict) for line in entry.get("pip") or []]

    def _set_pip(self, lines: builtins.list[str]) -> None:
        """One `pip` object, where the first was; conda allows one."""
        entries = self._dependencies()
        places = [index for index, entry in enumerate(entries) if isinstance(entry, dict)]
        rest = [entry for entry in entries if not isinstance(entry, dict)]
        if lines:
            rest.insert(places[0] if places else len(rest), {"pip": lines})
        self._content["dependencies"] = rest


def _is_option(line: str) -> bool:
    return line.lstrip().startswith("-")


def _option(line: str) -> str:
    return re.split(r"[\s=]", line.strip(), maxsplit=1)[0] if _is_option(line) else ""


def _name(line: str) -> str:
    """The package's name as both indexes compare it; the line itself where it is a path or an URL."""
    match = re.match(r"(?:[\w.-]+::)?([A-Za-z0-9_][\w.-]*)(?![\w./:+-])", line.strip())
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else line.strip()


def _core_type(core_type: str) -> None:
    if core_type not in {"cpu", "gpu"}:
        raise UserErrorException(f"Invalid core type {core_type}", hint="'cpu' or 'gpu'")
