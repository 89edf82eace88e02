"""What an entry script needs: `environment` in `inferenceconfig.json`, and `azureml_environment.json`.

All keys and default values of v1's scaffold are accepted, also those that only make sense for training
(`spark`, `databricks`, `shmSize` …); what would be ignored although it was asked for is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Tag

from mldeploy.config.sections import Section, by_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mldeploy.config.sections import Way

RESERVED_PREFIXES = ("Microsoft", "AzureML")
"""No environment of a user's may begin with these; they are for curated ones."""

STOCK_BASE = "azureml/base:latest"
"""The name for our own base image where a definition has to name one; matched by `is_stock_image`."""

_STOCK_IMAGE = re.compile(
    r"""(?:^|/)azureml/
        (?: base(?:-gpu)? | (?:openmpi|intelmpi|minimal-)[\w.-]* )
        (?: :[\w.-]+ )? (?: @sha256:[0-9a-f]+ )? $""",
    re.VERBOSE,
)


def is_stock_image(image: str) -> bool:
    """Tells whether an image is one of the vendor's stock bases, for which ours stands in.

    The registry is not looked at: a mirror of a stock base is a stock base.

    Examples:
        >>> is_stock_image("registry.example/azureml/base:intelmpi2018.3-ubuntu16.04")
        True
        >>> is_stock_image("registry.example/azureml/openmpi3.1.2-ubuntu18.04")
        True
        >>> is_stock_image("registry.example/azureml/onnxruntime:latest")
        False
    """
    return _STOCK_IMAGE.search(image) is not None


def is_reserved(name: str) -> bool:
    """Tells whether a name is kept for curated environments (`AzureML-Minimal`)."""
    return name.startswith(RESERVED_PREFIXES)


class RegistryDefinition(Section):
    """`docker.baseImageRegistry`: where the base image is pulled from."""

    address: str | None = None
    username: str | None = None
    password: str | None = Field(default=None, repr=False)
    registry_identity: None = None


class PlatformDefinition(Section):
    """`docker.platform`: what the image is for."""

    architecture: Literal["amd64"] = "amd64"
    os: Literal["Linux"] = "Linux"


class DockerDefinition(Section):
    """`docker`: the image below the environment."""

    enabled: bool = False
    base_image: str | None = None
    base_dockerfile: str | None = None
    base_image_registry: RegistryDefinition | None = None
    build_context: None = None
    platform: PlatformDefinition | None = None
    shared_volumes: bool = True
    shm_size: str | None = None
    arguments: list[str] = Field(default_factory=list)
    gpu_support: bool | None = None

    @property
    def needs_image(self) -> str | None:
        """Why this needs the Docker engine, in words that follow "because"; None if it does not.

        GPUs do not: a process sees those of the machine. `shmSize` does not either: v1's scaffold has it.
        """
        if self.base_dockerfile:
            return "it has a Dockerfile (docker.baseDockerfile)"
        if self.base_image and not is_stock_image(self.base_image):
            return f"it stands on the image {self.base_image!r} (docker.baseImage)"
        if self.arguments:
            names = [found[0] for word in self.arguments if (found := re.match(r"--?\w[\w-]*", word.strip()))]
            return f"it has arguments for docker run (docker.arguments: {' '.join(names)})"  # a value may be a secret
        return None

    def broken(self) -> Iterator[tuple[Way, str]]:
        """The image comes from one place."""
        if self.base_image and self.base_dockerfile:
            yield ("baseDockerfile",), "excludes 'baseImage': set one of the two to null"


class PipDependencies(Section):
    """The one object among `condaDependencies.dependencies`: `{"pip": [...]}`."""

    pip: list[str]


Dependency = Annotated[
    Annotated[str, Tag("text")] | Annotated[PipDependencies, Tag("object")],
    by_shape('expected text or an object like {"pip": ["numpy"]}'),
]
"""A conda package, or the list of pip packages."""


class CondaDefinition(Section):
    """`python.condaDependencies`: a conda environment file as JSON."""

    name: str | None = None
    channels: list[str] | None = None
    dependencies: list[Dependency] = Field(default_factory=list)
    prefix: str | None = None


class PythonDefinition(Section):
    """`python`: the interpreter and its packages."""

    user_managed_dependencies: bool = False
    interpreter_path: str = "python"
    conda_dependencies: CondaDefinition | None = None
    conda_dependencies_file: str | None = None
    base_conda_environment: str | None = None

    def broken(self) -> Iterator[tuple[Way, str]]:
        """The packages come from one place."""
        if self.conda_dependencies and self.conda_dependencies_file:
            yield ("condaDependenciesFile",), "excludes 'condaDependencies': set one of the two to null"


class SparkPackage(Section):
    """A Maven coordinate."""

    group: str
    artifact: str
    version: str


class SparkDefinition(Section):
    """`spark`: part of v1's scaffold; a service has no Spark, so the lists are empty."""

    repositories: list[str] = Field(default_factory=list, max_length=0)
    packages: list[SparkPackage] = Field(default_factory=list, max_length=0)
    precache_packages: bool = True


class DatabricksDefinition(Section):
    """`databricks`: part of v1's scaffold; always empty for a service."""

    maven_libraries: list[str] = Field(default_factory=list, max_length=0)
    pypi_libraries: list[str] = Field(default_factory=list, max_length=0)
    rcran_libraries: list[str] = Field(default_factory=list, max_length=0)
    jar_libraries: list[str] = Field(default_factory=list, max_length=0)
    egg_libraries: list[str] = Field(default_factory=list, max_length=0)


class EnvironmentDefinition(Section):
    """An environment as Azure ML v1 wrote it as JSON.

    Examples:
        >>> definition = EnvironmentDefinition(name="scoring", environment_variables={"THREADS": "2"})
        >>> definition.to_dict()
        {'name': 'scoring', 'environmentVariables': {'THREADS': '2'}}
        >>> definition.python.interpreter_path
        'python'
    """

    name: str | None = Field(default=None, min_length=1)
    version: str | None = None
    environment_variables: dict[str, str] = Field(default_factory=dict)
    python: PythonDefinition = Field(default_factory=PythonDefinition)
    docker: DockerDefinition = Field(default_factory=DockerDefinition)
    spark: SparkDefinition | None = None
    databricks: DatabricksDefinition | None = None
    inferencing_stack_version: Literal["latest"] | None = None
    r: None = None
    asset_id: str | None = None

    @property
    def needs_image(self) -> str | None:
        """Why this needs an image of its own, in words that follow "because"; None if it does not."""
        return self.docker.needs_image
