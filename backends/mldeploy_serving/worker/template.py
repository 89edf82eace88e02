"""`WORKER_PRELOAD`: one process calls `init()`, and the workers are forked after it.

What `init()` has loaded is then in memory once, and a worker that has to be replaced is there at once.
"""

from __future__ import annotations

import gc
import os
import signal
import socket

from mldeploy_serving.channel import Channel
from mldeploy_serving.worker import forks, lifeline
from mldeploy_serving.worker.logs import LOGGER


def fork_workers(channel: Channel) -> Channel | None:
    """Fork a worker for every socket that comes over the channel; tell there how each of them ends.

    Args:
        channel: The template's own.

    Returns:
        In a forked worker its own channel; in the template None, when the supervisor has closed its end.
    """
    workers: set[int] = set()

    def bury(*_: object) -> None:
        for pid in list(workers):  # and no others: what init() has started is the script's own
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                workers.discard(pid)
                channel.send(("ended", pid, status))

    signal.signal(signal.SIGCHLD, bury)
    gc.freeze()  # what init() has made is not written to, and so not copied, by collections in the workers
    LOGGER.info("Process %d has called init() and forks the workers", os.getpid())
    channel.send(("template",))
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel.socket, 1, 1)
        if not descriptors:
            return None
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes; it is tried again
            channel.send(("unforked", f"it could not be forked: {error}"))
            os.close(descriptors[0])
            continue
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            own = Channel(socket.socket(fileno=descriptors[0]))
            lifeline.die_with(os.getppid(), own.socket)
            forks.keep_apart(own.socket.fileno())
            return own
        channel.send(("forked", pid))
        workers.add(pid)
        os.close(descriptors[0])
        bury()
