"""Events to the terminal: bars and a spinner on one, plain lines elsewhere. All of it goes to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mldeploy.events import Event, Notice, Output, Progress, Report, StateChanged, Step, silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_QUARTER = 4
_WORTH_A_BAR = 32 * 1024 * 1024  # less is done before a person has read the line


@contextmanager
def shown(verbose: bool, only_errors: bool) -> Iterator[Report]:
    """What a command gives to long steps as their `report`.

    Args:
        verbose: Begin every line with the seconds since the command began.
        only_errors: Show nothing of it.
    """
    if only_errors:
        yield silent
    elif sys.stderr.isatty() and not verbose:
        bars = _Bars()
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield _Lines(verbose)


def text_of(event: Event) -> str:
    """One line for a person; empty for what only a bar can show."""
    if isinstance(event, StateChanged):
        return f"{event.service}: {event.state}"
    if isinstance(event, (Step, Notice)):
        return event.text
    if isinstance(event, Output):
        return f"  {event.text}"
    return ""


class _Lines:
    """One line for each step, and a few for what takes long."""

    def __init__(self, timed: bool) -> None:
        self._began = time.monotonic()
        self._timed = timed
        self._quarters: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        text = self._quarter(event) if isinstance(event, Progress) else text_of(event)
        if text:
            seconds = f"{time.monotonic() - self._began:7.2f} s  " if self._timed else ""
            print(f"{seconds}{text}", file=sys.stderr, flush=True)  # noqa: T201

    def _quarter(self, event: Progress) -> str:
        if event.total < _WORTH_A_BAR:
            return ""
        reached = event.done * _QUARTER // event.total
        if reached <= self._quarters.get(event.name, 0):
            return ""
        self._quarters[event.name] = reached
        return f"{event.name}: {reached * 100 // _QUARTER} % of {event.total / 1e6:.0f} MB"


class _Bars:
    """Lines that stay, and below them one bar for what is being done now."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def __call__(self, event: Event) -> None:
        bars, task = self._shown()
        if isinstance(event, Progress):
            amount = f"{event.done / 1e6:.0f} of {event.total / 1e6:.0f} MB"
            bars.update(task, completed=event.done, total=event.total or None, amount=amount)
            return
        style = "dim" if isinstance(event, Output) else None
        bars.console.print(text_of(event), style=style, markup=False, highlight=False, soft_wrap=True)
        if isinstance(event, Step):
            bars.reset(task, total=None, description=event.name, amount="")

    def _shown(self) -> tuple[Bars, TaskID]:
        if self._bars is None or self._task is None:
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            texts = [TextColumn("{task.description}"), TextColumn("{task.fields[amount]}")]
            columns = (SpinnerColumn(), texts[0], BarColumn(), texts[1], TimeElapsedColumn())
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bars.add_task("", total=None, amount="")
            self._bars.start()
        return self._bars, self._task

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
