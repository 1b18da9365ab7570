"""Progress bars on stderr, with rate and remaining time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")


@contextmanager
def progress_bar(label: str, *, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show a bar while the block runs.

    Args:
        label: text in front of the bar.
        total: number of items.
        done: items finished by an earlier, interrupted call.

    Yields:
        A function to call after each item: `advance()`, `advance("a note")` or
        `advance("a note", items=16)`.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(label, total=total, completed=done, note="")

        def advance(note: str = "", items: int = 1) -> None:
            bar.update(task, advance=items, note=note)

        yield advance


@contextmanager
def counter(label: str) -> Iterator[Callable[[int], None]]:
    """Show a count of finished items while the block runs, for work of unknown size.

    Yields:
        A function to call with the number of items finished so far.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        TextColumn("{task.completed:.0f}"),
        _Rate(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda done: bar.update(task, completed=done)
