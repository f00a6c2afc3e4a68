"""What a person sees in a terminal: progress, results, warnings and errors.

For others: `console` (the two streams), `progress` (training while it goes on), `results` (what commands end with),
`findings` (what a check of an environment ends with), `text` (numbers, lists and paths as people read them).
"""

__all__ = ["console", "findings", "progress", "results", "text"]
