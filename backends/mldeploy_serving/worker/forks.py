"""Processes that the entry script forks (multiprocessing, a web client's pool): their signals are their own.

They leave the service's sockets alone too. A child that held them would keep a client waiting for the end of a
connection that has been closed, and the port taken after the service's end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable

_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


class _Masks(threading.local):
    """What a forking thread had blocked before."""

    before: set[int | signal.Signals] = set()  # noqa: RUF012 - replaced, never changed


_masks = _Masks()


def keep_apart(sockets: Callable[[], Iterable[int]]) -> None:
    """From now on a forked process has the default handlers, none of its signals wakes the service, and no socket.

    Signals are blocked meanwhile: one that came before the handlers are back would reach the service's wake-up
    socket.

    Args:
        sockets: The file descriptors of the service's sockets at the time of a fork.
    """

    def release() -> None:
        _let_go(sockets())
        _reset_signals()

    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=release)


def _block() -> None:
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _OURS:
        signal.signal(number, signal.SIG_DFL)
    _unblock()


def _let_go(sockets: Iterable[int]) -> None:
    """The numbers stay taken, by nothing: objects that still know them must not close a file that got one anew."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in sockets:
        with contextlib.suppress(OSError):
            os.dup2(nothing, number, inheritable=False)
    os.close(nothing)
