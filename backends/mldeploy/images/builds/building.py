"""`docker build`: its output told as it happens, its failure by line, instruction and package.

The engine's classic builder is asked (the API without `version=2`), which every engine has, Podman's socket too, and
which needs no second daemon. It stops when its client is gone: whoever dies here leaves no container behind. What the
steps before a failure made is kept, as `docker build` keeps it, so that the next attempt begins where this one failed;
it is written down, and `sweep` removes it.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from mldeploy.engines.connection import asking
from mldeploy.errors import EngineException, EnvironmentException
from mldeploy.events import Output, Report, silent
from mldeploy.images.builds import failures
from mldeploy.images.builds.dockerfile import Instruction, declares, instructions
from mldeploy.packaging.uv import scrub
from mldeploy.store.owners import alive, this_process
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

TIMEOUT = "MLDEPLOY_BUILD_TIMEOUT"
"""The environment variable with the seconds that a build may take."""

BUILD_SECONDS = 1800.0
"""What a build may take where nobody says: an image is built once, a deployment's own timeout is about each start."""

_MOST_SECONDS = 1e9  # a container's alarm counts no further
_LAST_LINES = 20
_LEFT = "container:"  # in a journal, before the id of a step's container that an engine which ended could not remove
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STEP = re.compile(r"Step (\d+)/\d+ ?: (.*)", re.IGNORECASE)
_RUNNING = re.compile(r"---> Running in ([0-9a-f]{12,64})")
_MADE = re.compile(r"---> ([0-9a-f]{12,64})$")
_LINE = re.compile(r"parse error (?:on )?line (\d+)")
_WORD = re.compile(r"(?:failed to parse Dockerfile: )?([A-Z]+) ")


class UntrustedServer(EnvironmentException):
    """A step fetched from a server whose certificate the image does not trust."""


def build(
    client: DockerClient,
    dockerfile: str,
    files: Mapping[str, Path | bytes] | None = None,
    *,
    tag: str | None,
    labels: Mapping[str, str],
    arguments: Mapping[str, str] | None = None,
    report: Report = silent,
    timeout: float | None = None,
    where: str = "Dockerfile",
    network: str | None = None,
    fresh: bool = False,
    passing: bool = False,
) -> str:
    """Build an image.

    Args:
        client: The engine.
        dockerfile: Its text.
        files: The files beside it: from their path in the context to their content.
        tag: The image's name; None for an image that only its id names.
        labels: The image's labels.
        arguments: Build arguments. Their values are seen in the image's history: no secrets in them.
        report: Told of each line of output, without credentials.
        timeout: Seconds; None takes `MLDEPLOY_BUILD_TIMEOUT`, without that 1800.
        where: What the Dockerfile is called in errors, such as `docker.baseDockerfile`.
        network: Of its steps: `none`, or one of the engine's; None is the engine's default.
        fresh: Run every step, whatever the engine remembers.
        passing: The image is needed for a while only: `sweep` removes it if nobody did.

    Returns:
        The image's id, `sha256:…`.

    Raises:
        EnvironmentException: A line cannot be read, a step fails or is not done in time. `where` has the line,
            `reason` the instruction and its last output.
    """
    seconds = allowed(timeout)
    parameters = {
        "rm": 1,
        "forcerm": 1,
        "labels": json.dumps(dict(sorted(labels.items()))),
        "buildargs": json.dumps({**_proxies(dockerfile), **(arguments or {})}),
        **({"t": tag} if tag else {}),
        **({"networkmode": network} if network else {}),
        **({"nocache": 1} if fresh else {}),
    }
    _remove_left(client)
    run = _Run(client, instructions(dockerfile), report, seconds, where)
    with tempfile.TemporaryFile() as context:
        parameters["dockerfile"] = _pack(context, dockerfile, files or {})
        answers = _messages(client, context, parameters, seconds)
        # closed whatever happens, Ctrl-C too: then the engine stops
        with closing(answers), _journal() as journal, run.limited():
            image = run.follow(answers, journal)
            if not passing:
                _settle(journal, image, sum(step.word == "FROM" for step in run.steps))
            return image


