"""Processes that the entry script forks (multiprocessing, a web client's pool): their signals are their own.

They leave the channel to the supervisor alone too: a child that held it would hide the worker's end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading

_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


class _Masks(threading.local):
    """What a forking thread had blocked before."""

    before: set[int | signal.Signals] = set()  # noqa: RUF012 - replaced, never changed


_masks = _Masks()


_channels: list[int] = []


def keep_apart(channel: int) -> None:
    """From now on a forked process has the default handlers, and not the channel.

    Signals are blocked meanwhile: one that came before the handlers are back would be taken for the worker's.

    Args:
        channel: Its file descriptor; a later call puts another in its place.
    """
    if not _channels:
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_release)
    _channels[:] = [channel]


def _block() -> None:
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _release() -> None:
    # the number stays taken, by nothing: objects that still know it must not close a file that got it anew
    nothing = os.open(os.devnull, os.O_RDWR)
    with contextlib.suppress(OSError):
        os.dup2(nothing, _channels[0], inheritable=False)
    os.close(nothing)
    for number in _OURS:
        signal.signal(number, signal.SIG_DFL)
    _unblock()
