"""`Environment` of `azureml.core.environment`: what an entry script needs to run."""

from __future__ import annotations

import builtins
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.conda_dependencies import CondaDependencies
from mldeploy.environment_sections import ContainerRegistry, DockerSection, PythonSection
from mldeploy.errors import EnvironmentException
from mldeploy.events import Report, silent

if TYPE_CHECKING:
    from mldeploy.config.environment import EnvironmentDefinition
    from mldeploy.packaging.building import EnvironmentBuild
    from mldeploy.workspace import Workspace

__all__ = ["ContainerRegistry", "DockerSection", "Environment", "PythonSection"]

DEFINITION_FILE = "azureml_environment.json"
CONDA_FILE = "conda_dependencies.yml"

NAME_RULE = "letters, digits, '-', '_' and '.', beginning with a letter or digit, at most 255 characters"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class Environment:
    """What an entry script needs: packages, variables, and the image below them.

    Args:
        name: Its name; the rule for it is checked when it is registered.

    Attributes:
        name: Its name.
        version: "1", "2", … once it is registered, else None.
        python: Interpreter and packages.
        docker: The image below; without one, ours.
        environment_variables: Set on the serving process.
        inferencing_stack_version: None or "latest"; the serving stack is always brought.

    Examples:
        >>> environment = Environment("scoring")
        >>> environment.python.conda_dependencies.add_pip_package("scikit-learn")
        >>> environment.environment_variables["OMP_NUM_THREADS"] = "1"
        >>> environment
        Environment(Name: scoring,
        Version: None)
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(f"Environment() takes no argument {', '.join(sorted(kwargs))}")
        self.name = name
        self.version: str | None = None
        self.python = PythonSection()
        self.docker = DockerSection()
        self.environment_variables: dict[str, str] = {}
        self.inferencing_stack_version: str | None = None
        self._other: dict[str, Any] = {}

    @staticmethod
    def from_conda_specification(name: str, file_path: str | Path) -> Environment:
        """Describe an environment by a conda file.

        Args:
            name: Its name.
            file_path: A conda environment file; pip's `-r` and `-c` in it are followed.

        Returns:
            The environment, whole by itself: the file is not needed any more.

        Raises:
            EnvironmentException: The file cannot be read or is no conda file.
        """
        environment = Environment(name)
        environment.python.conda_dependencies = CondaDependencies(file_path)
        return environment

    @staticmethod
    def from_pip_requirements(name: str, file_path: str | Path, pip_version: str | None = None) -> Environment:
        """Describe an environment by a requirements file.

        Args:
            name: Its name.
            file_path: The file; `-r` and `-c` in it are followed, relative paths made absolute.
            pip_version: Kept for an image; here uv installs.

        Returns:
            The environment, whole by itself: the file is not needed any more, wheels it names are.

        Raises:
            EnvironmentException: The file, or one it includes, cannot be read.
        """
        from mldeploy.packaging.requirement_files import read_requirements

        conda = CondaDependencies()
        conda.set_pip_requirements(read_requirements(Path(file_path)))
        if pip_version:
            conda.add_conda_package(f"pip={pip_version}")
        environment = Environment(name)
        environment.python.conda_dependencies = conda
        return environment

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> Environment:
        """Use a conda environment of this machine as it is.

        Args:
            name: The environment's name.
            conda_environment_name: The conda environment's name, or its folder.

        Returns:
            An environment with `user_managed_dependencies` and that environment's interpreter.

        Raises:
            EnvironmentException: There is no conda, or it has no such environment.
        """
        from mldeploy.packaging.conda_environments import interpreter_of

        environment = Environment(name)
        environment.python.user_managed_dependencies = True
        environment.python.interpreter_path = interpreter_of(conda_environment_name)
        environment.python.conda_dependencies = None
        return environment

    @staticmethod
    def from_docker_image(
        name: str,
        image: str,
        container_registry: ContainerRegistry | None = None,
        conda_specification: str | Path | None = None,
        pip_requirements: str | Path | None = None,
    ) -> Environment:
        """Describe an environment by an image; a deployment needs the Docker engine for it.

        Args:
            name: Its name.
            image: The base image.
            container_registry: Where it is pulled from; None for a public one.
            conda_specification: A conda file with packages to add.
            pip_requirements: A requirements file with packages to add.

        Returns:
            The environment. Without either file its packages are the image's own.

        Raises:
            EnvironmentException: Both files are given, or one cannot be read.
        """
        environment = _with_packages(name, conda_specification, pip_requirements)
        environment.docker.base_image = image
        environment.docker.base_image_registry = container_registry or ContainerRegistry()
        return environment

    @staticmethod
    def from_dockerfile(
        name: str,
        dockerfile: str | Path,
        conda_specification: str | Path | None = None,
        pip_requirements: str | Path | None = None,
    ) -> Environment:
        """Describe an environment by a Dockerfile; a deployment needs the Docker engine for it.

        Args:
            name: Its name.
            dockerfile: The file, or its text.
            conda_specification: A conda file with packages to add.
            pip_requirements: A requirements file with packages to add.

        Returns:
            The environment. Without either file its packages are the image's own.

        Raises:
            EnvironmentException: Both files are given, or one cannot be read.
        """
        environment = _with_packages(name, conda_specification, pip_requirements)
        environment.docker.base_dockerfile = str(dockerfile)
        return environment

    @staticmethod
    def from_definition(definition: EnvironmentDefinition, base: str | Path = ".") -> Environment:
        """Take an environment from its JSON form.

        Args:
            definition: As in `inferenceconfig.json` or the registry.
            base: The folder that paths in it (`condaDependenciesFile`, `-r`, wheels) are relative to.

        Returns:
            The environment, whole by itself.

        Raises:
            EnvironmentException: A file that it names cannot be read.
        """
        environment = Environment(definition.name or "")
        environment.version = definition.version
        environment.python = PythonSection.from_definition(definition.python, Path(base))
        environment.docker = DockerSection.from_definition(definition.docker)
        environment.environment_variables = dict(definition.environment_variables)
        environment.inferencing_stack_version = definition.inferencing_stack_version
        rest = definition.model_dump(by_alias=True, include={"spark", "databricks", "r"}, exclude_none=True)
        environment._other = rest
        return environment

    def definition(self) -> EnvironmentDefinition:
        """The environment in its JSON form, as it is now.

        Returns:
            A frozen copy; files named by `conda_dependencies_file` and `base_dockerfile` are read into it.

        Raises:
            ConfigException: An attribute has a value that cannot be.
            EnvironmentException: A file that it names cannot be read.
        """
        from mldeploy.config.environment import EnvironmentDefinition

        return EnvironmentDefinition.checked(
            {
                "name": self.name or None,
                "version": self.version,
                "environmentVariables": dict(self.environment_variables),
                "python": self.python.to_dict(),
                "docker": self.docker.to_dict(),
                "inferencingStackVersion": self.inferencing_stack_version,
                **self._other,
            },
            f"environment {self.name}",
        )

    def clone(self, new_name: str) -> Environment:
        """Copy the environment under another name, not registered yet.

        Args:
            new_name: The copy's name.

        Returns:
            A copy; changing it changes nothing here.
        """
        copied = Environment.from_definition(self.definition())
        copied.name, copied.version = new_name, None
        return copied

    def register(self, workspace: Workspace) -> Environment:
        """Record the environment in a workspace.

        Args:
            workspace: Where.

        Returns:
            The environment with its version: a new one if it changed, the one it has if it did not.

        Raises:
            EnvironmentException: Its name breaks the rule, or has a prefix that is kept for curated ones.
        """
        _check_name(self.name)
        definition = self.definition().model_dump(mode="json", by_alias=True)
        stored = workspace.store.environments.register(self.name, {**definition, "version": None})
        self.version = stored.version
        return self

    @staticmethod
    def get(workspace: Workspace, name: str, version: str | None = None, label: str | None = None) -> Environment:
        """Find an environment, registered or curated.

        Args:
            workspace: Where it is registered.
            name: Its name.
            version: Its version; None takes the one registered last.
            label: None or "latest", which mean the same.

        Returns:
            The environment.

        Raises:
            EnvironmentException: There is none.
        """
        from mldeploy.packaging.curated import curated

        if label not in {None, "latest"}:
            raise EnvironmentException(
                f"environments have no label {label!r} here", where=f"environment {name}", hint="give the version"
            )
        if (found := curated(name)) and str(version or found.version) == found.version:
            return Environment.from_definition(found)
        stored = workspace.store.environments.get(name, None if version is None else str(version))
        if stored is None:
            raise _not_found(workspace, name, version)
        return _from_json({**stored.definition, "name": stored.name, "version": stored.version})

    @staticmethod
    def list(workspace: Workspace) -> dict[str, Environment]:
        """All environments, registered (each in its latest version) and curated.

        Args:
            workspace: Where they are registered.

        Returns:
            From name to environment, the registered ones first.
        """
        from mldeploy.packaging.curated import curated, names

        found: dict[str, Environment] = {}
        for stored in workspace.store.environments.list():
            if stored.name not in found:
                content = {**stored.definition, "name": stored.name, "version": stored.version}
                found[stored.name] = _from_json(content)
        for name in names():
            if definition := curated(name):
                found[name] = Environment.from_definition(definition)
        return found

    def build(
        self,
        workspace: Workspace,
        image_build_compute: str | None = None,
        *,
        engine: str = "auto",
        refresh: bool = False,
        offline: bool = False,
        report: Report = silent,
    ) -> EnvironmentBuild:
        """Resolve the environment and install it in the cache, or make its image, as a deployment would.

        Args:
            workspace: Where its lock is kept.
            image_build_compute: Must be None: it is built on this machine.
            engine: `process`, `docker`, or `auto`, which is Docker where a process will not do.
            refresh: Resolve anew, so that unpinned packages move to their newest versions.
            offline: Contact nobody.
            report: Told of each step.

        Returns:
            What was built; it is done when this returns.

        Raises:
            EnvironmentException: It does not resolve or install.
            EngineException: It needs Docker, and there is none.
        """
        from mldeploy.packaging.building import build

        if image_build_compute is not None:
            raise EnvironmentException(
                "an environment is built on this machine",
                where=f"image_build_compute: {image_build_compute}",
                hint="leave image_build_compute out",
            )
        return build(self, workspace.store.locks, engine=engine, refresh=refresh, offline=offline, report=report)

    def save_to_directory(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the environment as v1 did: `azureml_environment.json`, and `conda_dependencies.yml` beside it.

        Args:
            path: The folder, made if it is not there.
            overwrite: Write into a folder that exists.

        Raises:
            FileExistsError: The folder exists and `overwrite` is not set (v1's error).
        """
        folder = Path(path)
        content = self.definition().model_dump(mode="json", by_alias=True)
        folder.mkdir(parents=True, exist_ok=overwrite)
        conda = content["python"].pop("condaDependencies")
        if conda is None:
            (folder / CONDA_FILE).unlink(missing_ok=True)
        else:
            CondaDependencies(_underlying_structure=self.python.whole_conda()).save(folder / CONDA_FILE)
        text = json.dumps(content, indent=4)
        (folder / DEFINITION_FILE).write_text(f"{text}\n", encoding="utf-8")

    @staticmethod
    def load_from_directory(path: str | Path) -> Environment:
        """Read what `save_to_directory` wrote, ours or v1's.

        Args:
            path: The folder.

        Returns:
            The environment.

        Raises:
            ConfigException: The file in it is not an environment's.
            FileNotFoundError: There is no such file (v1's error).
        """
        from mldeploy.config.inline import load_environment

        file = Path(path, DEFINITION_FILE)
        if not file.is_file():
            raise FileNotFoundError(str(file))
        environment = Environment.from_definition(load_environment(file), file.parent)
        if (conda := Path(path, CONDA_FILE)).is_file():
            environment.python.conda_dependencies = CondaDependencies(conda)
        return environment

    def __repr__(self) -> str:
        return f"Environment(Name: {self.name},\nVersion: {self.version})"


