"""What a container of ours is, and what Docker is asked for it: the same guards for all, and the options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mldeploy.engines._docker_options import Options
from mldeploy.engines.loopback import LOOPBACK

PORT = 5001  # v1's, inside
PIDS = 512
_LOG = {"max-size": "10m", "max-file": "4"}
_BILLION = 10**9


@dataclass(frozen=True)
class Mount:
    """A folder of this machine in a container.

    Args:
        source: The folder, absolute.
        target: Where the container has it.
        read_only: Whether it cannot be written there.
    """

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Container:
    """What is to run.

    Args:
        image: Its id.
        name: Unique on the engine.
        command: Program and arguments.
        labels: What it belongs to; all begin with `mldeploy.`.
        environment: Variables.
        mounts: Folders of this machine.
        user: `UID:GID`; None is the image's.
        working_dir: None is the image's.
        options: What was asked for beyond that.
    """

    image: str
    name: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    user: str | None = None
    working_dir: str | None = None
    options: Options = field(default_factory=Options)


def host_config(container: Container, port: int) -> dict[str, Any]:
    """The host's side of a container, in the SDK's words.

    Args:
        container: What is to run.
        port: The loopback port that it is published on.
    """
    from docker.types import DeviceRequest, LogConfig, Ulimit
    from docker.types import Mount as Binding

    asked = container.options
    return {
        "port_bindings": {PORT: (LOOPBACK, port)},
        "security_opt": ["no-new-privileges"],
        "cap_drop": ["ALL"],
        "pids_limit": PIDS,
        "init": False,  # the server buries what others leave
        "log_config": LogConfig(type="json-file", config=_LOG),
        "restart_policy": {"Name": "no"},
        # an engine that maps its containers' users to others of the host: they would not own what is mounted
        "userns_mode": "host" if container.mounts else None,
        "mounts": [
            Binding(mount.target, str(mount.source), type="bind", read_only=mount.read_only)
            for mount in container.mounts
        ],
        "mem_limit": asked.memory,
        "memswap_limit": asked.memory,  # with both the same there is no swap
        "nano_cpus": round(asked.cpus * _BILLION) if asked.cpus else None,
        "cpuset_cpus": asked.cpuset,
        "shm_size": asked.shm_size,
        "tmpfs": dict(asked.tmpfs) or None,
        "read_only": asked.read_only,
        "ulimits": [Ulimit(name=name, soft=soft, hard=hard) for name, (soft, hard) in asked.ulimits.items()],
        "dns": list(asked.dns),
        "dns_search": list(asked.dns_search),
        "extra_hosts": dict(asked.extra_hosts),
        "group_add": list(asked.groups),
        "network_mode": asked.network,
        "device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])] if asked.gpu else None,
    }


def networks(client: Any, name: str | None) -> Any:
    """The networks of a container; None is the engine's default one."""
    return client.api.create_networking_config({name: client.api.create_endpoint_config()}) if name else None
