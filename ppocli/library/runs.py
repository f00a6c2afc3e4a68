"""Runs as a program has them: a list, a table in a notebook, a data frame."""

from collections.abc import Iterable
from dataclasses import asdict
from html import escape
from typing import Any

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
        rows = [_row("th", _COLUMNS), *(_row("td", [getattr(run, name) for name in _COLUMNS]) for run in self)]
        return f"<table>{''.join(rows)}</table>"


def _row(tag: str, cells: Iterable[Any]) -> str:
    shown = ("" if cell is None else f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells)
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in shown) + "</tr>"
