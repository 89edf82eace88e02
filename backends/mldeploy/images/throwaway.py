"""A container for one program: no network, no capabilities, gone when the block ends.

Nothing is mounted, so it works on an engine of another machine too: files are copied in and out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from mldeploy.engines.connection import asking
from mldeploy.errors import EngineException

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Args:
        code: Its exit code; None where it was killed because its time was over.
        out: What it printed on stdout.
        err: What it printed on stderr; what the engine said, where it could not be started (code 127).
    """

    code: int | None
    out: str = ""
    err: str = ""


@dataclass(frozen=True)
class Throwaway:
    """A container that has not been started yet, or has ended.

    Args:
        client: The engine.
        id: The container's.
    """

    client: DockerClient
    id: str

    def has(self, path: str) -> bool:
        """Tells whether there is a file, folder or link of that path."""
        api = self.client.api
        answer = asking(
            api.head,
            f"{api.base_url}/v{api.api_version}/containers/{self.id}/archive",
            params={"path": path},
            timeout=api.timeout,
        )
        return bool(answer.ok)

    def put(self, archive: bytes | IO[bytes], path: str = "/") -> None:
        """Unpack a tar archive in a folder of the container's."""
        asking(self.client.api.put_archive, self.id, path, archive)

    def get(self, path: str) -> Iterable[bytes]:
        """A file or folder as a tar archive."""
        blocks: Iterable[bytes] = asking(self.client.api.get_archive, self.id, path)[0]
        return blocks

    def run(self, seconds: float) -> Ended:
        """Start it, and wait for its end.

        Args:
            seconds: After these it is killed.
        """
        return self.follow(seconds, None)

    def follow(self, seconds: float, said: Any) -> Ended:
        """As `run`; `said` gets each line of stdout and stderr as it is printed."""
        from docker.errors import APIError

        try:
            self.client.api.start(self.id)
        except APIError as error:  # no such program, or one that this machine cannot run
            return Ended(127, err=str(error.explanation or error))
        late = threading.Event()
        timer = threading.Timer(seconds, self._kill, (late,))
        timer.daemon = True
        timer.start()
        try:
            if said is not None:
                for line in self._lines():
                    said(line)
            code = int(asking(self.client.api.wait, self.id, timeout=seconds + 10)["StatusCode"])
        finally:
            timer.cancel()
        out, err = (
            asking(self.client.api.logs, self.id, stdout=only, stderr=not only).decode(errors="replace")
            for only in (True, False)
        )
        return Ended(None if late.is_set() else code, out, err)

    def _lines(self) -> Iterator[str]:
        rest = b""
        for block in asking(self.client.api.logs, self.id, stream=True, follow=True):
            *lines, rest = (rest + block).split(b"\n")
            yield from (line.decode(errors="replace").rstrip() for line in lines)
        if rest:
            yield rest.decode(errors="replace").rstrip()

    def _kill(self, late: threading.Event) -> None:
        late.set()
        with suppress(EngineException, LookupError):
            asking(self.client.api.kill, self.id)


@contextmanager
def throwaway(
    client: DockerClient,
    image: str,
    command: Sequence[str],
    *,
    kind: str,
    user: str = "0:0",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Throwaway]:
    """Make a container; it is removed in the end, running or not.

    Args:
        client: The engine.
        image: Its id.
        command: Program and arguments; no shell is needed.
        kind: The value of its label `mldeploy.kind`.
        user: Who runs in it.
        environment: Variables besides the image's own.

    Raises:
        EngineException: The engine refuses it.
    """
    api = client.api
    made = asking(
        api.create_container,
        image,
        list(command),
        entrypoint="",
        user=user,
        environment=dict(environment or {}),
        labels={"mldeploy.kind": kind},
        host_config=api.create_host_config(network_mode="none", cap_drop=["ALL"], security_opt=["no-new-privileges"]),
    )["Id"]
    try:
        yield Throwaway(client, made)
    finally:
        with suppress(EngineException, LookupError):
            asking(api.remove_container, made, force=True, v=True)
