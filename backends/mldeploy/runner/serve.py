"""`mldeploy serve`: the scoring server in the foreground, in the environment that the entry script asks for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldeploy.errors import UserErrorException
from mldeploy.events import Step
from mldeploy.runner._options import FILE
from mldeploy.runner._settings import setting_flags, settings
from mldeploy.runner._verbs import Call, Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mldeploy.inference_config import InferenceConfig

_SETTINGS = ("offline", "contract", "nan")


@click.command("serve", cls=Verb)
@click.option("-ic", "--ic", "--inference-config-file", "ic", type=FILE, help="Inference configuration (JSON or YAML).")
@click.option("--entry-script", "--es", help="The entry script, where there is no --ic.")
@click.option("--source-directory", "--sd", help="The folder that goes with it.")
@click.option("--conda-file", "--cf", help="Its conda environment file.")
@click.option("--model-dir", type=FILE, help="What the script finds as AZUREML_MODEL_DIR.")
@click.option("--port", "--po", type=click.IntRange(1, 65535), default=5001, help="The port.  [default: 5001]")
@setting_flags(*_SETTINGS)
@click.pass_obj
def serve(
    call: Call,
    /,
    ic: Path | None,
    entry_script: str | None,
    source_directory: str | None,
    conda_file: str | None,
    model_dir: Path | None,
    port: int,
    **flags: Any,
) -> None:
    """Run the scoring server here, till Ctrl-C. Nothing is registered, copied or recorded."""
    from mldeploy.packaging import environments

    config = _described(call, ic, entry_script, source_directory=source_directory, conda_file=conda_file)
    config.validate()
    if model_dir is not None and not model_dir.is_dir():
        raise UserErrorException(
            "the model folder cannot be read", where=str(model_dir), hint="--model-dir is a folder"
        )
    chosen = settings({**flags, "scoring_timeout_ms": None}, call.where.path)
    locks = call.workspace().store.locks
    resolved = environments.resolve(config.environment, locks, offline=chosen["offline"], report=call.report)
    python = environments.install(resolved, offline=chosen["offline"], report=call.report)
    call.report(Step("start", f"Serving {config.entry_script_path} on http://localhost:{port}/score; Ctrl-C ends it"))
    command = [str(python), "-m", "mldeploy_serving", "--entry-script", str(config.entry_script_path)]
    command += ["--port", str(port)]
    if model_dir is not None:
        command += ["--model-dir", str(model_dir.absolute())]
    _become(command, config, chosen)


def _described(call: Call, ic: Path | None, entry_script: str | None, **more: Any) -> InferenceConfig:
    from mldeploy.config import load_inference_config
    from mldeploy.inference_config import InferenceConfig

    if ic is not None and (entry_script or any(more.values())):
        raise UserErrorException("--ic excludes --entry-script and what goes with it", where=str(ic))
    if ic is not None:
        return load_inference_config(ic, call.report)
    if entry_script:
        return InferenceConfig(entry_script, **more)
    raise UserErrorException("an entry script is needed", hint="--ic inferenceconfig.json, or --entry-script score.py")


def _become(command: list[str], config: InferenceConfig, chosen: Mapping[str, Any]) -> None:
    """Turn into the server: signals reach it as they would have reached this process."""
    folder = config.source_directory_path or config.entry_script_path.parent
    variables = {
        "AML_APP_ROOT": str(folder),
        "SCORING_TIMEOUT_MS": str(chosen["scoring_timeout_ms"]),
        "MLDEPLOY_CONTRACT": chosen["contract"],
        "MLDEPLOY_NAN": chosen["nan"],
    }
    own = {} if config.environment is None else config.environment.environment_variables
    sys.stdout.flush()
    os.chdir(folder)
    os.execve(command[0], command, {**os.environ, **own, **variables})  # noqa: S606 - no shell is meant