def _with_packages(name: str, conda: str | Path | None, pip: str | Path | None) -> Environment:
    if conda and pip:
        raise EnvironmentException(
            "conda_specification and pip_requirements exclude each other", where=f"environment {name}"
        )
    if conda:
        return Environment.from_conda_specification(name, conda)
    if pip:
        return Environment.from_pip_requirements(name, pip)
    environment = Environment(name)
    environment.python.user_managed_dependencies = True
    return environment


def _from_json(content: dict[str, Any]) -> Environment:
    from mldeploy.config.environment import EnvironmentDefinition

    return Environment.from_definition(EnvironmentDefinition.checked(content, f"environment {content['name']}"))


def _check_name(name: str) -> None:
    from mldeploy.config.environment import RESERVED_PREFIXES, is_reserved

    if not _NAME.fullmatch(name):
        raise EnvironmentException(f"{name!r} is not a name for an environment", where="name", hint=NAME_RULE)
    if is_reserved(name):
        raise EnvironmentException(
            f"an environment's name must not begin with {' or '.join(RESERVED_PREFIXES)}",
            where=f"environment {name}",
            reason="these prefixes are reserved for curated environments",
            hint="take another name: environment.clone(NEW_NAME)",
        )


def _not_found(workspace: Workspace, name: str, version: str | None) -> EnvironmentException:
    from mldeploy.config.environment import is_reserved
    from mldeploy.packaging.curated import names

    known = builtins.list(names()) if is_reserved(name) else sorted(Environment.list(workspace))
    what = f"version {version} of environment {name}" if version is not None else f"environment {name}"
    return EnvironmentException(
        f"there is no {what}", where=f"workspace {workspace.name}", hint=f"there are: {', '.join(known)}"
    )
