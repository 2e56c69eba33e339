"""A progress bar on standard error."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@final
class ProgressBar:
    """What `progress` hands out; `update` does nothing where the bar is off."""

    def __init__(self, bar: "Progress | None" = None, task: "TaskID | None" = None):
        self._bar = bar
        self._task = task

    def update(self, completed: int, **fields: float) -> None:
        """Moves the bar to `completed` of `total`, and shows the fields after it as `name value`."""
        if self._bar is None or self._task is None:
            return
        text = "  ".join(f"{name} {value:.4g}" for name, value in fields.items())
        self._bar.update(self._task, completed=completed, fields=text)


@contextlib.contextmanager
def progress(total: int, description: str, enabled: bool = True, *, force: bool = False) -> Iterator[ProgressBar]:
    """A bar for work of `total` parts, drawn on standard error; standard output is never touched.

    **Arguments:**

    - `total`: the number of parts.
    - `description`: the words in front of the bar.
    - `enabled`: whether to show a bar at all. Where standard error is no terminal (a file, a pipe)
        nothing is written, so that logs stay clean.
    - `force`: draw even if standard error is no terminal.
    """
    if not (force or (enabled and sys.stderr.isatty())):
        yield ProgressBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, force_terminal=True if force else None)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[fields]}"),
    )
    with Progress(*columns, console=console, redirect_stdout=False) as bar:
        yield ProgressBar(bar, bar.add_task(description, total=total, fields=""))
