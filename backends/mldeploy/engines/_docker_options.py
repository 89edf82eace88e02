"""What an environment may ask `docker run` for (`docker.arguments`, `shmSize`, `gpuSupport`), as checked values.

Taken is what changes the surroundings of the script. Refused by name is what reaches into this machine or past what a
service is guarded by, and what the engine decides itself: the same definition comes from a colleague's workspace too,
and an argument that nothing heeds would mislead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mldeploy.config.words import nearest
from mldeploy.errors import UserErrorException

GB = 2**30
_WHERE = "docker.arguments"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}  # docker run's


@dataclass(frozen=True)
class Options:
    """How a container is run, beyond what all of ours have in common.

    Args:
        environment: Variables.
        labels: Beside the engine's own.
        hostname: Of the container.
        extra_hosts: Address by name, for its `/etc/hosts`.
        dns: Name servers.
        dns_search: Domains to look names up in.
        ulimits: Soft and hard limit by name.
        shm_size: Bytes of `/dev/shm`.
        tmpfs: Mount options by folder.
        cpus: The most CPU cores, in fractions too.
        cpuset: Which of them, as `0-1`.
        memory: The most bytes; there is no swap beyond them.
        read_only: Whether the container's own file system is; `/tmp` stays writable.
        groups: Further groups of its user.
        network: An existing network, by name.
        gpu: All GPUs of the machine.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    hostname: str | None = None
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shm_size: int | None = None
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    cpus: float | None = None
    cpuset: str | None = None
    memory: int | None = None
    read_only: bool = False
    groups: tuple[str, ...] = ()
    network: str | None = None
    gpu: bool = False


def options(
    arguments: Sequence[str] = (),
    *,
    shm_size: str | None = None,
    gpu: bool = False,
    cpu: float | None = None,
    memory_gb: float | None = None,
) -> Options:
    """Check what is asked of a container, before anything is made.

    Args:
        arguments: `docker.arguments`, one text for each word of the command line; `"--shm-size 2g"` in one is two.
        shm_size: `docker.shmSize`.
        gpu: `docker.gpuSupport`.
        cpu: `containerResourceRequirements.cpu`, in cores.
        memory_gb: `containerResourceRequirements.memoryInGB`, in GB of 2^30 bytes.

    Raises:
        UserErrorException: An argument is not taken, lacks its value or has a wrong one, or two ask for different
            things; those that are taken are listed.

    Examples:
        >>> options(["-e", "THREADS=2", "--shm-size=64m"]).shm_size
        67108864
        >>> options(["--privileged"])
        Traceback (most recent call last):
        mldeploy.errors.UserErrorException: '--privileged' is not taken: it gives the service rights over this machine
        ...
    """
    found = Options(gpu=gpu)
    for name, value in _words(arguments):
        found = _taken(found, name, value)
    if shm_size:
        try:
            size = _bytes(shm_size)
        except ValueError as error:
            raise UserErrorException(f"{shm_size!r} is no size", where="docker.shmSize", reason=str(error)) from None
        found = _once(found, "shm_size", size, "docker.shmSize and --shm-size")
    if cpu is not None:
        found = _once(found, "cpus", cpu, "containerResourceRequirements.cpu and --cpus")
    if memory_gb is not None:
        found = _once(found, "memory", round(memory_gb * GB), "containerResourceRequirements.memoryInGB and --memory")
    if found.read_only and "/tmp" not in found.tmpfs:  # noqa: S108 - the container's
        found = replace(found, tmpfs={**found.tmpfs, "/tmp": ""})  # noqa: S108
    return found


def _once(found: Options, name: str, value: Any, both: str) -> Options:
    if getattr(found, name) not in {None, value}:
        raise UserErrorException(f"{both} ask for different things", where=_WHERE, hint="leave one of them out")
    return replace(found, **{name: value})


