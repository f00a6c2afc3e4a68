"""How results look in a notebook."""

import sys
from dataclasses import fields
from html import escape
from typing import Any


class Tabled:
    """A dataclass that a notebook shows as a table of its fields."""

    def _repr_html_(self) -> str:
        return html_table((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]


def html_table(rows: Any) -> str:
    """Return rows, whose first cells are their names, as an HTML table; what there is not is left empty."""
    body = "".join(f"<tr><th>{escape(_text(name))}</th>{_cells(cells)}</tr>" for name, *cells in rows)
    return f"<table>{body}</table>"


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


def _cells(cells: Any) -> str:
    return "".join(
        f"<td>{cell._repr_html_() if isinstance(cell, Tabled) else escape(_text(cell))}</td>" for cell in cells
    )


def _text(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:,.1f}"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return "" if cell is None else str(cell)
