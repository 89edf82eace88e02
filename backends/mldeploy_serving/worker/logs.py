"""The worker's log: on stdout, in UTC, one record a line, in the official server's format.

`print()` goes through it too, so that every line of a script carries the id of the request it was printed for.
"""

from __future__ import annotations

import builtins
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

LOGGER = logging.getLogger("mldeploy")
NO_REQUEST = "00000000-0000-0000-0000-000000000000"
_OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - compared with code file names
# frames before the user's own: ours, and the wrappers of `inference-schema`'s decorators
_PLUMBING = (os.sep + "wrapt" + os.sep, os.sep + "inference_schema" + os.sep)

_handler = logging.StreamHandler(sys.stdout)
_print = builtins.print
_print_logger = logging.getLogger("mldeploy.print")


class CurrentRequest:
    """The request that `run()` works on now; one at a time, whichever thread of the script prints."""

    id = NO_REQUEST


class _Formatter(logging.Formatter):
    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        return time.gmtime(seconds)


def configure() -> None:
    """Send the `mldeploy` loggers and `print()` to stdout, by a stream that no script can close or replace."""
    for stream in (sys.stdout, sys.stderr):
        # in UTF-8 whatever the locale, as who reads the log cannot know it
        stream.reconfigure(encoding="utf-8", line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    _handler.setStream(
        open(os.dup(1), "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115
    )
    _handler.setFormatter(_Formatter("%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s"))
    LOGGER.addHandler(_handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    builtins.print = _print_with_request_id


def _print_with_request_id(
    *objects: object, sep: str | None = None, end: str | None = None, file: Any = None, flush: bool = False
) -> None:
    # a script may have put something else in place of sys.stdout for a while
    if (sys.stdout if file is None else file) is sys.__stdout__:
        text = (" " if sep is None else sep).join(map(str, objects))
        _print_logger.info("%s %s", CurrentRequest.id, text)
    else:
        _print(*objects, sep=sep, end=end, file=file, flush=flush)


def describe(error: BaseException) -> str:
    """An exception's traceback, from the first line of the user's own code to the last that is not the server's."""
    found = traceback.TracebackException(type(error), error, _from_users_code(error.__traceback__))
    while found.stack and found.stack[-1].filename.startswith(_OWN_FOLDER):
        found.stack.pop()
    return "".join(found.format()).rstrip()


def told(error: BaseException) -> str:
    """An exception's name and first line."""
    try:
        text = str(error)
    except Exception:  # its __str__ is the user's own code
        text = "<its text failed>"
    return f"{type(error).__name__}: {text}".splitlines()[0].rstrip(": ")


def in_users_code(frame: TracebackType) -> bool:
    """Whether a traceback entry is beyond this package, import machinery and decorators' wrappers."""
    return _is_users(frame.tb_frame.f_code.co_filename)


def _is_users(file: str) -> bool:
    return not (file.startswith((_OWN_FOLDER, "<frozen ")) or any(part in file for part in _PLUMBING))


def entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    """A traceback's entries, outermost first."""
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _from_users_code(trace: TracebackType | None) -> TracebackType | None:
    return next((entry for entry in entries(trace) if in_users_code(entry)), None)


def stack(thread_id: int) -> str:
    """Where a thread is now, from the user's own code on."""
    frame = sys._current_frames().get(thread_id)
    found = list(traceback.walk_stack(frame))[::-1]
    own = next((at for at, (each, _) in enumerate(found) if _is_users(each.f_code.co_filename)), 0)
    return "".join(traceback.StackSummary.extract(iter(found[own:])).format()).rstrip()
