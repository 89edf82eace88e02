"""Images to and from a registry, through the engine, with the credentials that Docker's own configuration has.

What is pushed is the engine's copy of the image: it sends the layers that the registry lacks, and the manifest last,
so a push that was interrupted leaves nothing that could be pulled, and the next one goes on where it ended.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mldeploy.engines.connection import asking
from mldeploy.errors import EngineException, UserErrorException
from mldeploy.events import Notice, Progress, Report, Step, silent
from mldeploy.images.registries.refusals import refusal

if TYPE_CHECKING:
    from docker import APIClient, DockerClient

PATIENCE_S = 300.0
"""How long a registry may keep an engine waiting without anything moving."""

_HOST = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:\d)|\[[0-9A-Fa-f:]+\])(?::\d+)?"
_NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_HOST})/)?(?P<name>{_NAME}(?:/{_NAME})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
# the last word of a push; Podman's image has other digests too, of manifests that the registry never saw
_DIGEST = re.compile(r"\bdigest: (sha256:[0-9a-f]{64})\b")
_FINISHED = ("Pushed", "Layer already exists", "Mounted from", "Pull complete", "Already exists")


@dataclass(frozen=True)
class Reference:
    """An image's name as Docker writes it (distribution's reference grammar).

    Args:
        registry: The host, with its port; empty where the name has none.
        name: The path below it.
        tag: Empty where there is none.
        digest: The manifest's, `sha256:…`; empty where there is none.

    Examples:
        >>> Reference.of("localhost:5000/team/app:1")
        Reference(registry='localhost:5000', name='team/app', tag='1', digest='')
        >>> Reference.of("package:20190822181338").repository
        'package'
    """

    registry: str
    name: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def of(cls, text: str) -> Reference:
        """Read one.

        Raises:
            UserErrorException: It is none.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None:
            raise UserErrorException(
                f"'{text}' is no image name",
                reason="lowercase letters and digits, with '.', '_', '-' between them and '/' between parts; "
                "after ':' a label of letters, digits, '_', '.' and '-'",
                hint="registry.example.com/team/package:1",
            )
        return cls(**{name: value or "" for name, value in found.groupdict().items()})

    @property
    def repository(self) -> str:
        """Host and path."""
        return f"{self.registry}/{self.name}" if self.registry else self.name

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True)
class Credentials:
    """Who pushes or pulls.

    Args:
        username: Empty where a token stands for both.
        password: Never shown.
        token: An identity token, as some credential helpers keep; never shown.
    """

    username: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def credentials(registry: str) -> Credentials | None:
    """What Docker's configuration (`~/.docker/config.json`, `DOCKER_CONFIG`) and its credential helpers know.

    Args:
        registry: The host; empty is Docker Hub.

    Returns:
        None where they know nothing, as for a registry that wants none.

    Raises:
        EngineException: The configuration is broken, or a helper is missing or fails.
    """
    from docker import auth, errors

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a helper is missing is said below
            found = auth.load_config().resolve_authconfig(registry or None)
    except errors.DockerException as error:
        raise EngineException(
            f"the credentials for {registry} cannot be had from Docker's configuration",
            where=registry,
            reason=str(error),
            hint="see that the helper which config.json names is installed, or docker login anew",
        ) from None
    if not found:
        return None
    # a file's keys begin with a small letter, a helper's with a capital
    said = {str(key).lower(): str(value or "") for key, value in found.items()}
    return Credentials(said.get("username", ""), said.get("password", ""), said.get("identitytoken", ""))