def allowed(timeout: float | None) -> float:
    """The seconds that a build may take.

    Args:
        timeout: What the caller says.

    Raises:
        EnvironmentException: The environment variable is no number above 0 that a clock can count.
    """
    if timeout is not None:
        return timeout
    text = os.environ.get(TIMEOUT, "")
    with suppress(ValueError):
        if 0 < (seconds := float(text or BUILD_SECONDS)) < _MOST_SECONDS:
            return seconds
    raise EnvironmentException(f"{text!r} is no number of seconds", where=TIMEOUT, hint=f"{TIMEOUT}={BUILD_SECONDS:g}")


def sweep(client: DockerClient) -> int:
    """Remove the images that steps of failed and killed builds left; those of a build that goes on stay.

    Args:
        client: The engine.

    Returns:
        How many were removed. What has got a name, or has another image on it, stays.
    """
    _remove_left(client)
    journals = [*_journals().glob("*.images"), *(one for one in _journals().glob("*.building") if not _owned(one))]
    left = [image for journal in journals for image in _made(journal)]
    removed = 0
    while gone := [image for image in reversed(left) if _removed(client, image)]:
        # what stood on them in another build's list may have been in the way
        removed += len(gone)
        left = [image for image in left if image not in gone]
    for journal in journals:
        journal.unlink(missing_ok=True)
    return removed


def discard(client: DockerClient, image: str) -> None:
    """Remove an image that was needed for a while only, and its steps; where it is in use, `sweep` does it later.

    Args:
        client: The engine.
        image: Its id.
    """
    _removed(client, image, steps=True)


def _removed(client: DockerClient, image: str, *, steps: bool = False) -> bool:
    """Remove an image without a name, if nothing stands on it; also the nameless ones that it stands on."""
    from docker.errors import NotFound

    with suppress(NotFound, EngineException):  # gone already, or in use by now
        if not asking(client.api.inspect_image, image)["RepoTags"]:
            asking(client.api.remove_image, image, noprune=not steps)
            return True
    return False


def _remove_left(client: DockerClient) -> None:
    """Remove the containers of builds that broke off because their engine ended, once it is there again."""
    from docker.errors import NotFound

    for journal in _journals().glob("*.images"):
        with suppress(FileNotFoundError):  # another process does it just now
            lines = journal.read_text(encoding="utf-8").split()
            left = [line for line in lines if line.startswith(_LEFT)]
            for line in left:
                with suppress(NotFound):
                    asking(client.api.remove_container, line.removeprefix(_LEFT), force=True, v=True)
            if left:
                journal.write_text("\n".join(line for line in lines if line not in left), encoding="utf-8")


