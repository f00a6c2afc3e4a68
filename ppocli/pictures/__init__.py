"""What becomes a file to look at, or a window.

For others: `figures` (PNG, SVG, PDF), `films` (mp4, GIF, a window); each brings libraries that the other does without.
"""

__all__ = ["figures", "films"]
