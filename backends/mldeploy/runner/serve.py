"""`mldeploy serve`: the scoring server in the foreground, in the environment that the entry script asks for.

It takes the flags of the official server's `azmlinfsrv`, with underscores too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldeploy.errors import UserErrorException, WebserviceException
from mldeploy.events import Notice
from mldeploy.runner._options import FILE
from mldeploy.runner._settings import SERVING, serving, setting_flags, settings
from mldeploy.runner._verbs import Call, Verb

if TYPE_CHECKING:
    from mldeploy.config.harness import ServingSettings
    from mldeploy.inference_config import InferenceConfig

_PORT = click.IntRange(1, 65535)
_PORTS_TRIED = 100
_BAD_REQUEST = 400  # what v1's errors of a script that does not start have
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_UNDERSCORES = {"token_normalize_func": lambda token: token.replace("_", "-")}


@click.command("serve", cls=Verb, context_settings=_UNDERSCORES)
@click.option("-ic", "--ic", "--inference-config-file", "ic", type=FILE, help="Inference configuration (JSON or YAML).")
@click.option("--entry-script", "--es", help="The entry script, where there is no --ic.")
@click.option("--source-directory", "--sd", help="The folder that goes with it.")
@click.option("--conda-file", "--cf", help="Its conda environment file.")
@click.option("--model-dir", type=FILE, help="What the script finds as AZUREML_MODEL_DIR.")
@click.option("--port", "--po", type=_PORT, default=5001, help="The port.  [default: 5001]")
@click.option("--health-port", type=_PORT, help="A second port, which answers the same.")
@click.option("--config-file", type=FILE, help="JSON file with the server's environment variables.")
@click.option("--access-control-allow-origins", help='Origins that browsers may call from: "https://a, https://b".')
@click.option("--reload", is_flag=True, help="Start the script anew when a source file changes.")
@click.option("--debug-port", type=_PORT, help="Wait there for a debugger (debugpy) before the script is imported.")
@setting_flags("offline", "scoring_timeout_ms", *SERVING)
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
    health_port: int | None,
    config_file: Path | None,
    access_control_allow_origins: str | None,
    reload: bool,
    debug_port: int | None,
    **flags: Any,
) -> Callable[[], None]:
    """Run the scoring server here, till Ctrl-C. Nothing is registered, copied or recorded."""
    if config_file is not None and ic is None and entry_script is None:
        entry_script = _named_in(config_file)
    config = _described(call, ic, entry_script, source_directory=source_directory, conda_file=conda_file)
    config.validate()
    if model_dir is not None and not model_dir.is_dir():
        raise UserErrorException(
            "the model folder cannot be read", where=str(model_dir), hint="--model-dir is a folder"
        )
    chosen = settings(flags, call.where.path)
    how = serving(chosen)
    if how.serving != "mldeploy" and (reload or debug_port):
        raise UserErrorException(
            "--reload and --debug-port are flags of mldeploy's own server", hint="leave them out, or --serving mldeploy"
        )
    listener = _listen(port)
    python = _installed(call, config, (*how.requirements, *(["debugpy"] if debug_port else [])), chosen["offline"])
    server = _Server(
        command=(
            *(str(python), "-m", how.module, "--entry-script", str(config.entry_script_path)),
            *_words("--model-dir", model_dir and model_dir.absolute()),
            *_words("--health-port", health_port),
            *_words("--config-file", config_file and config_file.absolute()),
            *_words("--access-control-allow-origins", access_control_allow_origins),
            *(["--reload"] if reload else []),
            *_words("--debug-port", debug_port),
        ),
        folder=config.source_directory_path or config.entry_script_path.parent,
        variables=_variables(config, how, health_port),
        listener=listener,
    )
    call.report(Notice(f"Serving {config.entry_script_path} on http://localhost:{port}/score; Ctrl-C ends it"))
    if debug_port:
        call.report(Notice(f"Waiting for a debugger on localhost:{debug_port}"))
    return partial(_run, server, config.entry_script_path)


def _named_in(config_file: Path) -> str | None:
    """The entry script that the server's own configuration names, as `azmlinfsrv` takes it from there."""
    try:
        found = json.loads(config_file.read_bytes())
        named = found.get("AZUREML_ENTRY_SCRIPT")
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON object"
        raise UserErrorException(
            "the server's configuration cannot be read",
            where=str(config_file),
            reason=str(reason),
            hint='a JSON object of environment variables: {"AZUREML_ENTRY_SCRIPT": "score.py"}',
        ) from None
    return None if named is None else str(named)


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