class _Run:
    """One build, from its first message to its last."""

    def __init__(
        self, client: DockerClient, steps: list[Instruction], report: Report, seconds: float, where: str
    ) -> None:
        self._client = client
        self.steps = steps
        self._report = report
        self._seconds = seconds
        self._where = where
        self._ends = time.monotonic() + seconds
        self._step = ""
        self._number = 0
        self._from = False
        self._container = ""
        self._output: deque[str] = deque(maxlen=_LAST_LINES)
        self._rest = ""
        self._image = ""
        self._cached = False
        self._late = threading.Event()

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Kill the step that is running when the time is over."""
        timer = threading.Timer(self._seconds, self._kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def follow(self, messages: Iterator[dict[str, Any]], journal: IO[str]) -> str:
        """Tell what the engine says until it is done.

        Args:
            messages: The engine's.
            journal: Gets the id of each image that a step made.
        """
        import requests

        try:
            for message in messages:
                self._take(message, journal)
                if self._late.is_set() or time.monotonic() > self._ends:
                    raise self._timed_out()
        except (requests.exceptions.RequestException, ValueError) as error:
            if time.monotonic() >= self._ends:
                raise self._timed_out() from None
            if self._container:
                journal.write(f"{_LEFT}{self._container}\n")
            raise self._failed(
                f"the engine broke off: {scrub(str(error))}", "see whether it runs: docker info"
            ) from None
        if not self._image:
            raise self._failed("the engine said that it was done, and of no image", "")
        return str(asking(self._client.api.inspect_image, self._image)["Id"])

    def _kill(self) -> None:
        from docker.errors import APIError

        self._late.set()
        with suppress(APIError, OSError):
            if self._container:
                self._client.api.kill(self._container)

    def _take(self, message: dict[str, Any], journal: IO[str]) -> None:
        if "error" in message:
            if self._late.is_set():
                raise self._timed_out()
            raise self._failed(str(message["error"]).strip(), "")
        if isinstance(found := message.get("aux"), dict) and "ID" in found:
            self._image = found["ID"]
        *lines, self._rest = f"{self._rest}{message.get('stream', '')}".split("\n")
        for line in lines:
            # a progress bar writes its states over one another: the last one counts
            self._line(_ESCAPES.sub("", line).rstrip().rpartition("\r")[2], journal)

    def _line(self, line: str, journal: IO[str]) -> None:
        if step := _STEP.match(line):
            self._number, instruction = int(step[1]), step[2]
            self._from = instruction.upper().startswith("FROM ")
            self._step = f"Step {self._number}/{len(self.steps)} : {instruction}"
            self._container, self._cached = "", False
            self._output.clear()
            if self._number > len(self.steps):
                return  # the engine adds steps of its own for the labels
            line = self._step
        elif running := _RUNNING.search(line):
            self._container = running[1]
            return
        elif line.strip() == "---> Using cache":
            self._cached = True
            return
        elif made := _MADE.search(line):
            if not self._cached and not self._from:
                journal.write(f"{made[1]}\n")
                journal.flush()
            return
        elif built := re.match(r"Successfully built ([0-9a-f]+)$", line):
            self._image = self._image or built[1]
            return
        elif line.startswith(("Removing intermediate container ", "Successfully tagged ")) or not line.strip():
            return
        else:
            self._output.append(scrub(line))
        self._report(Output(scrub(line)))

    def _timed_out(self) -> EnvironmentException:
        return EnvironmentException(
            f"the image was not built within {self._seconds:g} s",
            where=self._place(),
            reason=self._reason("it was stopped here"),
            hint=f"{TIMEOUT}=SECONDS allows more",
        )

    def _failed(self, said: str, hint: str) -> EnvironmentException:
        found = failures.cause("\n".join([*self._output, said]))
        cause = f": {found.what}" if found else ""
        kind = UntrustedServer if found and found.is_untrusted else EnvironmentException
        return kind(
            f"the image does not build{cause}",
            where=self._place(said),
            reason=self._reason(scrub(said)),
            hint=(found.hint if found else "") or hint or "mend the line that failed",
        )

    def _place(self, said: str = "") -> str:
        """Where it stopped, by line; of a Dockerfile that cannot be read, the line that the engine means."""
        line = 0
        if 0 < self._number <= len(self.steps):
            line = self.steps[self._number - 1].line
        elif match := _LINE.search(said):
            line = int(match[1])
        elif match := _WORD.match(said):
            alike = [step.line for step in self.steps if step.word == match[1]]
            line = alike[0] if len(alike) == 1 else 0
        return f"{self._where}, line {line}" if line else self._where

    def _reason(self, last: str) -> str:
        if self._rest.strip():
            self._output.append(scrub(_ESCAPES.sub("", self._rest).strip()))
        return "\n".join(line for line in [scrub(self._step), *self._output, last] if line)


def _messages(
    client: DockerClient, context: IO[bytes], parameters: Mapping[str, Any], seconds: float
) -> Generator[dict[str, Any], None, None]:
    """Send the context and read what the engine answers; the connection is closed in the end, which stops a build."""
    api = client.api
    answer = api.post(
        f"{api.base_url}/v{api.api_version}/build",
        params=parameters,
        data=context,
        headers={"Content-Type": "application/x-tar"},
        stream=True,
        timeout=seconds,
    )
    with closing(answer):
        if not answer.ok:
            yield {"error": _refusal(answer)}
            return
        rest = b""
        for block in answer.iter_content(None):
            *lines, rest = (rest + block).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())
        if rest.strip():
            yield json.loads(rest)


def _refusal(answer: Any) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.text).strip() or f"HTTP {answer.status_code}"


def _pack(context: IO[bytes], dockerfile: str, files: Mapping[str, Path | bytes]) -> str:
    """Write the context; returns the Dockerfile's name in it. Times and owners are fixed, for the engine's cache."""
    name = "Dockerfile" if "Dockerfile" not in files else f".mldeploy-{uuid4().hex[:8]}.Dockerfile"
    with tarfile.open(fileobj=context, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in {**files, name: dockerfile.encode()}.items():
            info = tarfile.TarInfo(path)
            if isinstance(content, bytes):
                info.size, info.mode = len(content), 0o644
                archive.addfile(info, io.BytesIO(content))
            else:
                info.size, info.mode = content.stat().st_size, 0o755 if os.access(content, os.X_OK) else 0o644
                with content.open("rb") as file:
                    archive.addfile(info, file)
    context.seek(0)
    return name


def _proxies(dockerfile: str) -> dict[str, str]:
    """Proxies that Docker's config.json names, as `docker build` passes them on: they stay out of the history.

    One that a Dockerfile declares as an argument would be seen there, so it is not passed if it has a password.
    """
    from docker.utils.config import load_general_config

    proxies = (load_general_config().get("proxies") or {}).get("default") or {}
    found: dict[str, str] = {}
    for key, value in proxies.items():
        name = {
            "httpProxy": "HTTP_PROXY",
            "httpsProxy": "HTTPS_PROXY",
            "ftpProxy": "FTP_PROXY",
            "noProxy": "NO_PROXY",
        }.get(key)
        for spelt in (name, name.lower()) if name else ():
            if "@" not in value or not declares(dockerfile, spelt):
                found[spelt] = value
    return found


def _journals() -> Path:
    return cache_root() / "builds"


@contextmanager
def _journal() -> Iterator[IO[str]]:
    """A list of what the steps of this build made; its first line says whose it is while the build runs.

    An empty one is not kept.
    """
    from mldeploy.packaging import explain

    path = _journals() / f"{uuid4().hex}.building"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w+", encoding="utf-8")
        print(json.dumps(this_process()), file=file, flush=True)
    except OSError as error:
        raise explain.disk(error, path) from None
    try:
        with file:
            yield file
    finally:
        if made := _made(path):
            path.with_suffix(".images").write_text("\n".join(made), encoding="utf-8")
        path.unlink()


def _made(journal: Path) -> list[str]:
    """The images that a journal lists."""
    try:
        lines = journal.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # another process has swept it just now
        return []
    return lines[1:] if journal.suffix == ".building" else lines


def _owned(journal: Path) -> bool:
    """Whether that build is still going on."""
    try:
        owner = json.loads(journal.read_text(encoding="utf-8").partition("\n")[0])
        return alive(owner, datetime.fromtimestamp(journal.stat().st_mtime, timezone.utc))
    except (ValueError, KeyError, TypeError):
        return False
    except OSError:
        return True  # it has ended just now: what it left is another journal's


def _settle(journal: IO[str], image: str, stages: int) -> None:
    """Forget what is below the image or is the image; what is neither was made by a stage before the last."""
    journal.seek(0)
    owner, *made = journal.read().splitlines()
    kept = [one for one in made if stages > 1 and not image.removeprefix("sha256:").startswith(one)]
    journal.seek(0)
    journal.truncate()
    journal.write("\n".join([owner, *kept]))
