"""The report: one HTML file with the whole story of some runs.

For others: `page`.
"""

__all__ = ["page"]