def push(
    client: DockerClient, image: str, target: str, *, report: Report = silent, patience: float = PATIENCE_S
) -> str:
    """Push an image of the engine under a name of a registry; the engine has it under that name too then.

    Args:
        client: The engine.
        image: An id or a name that the engine knows.
        target: The name there, with the registry's host.
        report: Told the step and the bytes.
        patience: Seconds without any movement until it is given up.

    Returns:
        The image by digest: `registry/name@sha256:…`.

    Raises:
        UserErrorException: The target is no name in a registry.
        EngineException: The registry or the engine refuses, fails, or does not go on.
    """
    to = _in_registry(target)
    tag = to.tag or "latest"
    report(Step("push", f"Pushing {to.repository}:{tag}"))
    new = _tagged(client, image, to.repository, tag)
    try:
        with _asked(client, "push", to, credentials(to.registry), patience) as (api, auth):
            events = api.push(to.repository, tag, stream=True, auth_config=auth, decode=True)
            digest = _followed(events, "push", report, patience)
    except BaseException:
        if new:
            _untag(client, f"{to.repository}:{tag}")
        raise
    if not digest:
        raise EngineException(
            f"{to.repository}:{tag} was pushed, and the engine does not tell its digest", where=to.registry
        )
    return f"{to.repository}@{digest}"


def pull(
    client: DockerClient,
    reference: str,
    *,
    known: Credentials | None = None,
    report: Report = silent,
    patience: float = PATIENCE_S,
) -> str:
    """Pull an image, by name or by digest.

    Args:
        client: The engine.
        reference: The name, with a tag or a digest; without either it is `latest`.
        known: Whose credentials; None takes those of Docker's configuration.
        report: Told the step and the bytes.
        patience: Seconds without any movement until it is given up.

    Returns:
        The image's id.

    Raises:
        UserErrorException: It is no image name.
        EngineException: The registry or the engine refuses, fails, or does not go on.
    """
    wanted = Reference.of(reference)
    report(Step("pull", f"Pulling {wanted}"))
    with _asked(client, "pull", wanted, known or credentials(wanted.registry), patience) as (api, auth):
        which = wanted.digest or wanted.tag or "latest"
        _followed(
            api.pull(wanted.repository, which, stream=True, auth_config=auth, decode=True), "pull", report, patience
        )
    name = f"{wanted.repository}@{wanted.digest}" if wanted.digest else f"{wanted.repository}:{which}"
    return str(asking(client.images.get, name).id)


def _in_registry(target: str) -> Reference:
    found = Reference.of(target)
    if not found.registry:
        raise UserErrorException(
            f"'{target}' does not say which registry",
            reason="a push without a host would go to Docker Hub",
            hint=f"registry.example.com/{found.name}, or docker.io/<account>/{found.name}",
        )
    if found.digest:
        raise UserErrorException(f"'{target}' has a digest, which only the registry gives", hint=found.repository)
    return found


