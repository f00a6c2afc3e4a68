"""What a notebook shows of a training while it goes on."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ppocli.notebook import in_notebook
from ppocli.training.job import Job
from ppocli.training.outcome import Iteration

INTERVAL_SECONDS = 0.25


@contextmanager
def listeners(job: Job) -> Iterator[Sequence[Callable[[Iteration], object]]]:
    """Show a bar below the cell of a notebook, and elsewhere nothing: a program prints what it wants."""
    if not in_notebook():
        yield []
        return
    from IPython.display import HTML, display

    total, next_time = job.config.total_env_steps, 0.0
    shown = display(HTML(_bar(0, total, job.config.env.id)), display_id=True)  # type: ignore[no-untyped-call]

    def show(iteration: Iteration) -> None:
        nonlocal next_time
        done, returned = iteration.progress.env_steps, iteration.verdict.recent_return
        if done < total and time.monotonic() < next_time:
            return
        next_time = time.monotonic() + INTERVAL_SECONDS
        told = f"{job.config.env.id}: {done:,} env steps" + ("" if returned is None else f", return {returned:,.1f}")
        shown.update(HTML(_bar(done, total, told)))  # type: ignore[no-untyped-call]

    yield [show]


def _bar(done: int, total: int, told: str) -> str:
    return f'<progress max="{total}" value="{done}"></progress> {told}'