def _words(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each argument with its value, whichever way they were written down."""
    pending = list(arguments)
    while pending:
        word = pending.pop(0).strip()
        if not word:
            continue
        if not word.startswith("-") or word in {"-", "--"}:
            raise _refused(f"{word!r} is no argument", "arguments begin with a dash; the command is the engine's")
        spaced = re.match(r"(-[^\s=]+)\s+(.*)", word, re.DOTALL)
        if spaced:
            word = spaced[1]
            pending.insert(0, spaced[2])
        name, equals, value = word.partition("=")
        if not name.startswith("--") and len(name) > 2:  # -eNAME=value, -m2g
            name, value = word[:2], word[2:].removeprefix("=")
            equals = "="
        known = _known(name)
        if known in _SWITCHES:
            yield known, value if equals else None
        elif equals:
            yield known, value
        elif pending:
            yield known, pending.pop(0)
        else:
            raise UserErrorException(f"'{name}' lacks its value", where=_WHERE, hint=f'"{name}={_TAKEN[known][1]}"')


def _known(name: str) -> str:
    name = _SHORT.get(name, name)
    if name in _TAKEN:
        return name
    if why := _REFUSED.get(name):
        raise _refused(f"'{name}' is not taken: {why}")
    near = nearest(name, (*_TAKEN, *_REFUSED))
    raise _refused(f"'{name}' is not taken" + (f" (did you mean '{near}'?)" if near else ""))


def _refused(message: str, reason: str = "") -> UserErrorException:
    return UserErrorException(
        message, where=_WHERE, reason=reason, hint=f"take it out; those that are taken: {', '.join(sorted(_TAKEN))}"
    )


def _taken(found: Options, name: str, value: str | None) -> Options:
    take, example = _TAKEN[name]
    try:
        return take(found, value or "")
    except ValueError as error:
        why = str(error)
    raise UserErrorException(f"'{name}' cannot be {value!r}", where=_WHERE, reason=why, hint=f'"{name}={example}"')


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise ValueError("a size is a number with b, k, m or g")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or "\0" in text:
        raise ValueError(what)
    return name, value


def _environment(found: Options, text: str) -> Options:
    name, value = _pair(text, "a service has nothing of the shell's environment: say the value too")
    return replace(found, environment={**found.environment, name: value})


def _label(found: Options, text: str) -> Options:
    name, _, value = text.partition("=")
    if not name or name.startswith("mldeploy."):
        raise ValueError("a label has a name, and those that begin with 'mldeploy.' are the engine's")
    return replace(found, labels={**found.labels, name: value})


def _host(found: Options, text: str) -> Options:
    name, colon, address = text.partition(":")
    if not (name and colon and address):
        raise ValueError("a host is NAME:ADDRESS")
    return replace(found, extra_hosts={**found.extra_hosts, name: address})


def _ulimit(found: Options, text: str) -> Options:
    name, limits = _pair(text, "a limit is NAME=SOFT or NAME=SOFT:HARD")
    soft, _, hard = limits.partition(":")
    try:
        return replace(found, ulimits={**found.ulimits, name: (int(soft), int(hard or soft))})
    except ValueError:
        raise ValueError("a limit is NAME=SOFT or NAME=SOFT:HARD, in whole numbers") from None


def _tmpfs(found: Options, text: str) -> Options:
    folder, _, how = text.partition(":")
    if not folder.startswith("/") or folder.rstrip("/") in _OURS:
        raise ValueError("a folder is absolute, and holds nothing of the service's")
    return replace(found, tmpfs={**found.tmpfs, folder: how})


def _cpus(found: Options, text: str) -> Options:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError("a number of cores is above 0")
    return replace(found, cpus=number)


def _network(found: Options, text: str) -> Options:
    if text in {"host", "none"} or text.startswith("container:") or not text:
        raise ValueError("a service is reached through a port of its own: the network has to be one of the engine's")
    return replace(found, network=text)


def _read_only(found: Options, text: str) -> Options:
    if text.lower() not in {"", "true", "false"}:
        raise ValueError("it is true or false")
    return replace(found, read_only=text.lower() != "false")


def _text(name: str, pattern: str, what: str) -> Callable[[Options, str], Options]:
    def take(found: Options, text: str) -> Options:
        if not re.fullmatch(pattern, text):
            raise ValueError(what)
        change: dict[str, Any] = {name: text}
        return replace(found, **change)

    return take


def _several(name: str, pattern: str, what: str) -> Callable[[Options, str], Options]:
    def take(found: Options, text: str) -> Options:
        if not re.fullmatch(pattern, text):
            raise ValueError(what)
        change: dict[str, Any] = {name: (*getattr(found, name), text)}
        return replace(found, **change)

    return take


_OURS = {"", "/", "/var", "/var/azureml-app", "/opt", "/opt/mldeploy", "/opt/mldeploy/env", "/usr", "/lib", "/bin"}
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})"
_TAKEN: dict[str, tuple[Callable[[Options, str], Options], str]] = {
    "--env": (_environment, "NAME=value"),
    "--label": (_label, "name=value"),
    "--hostname": (_text("hostname", r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62})", "it is a host's name"), "scoring"),
    "--add-host": (_host, "database:10.0.0.7"),
    "--dns": (_several("dns", r"[0-9a-fA-F.:]+", "it is an address"), "10.0.0.1"),
    "--dns-search": (_several("dns_search", rf"{_HOST}|\.", "it is a domain"), "example.com"),
    "--ulimit": (_ulimit, "nofile=4096:8192"),
    "--shm-size": (lambda found, text: replace(found, shm_size=_bytes(text)), "2g"),
    "--tmpfs": (_tmpfs, "/scratch:size=64m"),
    "--cpus": (_cpus, "1.5"),
    "--cpuset-cpus": (_text("cpuset", r"\d+(-\d+)?(,\d+(-\d+)?)*", "it is a list like 0-2,4"), "0-1"),
    "--memory": (lambda found, text: replace(found, memory=_bytes(text)), "2g"),
    "--read-only": (_read_only, "true"),
    "--group-add": (_several("groups", r"[A-Za-z0-9_.-]+", "it is a group's name or number"), "1001"),
    "--network": (_network, "NAME"),
}
_SWITCHES = {"--read-only"}
_SHORT = {"-e": "--env", "-l": "--label", "-m": "--memory", "--net": "--network"} | {
    "-h": "--hostname",
    "-p": "--publish",
    "-P": "--publish-all",
    "-v": "--volume",
    "-u": "--user",
    "-w": "--workdir",
    "-d": "--detach",
    "-i": "--interactive",
    "-t": "--tty",
    "-c": "--cpu-shares",
}
_RIGHTS = "it gives the service rights over this machine"
_HOSTS_FILES = (
    "a path of this machine is nowhere else: put files into the source directory, or register them as a model, which "
    "costs no copy"
)
_PORT = "a service has one port, on loopback, which 'port' of the deployment configuration chooses"
_LIFE = "the engine starts and ends the service"
_IMAGE = "it would run something else than the package"
_REFUSED = {
    **dict.fromkeys(
        (
            *("--privileged", "--cap-add", "--security-opt", "--device", "--device-cgroup-rule", "--device-read-bps"),
            *("--pid", "--ipc", "--uts", "--userns", "--cgroupns", "--cgroup-parent", "--sysctl", "--volumes-from"),
            *("--oom-kill-disable", "--oom-score-adj", "--runtime", "--link", "--volume-driver"),
        ),
        _RIGHTS,
    ),
    **dict.fromkeys(("--volume", "--mount", "--env-file", "--label-file"), _HOSTS_FILES),
    **dict.fromkeys(("--publish", "--publish-all", "--expose", "--ip", "--ip6", "--mac-address"), _PORT),
    **dict.fromkeys(
        (
            *("--restart", "--rm", "--detach", "--interactive", "--tty", "--name", "--cidfile", "--init", "--attach"),
            *("--stop-signal", "--stop-timeout", "--log-driver", "--log-opt", "--pull", "--sig-proxy"),
            *("--health-cmd", "--health-interval", "--health-retries", "--health-timeout", "--no-healthcheck"),
        ),
        _LIFE,
    ),
    **dict.fromkeys(("--entrypoint", "--user", "--workdir", "--platform"), _IMAGE),
    "--cap-drop": "all capabilities are dropped already",
    "--pids-limit": "it is fixed, so that no script can fill the machine with processes",
    "--gpus": "docker.gpuSupport says it: true is all GPUs",
    "--memory-swap": "a service has no swap beyond its memory",
}
