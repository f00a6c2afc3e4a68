"""What a person sees in a terminal: progress, results, warnings and errors.

For others: `console` (the two streams), `progress` (training while it goes on), `results` (what commands end with),
`findings` (what a check of an environment ends with), `comparison` (configs beside each other), `text` (numbers, lists
and paths as people read them).
"""

__all__ = ["comparison", "console", "findings", "progress", "results", "text"]
