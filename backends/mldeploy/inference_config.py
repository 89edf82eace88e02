"""`InferenceConfig`: how a service is made of an entry script, a source directory and an environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.errors import ConfigException, UserErrorException

if TYPE_CHECKING:
    from mldeploy.config.inference import InferenceConfigFile
    from mldeploy.environment import Environment


class InferenceConfig:
    """The inference configuration of a deployment (Azure ML v1's `azureml.core.model.InferenceConfig`).

    Paths may be text or path objects. Relative ones are relative to the current folder at the time this is made;
    `conda_file` and `extra_docker_file_steps` to `source_directory`, if it is given.

    v1's older arguments (`runtime`, `conda_file`, `extra_docker_file_steps`, `enable_gpu`, `cuda_version`,
    `base_image`, `base_image_registry`) describe an environment: they become `environment`. `runtime` may be
    `python` or `python-slim`, which are one here; `cuda_version` chose v1's base image, and ours stands in.

    Args:
        entry_script: The Python file with `init()` and `run(data)`; relative to `source_directory` if given.
        runtime: `python` or `python-slim`.
        conda_file: A conda environment file.
        extra_docker_file_steps: A file with lines to add to the Dockerfile.
        source_directory: A folder that the service gets whole.
        enable_gpu: Whether the image supports GPUs.
        description: Free text.
        base_image: The image to stand on.
        base_image_registry: Its registry: an address, or an object with `address`, `username` and `password`.
        cuda_version: `9.0`, `9.1` or `10.0`.
        environment: What the entry script needs (an `Environment`); excludes the older arguments.
        base: The folder that relative paths are relative to; the current folder by default. (Not in v1.)

    Attributes:
        base: The absolute folder that relative paths are relative to.

    Raises:
        ConfigException: Arguments are of a wrong type or exclude each other, or the conda file is wrong.

    Examples:
        >>> config = InferenceConfig("score.py", source_directory="./working_dir", base="/project")
        >>> config.entry_script_path.as_posix()
        '/project/working_dir/score.py'
    """

    def __init__(
        self,
        entry_script: str | os.PathLike[str],
        runtime: str | None = None,
        conda_file: str | os.PathLike[str] | None = None,
        extra_docker_file_steps: str | os.PathLike[str] | None = None,
        source_directory: str | os.PathLike[str] | None = None,
        enable_gpu: bool | None = None,
        description: str | None = None,
        base_image: str | None = None,
        base_image_registry: Any = None,
        cuda_version: str | None = None,
        environment: Environment | None = None,
        *,
        base: str | Path | None = None,
    ) -> None:
        self.entry_script: str = _text(entry_script)
        self.runtime = runtime
        self.conda_file: str | None = _text(conda_file)
        self.extra_docker_file_steps: str | None = _text(extra_docker_file_steps)
        self.source_directory: str | None = _text(source_directory)
        self.enable_gpu = enable_gpu
        self.description = description
        self.base_image = base_image
        self.base_image_registry = base_image_registry
        self.cuda_version = cuda_version
        self.environment = environment
        self.base = Path(base or ".").absolute()
        self._check_arguments()
        if self.environment is None:
            self.environment = self._older_environment()

    @property
    def source_directory_path(self) -> Path | None:
        """The absolute source directory; None if only the script is taken."""
        return None if self.source_directory is None else self.base / self.source_directory

    @property
    def entry_script_path(self) -> Path:
        """The absolute entry script."""
        return (self.source_directory_path or self.base) / self.entry_script

    def validate(self) -> None:
        """Checks what a service would be made of, as v1 did before it uploaded anything.

        Raises:
            UserErrorException: The source directory does not exist or does not hold the entry script, or the
                script is not one (see `mldeploy.config.entry_script.check_entry_script`).
        """
        from mldeploy.config.entry_script import check_entry_script

        source = self.source_directory_path
        if source is not None:
            if not os.path.isdir(source):  # noqa: PTH112 - Path.is_dir() raises where a text is no path at all
                reason = "it is a file" if os.path.isfile(source) else "there is no such folder"  # noqa: PTH113
                raise UserErrorException(
                    "The source directory cannot be read",
                    where=str(source),
                    reason=reason,
                    hint="check the path of the source directory",
                )
            if not self.entry_script_path.resolve().is_relative_to(source.resolve()):
                raise UserErrorException(
                    "The entry script is outside the source directory",
                    where=str(self.entry_script_path),
                    hint="the entry script is relative to the source directory, and inside it",
                )
        check_entry_script(self.entry_script_path)

    def to_dict(self) -> dict[str, Any]:
        """The object of an `inferenceconfig.json` beside `base` that says the same.

        The older arguments are in its `environment`.
        """
        values: dict[str, Any] = {
            "entryScript": self.entry_script,
            "sourceDirectory": self.source_directory,
            "description": self.description,
            "environment": None if self.environment is None else self.environment.definition().to_dict(),
        }
        return {key: value for key, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, data: dict[str, Any], base: str | Path) -> InferenceConfig:
        """Makes one from what `to_dict` gave."""
        from mldeploy.config.inference import InferenceConfigFile

        return cls.from_file(InferenceConfigFile.model_validate(data), base)

    @classmethod
    def from_file(cls, model: InferenceConfigFile, base: str | Path) -> InferenceConfig:
        """Makes one from the object of an `inferenceconfig.json`, relative to a folder."""
        environment = None
        if model.environment is not None:
            from mldeploy.environment import Environment

            environment = Environment.from_definition(model.environment, base)
        return cls(
            entry_script=model.entry_script,
            runtime=model.runtime,
            conda_file=model.conda_file,
            extra_docker_file_steps=model.extra_docker_file_steps,
            source_directory=model.source_directory,
            enable_gpu=model.enable_gpu,
            description=model.description,
            base_image=model.base_image,
            base_image_registry=model.base_image_registry,
            cuda_version=model.cuda_version,
            environment=environment,
            base=base,
        )

    def _check_arguments(self) -> None:
        from mldeploy.config.inference import check_arguments

        problems = check_arguments(self)
        if problems:
            raise ConfigException("\n".join(problems), where="InferenceConfig")

    def _older_environment(self) -> Environment | None:
        from mldeploy.config.inline import older_definition

        folder = self.source_directory_path or self.base
        definition = older_definition(self, folder)
        if definition is None:
            return None
        from mldeploy.environment import Environment

        return Environment.from_definition(definition)


def _text(path: Any) -> Any:
    """A path as text; what is none is left to be refused."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path
