"""What the person who waits sees: one line for each measurement, live on a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from loadtest.measuring.session import Moment
from loadtest.units import format_seconds


class Display:
    """Bars on a terminal; elsewhere one line as each measurement begins. Use it as a context."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._number = -1

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, moment: Moment) -> None:
        if moment.number != self._number:
            self._number = moment.number
            description = describe(moment)
            if not self._console.is_terminal:
                self._console.print(description, highlight=False)
            self._finish()
            self._task = self._progress.add_task(
                description, total=moment.total or None, figures="starting"
            )
        if moment.state and self._task is not None:
            state = moment.state
            speed = f"{state.mb_per_s:,.0f} MB/s, " if moment.total else ""
            figures = f"{speed}worst request {format_seconds(state.worst)}"
            self._progress.update(self._task, completed=state.sent, figures=figures)

    def _finish(self) -> None:
        if self._task is not None:
            total = self._progress.tasks[self._task].total or 1
            self._progress.update(self._task, total=total, completed=total)
            self._progress.stop_task(self._task)


def describe(moment: Moment) -> str:
    if not moment.number:
        return f"how fast is this machine? ({moment.server})"
    return f"{moment.number}/{moment.steps} {moment.server}, {moment.what}"