def _listen(port: int) -> socket.socket:
    """The socket, here and not in the server: a taken port is told before an environment is made."""
    from mldeploy.engines.loopback import listen

    try:
        return listen(port)
    except WebserviceException as error:
        raise UserErrorException(
            error.message, where=error.where, hint=f"{_free_port(port)}, or end what listens there"
        ) from None


def _free_port(taken: int) -> str:
    from mldeploy.engines.loopback import listen

    for port in range(taken + 1, min(taken + _PORTS_TRIED, 65535)):
        try:
            listen(port).close()
        except WebserviceException:
            continue
        return f"--port {port}"
    return "another --port"


def _installed(call: Call, config: InferenceConfig, besides: Sequence[str], offline: bool) -> Path:
    from mldeploy.packaging import environments

    locks = call.workspace().store.locks
    resolved = environments.resolve(config.environment, locks, besides=besides, offline=offline, report=call.report)
    return environments.install(resolved, offline=offline, report=call.report)


def _words(flag: str, value: object) -> list[str]:
    return [] if value is None else [flag, str(value)]


def _variables(config: InferenceConfig, how: ServingSettings, health_port: int | None) -> dict[str, str]:
    folder = config.source_directory_path or config.entry_script_path.parent
    own = {} if config.environment is None else config.environment.environment_variables
    # the official server's switch for its second port, spelled as it is there
    health = {"SEPERATE_HEALTH_ENDPOINT": "true"} if health_port else {}
    return {**os.environ, **own, "AML_APP_ROOT": str(folder), **health, **how.variables()}


@dataclass(frozen=True)
class _Server:
    """What is to run: the command without its socket, the app root, the environment, the socket."""

    command: tuple[str, ...]
    folder: Path
    variables: Mapping[str, str]
    listener: socket.socket


def _run(server: _Server, script: Path) -> None:
    """Run the server until it ends.

    Raises:
        WebserviceException: It ended by itself.
    """
    with tempfile.TemporaryDirectory(prefix="mldeploy-serve-") as scratch:
        exit_file = Path(scratch, "exit.json")
        process = _start(server, exit_file)
        with _signals_passed_on(process):
            code = process.wait()
        if code == 0:
            return
        try:
            reason = json.loads(exit_file.read_text())["reason"]
        except (OSError, ValueError):
            reason = f"it ended with exit code {code}, and left no reason"
    raise WebserviceException(
        "the service has ended", _BAD_REQUEST, where=str(script), reason=reason, hint=_next(reason)
    )


def _start(server: _Server, exit_file: Path) -> subprocess.Popen[bytes]:
    with server.listener as listener:
        return subprocess.Popen(
            [*server.command, "--fd", str(listener.fileno()), "--exit-file", str(exit_file)],
            cwd=server.folder,
            env=server.variables,
            stdin=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            start_new_session=True,  # so a Ctrl-C comes to it once, from here
            preexec_fn=_dying_with_this() if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
        )


def _next(reason: str) -> str:
    if "ModuleNotFoundError" in reason:
        return "name what it imports: --conda-file environment.yml, or an environment in --ic inferenceconfig.json"
    return "the lines above show where; --reload starts it anew whenever you save"


@contextlib.contextmanager
def _signals_passed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    # the terminal's end is passed on too: the server has no terminal to hear of it
    passed_on = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}
    before = {
        number: signal.signal(number, lambda got, _: process.send_signal(passed_on[signal.Signals(got)]))
        for number in passed_on
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _dying_with_this() -> Callable[[], None]:
    """What lets the kernel end the server when this process is killed."""
    prctl = ctypes.CDLL(None).prctl
    return partial(prctl, _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
