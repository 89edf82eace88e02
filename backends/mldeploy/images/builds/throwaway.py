"""A container for one program: no network, no capabilities, gone when the block ends.

Nothing is mounted, so it works on an engine of another machine too: files are copied in and out. Its label says whose
it is: what a process that was killed has left is removed by whoever makes the next one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING, Any

from mldeploy.engines.connection import asking
from mldeploy.errors import EngineException
from mldeploy.store.owners import alive, this_process

if TYPE_CHECKING:
    from docker import DockerClient

_OWNER = "mldeploy.owner"
_abandoned: set[str] = set()


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
        blocks = asking(self.client.api.get_archive, self.id, path)[0]
        return iter(lambda: bytes(asking(next, blocks, b"")), b"")

    def run(self, seconds: float) -> Ended:
        """Start it, and wait for its end.

        Args:
            seconds: After these it is killed.
        """
        return self.follow(seconds, None)

    def follow(self, seconds: float, said: Any) -> Ended:
        """As `run`; `said` gets each line of stdout and stderr as it is printed."""
        if refusal := asking(self._start):
            return Ended(127, err=refusal)
        late = threading.Event()
        timer = threading.Timer(seconds, self._kill, (late,))
        timer.daemon = True
        timer.start()
        try:
            if said is not None:
                asking(self._tell, said)
            code = int(asking(self.client.api.wait, self.id, timeout=seconds + 10)["StatusCode"])
        finally:
            timer.cancel()
        out, err = (
            asking(self.client.api.logs, self.id, stdout=only, stderr=not only).decode(errors="replace")
            for only in (True, False)
        )
        return Ended(None if late.is_set() else code, out, err)

    def _start(self) -> str:
        """Start it; says why that cannot be."""
        from docker.errors import APIError

        try:
            self.client.api.start(self.id)
        except APIError as error:  # no such program, or one that this machine cannot run
            return str(error.explanation or error)
        return ""

    def _tell(self, said: Any) -> None:
        rest = b""
        for block in self.client.api.logs(self.id, stream=True, follow=True):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                said(line.decode(errors="replace").rstrip())
        if rest:
            said(rest.decode(errors="replace").rstrip())

    def _kill(self, late: threading.Event) -> None:
        from docker.errors import NotFound

        late.set()
        with suppress(EngineException, NotFound):
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
    from docker.errors import NotFound

    api = client.api
    _sweep(client)
    made = asking(
        api.create_container,
        image,
        list(command),
        entrypoint="",
        user=user,
        environment=dict(environment or {}),
        labels={"mldeploy.kind": kind, _OWNER: json.dumps(this_process())},
        host_config=api.create_host_config(network_mode="none", cap_drop=["ALL"], security_opt=["no-new-privileges"]),
    )["Id"]
    try:
        yield Throwaway(client, made)
    finally:
        try:
            asking(api.remove_container, made, force=True, v=True)
        except NotFound:
            pass
        except EngineException:  # it has ended meanwhile, and may come back
            _abandoned.add(made)


def _sweep(client: DockerClient) -> None:
    """Remove the containers of processes that are gone, and those that this one could not remove in its time."""
    from docker.errors import NotFound

    for found in asking(client.api.containers, all=True, filters={"label": _OWNER}):
        if found["Id"] in _abandoned or not _owned(found):
            with suppress(NotFound, EngineException):  # another one does it just now
                asking(client.api.remove_container, found["Id"], force=True, v=True)
                _abandoned.discard(found["Id"])


def _owned(found: Mapping[str, Any]) -> bool:
    """Whether somebody still works with a container."""
    try:
        owner = json.loads(found["Labels"][_OWNER])
        return alive(owner, datetime.fromtimestamp(found["Created"], timezone.utc))
    except (ValueError, KeyError, TypeError):
        return True  # whoever wrote that label, it was not this module
