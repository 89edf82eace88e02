"""Processes that the entry script forks (multiprocessing, a web client's pool): their signals are their own."""

from __future__ import annotations

import os
import signal
import threading

_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


class _Masks(threading.local):
    """What a forking thread had blocked before."""

    before: set[int | signal.Signals] = set()  # noqa: RUF012 - replaced, never changed


_masks = _Masks()


def keep_signals_apart() -> None:
    """From now on a forked process has the default handlers, and none of its signals wakes the service.

    They are blocked meanwhile: one that came before the handlers are back would reach the service's wake-up socket.
    """
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_release)


def _block() -> None:
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _release() -> None:
    signal.set_wakeup_fd(-1)
    for number in _OURS:
        signal.signal(number, signal.SIG_DFL)
    _unblock()
