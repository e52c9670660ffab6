"""Progress of a command: a bar on a terminal, a line for each tenth where the output is a file or a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from torch import nn

from limpid.runtime import distributed


@contextmanager
def progress_bar(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A function that is called with the number that is done of `total`; the main process shows it on stderr."""
    console = Console(stderr=True, highlight=False)
    visible = distributed.is_main_process()
    with Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not (console.is_terminal and visible),
    ) as bar:
        task, last = bar.add_task(unit, total=total), 0

        def on_progress(done: int) -> None:
            nonlocal last
            bar.update(task, completed=done)
            if visible and not console.is_terminal and 10 * done // total > 10 * last // total:
                last = done
                console.print(f"{done:,} of {total:,} {unit}")

        yield on_progress


@contextmanager
def evaluation_progress(net: nn.Module, total: int) -> Iterator[None]:
    """Show the number of evaluations of a network while it samples, of about `total`."""
    evaluations = count(1)
    with progress_bar(max(total, 1), "network evaluations") as on_progress:
        hook = net.register_forward_hook(lambda *_: on_progress(min(next(evaluations), total)))
        try:
            yield
        finally:
            hook.remove()
