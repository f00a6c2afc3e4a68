"""Runs as a program has them: a list, a table in a notebook, a data frame."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ppocli.notebook import html_table
from ppocli.records.catalog import RunSummary

_COLUMNS = ("env_id", "seed", "state", "env_steps", "solved", "best_return", "evaluated_return", "run_dir")


class Runs(list[RunSummary]):
    """How each of some runs stands."""

    def __init__(self, summaries: Iterable[RunSummary] = ()) -> None:
        super().__init__(summaries)

    def to_pandas(self) -> Any:
        """Return a data frame with a row for each. Raises ImportError without pandas, which is no part of ppocli."""
        import pandas  # type: ignore[import-untyped]

        return pandas.DataFrame([asdict(run) for run in self])

    def _repr_html_(self) -> str:
        return html_table([_COLUMNS, *([getattr(run, name) for name in _COLUMNS] for run in self)])
