"""What a person sees while files are sent: bars on a terminal, lines elsewhere, or nothing.

On the standard error, so that the standard output has what was stored and nothing else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from .amounts import show_duration, show_rate, show_size

if TYPE_CHECKING:
    from rich.progress import TaskID

_LINE_SECONDS = 5.0  # between two lines about one file


class Teller(Protocol):
    """Told of one file after the other. As a context manager it is done at its end."""

    def file(self, name: str, size: int | None, done: int = 0) -> None:
        """A file is being sent: its bytes, if they are known, and how many are stored already."""

    def sent(self, size: int) -> None:
        """So many bytes of it more."""

    def storing(self) -> None:
        """All of it was sent, and the storage is not through with it yet."""

    def stored(self) -> None:
        """It is stored, or has failed."""

    def say(self, sentence: str) -> None:
        """Something that everybody has to know."""

    def __enter__(self) -> Teller: ...
    def __exit__(self, *failure: object) -> None: ...


class Silence:
    """For --quiet: what went wrong alone."""

    def file(self, name: str, size: int | None, done: int = 0) -> None: ...
    def sent(self, size: int) -> None: ...
    def storing(self) -> None: ...
    def stored(self) -> None: ...

    def say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *failure: object) -> None: ...


class Lines(Silence):
    """A line now and then, for logs.

    clock: seconds, of which the differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def file(self, name: str, size: int | None, done: int = 0) -> None:
        self._name, self._size = name, size
        self._before = self._sent = done
        self._began = self._last = self._clock()

    def sent(self, size: int) -> None:
        self._sent += size
        now = self._clock()
        if now - self._last >= _LINE_SECONDS:
            self._last = now
            self.say(self._line(now - self._began))

    def _line(self, seconds: float) -> str:
        rate = (self._sent - self._before) / seconds
        so_far = f"{self._name}: {show_size(self._sent)}"
        if self._size is None:
            return f"{so_far}, {show_rate(rate, 1)}"
        left = (self._size - self._sent) / rate
        return (
            f"{so_far} of {show_size(self._size)} ({self._sent / self._size:.0%}), "
            f"{show_rate(rate, 1)}, {show_duration(left)} left"
        )


class Bars:
    """A bar for the file that is being sent, and one for all where there are several.

    sizes: of all files; None for one of which nobody knows it.
    """

    def __init__(self, sizes: Sequence[int | None]) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.table import Column

        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress = Progress(
            # A long name is cut before the numbers are.
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self._console,
            # What is printed goes above the bars, but where it goes into a file.
            redirect_stdout=sys.stdout.isatty(),
            expand=True,
        )
        self._of_file: TaskID | None = None
        self._of_all: TaskID | None = None
        if len(sizes) > 1:
            total = None if None in sizes else sum(size or 0 for size in sizes)
            self._of_all = self._progress.add_task(f"all {len(sizes)} files", total=total)

    def file(self, name: str, size: int | None, done: int = 0) -> None:
        self._name = name
        self._of_file = self._progress.add_task(name, total=size, completed=done)
        self._advance(self._of_all, done)

    def sent(self, size: int) -> None:
        self._advance(self._of_file, size)
        self._advance(self._of_all, size)

    def _advance(self, task: TaskID | None, size: int) -> None:
        if task is not None:
            self._progress.advance(task, size)

    def storing(self) -> None:
        if self._of_file is not None:
            self._progress.update(self._of_file, description=f"{self._name}: being stored")

    def stored(self) -> None:
        if self._of_file is not None:
            self._progress.refresh()  # its end, which may come between two frames
            self._progress.remove_task(self._of_file)
            self._of_file = None

    def say(self, sentence: str) -> None:
        self._console.print(sentence, markup=False)

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._progress.stop()


def teller(sizes: Sequence[int | None], *, quiet: bool) -> AbstractContextManager[Teller]:
    """For this process's standard error."""
    if quiet:
        return Silence()
    return Bars(sizes) if sys.stderr.isatty() else Lines()
