"""Starting a worker process; imports little, so that the first one starts before all else."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spawned:
    """A worker process that has been started.

    Args:
        pid: Its process id.
        end: The supervisor's end of the socket pair.
    """

    pid: int
    end: socket.socket


def spawn(variables: Mapping[str, str], output: int | None, init_timeout: float) -> Spawned:
    """Start a worker.

    Args:
        variables: Its environment.
        output: Its stdout and stderr; None leaves it the supervisor's.
        init_timeout: Seconds its `init()` may take, for what it says when the supervisor ends it; 0 is for ever.
    """
    near, far = socket.socketpair()
    far.set_inheritable(True)
    command = [
        *(sys.executable, "-m", "mldeploy_serving", "--as-worker"),
        *(str(far.fileno()), str(os.getpid()), str(init_timeout)),
    ]
    actions = [] if output is None else [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    # until it has handlers of its own
    blocked = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
    pid = os.posix_spawn(sys.executable, command, dict(variables), file_actions=actions, setsigmask=blocked)
    far.close()
    return Spawned(pid, near)