@contextmanager
def _asked(
    client: DockerClient, verb: str, reference: Reference, known: Credentials | None, patience: float
) -> Iterator[tuple[APIClient, dict[str, str]]]:
    """The engine for one push or pull, and whatever it raises as our own errors, without the credentials."""
    import requests
    import urllib3
    from docker import errors

    shown, registry = str(reference), reference.registry or "docker.io"
    who = (known.username or "the token") if known else ""
    with closing(_Bounded(client.api, patience)) as bounded:
        try:
            yield bounded.api, _as_header(registry, known)
        except _Refused as refused:
            raise refusal(verb, shown, registry, _clean(str(refused), known), who) from None
        except errors.APIError as error:
            raise refusal(verb, shown, registry, _clean(str(error.explanation or error), known), who) from None
        except (_Stalled, requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            what = str(error) if isinstance(error, _Stalled) else "timed out"
            raise refusal(verb, shown, registry, f"nothing moved for {patience:g} s: {what}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if "timed out" in str(error).lower():
                raise refusal(verb, shown, registry, f"nothing moved for {patience:g} s: timed out") from None
            raise EngineException(
                f"{shown} cannot be {verb}ed: the Docker engine has gone",
                where=registry,
                reason=_clean(str(error), known),
                hint="start the engine, then try again: what has arrived is not sent again",
            ) from None


class _Refused(Exception):
    """An event says that it failed."""


class _Stalled(Exception):
    """Nothing has moved for too long."""


class _Bounded:
    """An engine's API of which no answer may keep silent for long, and whose connections end when it is closed.

    The client's own time limit is for short questions, and the SDK pulls without any.
    """

    def __init__(self, api: APIClient, patience: float) -> None:
        self.api: APIClient = object.__new__(type(api))
        self._answers: list[Any] = []
        vars(self.api).update(vars(api))

        def send(request: Any, **options: Any) -> Any:
            answer = api.send(request, **{**options, "timeout": patience})
            self._answers.append(answer)
            return answer

        vars(self.api)["send"] = send

    def close(self) -> None:
        """End what goes on: an engine whose caller has gone gives a push up."""
        for answer in self._answers:
            answer.close()


def _followed(events: Iterable[Mapping[str, Any]], verb: str, report: Report, patience: float) -> str:
    """Follow a push or a pull to its end.

    Returns:
        The digest that it ended with; empty where the engine does not tell.
    """
    amounts: dict[str, tuple[int, int]] = {}
    furthest: dict[tuple[str, str], int] = {}
    digest, moved = "", time.monotonic()
    for event in events:
        if "error" in event or "errorDetail" in event:
            raise _Refused((event.get("errorDetail") or {}).get("message") or event.get("error"))
        part, status = str(event.get("id", "")), str(event.get("status", ""))
        if told := _DIGEST.search(status):
            digest = told[1]
        detail = event.get("progressDetail") or {}
        again, status = status.startswith("Retrying in"), re.sub(r" in \d+ seconds?", "", status)
        if again and (part, status) not in furthest:
            report(Notice(f"the registry failed, and the engine tries again to {verb} {part}"))
        if detail.get("current", 0) > furthest.get((part, status), -1):
            furthest[part, status], moved = detail.get("current", 0), time.monotonic()
        if time.monotonic() - moved > patience:
            raise _Stalled("unknown: unknown error, at each try" if again else "timed out")
        _count(amounts, part, status, detail)
        if amounts:
            report(Progress(verb, sum(done for done, _ in amounts.values()), sum(of for _, of in amounts.values())))
    return digest


def _count(amounts: dict[str, tuple[int, int]], part: str, status: str, detail: Mapping[str, Any]) -> None:
    if status in {"Pushing", "Downloading"} and "current" in detail:
        # an engine guesses a layer's size, and may send more
        amounts[part] = (int(detail["current"]), max(int(detail.get("total") or 0), int(detail["current"])))
    elif part in amounts and status.startswith(_FINISHED):
        amounts[part] = (amounts[part][1], amounts[part][1])


def _tagged(client: DockerClient, image: str, repository: str, tag: str) -> bool:
    """Give an image a name; whether the name is new."""
    from docker import errors

    name = f"{repository}:{tag}"
    try:
        found = asking(client.images.get, image)
    except errors.ImageNotFound:
        raise EngineException(
            f"{image} cannot be pushed: the engine has no such image",
            where=image,
            hint="docker images shows what it has",
        ) from None
    # an engine leaves Docker Hub's own name out
    new = not {name, name.removeprefix("docker.io/").removeprefix("library/")} & set(found.tags)
    if new:
        asking(found.tag, repository, tag)
    return new


def _untag(client: DockerClient, name: str) -> None:
    """Take a name away again; an image's only one stays, for the image would go with it."""
    from docker import errors

    with suppress(errors.DockerException, OSError):
        if len(client.images.get(name).tags) > 1:
            client.images.remove(name, noprune=True)


def _as_header(registry: str, known: Credentials | None) -> dict[str, str]:
    """As the engine takes them; an empty one keeps the SDK from looking by itself."""
    if known is None:
        return {"serveraddress": registry}
    if known.token:
        return {"identitytoken": known.token, "serveraddress": registry}
    return {"username": known.username, "password": known.password, "serveraddress": registry}


def _clean(words: str, known: Credentials | None) -> str:
    """The engine's words, without what is secret in them."""
    import base64

    if known is not None:
        both = base64.b64encode(f"{known.username}:{known.password}".encode()).decode()
        for secret in (both, known.password, known.token):
            words = words.replace(secret, "***") if secret else words
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", words).strip()
