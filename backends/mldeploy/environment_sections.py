"""The sections of an `Environment`, as attributes that a script sets one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.conda_dependencies import CondaDependencies

if TYPE_CHECKING:
    from mldeploy.config.environment import DockerDefinition, PythonDefinition


@dataclass
class ContainerRegistry:
    """Where a base image is pulled from (`azureml.core.container_registry`).

    Args:
        address: The registry's host.
        username: Who pulls.
        password: Never shown.
    """

    address: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass
class PythonSection:
    """`environment.python`: the interpreter and its packages.

    Args:
        user_managed_dependencies: Use the interpreter as it is and install nothing of `conda_dependencies`.
        interpreter_path: That interpreter: a path, or a name looked up on `PATH`.
        conda_dependencies: The packages; None for the serving stack only.
        conda_dependencies_file: A conda file in their place, relative to the current folder.
        base_conda_environment: Kept; nothing reads it on this machine.
    """

    user_managed_dependencies: bool = False
    interpreter_path: str = "python"
    conda_dependencies: CondaDependencies | None = field(default_factory=CondaDependencies)
    conda_dependencies_file: str | None = None
    base_conda_environment: str | None = None

    @classmethod
    def from_definition(cls, definition: PythonDefinition, base: Path) -> PythonSection:
        """Take the section from its JSON form, files that it names read in.

        Args:
            definition: The JSON form.
            base: The folder that its paths are relative to.
        """
        from mldeploy.packaging.requirement_files import whole_conda

        conda = None
        if definition.conda_dependencies_file:
            conda = CondaDependencies(base / definition.conda_dependencies_file)
        elif definition.conda_dependencies is not None:
            conda = CondaDependencies(
                _underlying_structure=whole_conda(definition.conda_dependencies.to_dict(), base.absolute())
            )
        return cls(
            definition.user_managed_dependencies,
            definition.interpreter_path,
            conda,
            None,
            definition.base_conda_environment,
        )

    def to_dict(self) -> dict[str, Any]:
        """The section in its JSON form."""
        return {
            "userManagedDependencies": self.user_managed_dependencies,
            "interpreterPath": str(self.interpreter_path),
            "condaDependencies": self.whole_conda(),
            "baseCondaEnvironment": self.base_conda_environment,
        }

    def whole_conda(self) -> dict[str, Any] | None:
        """The conda packages as they are now, those of a file read in and made whole."""
        if self.conda_dependencies_file:
            return CondaDependencies(self.conda_dependencies_file).as_dict()
        return None if self.conda_dependencies is None else self.conda_dependencies.as_dict()


@dataclass
class DockerSection:
    """`environment.docker`: the image below the environment.

    Args:
        enabled: Kept for v1's sake; which engine runs a service is decided by what it needs.
        base_image: None or one of the vendor's stock bases mean our own base.
        base_dockerfile: A Dockerfile, or its text; excludes `base_image`.
        base_image_registry: Where `base_image` is pulled from.
        shared_volumes: Kept for v1's sake.
        shm_size: Kept for an image.
        arguments: For `docker run`.
        gpu_support: Kept for an image.
    """

    enabled: bool = False
    base_image: str | None = None
    base_dockerfile: str | None = None
    base_image_registry: ContainerRegistry = field(default_factory=ContainerRegistry)
    shared_volumes: bool = True
    shm_size: str | None = None
    arguments: list[str] = field(default_factory=list)
    gpu_support: bool | None = None

    @classmethod
    def from_definition(cls, definition: DockerDefinition) -> DockerSection:
        """Take the section from its JSON form."""
        registry = definition.base_image_registry
        return cls(
            definition.enabled,
            definition.base_image,
            definition.base_dockerfile,
            ContainerRegistry(registry.address, registry.username, registry.password)
            if registry
            else ContainerRegistry(),
            definition.shared_volumes,
            definition.shm_size,
            list(definition.arguments),
            definition.gpu_support,
        )

    def to_dict(self) -> dict[str, Any]:
        """The section in its JSON form; a Dockerfile that is named is read in."""
        return {
            "enabled": self.enabled,
            "baseImage": self.base_image,
            "baseDockerfile": _dockerfile_text(self.base_dockerfile),
            "baseImageRegistry": vars(self.base_image_registry),
            "sharedVolumes": self.shared_volumes,
            "shmSize": self.shm_size,
            "arguments": list(self.arguments),
            "gpuSupport": self.gpu_support,
        }


def _dockerfile_text(dockerfile: str | None) -> str | None:
    """A Dockerfile's text; v1 took the path of one too, and a path has one line."""
    if dockerfile is None or "\n" in dockerfile or not Path(dockerfile).is_file():
        return dockerfile
    return Path(dockerfile).read_text(encoding="utf-8")
